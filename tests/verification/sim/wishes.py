"""Callers of the API: each wishes for an activity under one `Idempotency-Key`, and asks until it is told."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from contracts.events import Completed, Event, Opened
from services.gateway.keys import Caller
from services.gateway.once import Reply
from services.simulator.cards import Declaration
from tests.verification.lives.wire import event
from tests.verification.sim.script import MEMBERS, Said

if TYPE_CHECKING:
    from tests.verification.sim.world import World

CALLER: Final = Caller("page", frozenset({"write"}), frozenset({"wx1", "wx2"}), "a-hash")
PATIENCE: Final = 5.0
"""Seconds until a caller that got no answer asks again."""


class Wish(msgspec.Struct, frozen=True):
    """When (seconds) it is asked first, and for what. `key` is the activity's title, too."""

    at: float
    key: str
    body: dict[str, Any]


def wishes(seed: int) -> list[Wish]:
    """A seed's; mostly at once with others."""
    chance = random.Random(f"wishes-{seed}")
    found = []
    for number in range(chance.choice((1, 2, 2, 3))):
        body = {
            "appid": chance.choice(("wx1", "wx1", "wx2")),
            "template": "complete",
            "title": f"wish-{number}",
            "participants": chance.sample(MEMBERS, chance.randint(1, 4)),
            "close_when_complete": chance.random() < 0.3,
        }
        found.append(Wish(chance.uniform(0.0, 25.0), f"wish-{number}", body))
    return found


class Callers:
    """Those who wish. `made`: the activity that was opened for each wish."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.unanswered: list[Wish] = []
        self.made: dict[str, str] = {}
        self._answers: dict[str, Reply] = {}

    def begin(self, wished: list[Wish]) -> None:
        """Each at its time."""
        self.unanswered = [*wished]
        for each in wished:
            self._world.loop.later(each.at, self._ask, each)

    def opened(self, made: Event) -> None:
        """The opening that a gateway committed."""
        assert isinstance(made.data, Opened)
        title = made.data.title or ""
        self._world.judges.expect(title not in self.made, f"{title} made a second activity")
        self.made[title] = made.activity_id

    def answered(self, wish: Wish, reply: Reply) -> None:
        """It is granted: the card is shared and members finish; now and then the caller asks once more."""
        world, name = self._world, msgspec.json.decode(reply.body)["activity_id"]
        world.judges.expect(name == self.made.get(wish.key), f"{wish.key} was answered with another activity")
        first = self._answers.setdefault(wish.key, reply)
        world.judges.expect(first == reply, f"{wish.key} was answered otherwise than at first")
        if wish not in self.unanswered:
            return
        self.unanswered.remove(wish)
        world.model.declare(
            world.wall(),
            Declaration(
                activity_id=name,
                appid=wish.body["appid"],
                template=wish.body["template"],
                members=MEMBERS,
                participants=tuple(wish.body["participants"]),
            ),
        )
        for number, member in enumerate(wish.body["participants"]):
            data = Completed((member,))
            said = event("/sim", f"{wish.key}-{number}", name, world.moment(0), data)
            world.say(Said(world.tape.share() * 10, said))
        if not world.tape.pick(3):
            world.loop.later(world.tape.share() * 10, self._ask_at, wish)

    def _ask(self, wish: Wish) -> None:
        if wish in self.unanswered:
            self._ask_at(wish)
            self._world.loop.later(PATIENCE, self._ask, wish)

    def _ask_at(self, wish: Wish) -> None:
        self._world.tell("a caller", "wishes for", wish.key)
        self._world.hosts.gateway().wish(wish)
