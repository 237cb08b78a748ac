"""Changes as records of `activity.changes`, and the frames they become."""

from __future__ import annotations

from contracts.changes import ParticipantDone, encode_change
from contracts.times import SECOND
from services.gateway.feed import Feed

NOW = 1_790_000_000 * SECOND


def change(number: int, activity: str = "a-1", *, time: int | None = None, member: str = "gp-1") -> bytes:
    """One of an activity, a second after the one before."""
    at = NOW + number * SECOND if time is None else time
    return encode_change(f"{activity}:{number}", activity, at, ParticipantDone((member,)))


def publish(
    feed: Feed, *numbers: int, activity: str = "a-1", partition: int = 0, time: int | None = None
) -> None:
    """Hand these to a feed."""
    for number in numbers:
        feed.take(partition, activity.encode(), change(number, activity, time=time))


def ids(frames: bytes) -> list[str]:
    """The ids of the changes in these frames, in order."""
    return [line.removeprefix("id: ") for line in frames.decode().split("\n") if line.startswith("id: ")]
