"""The portfolio in numbers: NAV, drawdown, value at risk, profit and exposure per symbol, quality of the trades.

NAV is in one base currency: cash (capital + what was realised in it) + what was realised elsewhere - fees paid
elsewhere + positions at mark, all converted by ticks. What cannot be converted or has no price leaves NAV at its *last
value*, and `nav_stale` says why. It never becomes zero by ignorance.

Names that end in `_pct` are shares: 0.05 is five percent, as readers of the file have always had it.

Value at risk is historical: 95 %, one day, from returns per five *market* minutes, scaled by the square root of time.
It is None with fewer than 100 returns: a number made of nothing would look like safety.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from holdfast.contracts.codes import PositionSide
from holdfast.contracts.messages import Trade
from holdfast.contracts.money import EXACT, ONE, ZERO, add, divide, mul, sub
from holdfast.contracts.rows import NavRow, PositionRow, TotalRow
from holdfast.domain.valuation import Capital, Mark, Rates, sum_into, unrealized_of, value_in_settle

BUCKET_MS = 300_000
"""Five market minutes."""
BUCKETS_PER_DAY = 288
KEEP_RETURNS = 30 * BUCKETS_PER_DAY
"""Thirty market days."""
MIN_RETURNS = 100
TAIL = 20
"""One return in twenty is beyond 95 %."""
_MONEY, _SHARE = Decimal("1e-8"), Decimal("1e-10")
_ROOT = Context(prec=28, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is known at one moment. `capital` is what the accounts started with, in `base_currency`."""

    positions: Sequence[PositionRow]
    totals: Sequence[TotalRow]
    navs: Sequence[NavRow]
    marks: Mapping[str, Mark]
    now_ms: int
    max_mark_age_ms: int
    accounts: Sequence[str]
    capital: Capital
    base_currency: str

    @property
    def all_accounts(self) -> list[str]:
        """Those of the settings and those that hold anything, sorted."""
        return sorted(
            {
                *self.accounts,
                *(row.account for row in self.navs),
                *(row.account for row in self.totals),
                *(row.account for row in self.positions),
            }
        )


@dataclass(slots=True)
class _Symbol:
    is_priced: bool = True
    realized: dict[str, Decimal] = field(default_factory=dict)
    unrealized: dict[str, Decimal] = field(default_factory=dict)
    value: dict[str, Decimal] = field(default_factory=dict)
    """By settlement currency; long counts up, short counts down."""


@dataclass(frozen=True, slots=True)
class Kpis:
    """`nav` is the last known one where `nav_stale` says why it could not be counted anew."""

    nav: Decimal
    nav_stale: list[str]
    high_water: Decimal
    cash: Decimal
    capital: Decimal
    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    fees: Decimal | None
    """Paid in other currencies than the position settles in; already taken off NAV."""
    exposure_long: Decimal | None
    exposure_short: Decimal | None
    open_positions: int
    trades: int
    wins: int
    per_symbol: dict[str, dict[str, Decimal | None]]

    @property
    def dd_pct(self) -> Decimal:
        """Drawdown: the share that NAV lies below its high-water mark."""
        return share(sub(self.high_water, self.nav), self.high_water) or ZERO


