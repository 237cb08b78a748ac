"""Faults on demand: which call is struck, and by what. Pure: seeded, without a clock or a socket."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from services.runtime.ports import Chance

Garbage = Literal["html", "empty", "half", "wrong_type", "redirect", "megabytes"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls a rule means; what is None matches all."""

    path: str | None = None
    appid: str | None = None
    activity_id: str | None = None


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What happens to the call: exactly one of the kinds, or `latency` alone, or `latency` before a kind.

    | kind | the call | the caller |
    |---|---|---|
    | `errcode` (`errmsg`) | not applied | is told so |
    | `http` (`body`, `applied`) | not applied, unless `applied` | gets this HTTP status |
    | `garbage` (`applied`) | not applied, unless `applied` | gets an unreadable answer |
    | `hang` | not applied | hears nothing for so many seconds, then the connection is cut |
    | `apply_then_hang` | applied at once | the same |
    | `cut` | not applied | the connection is cut |
    | `apply_then_cut` | applied at once | the same |
    | `cut_then_apply` | applied so many seconds later | the connection is cut at once |
    | `delay` | applied so many seconds later | hears nothing until then, then the connection is cut |
    | `latency` | goes on so many seconds later | waits |
    """

    errcode: int | None = None
    errmsg: str = ""
    http: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    body: str = ""
    garbage: Garbage | None = None
    applied: bool = False
    hang: Seconds | None = None
    apply_then_hang: Seconds | None = None
    cut: bool = False
    apply_then_cut: bool = False
    cut_then_apply: Seconds | None = None
    delay: Seconds | None = None
    latency: Seconds = 0.0

    @property
    def kind(self) -> str:
        """The name of what is set; `latency` when nothing else is."""
        return next(iter(self._kinds()), "latency")

    def _kinds(self) -> list[str]:
        values = ((name, getattr(self, name)) for name in _KINDS)
        return [name for name, value in values if value is not None and value is not False]

    def __post_init__(self) -> None:
        kinds = self._kinds()
        if len(kinds) > 1:
            raise ValueError(f"an action is one of {', '.join(kinds)}, not several")
        if not kinds and not self.latency:
            raise ValueError(f"an action needs latency or one of {', '.join(_KINDS)}")


_KINDS = (
    "errcode",
    "http",
    "garbage",
    "hang",
    "apply_then_hang",
    "cut",
    "apply_then_cut",
    "cut_then_apply",
    "delay",
)


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of the calls that match: skip `after`, then strike each with `probability`, `count` times at most."""

    action: Action
    match: Match = Match()
    after: Count = 0
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    count: Count | None = None
    id: str = ""


class _Live:
    """A rule in force and how far it has come."""

    def __init__(self, name: str, rule: Rule) -> None:
        self.name = name
        self.rule = rule
        self.seen = 0
        self.struck = 0

    def strikes(self, chance: Chance) -> bool:
        rule = self.rule
        self.seen += 1
        if self.seen <= rule.after or (rule.count is not None and self.struck >= rule.count):
            return False
        if rule.probability < 1 and chance.random() >= rule.probability:
            return False
        self.struck += 1
        return True


class Faults:
    """The rules in force, in order: the first that strikes decides, latencies add up on the way."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._live: list[_Live] = []
        self._made = 0

    def __bool__(self) -> bool:
        return bool(self._live)

    def reseed(self, chance: Chance) -> None:
        """Draw from another chance from now on."""
        self._chance = chance

    def add(self, rules: list[Rule], prefix: str = "rule") -> list[str]:
        """Put rules in force, behind the others; returns their ids."""
        added = []
        for rule in rules:
            self._made += 1
            added.append(_Live(rule.id or f"{prefix}-{self._made}", rule))
        self._live.extend(added)
        return [live.name for live in added]

    def remove(self, name: str | None = None) -> int:
        """Lift the rule of that id, or all; returns how many."""
        kept = [live for live in self._live if name is not None and live.name != name]
        lifted = len(self._live) - len(kept)
        self._live = kept
        return lifted

    def choose(self, path: str, appid: str | None, activity_id: str | None) -> tuple[float, Action | None]:
        """Seconds to wait, and then what strikes this call (None: nothing)."""
        latency = 0.0
        for live in self._live:
            match = live.rule.match
            if (
                (match.path is not None and match.path != path)
                or (match.appid is not None and match.appid != appid)
                or (match.activity_id is not None and match.activity_id != activity_id)
            ):
                continue
            if live.strikes(self._chance):
                latency += live.rule.action.latency
                if live.rule.action.kind != "latency":
                    return latency, live.rule.action
        return latency, None

    def view(self) -> list[dict[str, Any]]:
        """The rules with how many calls they saw and struck."""
        return [
            {**_plain(live.rule), "id": live.name, "seen": live.seen, "struck": live.struck}
            for live in self._live
        ]


def _plain(rule: Rule) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(rule)
    return plain


class RuleSet(msgspec.Struct, forbid_unknown_fields=True):
    """What the control endpoint and the file take: rules, and a seed for their probabilities."""

    rules: list[Rule]
    seed: int | None = None


def read_rules(text: bytes) -> RuleSet:
    """A rule, a list of rules, or `{"seed", "rules"}`.

    Raises `msgspec.DecodeError` (`msgspec.ValidationError` with the path of what is wrong).
    """
    plain = msgspec.json.decode(text)
    if isinstance(plain, dict) and "rules" not in plain:
        plain = [plain]
    return msgspec.convert({"rules": plain} if isinstance(plain, list) else plain, RuleSet)
