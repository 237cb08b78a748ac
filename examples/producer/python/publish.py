"""An event in structured mode, with confluent-kafka."""

import json
import os
import uuid
from datetime import UTC, datetime

from confluent_kafka import Producer

TOPIC = os.environ.get("LIVECARD_TOPIC_PREFIX", "") + "activity.events"
producer = Producer({"bootstrap.servers": os.environ["LIVECARD_KAFKA"], "acks": "all"})


def publish(kind: str, activity_id: str, data: dict) -> None:
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),  # keep it, and send the same again when in doubt
        "source": "/signup",
        "type": kind,
        "subject": activity_id,
        "time": datetime.now(UTC).isoformat(),
        "data": data,
    }
    headers = {"content-type": "application/cloudevents+json"}
    producer.produce(TOPIC, json.dumps(event), key=activity_id, headers=headers)


publish("livecard.participant.completed", "966_NGiq", {"members": ["gp-bob"]})
if producer.flush(30):
    raise SystemExit("not delivered")
