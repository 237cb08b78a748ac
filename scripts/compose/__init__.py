"""What docker-compose.yml describes, started on this machine without Docker."""

from scripts.compose.described import Described, read
from scripts.compose.topology import Topology

__all__ = ["Described", "Topology", "read"]
