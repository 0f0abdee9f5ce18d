"""The arguments that both clients take, named once: what may be said about an entry and about a close.

Amounts are Decimal, int or text like "0.01"; a float has lost digits already and is refused. Percents in exits are text like "2%".
"""

from decimal import Decimal
from typing import Literal, TypedDict

Amount = Decimal | int | str


class Entry(TypedDict, total=False):
    """Of `buy` and `sell`, beside symbol and quantity. Without a quantity, exactly one of the first three is the size."""

    quote_amount: Amount
    """Value in the quote currency."""
    nav_pct: Amount
    """Value in percent of the account's NAV."""
    risk_pct: Amount
    """What the stop-loss would lose, fees included, in percent of NAV."""
    price: Amount
    """Of a limit order; without it, it is a market order."""
    time_in_force: Literal["gtc", "ioc", "fok"]
    post_only: bool
    good_till: int
    """Wall time at which a resting order is canceled, ms since 1970 UTC."""
    take_profit: Amount
    """A price, a percent like "5%", "off", or a ladder like "5%:0.5,10%:0.5"; left out, policy seeds it."""
    stop_loss: Amount
    """A price, or a percent like "2%"; left out, policy seeds it. There is always one."""
    ttl_s: Amount
    """Longest hold, in market seconds."""
    exits: dict[str, str]
    """Keys of [exits] for this position."""
    replaces: str
    """Intent id of a resting entry that this one takes the place of."""
    account: str
    exchange: str
    strategy: str
    """A label that follows it to the trade; the client's name where it is left out."""


class Exit(TypedDict, total=False):
    """Of `close`, beside the symbol. Without a size, all that is held."""

    quantity: Amount
    fraction: Amount
    """A share of the position, like "0.5"."""
    side: Literal["buy", "sell"]
    """Where both sides may be held: `sell` closes the long one."""
    price: Amount
    time_in_force: Literal["gtc", "ioc", "fok"]
    position_id: str
    """Only this position: refused where it is not the open one any more."""
    soft: bool
    """A signal to leave: vetoes may hold it back."""
    account: str
    exchange: str
    strategy: str
