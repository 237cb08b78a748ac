"""The ledger at a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from services.cli.inspect import print_ledger
from services.transactions.ledger import EVENT_FATES, OPENID_FATES, REVISION_FATES, Ledger


def ledger(**openids: int) -> Ledger:
    """One that balances."""
    return Ledger(
        events=dict.fromkeys(("taken", *EVENT_FATES, "repeats"), 0),
        revisions=dict.fromkeys(("raised", *REVISION_FATES, "pending"), 0),
        calls={"made": 0, "unknown": 0, "members_repeated": 0},
        problems=(),
        openids={**dict.fromkeys(("waited", *OPENID_FATES, "waiting"), 0), **openids},
    )


@pytest.mark.parametrize("waited", [0, 7])
def test_who_waits_for_a_binding_is_shown_once_anybody_did(waited: int) -> None:
    out = io.StringIO()
    print_ledger(ledger(waited=waited, waiting=waited), Console(file=out, width=80))
    assert ("openids" in out.getvalue()) == bool(waited)
    assert "The ledger balances." in out.getvalue()
