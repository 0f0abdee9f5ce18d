"""What the store knows of entries that a batch wants to replace: their intents, their orders, and who took their place before."""

from collections.abc import Callable, Mapping, Sequence

from holdfast.contracts.base import Message
from holdfast.contracts.messages import OrderReserve
from holdfast.contracts.rows import OrderRow
from holdfast.domain.ledger_state import Known


def look_up_replaced(
    messages: Sequence[Message], known: Known, live: Mapping[str, OrderRow], look_up: Callable[..., Known]
) -> None:
    """Complete *known* for `domain.replacing`; costs nothing where nothing is replaced."""
    named = {
        message.order.replaces
        for message in messages
        if isinstance(message, OrderReserve) and message.order is not None and message.order.replaces
    }
    if not named:
        return
    if lacking := sorted(named - known.intents.keys()):
        known.intents |= look_up(intents=lacking).intents
    orders = [
        found.order_id for name in sorted(named) if (found := known.intents.get(name)) and found.order_id
    ]
    if ended := [order for order in orders if order not in live and order not in known.orders]:
        known.orders |= look_up(orders=ended).orders
    rows = [row for order in orders if (row := live.get(order) or known.orders.get(order))]
    others = {row.replaced_by for row in rows if row.replaced_by} - known.intents.keys()
    if others:
        known.intents |= look_up(intents=sorted(others)).intents
