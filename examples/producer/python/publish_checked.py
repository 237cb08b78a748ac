"""The same with livecard's own `contracts`, which needs msgspec: a mistake is told before it leaves."""

import os
import uuid
from datetime import UTC, datetime

from confluent_kafka import Producer

from contracts.producing import encode_event
from contracts.wire import CompletedData

TOPIC = os.environ.get("LIVECARD_TOPIC_PREFIX", "") + "activity.events"
producer = Producer({"bootstrap.servers": os.environ["LIVECARD_KAFKA"], "acks": "all"})

event = encode_event(
    CompletedData(members=("gp-bob",)),
    id=str(uuid.uuid4()),  # keep it, and send the same again when in doubt
    source="/signup",
    activity_id="966_NGiq",
    time=datetime.now(UTC),
)
producer.produce(TOPIC, event.value, key=event.key, headers=list(event.headers))
if producer.flush(30):
    raise SystemExit("not delivered")
