"""Apache Kafka, PostgreSQL and Redis without Docker, each on its own ports and in a folder of its own."""

from scripts.engines.kafka import Kafka
from scripts.engines.postgres import Postgres
from scripts.engines.process import EngineError
from scripts.engines.redis import Redis

__all__ = ["EngineError", "Kafka", "Postgres", "Redis"]
