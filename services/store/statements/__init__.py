"""Every statement of the store, by name, by what it is for."""

from typing import Final

from services.store.statements.claim import CLAIM_POSTGRES, CLAIM_SQLITE
from services.store.statements.columns import (
    ACTIVITY_COLUMNS,
    CARD_COLUMNS,
    DELIVERY,
    GATE_COLUMNS,
    LOCKED_COLUMNS,
    OWED,
)
from services.store.statements.due import LOCK_DUE_POSTGRES, LOCK_DUE_SQLITE
from services.store.statements.reads import READS
from services.store.statements.transaction import TRANSACTION
from services.store.statements.upkeep import UPKEEP

POSTGRES: Final = {"claim": CLAIM_POSTGRES, "lock_due": LOCK_DUE_POSTGRES}
"""What PostgreSQL is asked in words of its own."""
SQLITE: Final = {"claim": CLAIM_SQLITE, "lock_due": LOCK_DUE_SQLITE}
"""The same for SQLite."""

__all__ = [
    "ACTIVITY_COLUMNS",
    "CARD_COLUMNS",
    "DELIVERY",
    "GATE_COLUMNS",
    "LOCKED_COLUMNS",
    "OWED",
    "POSTGRES",
    "READS",
    "SQLITE",
    "TRANSACTION",
    "UPKEEP",
]
