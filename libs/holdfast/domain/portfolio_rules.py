"""The portfolio rules as the settings state them, and what follows from what is remembered: which hold entries back, since
when and until when, and how far limits have shrunk. Pure; for entries only: no rule here ever sees an exit (INV-6).

All times are wall ms. A rule that ends by itself must end when prices stop or a feed starts a new run, and a day is a
calendar day: market time can promise neither.

A value that equals its limit is still within it, as with all limits.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple

from holdfast.contracts.codes import Code
from holdfast.contracts.money import EXACT, HUNDRED, ONE, ZERO, add, canonical, divide, mul, sub
from holdfast.contracts.portfolio import RiskRow
from holdfast.contracts.rows import BookRow
from holdfast.domain.limits import Limits

DAY_MS, SLOT_MS = 86_400_000, 300_000
SLOTS_PER_DAY = DAY_MS // SLOT_MS
DECAY = Decimal("0.94")
"""Weight of the variance so far against the newest return, as RiskMetrics has it."""
_ROOT = Context(prec=28, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class PortfolioRules:
    """The rules of one account, or of all together (`of_all`). None is off; percents are 5 for 5 %."""

    of_all: bool = False
    cooldown_ms: int | None = None
    loss_streak: int | None = None
    loss_streak_pause_ms: int = 3_600_000
    max_daily_loss: Decimal | None = None
    max_daily_loss_pct: Decimal | None = None
    max_drawdown_pct: Decimal | None = None
    shrink_drawdown_pct: Decimal | None = None
    shrink_volatility_pct: Decimal | None = None
    shrink_floor_pct: Decimal = Decimal(20)

    @property
    def watches_day(self) -> bool:
        return self.max_daily_loss is not None or self.max_daily_loss_pct is not None

    @property
    def watches_high_water(self) -> bool:
        return self.max_drawdown_pct is not None or self.shrink_drawdown_pct is not None

    @property
    def shrinks(self) -> bool:
        return self.shrink_drawdown_pct is not None or self.shrink_volatility_pct is not None

    @property
    def needs_nav(self) -> bool:
        return self.watches_day or self.watches_high_water or self.shrinks

    def named(self, key: str) -> str:
        """The setting *key* as it is written for these rules."""
        return f"limits.{key.replace('max_', 'max_total_') if self.of_all else key}"


@dataclass(frozen=True, slots=True)
class Portfolio:
    """All rules of an installation, and the limits of accounts that have their own. As it stands here, everything is off."""

    accounts: tuple[str, ...] = ()
    """Whose NAVs make up the total."""
    total: PortfolioRules = field(default_factory=lambda: PortfolioRules(of_all=True))
    default: PortfolioRules = field(default_factory=PortfolioRules)
    special: Mapping[str, PortfolioRules] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    """Of accounts that override some."""
    max_nav_age_ms: int = 10_000

    def of(self, account: str) -> PortfolioRules:
        """The rules of *account*; of all together where it is empty."""
        return self.special.get(account, self.default) if account else self.total

    @property
    def needs_nav(self) -> bool:
        return any(rules.needs_nav for rules in (self.total, self.default, *self.special.values()))


class Marked(NamedTuple):
    """What an account was worth at wall time `at`; None where `why` says why that is not known."""

    nav: Decimal | None
    at: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """A rule that holds entries back now."""

    code: Code
    scope: str
    """`all`, an account, or a book id."""
    reason: str
    since_ms: int
    until_ms: int | None
    """None: until a person resumes."""


# -- what was crossed -------------------------------------------------------------------------------------------------


def drawdown_of(nav: Decimal, high_water: Decimal | None) -> Decimal:
    """The share that *nav* lies below the high-water mark; zero above it, and where there is none to be a share of."""
    if high_water is None or high_water <= 0 or nav >= high_water:
        return ZERO
    return divide(sub(high_water, nav), high_water)


def is_beyond_drawdown(nav: Decimal, high_water: Decimal, rules: PortfolioRules) -> bool:
    """Whether NAV fell further than `max_drawdown_pct` allows."""
    limit = rules.max_drawdown_pct
    return limit is not None and mul(sub(high_water, nav), HUNDRED) > mul(high_water, limit)


def is_beyond_daily_loss(nav: Decimal, day_nav: Decimal, rules: PortfolioRules) -> bool:
    """Whether the day has lost as much as one of its two limits says: what you were willing to lose is lost."""
    lost = sub(day_nav, nav)
    amount, share = rules.max_daily_loss, rules.max_daily_loss_pct
    return lost > 0 and (
        (amount is not None and lost >= amount)
        or (share is not None and mul(lost, HUNDRED) >= mul(day_nav, share))
    )


# -- what holds entries back --------------------------------------------------------------------------------------------


def holds_of(row: RiskRow, rules: PortfolioRules, now_ms: int) -> Iterator[Hold]:
    """What holds the entries of the account of *row* back (of all, where it is of all): hardest first."""
    scope, whose = (row.account, f"account {row.account}") if row.account else ("all", "all accounts")
    if rules.max_drawdown_pct is not None and row.drawdown_since is not None:
        text = (
            f"{rules.named('max_drawdown_pct')} is {canonical(rules.max_drawdown_pct)}, and NAV of {whose} fell further below its"
            f" high-water mark of {canonical(row.high_water or ZERO)}; only a person resumes"
        )
        yield Hold(Code.MAX_DRAWDOWN, scope, text, row.drawdown_since, None)
    if rules.watches_day and row.daily_loss_since is not None and now_ms // DAY_MS <= row.day:
        text = f"{_daily_limits(rules)}, and {whose} lost that much or more of the {canonical(row.day_nav or ZERO)} that the UTC day began with; entries wait for the next"
        yield Hold(Code.DAILY_LOSS, scope, text, row.daily_loss_since, (row.day + 1) * DAY_MS)
    if rules.loss_streak is not None and row.lost_at is not None and row.losses >= rules.loss_streak:
        until = row.lost_at + rules.loss_streak_pause_ms
        if now_ms < until:
            text = (
                f"{rules.named('loss_streak')} is {rules.loss_streak}, and the last {row.losses} trades of {whose} lost; entries pause for"
                f" loss_streak_pause_s ({rules.loss_streak_pause_ms / 1000:g} s)"
            )
            yield Hold(Code.LOSS_STREAK, scope, text, row.lost_at, until)


def _daily_limits(rules: PortfolioRules) -> str:
    given = (
        ("max_daily_loss", rules.max_daily_loss),
        ("max_daily_loss_pct", rules.max_daily_loss_pct),
    )
    return " and ".join(
        f"{rules.named(key)} is {canonical(value)}" for key, value in given if value is not None
    )


def cooldown_of(book: BookRow, rules: PortfolioRules, now_ms: int) -> Hold | None:
    """The cooldown of *book*, while it lasts."""
    if rules.cooldown_ms is None or book.lost_at is None or now_ms >= book.lost_at + rules.cooldown_ms:
        return None
    text = f"limits.cooldown_s is {rules.cooldown_ms / 1000:g}, and a position of this book closed at a loss {(now_ms - book.lost_at) / 1000:.0f} s ago"
    return Hold(Code.COOLDOWN, book.book_id, text, book.lost_at, book.lost_at + rules.cooldown_ms)


def all_holds(
    risk: Mapping[str, RiskRow], books: Iterable[BookRow], portfolio: Portfolio, now_ms: int
) -> list[Hold]:
    """Every rule that holds entries back now: those of all accounts first, then by account, then by book."""
    found = [
        hold for account in sorted(risk) for hold in holds_of(risk[account], portfolio.of(account), now_ms)
    ]
    cooling = (cooldown_of(book, portfolio.of(book.account), now_ms) for book in books)
    return found + sorted((hold for hold in cooling if hold is not None), key=lambda hold: hold.scope)


# -- how far limits have shrunk -------------------------------------------------------------------------------------------


def volatility_of(variance: Decimal) -> Decimal:
    """Of a UTC day, in percent, from the variance of returns per five minutes."""
    return mul(_ROOT.sqrt(_ROOT.multiply(variance, Decimal(SLOTS_PER_DAY))), HUNDRED)


def variance_with(variance: Decimal | None, before: Decimal, nav: Decimal) -> Decimal | None:
    """*variance* with the return from *before* to *nav* in it; unchanged where there is nothing to return on."""
    if before <= 0:
        return variance
    gain = divide(sub(nav, before), before)
    square = mul(gain, gain)
    if variance is None:
        return divide(square, ONE)
    return divide(add(mul(variance, DECAY), mul(square, sub(ONE, DECAY))), ONE)


def shrink_factor(drawdown: Decimal, variance: Decimal | None, rules: PortfolioRules) -> Decimal:
    """What notional limits are multiplied by: from 1 down to the floor, never up again as *drawdown* (a share) or *variance* grows.

    Drawdown takes it down in a straight line, to the floor at `shrink_drawdown_pct`. Volatility beyond `shrink_volatility_pct`
    divides it: twice the volatility, half the limit. The smaller of the two counts.
    """
    floor, factor = EXACT.divide(rules.shrink_floor_pct, HUNDRED), ONE
    if rules.shrink_drawdown_pct is not None:
        depth = min(ONE, divide(mul(drawdown, HUNDRED), rules.shrink_drawdown_pct))
        factor = sub(ONE, mul(sub(ONE, floor), depth))
    if rules.shrink_volatility_pct is not None and variance:
        volatility = volatility_of(variance)
        if volatility > rules.shrink_volatility_pct:
            factor = min(factor, max(floor, divide(rules.shrink_volatility_pct, volatility)))
    return factor
