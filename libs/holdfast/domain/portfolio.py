"""The portfolio rules at work in the ledger: what is remembered of marks and trades, and the objection to an entry.

Everything is O(1) in what is open: a rule looks at the row of the account, the row of all accounts, and the book.

NAV comes as `nav.mark` from the executors, never from ticks, so that the ledger stays a function of its messages. The marks
themselves are only in memory: after a restart NAV is unknown until the next one, a second later. What must not be forgotten (high-water
mark, the day's first NAV, what was crossed and when) is in `risk` and journaled, and only when it changes.
"""

from dataclasses import replace
from decimal import Decimal

from holdfast.contracts.codes import Code, Scope, TradingState, UpdateKind
from holdfast.contracts.messages import Control
from holdfast.contracts.money import ONE, ZERO, add, canonical, mul
from holdfast.contracts.portfolio import NavMark, RiskRow
from holdfast.contracts.rows import BookRow, NavRow
from holdfast.domain.ledger_state import Change, LedgerState
from holdfast.domain.limits import Limits
from holdfast.domain.portfolio_rules import (
    DAY_MS,
    SLOT_MS,
    Hold,
    Marked,
    Portfolio,
    PortfolioRules,
    cooldown_of,
    drawdown_of,
    holds_of,
    is_beyond_daily_loss,
    is_beyond_drawdown,
    shrink_factor,
    variance_with,
)

_NONE_YET = "its executor has marked none since the ledger started"

# -- what is remembered -------------------------------------------------------------------------------------------------


def take_mark(state: LedgerState, mark: NavMark, portfolio: Portfolio, now_ms: int) -> Change:
    """Take *mark* in. An older one than is known changes nothing, so it may come twice, or late."""
    change = Change(UpdateKind.MARKED, mark.id, mark.correlation_id)
    at = min(mark.at, now_ms)
    for account, began in mark.began.items():
        if account not in state.nav:
            row = NavRow(account=account, currency=mark.currency, cash=began, nav=began, high_water=began, at=at, began=began)  # fmt: skip
            state.put_nav(row, change)
    for account, why in mark.missing.items():
        if _is_news(state, account, at, now_ms):
            state.put_mark(account, Marked(None, at, why))
    for account, nav in mark.navs.items():
        if _is_news(state, account, at, now_ms):
            state.put_mark(account, Marked(nav, at))
            _remember(state, account, nav, at, portfolio, change)
    if portfolio.total.needs_nav:
        total = _total(state, portfolio, at)
        state.put_mark("", total)
        if total.nav is not None and total.at >= at - portfolio.max_nav_age_ms:
            _remember(state, "", total.nav, at, portfolio, change)
    return change


def _total(state: LedgerState, portfolio: Portfolio, at: int) -> Marked:
    """All accounts of the configuration together: as old as the oldest of their marks, not known where one is not."""
    total = ZERO
    for account in portfolio.accounts:
        known = state.marks.get(account)
        if known is None or known.nav is None:
            return Marked(None, at, f"account {account}: {known.why if known is not None else _NONE_YET}")
        total, at = add(total, known.nav), min(at, known.at)
    return Marked(total, at)


def _is_news(state: LedgerState, account: str, at: int, now_ms: int) -> bool:
    """A mark that lies ahead was made before the wall clock went back: the next one takes its place."""
    known = state.marks.get(account)
    return known is None or at >= known.at or known.at > now_ms


def _remember(
    state: LedgerState, account: str, nav: Decimal, at: int, portfolio: Portfolio, change: Change
) -> None:
    before = state.risk.get(account) or RiskRow(account=account)
    row = marked(before, nav, at, portfolio.of(account))
    if row is before:
        return
    for crossed, since in (("max_drawdown", row.drawdown_since), ("daily_loss", row.daily_loss_since)):
        if since == at:
            change.why = f"{crossed} of {account or 'all accounts'}: NAV {canonical(nav)}"[:1000]
    state.put_risk(row, change)


