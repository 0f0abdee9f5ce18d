"""What a person wants done, as messages: the same for the command line and for the dashboard's buttons."""

from collections.abc import Iterator
from typing import Any

from holdfast.contracts.codes import OrderState, Role
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.wire import digest
from holdfast.domain.view import LedgerView


def closing(row: PositionRow, base: str) -> tuple[str, dict[str, Any]]:
    """Intent id and document that close *row* for being flattened; the id derives from *base*."""
    named = {"symbol": row.symbol, "account": row.account, "exchange": row.exchange}
    key = f"{base}-{digest(row.position_id)[:16]}"
    return key, {"action": "close", "reason": "flatten", "position_id": row.position_id, **named}


def flatten(view: LedgerView, account: str | None, base: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Intent id and document of one close per open position, then of one cancel per live entry.

    Ids derive from *base*, so that asking again with the same is safe.
    """
    for row in view.positions.values():
        if account in (None, row.account):
            yield closing(row, base)
    for order in view.orders.values():
        if (
            account in (None, order.account)
            and order.role is Role.ENTRY
            and order.state is not OrderState.CANCELING
        ):
            named = {"symbol": order.symbol, "account": order.account, "exchange": order.exchange}
            key = f"{base}-{digest(order.order_id)[:16]}"
            yield key, {"action": "cancel", "order_id": order.order_id, **named}
