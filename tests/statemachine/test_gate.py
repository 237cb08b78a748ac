"""An app's gate: until when it is closed for which reason, and what opens it (design.md §6)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from contracts.wechat import Verdict
from statemachine.gate import (
    ABOUT_THE_CARD,
    CLOSING,
    DAY,
    MINUTE,
    OPERATOR,
    PROBED,
    SHANGHAI,
    SPREAD,
    TOKEN_WAIT,
    UNKNOWN_APP,
    Gate,
    Passage,
    answered,
    first_wait,
    opened,
    probed,
    room,
    wants_probe,
)

SECOND = 1_000_000
NOW = int(datetime(2026, 11, 28, 10, 0, 20, tzinfo=UTC).timestamp()) * SECOND
MIDNIGHT = int(datetime(2026, 11, 28, 16, tzinfo=UTC).timestamp()) * SECOND
PROBE = 60 * SECOND
OPEN = Gate("wx1")
ENTERED = Passage()


def closed(verdict: Verdict, now: int = NOW) -> Gate:
    """A gate that this answer closed."""
    return answered(OPEN, ENTERED, verdict, now, errcode=7, errmsg="why")


def probing(gate: Gate, now: int, lease: int = 30 * SECOND) -> tuple[Gate, Passage]:
    """One claim finds out."""
    assert wants_probe(gate, now)
    return probed(gate, now, lease), Passage(gate.generation, gate.reason, probe=gate.closed_until)


@pytest.mark.parametrize(
    ("reason", "wide", "few"),
    [("", 9, 2), ("minute_limit", 4, 2), (OPERATOR, 4, 2), *((reason, 1, 1) for reason in sorted(PROBED))],
)
def test_after_a_closing_a_claim_may_take_few_and_a_probe_is_one(reason: str, wide: int, few: int) -> None:
    gate = Gate("wx1", reason=reason)
    assert (room(gate, 9, 4), room(gate, 2, 4)) == (wide, few)


@pytest.mark.parametrize(
    ("verdict", "until"),
    [
        (Verdict.minute_limit, NOW + 40 * SECOND),
        (Verdict.daily_limit, MIDNIGHT),
        (Verdict.token, NOW + TOKEN_WAIT),
        (Verdict.misconfigured, NOW + PROBE),
        (Verdict.blocked, NOW + PROBE),
    ],
)
def test_each_reason_closes_for_its_own_time(verdict, until):
    gate = closed(verdict)
    assert (gate.closed_until, gate.closed_at, gate.reason) == (until, NOW, verdict)
    assert (gate.errcode, gate.errmsg, gate.generation) == (7, "why", 1)


def test_the_table_of_reasons_is_whole():
    assert set(Verdict) - CLOSING - ABOUT_THE_CARD == {
        Verdict.busy,
        Verdict.unknown,
        Verdict.address,
        Verdict.no_token,
    }


@pytest.mark.parametrize("verdict", [None, *sorted(set(Verdict) - CLOSING)])
def test_no_other_answer_closes_an_open_gate(verdict):
    assert answered(OPEN, ENTERED, verdict, NOW) == OPEN


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_a_minutes_end_is_spread_so_that_a_fleet_does_not_begin_at_once(jitter):
    wait = first_wait(Verdict.minute_limit, NOW, jitter, PROBE)
    assert wait == 40 * SECOND + int(SPREAD * jitter)


def test_a_day_ends_at_midnight_in_shanghai_and_a_limit_met_then_lasts_a_day():
    assert (MIDNIGHT + SHANGHAI) % DAY == 0
    assert first_wait(Verdict.daily_limit, MIDNIGHT - 1, 0.0, PROBE) == 1
    assert first_wait(Verdict.daily_limit, MIDNIGHT, 0.0, PROBE) == DAY
    assert first_wait(Verdict.minute_limit, NOW + 40 * SECOND, 0.0, PROBE) == MINUTE


@pytest.mark.parametrize("order", [(45009, 45011), (45011, 45009)])
def test_of_two_closings_at_the_same_moment_the_later_wins_with_its_reason(order):
    """A daily and a minute limit answered to two calls of one app: never the shorter of the two."""
    verdicts = {45009: Verdict.daily_limit, 45011: Verdict.minute_limit}
    gate = OPEN
    for code in order:
        gate = answered(gate, ENTERED, verdicts[code], NOW, errcode=code)
    assert (gate.closed_until, gate.reason, gate.errcode) == (MIDNIGHT, "daily_limit", 45009)
    assert gate.generation == 1


def test_token_doubles_from_ten_seconds_to_the_probe_setting():
    gate, now, waits = closed(Verdict.token), NOW, []
    for _ in range(5):
        waits.append(gate.wait // SECOND)
        now = gate.closed_until
        gate, passage = probing(gate, now)
        gate = answered(gate, passage, Verdict.token, now, probe=PROBE)
    assert waits == [10, 20, 40, 60, 60]


def test_a_probe_setting_below_ten_seconds_holds_for_the_token_too():
    assert first_wait(Verdict.token, NOW, 0.0, 3 * SECOND) == 3 * SECOND


def test_a_token_refused_after_the_gate_was_open_begins_at_ten_seconds_again():
    gate = answered(closed(Verdict.token), ENTERED, Verdict.token, NOW)
    gate, passage = probing(gate, gate.closed_until)
    gate = answered(gate, passage, Verdict.ok, NOW + 11 * SECOND)
    again = answered(gate, Passage(gate.generation), Verdict.token, NOW + MINUTE)
    assert again.closed_until == NOW + MINUTE + TOKEN_WAIT


@pytest.mark.parametrize("verdict", sorted(CLOSING))
@pytest.mark.parametrize("reason", [Verdict.token, Verdict.misconfigured, Verdict.blocked])
def test_a_refused_probe_sets_the_next_wait(reason, verdict):
    gate, passage = probing(closed(reason), NOW + PROBE)
    after = answered(gate, passage, verdict, NOW + PROBE)
    assert (after.reason, after.generation) == (verdict, gate.generation + 1)
    assert after.closed_until == NOW + PROBE + after.wait


@pytest.mark.parametrize("reason", sorted(PROBED))
@pytest.mark.parametrize("verdict", sorted(ABOUT_THE_CARD))
def test_a_probe_that_is_answered_about_the_card_opens_the_gate(reason, verdict):
    gate, passage = probing(closed(Verdict(reason)), NOW + PROBE)
    after = answered(gate, passage, verdict, NOW + PROBE)
    assert after == Gate("wx1", closed_at=NOW, generation=1)


@pytest.mark.parametrize("verdict", [Verdict.busy, Verdict.unknown])
def test_busy_and_unknown_change_nothing(verdict):
    gate, passage = probing(closed(Verdict.token), NOW + PROBE)
    assert answered(gate, passage, verdict, NOW + PROBE) == gate


@pytest.mark.parametrize("verdict", [None, Verdict.address, Verdict.no_token])
def test_a_probe_given_back_puts_the_closing_back_for_another_process(verdict):
    before = closed(Verdict.blocked)
    gate, passage = probing(before, NOW + PROBE)
    assert gate.closed_until == NOW + PROBE + 30 * SECOND
    assert answered(gate, passage, verdict, NOW + PROBE + 5) == before


@pytest.mark.parametrize("reason", [*sorted(PROBED), "minute_limit", "daily_limit", UNKNOWN_APP, ""])
@pytest.mark.parametrize(("until", "over"), [(NOW + 1, False), (NOW, True)])
def test_only_a_refused_app_is_probed_and_only_when_its_wait_is_over(reason, until, over):
    assert wants_probe(Gate("wx1", until, reason=reason), NOW) is (over and reason in PROBED)


@pytest.mark.parametrize("reason", [Verdict.minute_limit, Verdict.daily_limit])
def test_a_limit_that_is_over_stays_narrow_until_a_success(reason):
    gate = closed(reason)
    now, passage = gate.closed_until, Passage(gate.generation, gate.reason)
    for verdict in (None, *sorted(set(Verdict) - CLOSING - {Verdict.ok})):
        assert answered(gate, passage, verdict, now) == gate
    assert answered(gate, passage, Verdict.ok, now) == opened(gate)
    assert answered(gate, passage, Verdict.ok, now - 1) == gate  # closed still


STALE = Passage(generation=0)


@pytest.mark.parametrize("verdict", [None, *sorted(set(Verdict) - CLOSING)])
@pytest.mark.parametrize("reason", sorted(CLOSING))
@pytest.mark.parametrize("later", [0, DAY])
def test_a_call_claimed_before_the_closing_never_opens_the_gate(reason, verdict, later):
    gate = closed(reason)
    assert answered(gate, STALE, verdict, NOW + later) == gate


@pytest.mark.parametrize("verdict", sorted(CLOSING))
def test_a_call_claimed_before_the_closing_changes_nothing_once_the_gate_is_open(verdict):
    for gate in (opened(closed(Verdict.token)), closed(Verdict.token)):
        assert answered(gate, STALE, verdict, NOW + TOKEN_WAIT) == gate


def test_a_call_claimed_before_the_closing_moves_it_later_by_a_first_wait_only():
    gate = closed(Verdict.token)
    for _ in range(3):
        gate = answered(gate, STALE, Verdict.token, NOW + 4 * SECOND)
    assert (gate.closed_until, gate.generation) == (NOW + 4 * SECOND + TOKEN_WAIT, 1)
    assert answered(gate, STALE, Verdict.token, NOW + 3 * SECOND) == gate  # never sooner


def test_many_calls_in_flight_when_a_token_is_refused_close_the_gate_once():
    gate = OPEN
    for number in range(64):
        gate = answered(gate, ENTERED, Verdict.token, NOW + number)
    assert (gate.generation, gate.wait) == (1, TOKEN_WAIT)


def test_an_app_that_nobody_knows_is_opened_by_no_answer():
    gate = Gate("wx1", NOW + DAY, NOW, UNKNOWN_APP, generation=1)
    for verdict in (None, *Verdict):
        assert answered(gate, STALE, verdict, NOW) == gate


def test_the_gate_given_is_not_changed():
    before = Gate("wx1")
    answered(before, ENTERED, Verdict.token, NOW)
    probed(before, NOW, 1)
    assert before == Gate("wx1")
