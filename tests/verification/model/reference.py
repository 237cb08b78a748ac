"""The judge: design.md §3 said once more, as plainly as possible and without any of livecard's code.

Nothing here knows of state machines, stores, batches or time: facts go in one at a time, in the order
in which they arrive, and what ought to be known afterwards comes out. The wire's Structs are shared
with the code under test; its rules are not.
"""

from __future__ import annotations

from typing import Any

from contracts.changes import ActivityChanged, CardExpiring, EventRef, EventRefused, ParticipantDone
from contracts.events import Added, Closed, Completed, Event, Opened, Rescheduled
from contracts.times import format_rfc3339
from tests.verification.model.facts import NOTHING_YET, Expected, Key, Life, Passed, Wait


class Reference:
    """Activities as they should be. `margin_us`: how long before `expires_at` one ends; `expiring_us`:
    how long before it people are warned (0: never)."""

    def __init__(self, margin_us: int, expiring_us: int = 0) -> None:
        self.margin, self.expiring = margin_us, expiring_us
        self.lives: dict[str, Life] = {}
        self.seen: set[Key] = set()
        self.known: dict[tuple[str, str], dict[str, str]] = {}
        self.repeats = 0
        self._passed: list[Passed] = []

    def feed(self, event: Event, now: int) -> None:
        """One event arrives at `now` (µs). Events of any number of activities, repeated at will."""
        if (event.source, event.id) in self.seen:
            self.repeats += 1
            return
        self.seen.add((event.source, event.id))
        self._arrive(event, now)

    def _arrive(self, event: Event, now: int, *, alone: bool = False) -> None:
        """`alone`: the card that it continues will never be."""
        life = self.lives.setdefault(event.activity_id, Life())
        if life.state != NOTHING_YET:
            self._timers(life, now)
            self._meet(life, event, now)
            self._timers(life, now)
        elif isinstance(event.data, Opened):
            self._open(life, event, event.data, now, alone=alone)
        else:
            life.waiting.append(event)
            self._note(life, event, "parked")

    def announce(self, activity_id: str, appid: str) -> None:
        """An app is given an id of which nothing is known, not even that something waits for it."""
        life = self.lives.setdefault(activity_id, Life())
        if life.state == NOTHING_YET and not (life.promised or life.waiting or life.followers):
            life.promised = appid

    def fire(self, now: int, activity_id: str | None = None) -> None:
        """Time has come to `now`, for one activity or for all."""
        for name, life in self.lives.items():
            if activity_id in (None, name):
                self._timers(life, now)

    def expire(self, activity_id: str, now: int) -> None:
        """WeChat said 47504: the id is dead."""
        life = self.lives.get(activity_id, Life())
        self._timers(life, now)
        if life.state in ("open", "nearing"):
            self._finish(life, "expired", now)

    def bind(self, room: tuple[str, str], openid: str, member: str) -> list[Wait]:
        """Somebody becomes known in a room (app and chat); the waits that are over, each an event of its own
        now, about the member."""
        self.known.setdefault(room, {})[openid] = member
        over = []
        for life in self.lives.values():
            if life.room == room:
                over += [each for each in life.unknown if each[1] == openid]
                life.unknown = [each for each in life.unknown if each[1] != openid]
        return over

    def passed(self) -> list[Passed]:
        """Of whom was heard too late since this was asked, for the activity that goes on."""
        passed, self._passed = self._passed, []
        return passed

    def redeliver(self, activity_id: str) -> None:
        """Somebody had the card told again: one revision more, and nothing else."""
        self.lives[activity_id].revision += 1

    def bury(self, event: Event) -> None:
        """A parked event waited too long: it is dead, and sent again it counts as new."""
        life = self.lives[event.activity_id]
        if isinstance(event.data, Opened) and event.data.appid == life.promised:
            life.promised = ""
        for waiting in (life.waiting, *(each.followers for each in self.lives.values())):
            if event in waiting:
                waiting.remove(event)
                self._note(life, event, "dead")
                self.seen.discard((event.source, event.id))

    def expected(self, activity_id: str) -> Expected:
        """What is true of an activity now; of one never heard of, that nothing is."""
        life = self.lives.get(activity_id, Life())
        everyone = life.opening is not None and life.opening.choose == "everyone"
        return Expected(
            state=life.state,
            reason=life.reason,
            revision=life.revision,
            done=frozenset(life.done_in_time),
            late=frozenset(life.done_late),
            listed=None if everyone else frozenset(life.listed),
            outcomes=dict(life.outcomes),
            published=tuple(life.published),
            ended_at=life.ended_at,
            waiting=frozenset(life.unknown),
        )

    # What an activity does by itself.

    def _last_moment(self, life: Life) -> int:
        assert life.opening is not None
        return life.opening.expires_at - self.margin

    def _end(self, life: Life) -> int:
        last = self._last_moment(life)
        return last if life.deadline is None or life.deadline > last else life.deadline

    def _timers(self, life: Life, now: int) -> None:
        if self.expiring and life.opening is not None and not life.warned:
            warning = life.opening.expires_at - self.expiring
            if now >= warning:
                self._turns(life, warning)
                if life.state in ("open", "nearing"):
                    life.warned = True
                    life.published.append(CardExpiring(format_rfc3339(life.opening.expires_at)))
        self._turns(life, now)

    def _turns(self, life: Life, now: int) -> None:
        if life.state in (NOTHING_YET, "ended"):
            return
        near = life.deadline is not None and now + life.notice_us >= self._end(life)
        if life.state == "open" and near:
            self._become(life, "nearing", "notice")
        if now >= self._end(life):
            by_deadline = life.deadline is not None and life.deadline <= self._last_moment(life)
            self._finish(life, "deadline" if by_deadline else "expired", self._end(life))

    def _finish(self, life: Life, reason: str, at: int) -> None:
        life.reason, life.ended_at = reason, at
        self._become(life, "ended", reason)

    def _become(self, life: Life, state: str, reason: str, warnings: tuple[str, ...] = ()) -> None:
        previous, life.state = life.state, state
        life.revision += 1
        assert life.opening is not None
        listed = life.opening.choose == "listed"
        told: dict[str, Any] = {
            "state": state,
            "previous": previous or None,
            "reason": reason,
            "revision": life.revision,
            "done": len(life.done_in_time) + len(life.done_late),
            "participants": len(life.listed) if listed else None,
            "warnings": warnings,
        }
        life.published.append(ActivityChanged(**told))

    # What events do.

    def _open(self, life: Life, event: Event, data: Opened, now: int, *, alone: bool) -> None:
        """An opening of what is not open yet; it may have to wait for the card that it continues. An id that
        was given to an app is nobody else's, until that app's opening comes to nothing."""
        if life.promised and life.promised != data.appid:
            self._refuse(life, event, "already_open")
            return
        if now >= data.expires_at:
            waiting, life.waiting, life.promised = life.waiting, [], ""
            for each in (event, *waiting):
                self._refuse(life, each, "expired")
            self._follow(life, now, alone=True)
            return
        earlier = None
        if data.continues is not None:
            earlier = self.lives.setdefault(data.continues, Life())
            if alone or earlier is life:
                life.promised = ""
                self._refuse(life, event, "unknown_predecessor")
                return
            if earlier.opening is None:
                earlier.followers.append(event)
                self._note(life, event, "parked")
                return
            there = earlier.opening
            if (there.appid, there.room) != (data.appid, data.room):
                life.promised = ""
                self._refuse(life, event, "unknown_predecessor")
                return
            self._timers(earlier, now)
        self._begin(life, event, data, now, earlier)
        self._follow(life, now)

    def _follow(self, life: Life, now: int, *, alone: bool = False) -> None:
        """Whatever waited for this one to begin goes on."""
        followers, life.followers = life.followers, []
        for each in followers:
            self._arrive(each, now, alone=alone)

    def _begin(self, life: Life, event: Event, data: Opened, now: int, earlier: Life | None) -> None:
        waiting, life.waiting = life.waiting, []
        life.opening = data
        life.deadline = data.deadline
        life.notice_us = 3_600_000_000 if data.notice is None else data.notice * 1_000_000
        if earlier is not None and earlier.state != "ended":
            life.deadline = earlier.deadline if data.deadline is None else data.deadline
            life.notice_us = earlier.notice_us if data.notice is None else life.notice_us
        warnings = []
        if life.deadline is not None and life.deadline > self._last_moment(life):
            warnings.append("deadline_after_expiry")
        if data.choose == "listed":
            life.listed = set(data.participants)
            if earlier is not None and not life.listed:
                life.listed = earlier.listed | earlier.done_in_time | earlier.done_late
        else:
            warnings += ["close_when_complete_ignored"] if data.close_when_complete else []
            warnings += ["participants_ignored"] if data.participants else []
        warnings += ["unknown_field:" + name for name in data.ignored]
        self._become(life, "open", "opened", tuple(warnings))
        self._note(life, event, "applied")
        if earlier is not None:
            self._take_over(life, earlier, event.activity_id)
            earlier.goes_on_as = event.activity_id
            if earlier.state != "ended":
                self._finish(earlier, "continued", min(event.time, now))
        for each in waiting:
            self._meet(life, each, now)
        self._timers(life, now)

    def _take_over(self, life: Life, earlier: Life, name: str) -> None:
        """Whoever was done, in time or late, is done; whoever was not known yet may become known here."""
        assert life.opening is not None
        done = earlier.done_in_time | earlier.done_late
        if life.opening.choose == "listed":
            done &= life.listed
        if done:
            life.done_in_time = done
            life.revision += 1
            life.published.append(ParticipantDone(tuple(sorted(done))))
        for each in earlier.unknown:
            self._wait(life, (name, *each[1:]))

    def _meet(self, life: Life, event: Event, now: int) -> None:
        """An event comes to an activity that was opened, whatever has become of it since."""
        data, time = event.data, min(event.time, now)
        if isinstance(data, Completed):
            self._completed(life, event, data, time)
        elif isinstance(data, Opened) and _same(data, life.opening):
            self._note(life, event, "duplicate")
        elif life.state == "ended" and not (isinstance(data, Added) and self._goes_on(life, time)):
            self._refuse(life, event, "ended")
        elif isinstance(data, Opened):
            self._refuse(life, event, "already_open")
        elif isinstance(data, Rescheduled):
            self._rescheduled(life, event, data, time, now)
        elif isinstance(data, Closed):
            self._note(life, event, "applied")
            self._finish(life, "closed", time)
        else:
            self._added(life, event, data)

    def _goes_on(self, life: Life, time: int) -> bool:
        """Whether what happened then, before the end, matters to the card that continues this one."""
        return bool(life.goes_on_as) and life.ended_at is not None and time <= life.ended_at

    def _pass(self, life: Life, event: Event, people: list[str]) -> None:
        if people:
            cause = event.source, event.id
            self._passed.append((life.goes_on_as, cause, event.type, event.time, tuple(people)))

    def _rescheduled(self, life: Life, event: Event, data: Rescheduled, time: int, now: int) -> None:
        if life.last_reschedule is not None and life.last_reschedule > time:
            self._refuse(life, event, "superseded")
            return
        life.last_reschedule, life.deadline = time, data.deadline
        if data.notice is not None:
            life.notice_us = data.notice * 1_000_000
        self._note(life, event, "applied")
        if life.state == "nearing" and now + life.notice_us < self._end(life):
            beyond = data.deadline is not None and data.deadline > self._last_moment(life)
            self._become(life, "open", "rescheduled", ("deadline_after_expiry",) if beyond else ())

    def _people(self, life: Life, data: Completed | Added) -> tuple[list[str], list[str]]:
        """Who is named and known, each once, and the openids of who is not."""
        known = self.known.get(life.room, {}) if life.room else {}
        people = [*data.members, *(known[openid] for openid in data.openids if openid in known)]
        return [*dict.fromkeys(people)], [openid for openid in data.openids if openid not in known]

    def _keep(self, life: Life, event: Event, openids: list[str]) -> bool:
        """They wait, if there is a room in which they may become known."""
        if not openids:
            return False
        if life.room is None:
            self._report(life, event, "no_room", None)
            return False
        cause = event.source, event.id
        for each in openids:
            self._wait(life, (event.activity_id, each, cause, event.type, event.time))
        return True

    def _wait(self, life: Life, wait: Wait) -> None:
        """Somebody waits once for each type; of several times the earliest counts."""
        name, openid, _, kind, time = wait
        for number, (_, known, cause, known_kind, before) in enumerate(life.unknown):
            if (known, known_kind) == (openid, kind):
                life.unknown[number] = name, openid, cause, kind, min(time, before)
                return
        life.unknown.append(wait)

    def _added(self, life: Life, event: Event, data: Added) -> None:
        assert life.opening is not None
        people, openids = self._people(life, data)
        everyone = life.opening.choose == "everyone"
        if everyone and life.room:  # whoever they are, they take part
            people, openids = [*people, *openids], []
        new = [] if everyone else [each for each in people if each not in life.listed]
        if life.state == "ended":
            self._pass(life, event, new)
        else:
            life.listed.update(new)
        if self._keep(life, event, openids) or (new and life.state != "ended"):
            self._note(life, event, "applied")
        elif new:
            self._note(life, event, "late")
        elif people:
            self._note(life, event, "duplicate")
        else:
            self._note(life, event, "refused", "no_room")

    def _completed(self, life: Life, event: Event, data: Completed, time: int) -> None:
        assert life.opening is not None
        people, openids = self._people(life, data)
        ended = life.state == "ended"
        verdicts = {member: self._verdict(life, member, time) for member in people}
        finished = [member for member in people if verdicts[member] in ("applied", "late")]
        if finished:
            (life.done_late if ended else life.done_in_time).update(finished)
            life.revision += 0 if ended else 1
            life.published.append(ParticipantDone(tuple(finished)))
        if self._goes_on(life, time):
            self._pass(life, event, [each for each in people if verdicts[each] in ("late", "passed")])
        refused = [verdict for verdict in verdicts.values() if verdict in ("not_listed", "ended")]
        for reason in dict.fromkeys(refused):
            whom = tuple(member for member in people if verdicts[member] == reason)
            self._report(life, event, reason, whom)
        kinds = {"late" if verdict == "passed" else verdict for verdict in verdicts.values()}
        if self._keep(life, event, openids):
            kinds.add("applied")
        best = next((kind for kind in ("applied", "late", "duplicate") if kind in kinds), None)
        self._note(life, event, best or "refused", "" if best else [*refused, "no_room"][0])
        wished = life.opening.close_when_complete and life.opening.choose == "listed"
        if wished and "applied" in verdicts.values() and life.listed == life.done_in_time:
            self._finish(life, "complete", time)

    def _verdict(self, life: Life, member: str, time: int) -> str:
        assert life.opening is not None
        if member in life.done_in_time or member in life.done_late:
            return "duplicate"
        if life.opening.choose == "listed" and member not in life.listed:
            return "passed" if self._goes_on(life, time) else "not_listed"
        if life.ended_at is None:
            return "applied"
        return "late" if time <= life.ended_at else "ended"

    # What is written down.

    def _note(self, life: Life, event: Event, outcome: str, reason: str = "") -> None:
        life.outcomes[event.source, event.id] = (outcome, reason)

    def _refuse(self, life: Life, event: Event, reason: str) -> None:
        self._note(life, event, "refused", reason)
        self._report(life, event, reason, None)

    def _report(self, life: Life, event: Event, reason: str, whom: tuple[str, ...] | None) -> None:
        told: dict[str, Any] = {"event": EventRef(event.source, event.id, event.type), "reason": reason}
        if whom is not None:
            told["members"] = whom
        life.published.append(EventRefused(**told))


def _same(one: Opened, other: Opened | None) -> bool:
    """Whether two openings say the same; the participants are a set, and what is ignored says nothing."""
    if other is None:
        return False

    def said(opened: Opened) -> dict[str, Any]:
        facts = {name: getattr(opened, name) for name in opened.__struct_fields__}
        del facts["ignored"]
        return {**facts, "participants": frozenset(opened.participants)}

    return said(one) == said(other)