class Appraiser:
    """Remembers what must not be forgotten between two moments: the last good NAV and its high-water mark."""

    def __init__(self) -> None:
        self._last: Decimal | None = None
        self._high: Decimal | None = None

    def appraise(self, inputs: Inputs) -> Kpis:
        """The portfolio at one moment."""
        rates, why, symbols = Rates(inputs.marks, inputs.base_currency), list[str](), dict[str, _Symbol]()
        marked = {
            position.position_id: mark
            for position in inputs.positions
            if (mark := inputs.marks.get(position.symbol)) is not None
        }
        long, short = _positions(inputs, marked, symbols, why)
        fees, elsewhere = _totals(inputs, symbols)
        capital = _capital(inputs, why)
        cash_by_currency = _cash(inputs)
        unrealized = _merge(symbol.unrealized for symbol in symbols.values())
        for currency in sorted({*cash_by_currency, *elsewhere, *fees, *unrealized}):
            _check_rate(currency, rates, inputs, why)
        cash, _ = rates.convert(cash_by_currency)
        nav = self._nav(inputs, rates, cash, elsewhere, unrealized, fees, why)
        self._high = max(
            self._high if self._high is not None else capital, _ledger_high(inputs, capital), nav
        )
        return Kpis(
            nav=nav, nav_stale=sorted(set(why)), high_water=self._high, cash=cash, capital=capital,
            realized_pnl=whole(rates, _merge(symbol.realized for symbol in symbols.values())),
            unrealized_pnl=whole(rates, unrealized) if len(marked) == len(inputs.positions) else None,
            fees=whole(rates, fees),
            exposure_long=whole(rates, long), exposure_short=whole(rates, short),
            open_positions=len(inputs.positions), trades=sum(row.trades for row in inputs.totals), wins=sum(row.wins for row in inputs.totals),
            per_symbol={name: _per_symbol(symbol, rates, capital, nav) for name, symbol in sorted(symbols.items())},
        )  # fmt: skip

    def _nav(
        self,
        inputs: Inputs,
        rates: Rates,
        cash: Decimal,
        elsewhere: dict[str, Decimal],
        unrealized: dict[str, Decimal],
        fees: dict[str, Decimal],
        why: list[str],
    ) -> Decimal:
        if why and self._last is not None:
            return self._last
        if why:  # nothing was ever counted here: what the ledger last counted is the last value there is
            return _ledger_nav(inputs)
        parts = [rates.convert(part)[0] for part in (elsewhere, unrealized, fees)]
        self._last = sub(add(add(cash, parts[0]), parts[1]), parts[2])
        return self._last


def _positions(
    inputs: Inputs, marked: Mapping[str, Mark], symbols: dict[str, _Symbol], why: list[str]
) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Value of the longs and of the shorts, by currency; profit goes to *symbols*, what is unpriced to *why*."""
    long, short = dict[str, Decimal](), dict[str, Decimal]()
    for position in inputs.positions:
        mark = marked.get(position.position_id)
        if mark is None:
            why.append(f"no price of {position.symbol} yet")
            symbols.setdefault(position.symbol, _Symbol()).is_priced = False
        elif inputs.now_ms - mark.heard_ms > inputs.max_mark_age_ms:
            why.append(f"the price of {position.symbol} is older than {inputs.max_mark_age_ms / 1000:g} s")
        price = mark.price if mark is not None else position.entry_price
        symbol, value = symbols.setdefault(position.symbol, _Symbol()), value_in_settle(position, price)
        is_long = position.side is PositionSide.LONG
        sum_into(symbol.unrealized, [(position.settle, unrealized_of(position, price))])
        sum_into(symbol.value, [(position.settle, value if is_long else value.copy_negate())])
        sum_into(long if is_long else short, [(position.settle, value)])
    return long, short


def _totals(inputs: Inputs, symbols: dict[str, _Symbol]) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Fees in other currencies, and what was realised in currencies that no account's cash is counted in."""
    fees, elsewhere = dict[str, Decimal](), dict[str, Decimal]()
    counted = {(row.account, row.currency) for row in inputs.navs}
    for row in inputs.totals:
        sum_into(symbols.setdefault(row.symbol, _Symbol()).realized, [(row.settle, row.realized_pnl)])
        sum_into(fees, row.fees.items())
        if (row.account, row.settle) not in counted:
            sum_into(elsewhere, [(row.settle, row.realized_pnl)])
    return fees, elsewhere


def _capital(inputs: Inputs, why: list[str]) -> Decimal:
    """What all accounts began with: as the ledger recorded it, or as the settings say; to *why* goes whose is not known yet."""
    recorded, capital = {row.account: row.began for row in inputs.navs}, ZERO
    for account in inputs.all_accounts:
        began = recorded.get(account) if account in recorded else inputs.capital.of(account)
        capital = add(capital, inputs.capital.before(account) if began is None else began)
        if account not in recorded and account in inputs.capital.unsaid:
            why.append(f"what account {account} began with is not recorded yet")
    return capital


