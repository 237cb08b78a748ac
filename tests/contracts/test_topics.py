"""Every name carries the prefix, and the dead letters' topic takes twice the input's size."""

from __future__ import annotations

import pytest

from contracts.topics import MAX_DEAD_BYTES, MAX_EVENT_BYTES, Topics


@pytest.mark.parametrize("prefix", ["", "staging.", "a-b_c."])
def test_the_prefix_precedes_every_topic_and_every_group(prefix):
    topics = Topics(prefix)
    assert [topics.events, topics.nudges, topics.changes, topics.dead] == [
        f"{prefix}activity.events",
        f"{prefix}card.nudges",
        f"{prefix}activity.changes",
        f"{prefix}activity.events.dead",
    ]
    assert topics.lifecycle_group == f"{prefix}livecard-lifecycle"
    assert topics.dispatcher_group == f"{prefix}livecard-dispatcher"
    assert {spec.name for spec in topics.specs()} == {
        topics.events,
        topics.nudges,
        topics.changes,
        topics.dead,
    }


@pytest.mark.parametrize("prefix", ["a b", "a/", "报名.", "a\n", "x" * 201])
def test_a_prefix_kafka_forbids_is_refused(prefix):
    with pytest.raises(ValueError, match="topic prefix"):
        Topics(prefix)


def test_dead_letters_may_be_twice_as_large_as_the_input():
    topics = Topics()
    sizes = {spec.name: spec.config.get("max.message.bytes") for spec in topics.specs(4)}
    assert sizes[topics.events] == str(MAX_EVENT_BYTES)
    assert sizes[topics.dead] == str(MAX_DEAD_BYTES) == str(2 * MAX_EVENT_BYTES)
    assert {spec.partitions for spec in topics.specs(4)} == {4, 1}
