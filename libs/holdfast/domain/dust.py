"""Dust: the rest of a spot position that no order can sell leaves the books, as a fill, and its coins are inventory.

It is the whole of what is held, or nothing: whatever was bought or sold in the meantime makes it something else.
"""

from holdfast.contracts.codes import FillKind, PositionSide, Side
from holdfast.contracts.messages import Fill
from holdfast.contracts.money import ZERO
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.wire import digest


def dust_of(row: PositionRow, now_ms: int) -> Fill:
    """What takes the rest of *row* out of the books; the same message as long as nothing else has filled."""
    trade_id = "dust-" + digest(row.position_id, str(row.bought), str(row.sold), str(row.quantity))
    return Fill(
        id="f-" + trade_id, at=now_ms, correlation_id=row.correlation_id, account=row.account, exchange=row.exchange, symbol=row.symbol,
        trade_id=trade_id, kind=FillKind.DUST, side=Side.SELL, quantity=row.quantity, price=ZERO, executed_at=row.changed_at, leg=row.leg,
        instrument=row.kind, contract_size=row.contract_size, settle=row.settle,
    )  # fmt: skip


def is_no_dust(held: PositionRow | None, fill: Fill) -> bool:
    """Whether *fill* books dust, and what is held now is something else."""
    if fill.kind is not FillKind.DUST:
        return False
    return held is None or held.side is not PositionSide.LONG or fill.quantity != held.quantity