def _cash(inputs: Inputs) -> dict[str, Decimal]:
    """Cash by currency: what the ledger counts, and the capital of accounts that have not traded in it yet."""
    cash = dict[str, Decimal]()
    sum_into(cash, ((row.currency, row.cash) for row in inputs.navs))
    silent = set(inputs.all_accounts) - {row.account for row in inputs.navs}
    sum_into(cash, ((inputs.base_currency, inputs.capital.of(account)) for account in sorted(silent)))
    return cash


def _ledger_nav(inputs: Inputs) -> Decimal:
    """What the ledger last counted, in the base currency: cash without positions at mark."""
    known = {row.account: row.nav for row in inputs.navs if row.currency == inputs.base_currency}
    total = ZERO
    for account in inputs.all_accounts:
        total = add(total, known.get(account, inputs.capital.of(account)))
    return total


def _ledger_high(inputs: Inputs, capital: Decimal) -> Decimal:
    """The ledger's high-water mark, which survives restarts. With several accounts their peaks lie at different times
    and cannot be added, so only the capital is certain.
    """
    rows = [row for row in inputs.navs if row.currency == inputs.base_currency]
    return max(capital, rows[0].high_water) if len(rows) == len(inputs.all_accounts) == 1 else capital


def _check_rate(currency: str, rates: Rates, inputs: Inputs, why: list[str]) -> None:
    rate = rates.of(currency)
    if rate is None:
        why.append(f"no price leads from {currency} to {rates.into}")
    elif rate.heard_ms is not None and inputs.now_ms - rate.heard_ms > inputs.max_mark_age_ms:
        why.append(
            f"the rate of {currency} to {rates.into} is older than {inputs.max_mark_age_ms / 1000:g} s"
        )


def whole(rates: Rates, amounts: Mapping[str, Decimal]) -> Decimal | None:
    """The sum of *amounts* in the base currency; None when a part of it cannot be converted."""
    total, missing = rates.convert(amounts)
    return None if missing else total


