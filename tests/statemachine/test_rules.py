"""The rules of design.md §3, sentence by sentence, each at its boundary."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.changes import ActivityChanged, EventRefused, ParticipantDone
from contracts.events import Added, Closed, Completed, Rescheduled
from statemachine.card import Card
from statemachine.model import Activity, Rules
from statemachine.timers import due_at
from tests.verification.model.facts import Expected
from tests.verification.model.harness import Machines
from tests.verification.model.histories import LAST, MARGIN, at, event, opened

NOTICE = at(10) - at(0)
NEAR, DEADLINE = at(10), at(20)
LAST_MOMENT = at(LAST) - MARGIN


class Play:
    """One activity, events one after another; each has its own id and happens when it arrives."""

    def __init__(self, **opening: Any) -> None:
        self.machines = Machines(MARGIN)
        self.number = 0
        if opening.pop("open", True):
            self.say(opened(**opening), at(0))

    def say(self, data: Any, now: int, *, time: int | None = None) -> str:
        """An event arrives; its outcome in words."""
        self.number += 1
        incoming = event(data, self.number, time=now if time is None else time)
        self.machines.feed(incoming, now)
        return self.outcome(self.number)

    def outcome(self, number: int) -> str:
        return " ".join(self.machines.outcomes["/s", f"e{number}"]).strip()

    def wait(self, now: int) -> Expected:
        self.machines.fire(now)
        return self.now

    @property
    def now(self) -> Expected:
        return self.machines.expected("a")

    @property
    def row(self) -> Activity:
        return self.machines.activities["a"]

    @property
    def turns(self) -> list[tuple[str, str]]:
        """State and reason of each published change of state."""
        told = self.now.published
        return [(each.state, each.reason) for each in told if isinstance(each, ActivityChanged)]


# Timers.


def test_the_end_is_near_from_the_notice_on_and_not_a_microsecond_before():
    play = Play()
    assert play.wait(NEAR - 1).state == "open"
    assert play.wait(NEAR).state == "nearing"
    assert play.turns == [("open", "opened"), ("nearing", "notice")]


def test_the_end_is_reached_at_the_deadline_and_not_a_microsecond_before():
    play = Play()
    assert play.wait(DEADLINE - 1).state == "nearing"
    assert play.wait(DEADLINE).state == "ended"
    assert play.now.reason == "deadline"
    assert play.now.ended_at == DEADLINE


def test_without_a_deadline_nothing_is_near_and_the_margin_before_expiry_is_the_end():
    play = Play(deadline=None)
    assert play.wait(LAST_MOMENT - 1).state == "open"
    assert play.wait(LAST_MOMENT).state == "ended"
    assert play.turns == [("open", "opened"), ("ended", "expired")]


@pytest.mark.parametrize(
    ("deadline", "reason", "warnings"),
    [
        (LAST_MOMENT, "deadline", ()),
        (LAST_MOMENT + 1, "expired", ("deadline_after_expiry",)),
        (at(LAST) * 2, "expired", ("deadline_after_expiry",)),
    ],
)
def test_a_deadline_beyond_the_margin_is_clamped_ends_as_expired_and_is_warned_of(deadline, reason, warnings):
    play = Play(deadline=deadline)
    first = play.now.published[0]
    assert isinstance(first, ActivityChanged)
    assert first.warnings == warnings
    assert play.wait(LAST_MOMENT - NOTICE).state == "nearing"
    assert play.wait(LAST_MOMENT - 1).state == "nearing"
    assert play.wait(LAST_MOMENT).reason == reason


def test_a_clock_that_was_down_catches_up_in_order():
    play = Play()
    play.wait(DEADLINE + 3_600_000_000)
    assert play.turns == [("open", "opened"), ("nearing", "notice"), ("ended", "deadline")]


def test_the_margin_is_a_setting_and_a_minute_by_default():
    assert Rules().margin == 60_000_000


def test_the_next_due_time_is_near_then_the_end_then_the_death_of_the_id():
    play, rules, card = Play(), Rules(margin=MARGIN), Card("a")
    assert due_at(play.row, card, rules) == NEAR
    play.wait(NEAR)
    assert due_at(play.row, card, rules) == DEADLINE
    play.wait(DEADLINE)
    assert due_at(play.row, card, rules) == at(LAST)
    assert due_at(Activity("unopened"), card, rules) is None
    assert due_at(Play(deadline=None).row, card, rules) == LAST_MOMENT


def test_a_dead_id_is_due_once_the_lease_of_its_call_is_over_and_never_for_a_closed_card():
    play, rules = Play(), Rules(margin=MARGIN)
    play.wait(DEADLINE)
    assert due_at(play.row, Card("a", lease_until=at(LAST) + 5), rules) == at(LAST) + 5
    assert due_at(play.row, Card("a", lease_until=at(LAST) - 5), rules) == at(LAST)
    assert due_at(play.row, Card("a", shown=3), rules) is None
    assert due_at(play.row, Card("a", verdict="expired"), rules) is None
    assert due_at(play.row, Card("a", shown=3, doubt_at=DEADLINE), rules) == at(LAST)


# Rescheduling.


@pytest.mark.parametrize(("ahead", "state"), [(NOTICE, "nearing"), (NOTICE + 1, "open")])
def test_a_reschedule_reopens_when_the_end_is_further_than_the_notice(ahead, state):
    play = Play()
    play.wait(at(15))
    assert play.say(Rescheduled(deadline=at(15) + ahead), at(15)) == "applied"
    assert play.now.state == state


def test_taking_the_deadline_away_reopens_unless_expiry_itself_is_within_the_notice():
    early, late = Play(), Play(deadline=at(LAST - 3))
    early.wait(NEAR)
    late.wait(at(LAST - 3) - 1)
    assert (early.say(Rescheduled(deadline=None), NEAR), early.now.state) == ("applied", "open")
    assert (late.say(Rescheduled(deadline=None), at(LAST - 3) - 1), late.now.state) == ("applied", "nearing")


def test_a_reschedule_into_the_past_ends_at_once():
    play = Play()
    play.say(Rescheduled(deadline=at(1)), at(5))
    assert play.turns[1:] == [("nearing", "notice"), ("ended", "deadline")]
    assert play.now.ended_at == at(1)


def test_a_reschedule_without_notice_keeps_it_and_one_with_replaces_it():
    play = Play()
    play.say(Rescheduled(deadline=at(30)), at(1))
    assert play.row.notice == NOTICE
    play.say(Rescheduled(deadline=at(30), notice=0), at(2))
    assert play.row.notice == 0
    assert play.wait(at(30) - 1).state == "open"


def test_an_older_reschedule_is_superseded_and_one_of_the_same_time_is_not():
    play = Play()
    assert play.say(Rescheduled(deadline=at(30)), at(9), time=at(5)) == "applied"
    assert play.say(Rescheduled(deadline=at(25)), at(9), time=at(5) - 1) == "refused superseded"
    assert play.row.deadline == at(30)
    assert play.say(Rescheduled(deadline=at(25)), at(9), time=at(5)) == "applied"
    assert play.row.deadline == at(25)


def test_a_time_in_the_future_counts_as_now():
    play = Play()
    assert play.say(Rescheduled(deadline=at(30)), at(3), time=at(1000)) == "applied"
    assert play.say(Rescheduled(deadline=at(31)), at(4)) == "applied"
    assert play.say(Closed(), at(5), time=at(1000)) == "applied"
    assert play.now.ended_at == at(5)


# Closing and completing.


def test_an_end_is_final_with_its_reason():
    play = Play()
    play.say(Closed(), at(5))
    play.wait(at(LAST + 5))
    play.say(Rescheduled(deadline=at(30)), at(6))
    assert play.turns == [("open", "opened"), ("ended", "closed")]
    assert play.now.reason == "closed"


def test_the_last_of_the_listed_completes_where_that_was_wished():
    play = Play(close_when_complete=True)
    play.say(Completed(("ann",)), at(1))
    assert play.now.state == "open"
    play.say(Completed(("bob",)), at(5), time=at(4))
    assert (play.now.state, play.now.reason, play.now.ended_at) == ("ended", "complete", at(4))


def test_without_the_wish_nothing_completes():
    play = Play()
    play.say(Completed(("ann", "bob")), at(1))
    assert play.now.state == "open"


def test_only_a_completion_completes():
    """Neither an opening with nobody listed, nor listing somebody, nor a repeat."""
    play = Play(participants=(), close_when_complete=True)
    play.say(Added(("ann",)), at(1))
    assert play.now.state == "open"
    play.say(Completed(("dan",)), at(2))
    assert play.now.state == "open"
    play.say(Completed(("ann",)), at(3))
    assert play.now.state == "ended"


def test_somebody_added_in_time_is_waited_for():
    play = Play(close_when_complete=True)
    play.say(Completed(("ann",)), at(1))
    play.say(Added(("cat",)), at(2))
    play.say(Completed(("bob",)), at(3))
    assert play.now.state == "open"
    play.say(Completed(("cat",)), at(4))
    assert play.now.reason == "complete"


def test_with_everyone_the_wish_and_the_list_are_ignored_with_a_warning_as_unknown_fields_are():
    play = Play(choose="everyone", close_when_complete=True, ignored=("deadlin",))
    first = play.now.published[0]
    assert isinstance(first, ActivityChanged)
    assert first.warnings == ("close_when_complete_ignored", "participants_ignored", "unknown_field:deadlin")
    assert first.participants is None
    play.say(Completed(("ann", "bob")), at(1))
    assert play.now.state == "open"


def test_late_members_are_done_and_published_but_raise_nothing_and_are_not_owed():
    play = Play()
    play.wait(DEADLINE)
    before = play.now.revision
    assert play.say(Completed(("ann",)), at(25), time=DEADLINE) == "late"
    assert play.now.revision == before
    assert not play.now.done
    assert play.now.late == {"ann"}
    assert play.now.published[-1] == ParticipantDone(("ann",))
    assert play.row.done == 1


def test_a_late_completion_of_the_last_does_not_end_anything_again():
    play = Play(close_when_complete=True)
    play.say(Completed(("ann",)), at(1))
    play.wait(DEADLINE)
    assert play.say(Completed(("bob",)), at(25), time=at(3)) == "late"
    assert play.now.reason == "deadline"


# Order.


def test_what_is_due_fires_before_the_event_is_looked_at():
    """A completion that arrives before the clock came by is late all the same."""
    play = Play()
    assert play.say(Completed(("ann",)), DEADLINE + 1, time=DEADLINE) == "late"
    assert play.turns == [("open", "opened"), ("nearing", "notice"), ("ended", "deadline")]
    assert Play().say(Completed(("ann",)), DEADLINE + 1) == "refused ended"


def test_at_the_opening_the_parked_are_applied_in_order_of_arrival_and_then_what_is_due_fires():
    play = Play(open=False)
    now = DEADLINE + 1
    assert play.say(Completed(("ann",)), at(1)) == "parked"
    assert play.say(Added(("cat",)), at(2)) == "parked"
    assert play.say(Completed(("cat",)), at(3)) == "parked"
    assert play.say(opened(), now) == "applied"
    assert [play.outcome(number) for number in (1, 2, 3)] == ["applied"] * 3
    told = play.now.published
    names = [each.members if isinstance(each, ParticipantDone) else "" for each in told]
    assert names == ["", ("ann",), ("cat",), "", ""]
    assert play.turns == [("open", "opened"), ("nearing", "notice"), ("ended", "deadline")]
    assert play.now.done == {"ann", "cat"}


def test_parked_events_that_end_it_decide_what_becomes_of_those_after_them():
    play = Play(open=False)
    play.say(Closed(), at(3))
    play.say(Completed(("ann",)), at(4), time=at(2))
    play.say(Completed(("bob",)), at(5))
    play.say(opened(), at(6))
    assert [play.outcome(number) for number in (1, 2, 3)] == ["applied", "late", "refused ended"]


def test_an_opening_past_its_expiry_is_refused_and_the_parked_with_it():
    play = Play(open=False)
    play.say(Completed(("ann",)), at(1))
    assert play.say(opened(), at(LAST)) == "refused expired"
    assert play.outcome(1) == "refused expired"
    assert play.now.state == ""
    refusals = [each for each in play.now.published if isinstance(each, EventRefused)]
    assert [each.reason for each in refusals] == ["expired", "expired"]
    assert play.say(Completed(("bob",)), at(LAST)) == "parked"
    assert play.say(opened(expires_at=at(2 * LAST)), at(LAST)) == "applied"


def test_an_opening_within_the_margin_opens_and_ends_at_once():
    play = Play(open=False)
    assert play.say(opened(deadline=None), at(LAST) - 1) == "applied"
    assert play.turns == [("open", "opened"), ("ended", "expired")]


# Outcomes and revisions.


def test_an_event_has_the_best_outcome_of_its_members_and_lists_those_refused():
    play = Play()
    play.say(Completed(("ann",)), at(1))
    assert play.say(Completed(("dan", "ann", "eve", "bob")), at(2)) == "applied"
    done, refused = play.now.published[-2:]
    assert done == ParticipantDone(("bob",))
    assert isinstance(refused, EventRefused)
    assert (refused.reason, refused.members) == ("not_listed", ("dan", "eve"))
    assert play.say(Completed(("dan", "ann")), at(3)) == "duplicate"
    play.wait(DEADLINE)
    play.say(opened(), at(21))
    assert play.say(Completed(("dan", "ann")), at(22), time=at(3)) == "duplicate"


def test_after_the_end_the_order_of_tests_is_duplicate_not_listed_late_ended():
    play = Play(participants=("ann", "bob", "cat"))
    play.say(Completed(("ann",)), at(1))
    play.wait(DEADLINE)
    assert play.say(Completed(("dan", "bob", "ann")), at(25), time=at(3)) == "late"
    assert play.say(Completed(("cat", "dan", "ann")), at(25)) == "duplicate"
    refusals = [each for each in play.now.published if isinstance(each, EventRefused)]
    assert [(each.reason, each.members) for each in refusals] == [
        ("not_listed", ("dan",)),
        ("ended", ("cat",)),
        ("not_listed", ("dan",)),
    ]


def test_a_second_opening_is_a_duplicate_whatever_the_order_of_its_participants():
    play = Play()
    assert play.say(opened(participants=("bob", "ann")), at(1)) == "duplicate"
    assert play.say(opened(participants=("bob",)), at(1)) == "refused already_open"
    assert play.say(opened(notice=301), at(1)) == "refused already_open"


def test_the_same_id_with_other_content_is_a_repeat_and_the_first_wins():
    machines = Machines(MARGIN)
    machines.feed(event(opened(), 1), at(0))
    machines.feed(event(Closed(), 1), at(1))
    assert machines.repeats == 1
    assert machines.expected("a").state == "open"


def test_each_change_of_what_the_card_shows_raises_the_revision_and_nothing_else_does():
    play = Play()
    assert play.now.revision == 1
    play.say(Added(("cat",)), at(1))
    assert play.now.revision == 1
    play.say(Completed(("ann", "bob")), at(2))
    assert play.now.revision == 2
    play.say(Rescheduled(deadline=at(25)), at(3))
    assert play.now.revision == 2
    play.wait(at(25) - NOTICE)
    assert play.now.revision == 3


def test_the_end_by_completion_is_a_revision_of_its_own():
    play = Play(close_when_complete=True)
    play.say(Completed(("ann", "bob")), at(2))
    assert play.now.revision == 3
    assert [each.revision for each in play.now.published if isinstance(each, ActivityChanged)] == [1, 3]


def test_a_dead_id_ends_as_expired_unless_the_deadline_had_passed():
    early, late = Play(), Play()
    early.machines.expire("a", at(5))
    late.machines.expire("a", DEADLINE + 1)
    assert (early.now.reason, early.now.ended_at) == ("expired", at(5))
    assert (late.now.reason, late.now.ended_at) == ("deadline", DEADLINE)
    early.machines.expire("a", at(6))
    assert early.now.ended_at == at(5)


def test_refusals_name_the_event():
    play = Play()
    play.say(opened(title="another"), at(1))
    refused = play.now.published[-1]
    assert isinstance(refused, EventRefused)
    assert (refused.event.source, refused.event.id) == ("/s", "e2")
    assert refused.event.type == "livecard.activity.opened"
