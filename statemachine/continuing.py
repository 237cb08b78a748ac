"""What a card takes over from the earlier one that it continues, as an id lives for a day (design.md §8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from contracts.changes import ParticipantDone
from contracts.events import DEFAULT_NOTICE, MOST_MEMBERS, Event, Opened
from contracts.times import SECOND
from statemachine.model import Aggregate, Member, Opening, PassedOn, Room
from statemachine.states import DONE, ENDED, PARTICIPANT, move
from statemachine.turning import end, event_key


def opening_of(data: Opened) -> Opening:
    """What stays of it for good."""
    room = data.room
    return Opening(
        appid=data.appid,
        template=data.template,
        version=data.version,
        title=data.title,
        publisher=data.publisher,
        opengid=room.opengid if room else None,
        open_single_roomid=room.open_single_roomid if room else None,
    )


def may_continue(data: Opened, earlier: Aggregate) -> bool:
    """Whether the earlier card is of the same app and room."""
    where: tuple[str, Room | None] = data.appid, opening_of(data).room
    return where == (earlier.appid, earlier.room)


def filled_up(data: Opened, earlier: Aggregate) -> Opened:
    """The opening with what it leaves to the earlier activity: who is listed, and of one that goes on the
    deadline and the notice too."""
    activity = earlier.activity
    goes_on = activity.state != ENDED
    listed = data.participants
    if data.choose == "listed" and not listed:
        listed = tuple(sorted(earlier.members))
    deadline, notice = data.deadline, data.notice
    if deadline is None and goes_on:
        deadline = activity.deadline
    if notice is None:
        notice = activity.notice // SECOND if goes_on else DEFAULT_NOTICE
    return msgspec.structs.replace(data, participants=listed, deadline=deadline, notice=notice)


def carry_over(aggregate: Aggregate, earlier: Aggregate, event: Event, now: int) -> None:
    """Who was done is done, as revision 2: WeChat knows nothing of this card. Who waits for a binding waits
    here, too. The earlier activity ends. Of several that continue it the last one, whose id lives longest,
    gets what comes later."""
    name = aggregate.activity.activity_id
    aggregate.waits += [each._replace(activity_id=name) for each in (*earlier.waiting, *earlier.waits)]
    finished = []
    for member in _done_before(aggregate, earlier):
        mine = aggregate.members.setdefault(member.group_openid, Member(member.group_openid))
        move(PARTICIPANT, mine, "complete")
        mine.done_at = member.done_at
        aggregate.touched[member.group_openid] = mine
        finished.append(member.group_openid)
    aggregate.activity.done = len(finished)
    aggregate.activity.revision += 1 if finished else 0
    for start in range(0, len(finished), MOST_MEMBERS):
        key = f"done:{event_key(event)}" + (f":{start}" if start else "")
        aggregate.publish(key, ParticipantDone(tuple(finished[start : start + MOST_MEMBERS])))
    earlier.activity.continued_by = name
    if earlier.activity.state != ENDED:
        end(earlier, "continued", min(event.time, now), now)


def goes_on(aggregate: Aggregate, time: int) -> bool:
    """Whether what happened at this moment, heard of too late here, counts where the activity goes on."""
    activity = aggregate.activity
    ended_at = activity.ended_at
    return activity.continued_by is not None and ended_at is not None and time <= ended_at


def pass_on(aggregate: Aggregate, event: Event, members: Sequence[str]) -> None:
    """Who came too late here is to be listed or done where the activity goes on, if it does."""
    later = aggregate.activity.continued_by
    if later is None:
        return
    for start in range(0, len(members), MOST_MEMBERS):
        aggregate.passed.append(PassedOn(later, event, tuple(members[start : start + MOST_MEMBERS])))


def _done_before(aggregate: Aggregate, earlier: Aggregate) -> Iterator[Member]:
    """Who is done in the earlier activity, late or not, and takes part in this one; by group_openid."""
    everyone = aggregate.activity.choose != "listed"
    for group_openid, member in sorted(earlier.members.items()):
        if member.state == DONE and (everyone or group_openid in aggregate.members):
            yield member
