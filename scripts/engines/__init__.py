"""Apache Kafka and PostgreSQL without Docker, on own ports and in own folders, for tests and benchmarks."""

from scripts.engines.kafka import Kafka
from scripts.engines.postgres import Postgres
from scripts.engines.process import EngineError

__all__ = ["EngineError", "Kafka", "Postgres"]
