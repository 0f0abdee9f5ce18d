"""Everything live as of a sequence, in parts small enough for one entry each, with a checksum over all of them."""

from collections.abc import Iterator
from typing import Any

from holdfast.contracts.messages import LedgerSnapshot
from holdfast.contracts.streams import LEDGER_SNAPSHOT
from holdfast.contracts.wire import Numbered
from holdfast.domain.ledger_state import LedgerState
from holdfast.domain.view import snapshot_checksum
from holdfast.store.store import Store

ROWS_PER_PART = 500


def build_snapshot(
    state: LedgerState, *, number: int, seq: int, chain: str, store: Store, now_ms: int
) -> Iterator[Numbered]:
    """The entries of one snapshot, `<number>-<part>` each."""
    groups = list(_groups(state)) or [{}]
    snapshot_id = f"{store.store_id}:{seq}:{number}"
    common: dict[str, Any] = {
        "at": now_ms,
        "snapshot_id": snapshot_id,
        "seq": seq,
        "chain": chain,
        "store_id": store.store_id,
        "epoch": store.epoch,
        "parts": len(groups),
    }
    empty: dict[str, Any] = {
        "cause_id": None,
        "correlation_id": None,
        "checksum": "",
        **{name: [] for name in _TABLES},
        "executors": {},
    }
    parts = [
        LedgerSnapshot.trusted(**(empty | common | {"id": f"{snapshot_id}:{part}", "part": part} | rows))
        for part, rows in enumerate(groups, 1)
    ]
    parts[0] = parts[0].evolve(executors=dict(state.executors))
    checksum = snapshot_checksum(parts)
    for part in parts:
        yield Numbered(
            LEDGER_SNAPSHOT, f"{number}-{part.part}", part.id, part.evolve(checksum=checksum).body()
        )


_TABLES = (
    "books",
    "positions",
    "orders",
    "control",
    "totals",
    "quarantine",
    "nav",
    "risk",
    "learning",
    "thresholds",
)


def _groups(state: LedgerState) -> Iterator[dict[str, list[Any]]]:
    """All live rows in groups of at most ROWS_PER_PART, table after table."""
    group: dict[str, list[Any]] = {}
    size = 0
    for table in _TABLES:
        for row in getattr(state, table).values():
            group.setdefault(table, []).append(row)
            size += 1
            if size == ROWS_PER_PART:
                yield group
                group, size = {}, 0
    if group:
        yield group
