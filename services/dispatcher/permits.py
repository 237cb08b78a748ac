"""How many calls each app may have in flight in this process (design.md §6, gates)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from services.dispatcher.metrics import DispatcherMetrics
from services.store.rows import Gate


class _App(msgspec.Struct):
    """`width`: calls it may have in flight. `epoch` counts closings: a success of a call from before
    one widens nothing. `closings` counts those that answers here told of; `closing`: the store does
    not know of the last one yet. `strange`: livecard has no secret for it."""

    width: int
    in_flight: int = 0
    epoch: int = 0
    closed_at: int = 0
    closings: int = 0
    closing: bool = False
    strange: bool = False


class Permit(msgspec.Struct, frozen=True):
    """One call that may be in flight; `closings` as they were when its card was asked for."""

    appid: str
    epoch: int
    closings: int


class Permits:
    """Widths per app: `narrow` at first and after a closing, doubled by each success, halved by each
    unknown outcome, so that an app that hangs leaves the slots to the others.

    While other apps are known, no app may use the last `narrow` slots beyond its first `narrow`.
    """

    def __init__(self, limit: int, narrow: int, metrics: DispatcherMetrics) -> None:
        self._limit, self.narrow, self._metrics = limit, min(narrow, limit), metrics
        self._apps: dict[str, _App] = {}
        self.in_flight = 0

    @property
    def free(self) -> int:
        """Slots of the process that no call uses."""
        return self._limit - self.in_flight

    def room(self, appid: str) -> int:
        """How many more calls this app may have in flight now."""
        app = self._apps.get(appid)
        if app is None:
            return min(self.narrow, self.free)
        if app.closing:
            return 0
        reserved = self.narrow if len(self._apps) > 1 else 0
        shared = max(self.free - reserved, min(self.free, self.narrow - app.in_flight))
        return max(0, min(app.width - app.in_flight, shared))

    def rooms(self) -> Mapping[str, int]:
        """The room of every app known here."""
        return {appid: self.room(appid) for appid in self._apps}

    def closings(self) -> Mapping[str, int]:
        """How often answers have closed each app's gate: to be noted before a claim."""
        return {appid: app.closings for appid, app in self._apps.items()}

    def take(self, appid: str, closings: Mapping[str, int] = MappingProxyType({})) -> Permit:
        """A slot for a call that is about to be made; `room` and `closings` were asked before."""
        app = self._apps.get(appid)
        if app is None:
            app = self._apps[appid] = _App(self.narrow)
            self._metrics.gate_width(appid, app.width)
        app.in_flight += 1
        self._count(1)
        return Permit(appid, app.epoch, closings.get(appid, 0))

    def give(self, permit: Permit) -> None:
        """The call is over."""
        app = self._apps[permit.appid]
        app.in_flight -= 1
        self._count(-1)
        if app.strange and not app.in_flight:
            del self._apps[permit.appid]
            self._metrics.gate_width(permit.appid, 0)

    def strange(self, permit: Permit) -> None:
        """Nothing can be sent for this app: it is forgotten with its last permit.

        Any producer can name any number of apps; those that the apps file names are few.
        """
        self._apps[permit.appid].strange = True

    def withdrawn(self, permit: Permit) -> bool:
        """Whether an answer has closed the app's gate since the card was asked for."""
        app = self._apps[permit.appid]
        return app.closing or app.closings != permit.closings

    def succeeded(self, permit: Permit) -> None:
        """WeChat said 0: double, unless the gate was closed since the call began."""
        app = self._apps[permit.appid]
        if app.epoch == permit.epoch:
            self._set_width(permit.appid, app, min(self._limit, app.width * 2))

    def doubted(self, permit: Permit) -> None:
        """An unknown outcome: halve."""
        app = self._apps[permit.appid]
        self._set_width(permit.appid, app, max(1, app.width // 2))

    def close(self, permit: Permit) -> None:
        """An answer says that the app's gate must close: no more calls until the store knows."""
        app = self._apps[permit.appid]
        app.closing = True
        app.closings += 1
        self._narrow(permit.appid, app)

    def closed(self, appid: str) -> None:
        """The answer that closes the gate was settled: from now on claims see the store's gate."""
        app = self._apps.get(appid)
        if app is not None:
            app.closing = False

    def gate_known(self, gate: Gate) -> None:
        """The store's gate as seen: each new closing narrows, whoever closed it."""
        app = self._apps.get(gate.appid)
        if app is None:
            return
        if gate.closed_at > app.closed_at:
            app.closed_at = gate.closed_at
            self._narrow(gate.appid, app)

    def _narrow(self, appid: str, app: _App) -> None:
        app.epoch += 1
        self._set_width(appid, app, min(app.width, self.narrow))

    def _set_width(self, appid: str, app: _App, width: int) -> None:
        if width != app.width:
            app.width = width
            self._metrics.gate_width(appid, width)

    def _count(self, by: int) -> None:
        self.in_flight += by
        self._metrics.calls_in_flight(self.in_flight)