def marked(row: RiskRow, nav: Decimal, at: int, rules: PortfolioRules) -> RiskRow:
    """*row* after NAV was *nav* at wall time *at*: the same object where that is nothing new."""
    changes: dict[str, object] = {}
    if rules.watches_high_water:
        high = nav if row.high_water is None else max(row.high_water, nav)
        if high != row.high_water:
            changes["high_water"] = high
        if row.drawdown_since is None and is_beyond_drawdown(nav, high, rules):
            changes["drawdown_since"] = at
    if rules.watches_day:
        if row.day_nav is None or at // DAY_MS > row.day:
            changes |= {"day": at // DAY_MS, "day_nav": nav, "daily_loss_since": None}
        elif row.daily_loss_since is None and is_beyond_daily_loss(nav, row.day_nav, rules):
            changes["daily_loss_since"] = at
    if rules.shrink_volatility_pct is not None and (row.slot_nav is None or at // SLOT_MS > row.slot):
        changes |= {"slot": at // SLOT_MS, "slot_nav": nav}
        if row.slot_nav is not None and at // SLOT_MS == row.slot + 1:
            changes["variance"] = variance_with(row.variance, row.slot_nav, nav)
    return row.evolve(**changes) if changes else row


def note_trades(state: LedgerState, book_id: str, change: Change, portfolio: Portfolio, now_ms: int) -> None:
    """Remember the trades that *change* closed in the book. Losing: less than zero realised, net of fees in the settlement
    currency.
    """
    for trade in change.trades:
        rules, lost = portfolio.of(trade.account), trade.realized_pnl < 0
        if lost and rules.cooldown_ms is not None:
            state.put_book(state.books[book_id].evolve(lost_at=now_ms), change)
        if rules.loss_streak is not None:
            row = state.risk.get(trade.account) or RiskRow(account=trade.account)
            if lost:
                state.put_risk(row.evolve(losses=row.losses + 1, lost_at=now_ms), change)
            elif row.losses:
                state.put_risk(row.evolve(losses=0, lost_at=None), change)


def resume(state: LedgerState, message: Control, change: Change) -> None:
    """A person allows entries again: drawdown counts anew, from where NAV stands. Of the scope that was named, no other."""
    if message.state is not TradingState.ACTIVE or message.scope is Scope.BOOK:
        return
    named = list(state.risk) if message.scope is Scope.ALL else [message.target]
    for account in named:
        row = state.risk.get(account)
        if row is not None and row.drawdown_since is not None:
            state.put_risk(row.evolve(drawdown_since=None, high_water=None), change)


# -- the objection to an entry --------------------------------------------------------------------------------------------


def objection(
    state: LedgerState, book: BookRow, portfolio: Portfolio, now_ms: int
) -> tuple[Code, str] | None:
    """The first rule that holds an entry on *book* back, and a sentence that names its setting."""
    held = _held(state, book, portfolio, now_ms)
    if held is not None:
        return held.code, held.reason
    for account in ("", book.account):
        if portfolio.of(account).needs_nav:
            trouble = _trouble(state, account, portfolio, now_ms)
            if trouble is not None:
                return Code.NAV_UNKNOWN, trouble
    return None


def _held(state: LedgerState, book: BookRow, portfolio: Portfolio, now_ms: int) -> Hold | None:
    for account in ("", book.account):
        row = state.risk.get(account)
        if row is not None:
            for hold in holds_of(row, portfolio.of(account), now_ms):
                return hold
    return cooldown_of(book, portfolio.of(book.account), now_ms)


def _trouble(state: LedgerState, account: str, portfolio: Portfolio, now_ms: int) -> str | None:
    """Why NAV of *account* is not known; None when it is."""
    mark, whose = state.marks.get(account), f"account {account}" if account else "all accounts"
    if mark is None or mark.nav is None:
        return f"NAV of {whose} is not known: {mark.why if mark is not None else _NONE_YET}"[:1000]
    if now_ms - mark.at > portfolio.max_nav_age_ms:
        return (
            f"NAV of {whose} was marked {(now_ms - mark.at) / 1000:.1f} s ago;"
            f" limits.max_nav_age_s is {portfolio.max_nav_age_ms / 1000:g}"
        )
    return None


def limits_in_force(state: LedgerState, account: str, limits: Limits, portfolio: Portfolio) -> Limits:
    """The limits of *account* (*limits*: everybody's), shrunk as drawdown and volatility demand; never above their base."""
    found = portfolio.limits.get(account, limits)
    own, every = _factor(state, account, portfolio.of(account)), _factor(state, "", portfolio.total)
    if own < 1:
        found = replace(
            found,
            max_symbol_notional=mul(found.max_symbol_notional, own),
            max_account_notional=mul(found.max_account_notional, own),
            shrunk=own,
        )
    if every < 1:
        found = replace(
            found,
            max_total_notional=mul(found.max_total_notional, every),
            max_total_long_notional=_times(found.max_total_long_notional, every),
            max_total_short_notional=_times(found.max_total_short_notional, every),
            shrunk_total=every,
        )
    return found


def _times(limit: Decimal | None, factor: Decimal) -> Decimal | None:
    return None if limit is None else mul(limit, factor)


def _factor(state: LedgerState, account: str, rules: PortfolioRules) -> Decimal:
    """One while NAV is not known: an entry is refused then anyway."""
    row, mark = state.risk.get(account), state.marks.get(account)
    if not rules.shrinks or row is None or mark is None or mark.nav is None:
        return ONE
    return shrink_factor(drawdown_of(mark.nav, row.high_water), row.variance, rules)
