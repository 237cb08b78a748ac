"""Apache Kafka, PostgreSQL, PgBouncer, Prometheus and Redis without Docker, each on ports of its own."""

from scripts.engines.kafka import Kafka
from scripts.engines.pgbouncer import PgBouncer
from scripts.engines.postgres import Postgres
from scripts.engines.process import EngineError
from scripts.engines.prometheus import Prometheus
from scripts.engines.redis import Redis

__all__ = ["EngineError", "Kafka", "PgBouncer", "Postgres", "Prometheus", "Redis"]