def _merge(parts: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    sums = dict[str, Decimal]()
    for part in parts:
        sum_into(sums, part.items())
    return sums


def _per_symbol(symbol: _Symbol, rates: Rates, capital: Decimal, nav: Decimal) -> dict[str, Decimal | None]:
    unrealized = whole(rates, symbol.unrealized) if symbol.is_priced else None
    realized, exposure = whole(rates, symbol.realized), whole(rates, symbol.value)
    pnl = None if realized is None or unrealized is None else add(realized, unrealized)
    return {
        "pnl": _rounded(pnl),
        "pnl_pct": None if pnl is None else share(pnl, capital),
        "exposure_nav_pct": None if exposure is None else share(exposure.copy_abs(), nav),
        "realized_pnl": _rounded(realized),
        "unrealized_pnl": _rounded(unrealized),
    }


def share(part: Decimal, of: Decimal) -> Decimal | None:
    """*part* / *of*; None where there is nothing to be a share of."""
    return EXACT.quantize(divide(part, of), _SHARE) if of > 0 else None


def _money(amount: Decimal) -> Decimal:
    return EXACT.quantize(amount, _MONEY)


def _rounded(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else _money(amount)


class NavHistory:
    """Returns of NAV per five market minutes. A gap, or a new run of the feed, gives no return: its length is not five
    minutes.
    """

    def __init__(self) -> None:
        self.returns: deque[Decimal] = deque(maxlen=KEEP_RETURNS)
        self._run = ""
        self._bucket: int | None = None
        self._close = self._before = None
        self._risk: tuple[Decimal, Decimal] | None = None
        self._risk_is_current = True

    _close: Decimal | None
    _before: Decimal | None
    """Last NAV of this bucket, and of the one right before it."""

    def note(self, run: str, at_ms: int, nav: Decimal) -> None:
        """NAV at *at_ms*, market time of *run*."""
        bucket = at_ms // BUCKET_MS
        if run != self._run or self._bucket is None:
            self._run, self._bucket, self._before = run, bucket, None
        elif bucket < self._bucket:
            return
        elif bucket > self._bucket:
            self._finish()
            self._before = self._close if bucket == self._bucket + 1 else None
            self._bucket = bucket
        self._close = nav

    def _finish(self) -> None:
        if self._before is not None and self._close is not None and self._before > 0:
            self.returns.append(sub(divide(self._close, self._before), ONE))
            self._risk_is_current = False

    @property
    def risk(self) -> tuple[Decimal | None, Decimal | None]:
        """VaR and CVaR as shares of NAV; None with too few returns."""
        if not self._risk_is_current:
            self._risk, self._risk_is_current = value_at_risk(self.returns), True
        return self._risk or (None, None)


def value_at_risk(returns: Iterable[Decimal]) -> tuple[Decimal, Decimal] | None:
    """VaR and CVaR (95 %, one day, as shares of NAV, zero or more) from returns per five minutes; None with too few."""
    ordered = sorted(returns)
    if len(ordered) < MIN_RETURNS:
        return None
    tail = ordered[: len(ordered) // TAIL]
    scale = _ROOT.sqrt(Decimal(BUCKETS_PER_DAY))
    mean = divide(_added(tail), Decimal(len(tail)))
    worst = [max(ZERO, tail[-1].copy_negate()), max(ZERO, mean.copy_negate())]
    return EXACT.quantize(mul(worst[0], scale), _SHARE), EXACT.quantize(mul(worst[1], scale), _SHARE)


def _added(amounts: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = add(total, amount)
    return total


def trade_quality(trades: Iterable[Trade], rates: Rates) -> dict[str, Any]:
    """Profit factor (won / lost) and expectancy (per trade) of *trades*, in the base currency."""
    won, lost, count = dict[str, Decimal](), dict[str, Decimal](), 0
    for trade in trades:
        count += 1
        sum_into(won if trade.realized_pnl > 0 else lost, [(trade.settle, trade.realized_pnl.copy_abs())])
    gain, loss = whole(rates, won), whole(rates, lost)
    known = gain is not None and loss is not None
    return {
        "profit_factor": share(gain, loss) if gain is not None and loss is not None else None,
        "expectancy": _money(divide(sub(gain or ZERO, loss or ZERO), Decimal(count)))
        if known and count
        else None,
        "quality_trades": count,
    }


def document(
    kpis: Kpis, history: NavHistory, quality: Mapping[str, Any], base_currency: str
) -> dict[str, Any]:
    """The body of `kpis_v7.json`; money is rounded to 8 places, shares to 10."""
    var, cvar = history.risk
    long, short = kpis.exposure_long, kpis.exposure_short
    portfolio = {
        "nav": _money(kpis.nav), "nav_stale": kpis.nav_stale, "dd_pct": kpis.dd_pct,
        "var_nav_pct": var, "cvar_nav_pct": cvar, "nav_returns": len(history.returns),
        "base_currency": base_currency, "capital": kpis.capital, "cash": _money(kpis.cash), "high_water": _money(kpis.high_water),
        "realized_pnl": _rounded(kpis.realized_pnl), "unrealized_pnl": _rounded(kpis.unrealized_pnl), "fees": _rounded(kpis.fees),
        "open_positions": kpis.open_positions, "exposure_long": _rounded(long), "exposure_short": _rounded(short),
        "exposure_nav_pct": None if long is None or short is None else share(add(long, short), kpis.nav),
        "trades": kpis.trades, "wins": kpis.wins, "win_rate": share(Decimal(kpis.wins), Decimal(kpis.trades)), **quality,
    }  # fmt: skip
    return {"portfolio": portfolio, "per_symbol": kpis.per_symbol}
