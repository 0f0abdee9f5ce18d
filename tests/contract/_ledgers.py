"""A made-up ledger on the bus: numbered updates and snapshots as the real one writes them, for tests of who reads them."""

from collections.abc import Sequence
from decimal import Decimal

from holdfast.bus.connection import Publisher
from holdfast.contracts.codes import UpdateKind
from holdfast.contracts.messages import LedgerSnapshot, LedgerUpdated
from holdfast.contracts.rows import TotalRow
from holdfast.contracts.streams import LEDGER, LEDGER_SNAPSHOT, LEDGER_UPDATED
from holdfast.contracts.wire import Numbered, digest
from holdfast.domain.view import snapshot_checksum
from tests.contract._bus import Bus

HASH = "0" * 32


def total(seq: int) -> TotalRow:
    """A row that says which update it is of."""
    return TotalRow(
        account="main", exchange="paper", symbol=f"S{seq}/USDT", settle="USDT", realized_pnl=Decimal(seq)
    )


class FakeLedger:
    """Publishes what a ledger would, in whatever order and with whatever holes the test asks for."""

    def __init__(self, bus: Bus, store_id: str = "store-1") -> None:
        self.publisher, self.store_id, self.snapshots = Publisher(bus.redis, LEDGER), store_id, 0
        self.history = ""
        """Of which story the updates are: another story has other updates under the same numbers."""

    def update(self, seq: int) -> LedgerUpdated:
        return LedgerUpdated(
            id=f"u-{seq}", at=seq, seq=seq, store_id=self.store_id, epoch=1, kind=UpdateKind.FILLED, totals=[total(seq)],
            why=self.history,
        )  # fmt: skip

    def hash(self, seq: int) -> str:
        """The chain's hash at *seq*."""
        hashed = HASH
        for one in range(1, seq + 1):
            hashed = digest(hashed, self.update(one).body())
        return hashed

    async def publish(self, seqs: Sequence[int], *, kind: str = "filled") -> None:
        await self.publisher.publish(
            [
                Numbered(
                    LEDGER_UPDATED, f"{seq}-0", f"u-{seq}", self.update(seq).body(), (("kind", kind), ("hash", self.hash(seq)))
                )
                for seq in seqs
            ]
        )  # fmt: skip

    async def snapshot(self, seq: int, *, parts: int = 1, leave_out: int = 0, spoil: bool = False) -> None:
        """Everything up to *seq* in *parts*; *leave_out* names a part that does not arrive."""
        self.snapshots += 1
        number, name = self.snapshots, f"{self.store_id}:{seq}:{self.snapshots}"
        rows = [total(one) for one in range(1, seq + 1)]
        made = [
            LedgerSnapshot(
                id=f"{name}:{part}", at=seq, snapshot_id=name, seq=seq, chain=self.hash(seq), store_id=self.store_id, epoch=1, part=part,
                parts=parts, checksum="", totals=rows[part - 1 :: parts],
            )
            for part in range(1, parts + 1)
        ]  # fmt: skip
        checksum = "spoiled" if spoil else snapshot_checksum(made)
        await self.publisher.publish(
            [
                Numbered(
                    LEDGER_SNAPSHOT, f"{number}-{one.part}", one.id, one.evolve(checksum=checksum).body()
                )
                for one in made
                if one.part != leave_out
            ]
        )
