"""Every statement of the store, by name, by what it is for."""

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

__all__ = [
    "ACTIVITY_COLUMNS",
    "CARD_COLUMNS",
    "CLAIM_POSTGRES",
    "CLAIM_SQLITE",
    "DELIVERY",
    "GATE_COLUMNS",
    "LOCKED_COLUMNS",
    "LOCK_DUE_POSTGRES",
    "LOCK_DUE_SQLITE",
    "OWED",
    "READS",
    "TRANSACTION",
    "UPKEEP",
]
