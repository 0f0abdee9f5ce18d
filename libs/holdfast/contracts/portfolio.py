"""What the portfolio rules go by: what accounts are worth, and what the ledger remembers of each."""

from typing import Annotated

from pydantic import Field

from holdfast.contracts.base import Frozen, Message, Millis, Name, Text
from holdfast.contracts.money import NotNegativeSum, Sum

MOST_ACCOUNTS = 1000


class NavMark(Message):
    """What accounts are worth at `at` (wall time), open positions at market. Counted by the executor that serves them.

    Only the newest counts, and it may come again: an older one changes nothing.
    """

    currency: Name
    """The base currency, which every NAV here is counted in."""
    navs: dict[Name, Sum] = Field(default_factory=dict, max_length=MOST_ACCOUNTS)
    missing: dict[Name, Text] = Field(default_factory=dict, max_length=MOST_ACCOUNTS)
    """Accounts that cannot be counted now, and why: `no price of ETH/USDT yet`."""
    began: dict[Name, NotNegativeSum] = Field(default_factory=dict, max_length=MOST_ACCOUNTS)
    """What live accounts have in their wallets, whose settings do not say what they began with. The first word counts, and for ever: of an
    account whose money the ledger knows it changes nothing.
    """


class RiskRow(Frozen):
    """What the portfolio rules remember of one account, or of all accounts together. Facts; what follows from them depends on
    the settings in force. Only what a rule needs that is on is kept up.
    """

    account: str = Field(default="", max_length=64)
    """Empty: all accounts together."""
    high_water: Sum | None = None
    """Highest NAV that was marked since a person last resumed from a drawdown."""
    drawdown_since: Millis | None = None
    """Wall time at which NAV had fallen too far below it; None: it has not, or a person has resumed."""
    day: Annotated[int, Field(ge=0)] = 0
    """The UTC day, counted from 1970-01-01, that the next two are of."""
    day_nav: Sum | None = None
    """NAV at the first mark of the day."""
    daily_loss_since: Millis | None = None
    """Wall time at which too much of it was lost."""
    losses: Annotated[int, Field(ge=0)] = 0
    """Losing trades in a row; any other trade ends the row."""
    lost_at: Millis | None = None
    """Wall time of the last of them."""
    slot: Annotated[int, Field(ge=0)] = 0
    """The five minutes, counted from 1970-01-01, in which `slot_nav` was marked first."""
    slot_nav: Sum | None = None
    variance: NotNegativeSum | None = None
    """Of NAV's returns per five minutes, exponentially weighted; None before the first."""
