"""The chaos run's judge sees through every doctored record, and finds nothing wrong with an honest one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import msgspec
import pytest

from contracts.changes import CardFailed, decode_change, encode_change
from contracts.events import Event, Opened
from contracts.times import SECOND
from tests.verification.chaos.arrivals import first_arrivals
from tests.verification.chaos.honest import crowded, failed, published
from tests.verification.chaos.record import Attempt, Call, Harm, Published, Record
from tests.verification.chaos.script import GHOST, STRANGER
from tests.verification.chaos.story import story
from tests.verification.chaos.verdict import judge


def test_an_honest_record_is_found_right(record: Record) -> None:
    """Nothing is wrong where nothing was doctored; and the script has all that the rules distinguish."""
    verdict = judge(record)
    assert verdict.wrong == []
    assert (verdict.lost, verdict.wrong_cards, verdict.repeats.posts) == (0, 0, 0)
    assert {"applied", "duplicate", "late", "refused"} <= verdict.outcomes.keys()


def _lose_an_event(record: Record) -> None:
    first = first_arrivals(record, crowded(record))[0]
    del record.taken[first.event.source, first.event.id]


def _lose_a_record(record: Record) -> None:
    name = crowded(record)
    lost = record.arrivals[name][0].event
    record.arrivals[name] = [each for each in record.arrivals[name] if each.event.id != lost.id]


def _other_outcome(record: Record) -> None:
    key = next(key for key, taken in record.taken.items() if taken.outcome == "applied")
    record.taken[key] = dataclasses.replace(record.taken[key], outcome="duplicate")


def _lower(record: Record) -> None:
    name = next(name for name, card in record.cards.items() if card.target_state == 3)
    record.cards[name] = dataclasses.replace(record.cards[name], target_state=2)


def _lowered_and_mended(record: Record) -> None:
    """Nothing had happened to the call that would explain why it came so late."""
    name = crowded(record)
    (call,) = record.calls[name]
    lowered = ((call.came, 2, call.members),)
    record.cards[name] = dataclasses.replace(record.cards[name], lowered=lowered)


def _forget_a_member(record: Record) -> None:
    record.cards[crowded(record)].posts.popitem()


def _invent_a_member(record: Record) -> None:
    record.cards[crowded(record)].posts[STRANGER] = 1


def _swallow_a_rejection(record: Record) -> None:
    name = next(name for name, log in record.changes.items() if isinstance(log[-1].change.data, CardFailed))
    assert GHOST in str(record.changes[name].pop())


def _fail_a_delivery(record: Record) -> None:
    name = crowded(record)
    record.changes[name].append(published(name, 999, record.end, failed(9, "unknown_code")))


def _swallow_a_change(record: Record) -> None:
    del record.changes[crowded(record)][1]


def _swallow_a_delivery(record: Record) -> None:
    del record.changes[crowded(record)][-1]


def _swap_changes(record: Record) -> None:
    told = record.changes[crowded(record)]
    told[1], told[2] = told[2], told[1]


def _two_contents(record: Record) -> None:
    name = crowded(record)
    told = record.changes[name]
    other = encode_change(told[0].change.id, name, told[0].at + SECOND, told[0].change.data)
    told.append(Published(decode_change(other), other, told[0].at))


def _repeat(record: Record) -> None:
    """WeChat got a member twice, and nothing had happened to the first call."""
    name = crowded(record)
    (call,), (attempt,) = record.calls[name], record.attempts[name]
    record.calls[name].append(dataclasses.replace(call, came=call.came + SECOND, left=call.left + SECOND))
    record.attempts[name].append(dataclasses.replace(attempt, at=attempt.at + SECOND))
    for member in call.members:
        record.cards[name].posts[member] += 1


def _unsettled_for_no_reason(record: Record) -> None:
    _repeat(record)
    del record.attempts[crowded(record)][0]


def _repeat_what_was_refused(record: Record) -> None:
    """429 is a refusal: it does not excuse two posts more."""
    _repeat(record)
    name = crowded(record)
    call, attempt = record.calls[name][0], record.attempts[name][0]
    record.calls[name].insert(0, dataclasses.replace(call, came=call.came - SECOND, answer="HTTP 429"))
    busy = dataclasses.replace(attempt, at=attempt.at - SECOND, outcome="busy")
    record.attempts[name].insert(0, busy)


def _repeat_what_was_heard(record: Record) -> None:
    """A later look names them once more, and its own answer is lost: that excuses nothing."""
    _repeat(record)
    name = crowded(record)
    again = dataclasses.replace(record.attempts[name][1], outcome="unknown", fence=2)
    record.attempts[name][1] = again


def _lower_what_was_shown(record: Record) -> None:
    """A later look lowers the end that was settled; its answer is lost, and a repair mends the card."""
    name = next(name for name, card in record.cards.items() if card.target_state == 3 and record.calls[name])
    (end,) = record.calls[name]
    for fence, seconds, state, answer, outcome in (
        (2, 20, 1, "nothing", "unknown"),
        (3, 35, 3, "0", "ok"),
    ):
        came = end.came + seconds * SECOND
        record.calls[name].append(Call(name, came, state, (), came + 1000, answer))
        record.attempts[name].append(Attempt(came + 2000, 2000, state, 0, outcome, fence))
    lowered = ((end.came + 20 * SECOND + 1, 1, ()),)
    record.cards[name] = dataclasses.replace(record.cards[name], lowered=lowered)


def _too_many_repeats(record: Record) -> None:
    """One kill explains one repeat, not two."""
    _explained(record)
    name = crowded(record)
    posts = record.cards[name].posts
    posts[next(iter(posts))] += 1


def _unbalanced(record: Record) -> None:
    record.ledger["events"]["applied"] -= 1


def _pending(record: Record) -> None:
    record.ledger["revisions"]["pending"] = 1


def _one_revision_less(record: Record) -> None:
    record.ledger["revisions"]["raised"] -= 1


def _a_death(record: Record) -> None:
    record.problems.append("clock 0 ended by itself with 1")


def _second_activity(record: Record) -> None:
    """A repeat was not known for one: WeChat was asked again, and a second activity announced."""
    record.announced["wish-0"].add("given-twice")


def _second_opening(record: Record) -> None:
    """And published."""
    log = record.arrivals["given-wish-0"]
    record.arrivals["given-twice"].append(dataclasses.replace(log[0], event=_another(log[0].event)))


def _another(event: Event) -> Event:
    return msgspec.structs.replace(event, id="twice", activity_id="given-twice")


def _answered_otherwise(record: Record) -> None:
    next(iter(record.wishes[0].answers.values())).append("given-twice")


def _never_answered(record: Record) -> None:
    next(iter(record.wishes[0].answers.values())).clear()


def _two_events_for_one_key(record: Record) -> None:
    """The repeat of a completion was published as an event of its own."""
    log = record.arrivals["given-wish-0"]
    again = msgspec.structs.replace(log[1].event, id="twice")
    log.append(dataclasses.replace(log[1], event=again, offset=log[-1].offset + 1))


def _answered_and_never_published(record: Record) -> None:
    record.arrivals["given-wish-0"].pop()


DOCTORED: dict[Callable[[Record], None], str] = {
    _lose_an_event: "was never taken in",
    _lose_a_record: "the ledger: events sent, and distinct ones in the topic",
    _other_outcome: "became duplicate, should be applied",
    _lower: "the card shows 2, should show 3",
    _lowered_and_mended: "lowered to 2 after its end",
    _forget_a_member: "the card does not show",
    _invent_a_member: "the card shows ['gp-stranger'] as done",
    _swallow_a_rejection: "['gp-ghost'] should have been told as rejected",
    _fail_a_delivery: "its delivery failed",
    _swallow_a_change: "its change 2 says",
    _swallow_a_delivery: "was never told as delivered",
    _swap_changes: "its change 2 says",
    _two_contents: "was published with two contents",
    _repeat: "0 calls were disturbed",
    _repeat_what_was_heard: "0 calls were disturbed",
    _lower_what_was_shown: "the card was lowered to 1 after its end with () without cause",
    _repeat_what_was_refused: "0 calls were disturbed",
    _unsettled_for_no_reason: "0 calls were disturbed",
    _too_many_repeats: "posted 3 times, and 1 calls were disturbed",
    _unbalanced: "the ledger: events applied",
    _pending: "the ledger: revisions pending",
    _one_revision_less: "the ledger: revisions raised",
    _a_death: "ended by itself",
    _second_activity: "wish-0: the store knows the activities ['given-twice', 'given-wish-0']",
    _second_opening: "wish-0: it was opened 2 times",
    _answered_otherwise: "'wish-0 0' was answered ['given-twice', 'given-wish-0']",
    _never_answered: "'wish-0 0' was answered never",
    _two_events_for_one_key: "wish-0: 1 events that nobody was answered, 0 that nobody published",
    _answered_and_never_published: "wish-0: 0 events that nobody was answered, 1 that nobody published",
}


@pytest.mark.parametrize("doctor", DOCTORED, ids=lambda doctor: doctor.__name__.strip("_"))
def test_a_doctored_record_is_seen_through(record: Record, doctor: Callable[[Record], None]) -> None:
    """One thing is changed, and the judge says what is wrong."""
    doctor(record)
    verdict = judge(record)
    assert any(DOCTORED[doctor] in str(each) for each in verdict.wrong), [str(each) for each in verdict.wrong]


def _explained(record: Record) -> None:
    _unsettled_for_no_reason(record)
    came = record.calls[crowded(record)][0].came
    record.harms.append(Harm(came + 500, came + 600, "kill a service dispatcher 0", 1))


def test_a_repeat_after_a_kill_is_counted_and_allowed(record: Record) -> None:
    """The members of a call that was in flight when its dispatcher was killed may be posted once more."""
    _explained(record)
    verdict = judge(record)
    assert verdict.wrong == []
    members = len(record.calls[crowded(record)][0].members)
    assert (verdict.repeats.posts, verdict.repeats.calls) == (members, 1)
    assert verdict.repeats.in_flight >= 1


def test_a_repeat_after_an_unknown_outcome_is_counted_and_allowed(record: Record) -> None:
    """The same where its caller never heard the answer."""
    _repeat(record)
    name = crowded(record)
    record.attempts[name][0] = dataclasses.replace(record.attempts[name][0], outcome="unknown")
    verdict = judge(record)
    assert verdict.wrong == []
    assert (verdict.repeats.unknown, verdict.repeats.calls) == (1, 1)


@pytest.mark.parametrize("attempts", [slice(0), slice(1)], ids=["never settled", "settled late"])
def test_a_repeat_after_a_lease_that_ran_out_is_counted_and_allowed(record: Record, attempts: slice) -> None:
    """The same where it was not settled within its lease; whoever calls again before that is at fault."""
    _repeat(record)
    name = crowded(record)
    (call, again), (attempt, _) = record.calls[name], record.attempts[name]
    record.attempts[name][:1] = late = [dataclasses.replace(attempt, at=call.came + record.lease)][attempts]
    assert "0 calls were disturbed" in str(judge(record).wrong)
    again.came = again.left = call.came + record.lease + 1000
    record.attempts[name] = [*late, dataclasses.replace(attempt, at=again.came + 2000, fence=2)]
    verdict = judge(record)
    assert (verdict.wrong, verdict.repeats.disturbed, verdict.repeats.calls) == ([], 1, 1)


def test_of_two_openings_in_one_batch_any_may_be_the_first_unless_a_partition_says_which(
    record: Record,
) -> None:
    """A batch takes partitions in an order that nobody outside knows, and keeps that of each."""
    name = next(name for name, log in record.arrivals.items() if len({each.partition for each in log}) > 1)
    (first,) = [each for each in first_arrivals(record, name) if isinstance(each.event.data, Opened)][:1]
    again = msgspec.structs.replace(first.event, id="again")
    log = [each for each in record.arrivals[name] if not isinstance(each.event.data, Opened)]
    taken = record.taken[first.event.source, first.event.id]
    other = first.partition + 1

    def wrong(outcomes: tuple[str, str], *partitions: int) -> str:
        second = dataclasses.replace(first, event=again, offset=first.offset + 1)
        copies = [dataclasses.replace(second, partition=each) for each in partitions]
        record.arrivals[name] = [*log, first, *copies]
        for event, outcome in zip((first.event, again), outcomes, strict=True):
            record.taken[event.source, event.id] = dataclasses.replace(taken, outcome=outcome)
        return str([each for each in judge(record).wrong if each.activity_id == name])

    for outcomes in (("applied", "duplicate"), ("duplicate", "applied")):
        assert wrong(outcomes, other) == "[]"
        assert wrong(outcomes, first.partition, other) == "[]"
    assert wrong(("applied", "duplicate"), first.partition) == "[]"
    assert "became applied, should be duplicate" in wrong(("duplicate", "applied"), first.partition)
    assert "became applied, should be duplicate" in wrong(("applied", "applied"), other)


def test_a_call_in_doubt_may_lower_an_ended_card_once(record: Record) -> None:
    """WeChat may apply late what it did not answer; it counts as mended since the card is right now."""
    name = crowded(record)
    (call,), (attempt,) = record.calls[name], record.attempts[name]
    record.calls[name].insert(0, dataclasses.replace(call, target_state=2, members=(), answer="nothing"))
    record.attempts[name].insert(
        0, dataclasses.replace(attempt, target_state=2, members=0, outcome="unknown")
    )

    def lowered(*seconds: int) -> tuple[object, int]:
        at = tuple((call.came + each * SECOND, 2, ()) for each in seconds)
        record.cards[name] = dataclasses.replace(record.cards[name], lowered=at)
        verdict = judge(record)
        return str(verdict.wrong), verdict.repeats.lowered

    without_cause = "lowered to 2 after its end with () without cause"
    assert lowered(2) == ("[]", 1)
    assert without_cause in str(lowered(2, 3)), "one call in doubt is applied once"
    assert without_cause in str(lowered(60)), "what comes a minute later is another call, sent on purpose"


def test_a_deadline_between_admission_and_decision_is_understood(record: Record) -> None:
    """The store decides by a clock read after the locks; the changes tell what it read."""
    name = next(
        name
        for name, taken in ((each[0].event.activity_id, each) for each in record.arrivals.values())
        if any(record.taken[a.event.source, a.event.id].outcome == "late" for a in taken)
        and len({a.partition for a in taken}) == 1
    )
    firsts = first_arrivals(record, name)
    late = next(a for a in firsts if record.taken[a.event.source, a.event.id].outcome == "late")
    end = next(a for a in record.changes[name] if getattr(a.change.data, "state", "") == "ended").change.time
    before = [a for a in firsts if a.offset < late.offset]
    admitted = max(record.taken[a.event.source, a.event.id].at for a in before)
    early = min(admitted + 1, end - 1)
    taken = record.taken[late.event.source, late.event.id]
    record.taken[late.event.source, late.event.id] = dataclasses.replace(taken, at=early)
    assert [each for each in judge(record).wrong if each.activity_id == name] == []


def test_the_story_tells_everything_in_order_of_time(record: Record) -> None:
    """Arrivals, outcomes, changes, calls, settlings and harm of one card, each with its second."""
    _explained(record)
    told = story(record, crowded(record))
    times = [float(line.split(" s  ")[0]) for line in told]
    assert times == sorted(times)
    whole = "\n".join(told)
    for part in (
        "topic ",
        "takes in",
        "change ",
        "WeChat ",
        "was never settled",
        "settled ",
        "HARM",
        "shows",
    ):
        assert part in whole


def test_a_call_settled_after_its_lease_is_not_taken_for_the_next(record: Record) -> None:
    """The first was applied and settled late, while the next one's answer was lost: both are in doubt."""
    name = crowded(record)
    (call,), (attempt,) = record.calls[name], record.attempts[name]
    moments = [call.came + n * SECOND for n in (6, 9)]
    again = [dataclasses.replace(call, came=at, left=at) for at in moments]
    again[0].answer = "nothing"
    record.calls[name] += again
    late = dataclasses.replace(attempt, at=again[0].came + 1000)
    lost = dataclasses.replace(attempt, at=again[0].came + 2000, outcome="unknown", fence=2)
    last = dataclasses.replace(attempt, at=again[1].came + 1000, fence=3)
    record.attempts[name] = [late, lost, last]
    record.harms.append(Harm(call.came + SECOND, call.came + 5 * SECOND, "freeze lifecycle 0"))
    for member in call.members:
        record.cards[name].posts[member] = 3
    assert judge(record).wrong == []


def test_a_late_settling_says_nothing_of_the_call_after_it(record: Record) -> None:
    """The first holder was frozen, and settles in vain just after the next one called: none knew better."""
    name = crowded(record)
    (call,), (attempt,) = record.calls[name], record.attempts[name]
    came = call.came + 11 * SECOND
    record.calls[name].append(dataclasses.replace(call, came=came, left=came))
    late = dataclasses.replace(attempt, at=came + SECOND // 5, duration=SECOND // 20)
    record.attempts[name] = [late, dataclasses.replace(late, at=late.at + SECOND // 2, fence=3)]
    record.harms.append(Harm(call.came + SECOND, call.came + 7 * SECOND, "freeze dispatcher 0"))
    for member in call.members:
        record.cards[name].posts[member] = 2
    assert judge(record).wrong == []
