"""The plan and the script of a chaos run: repeatable by seed, and with everything in it."""

from __future__ import annotations

import msgspec
import pytest

from contracts.decode import decode
from tests.verification.chaos.plan import LIES, MONKEYS, plan
from tests.verification.chaos.script import Script, Sending, script
from tests.verification.chaos.wishes import plots
from tests.verification.lives.wire import cloud_event

BEGIN = 1_790_000_000_000_000
EVERYTHING = {
    *("kill a service", "roll", "freeze", "kill a broker", "kill every broker", "stop every broker"),
    *("crash PostgreSQL", "kill PostgreSQL", "WeChat answers", "revoke tokens", "use up the minute"),
    *("kill every gateway",),
    *("use up the day", "refuse the address", "cut connections", "stall", "half-close"),
}


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_hold_two_hundred_kills_and_every_kind_of_harm(seed: int) -> None:
    """Whatever the seed."""
    acts = plan(seed, 600)
    assert sum(act.kills for act in acts) >= 220
    assert {act.what for act in acts} == EVERYTHING
    assert {act.monkey for act in acts} == MONKEYS.keys()
    lies = [act.more for act in acts if act.what == "WeChat answers"]
    assert all(any(action.items() <= lie.items() for lie in lies) for action in LIES)
    for kind in ("lifecycle", "clock", "dispatcher", "gateway"):
        assert {f"{kind} 0", f"{kind} 1"} <= {act.whom for act in acts if act.what == "kill a service"}


def test_a_seed_means_a_plan() -> None:
    """The same seed gives the same plan and the same script, another one others."""
    assert plan(5, 100) == plan(5, 100)
    assert plan(5, 100) != plan(6, 100)
    assert script(5, 50, 100, BEGIN) == script(5, 50, 100, BEGIN)
    assert script(5, 50, 100, BEGIN) != script(6, 50, 100, BEGIN)


def test_what_one_monkey_does_does_not_depend_on_the_others() -> None:
    """Each has a stream of its own: a longer run begins like a shorter one."""
    short = plan(5, 60)
    for monkey in MONKEYS:
        of = [act for act in short if act.monkey == monkey]
        assert [act for act in plan(5, 120) if act.monkey == monkey][: len(of)] == of


@pytest.fixture(scope="module")
def said() -> Script:
    """A long run's script."""
    return script(1, 3000, 600, BEGIN)


def test_the_script_has_tens_of_thousands_of_events_of_every_kind(said: Script) -> None:
    """Thousands of activities of several apps, both templates, all five events, many of them repeated."""
    assert said.events > 20_000
    assert len(said.sendings) > 30_000
    assert len({card.appid for card in said.cards}) == 3
    assert {card.template for card in said.cards} == {"complete", "participate"}
    assert {card.choose for card in said.cards} == {"listed", "everyone"}
    kinds = {each.event.type.removeprefix("livecard.") for each in said.sendings}
    assert {kind.split(".")[1] for kind in kinds} == {"opened", "rescheduled", "closed", "completed", "added"}
    assert {each.binary for each in said.sendings} == {True, False}
    assert len({each.producer for each in said.sendings}) == 3


def test_the_script_is_readable_and_keeps_an_activity_to_a_partition(said: Script) -> None:
    """Only what wanders goes to several, and then nothing happens to it whose order matters."""

    homes: dict[str, list[Sending]] = {}
    for each in said.sendings:
        assert decode(msgspec.json.encode(cloud_event(each.event))) == each.event
        homes.setdefault(each.event.activity_id, []).append(each)
    wandering = [log for log in homes.values() if len({each.partition for each in log}) > 1]
    assert 100 < len(wandering) < 600
    kinds = {each.event.type for log in wandering for each in log}
    assert kinds == {"livecard.activity.opened", "livecard.participant.completed"}


def test_some_events_come_before_their_opening_and_some_after_the_end(said: Script) -> None:
    """In the order of the script."""
    opened: set[str] = set()
    closed: set[str] = set()
    early = late = 0
    for each in said.sendings:
        name, kind = each.event.activity_id, each.event.type
        opened.update([name] if kind.endswith("opened") else [])
        early += name not in opened
        late += name in closed
        closed.update([name] if kind.endswith("closed") else [])
    assert early > 100
    assert late > 100


def test_callers_of_the_api_wish_for_activities_and_for_what_happens_to_them() -> None:
    """Drawn by the seed: all begin with a creation, most go on, some are asked for again when granted."""
    wished = plots(1, 200, 100)
    assert wished == plots(1, 200, 100) != plots(2, 200, 100)
    assert {each.again for each in wished} == {True, False}
    assert all(each.requests[0].route == "" for each in wished)
    assert {request.route for each in wished for request in each.requests} == {"", "complete", "close"}
    assert all(0 <= request.at <= 97 for each in wished for request in each.requests)
