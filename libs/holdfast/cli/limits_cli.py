"""`limits`: which rules of the portfolio hold entries back, since when and until when, and how each account stands."""

from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import Config, Dir, fail, settings_of
from holdfast.cli.show import Column, Json, clock_time, console, print_json, short, table
from holdfast.contracts.money import HUNDRED, ONE, ZERO, canonical, divide, mul, sub

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.cli.looking import Look
    from holdfast.domain.portfolio_rules import Hold
    from holdfast.runtime.settings import Settings

_HOLDS = (
    Column("scope", "scope"), Column("rule", "code"), Column("since", "since_ms", clock_time),
    Column("until", "until"), Column("why", "reason"),
)  # fmt: skip


def _percent(value: str) -> str:
    return f"{Decimal(value):.2f} %"


_ACCOUNTS = (
    Column("account", "account"), Column("NAV", "nav", short, right=True), Column("wallet", "wallet", short, right=True), Column("high-water mark", "high_water", short, right=True),
    Column("drawdown", "drawdown_pct", _percent, right=True), Column("day began with", "day_nav", short, right=True),
    Column("today", "day_pct", _percent, right=True), Column("losses in a row", "losses", right=True),
    Column("limits at", "limits_pct", _percent, right=True), Column("NAV is not known because", "missing"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command("limits")(limits)


def limits(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Rules that hold entries back, since when and until when; how each account stands. Exits pass whatever is shown."""
    from holdfast.cli.looking import look

    settings = settings_of(directory, config)

    async def work(client: "Client") -> "Look":
        return await look(client)

    seen = on_bus(directory, config, work)
    if seen.trouble is not None:
        fail(seen.trouble)
    found, accounts = holds_in(seen, settings), standing(seen, settings)
    if as_json:
        print_json({"holds": [asdict(hold) for hold in found], "accounts": accounts})
        return
    print("entries are held back:" if found else "no rule holds entries back")
    if found:
        console().print(table([asdict(hold) | {"until": until(hold)} for hold in found], _HOLDS))
    console().print(table(accounts, _ACCOUNTS))


def holds_in(seen: "Look", settings: "Settings") -> "list[Hold]":
    """The rules that hold entries back, as of *seen*."""
    from holdfast.domain.portfolio_rules import all_holds
    from holdfast.runtime.limit_settings import portfolio_of

    return all_holds(seen.view.risk, seen.view.books.values(), portfolio_of(settings), seen.now_ms)


def until(hold: "Hold") -> str:
    """When *hold* ends, as people read it."""
    return "a person resumes" if hold.until_ms is None else clock_time(hold.until_ms)


def standing(seen: "Look", settings: "Settings") -> list[dict[str, Any]]:
    """A row for each account there is, and one for all where there are several. What no rule needs is not kept: None."""
    from holdfast.domain.holdings import Basis, Holdings
    from holdfast.runtime.live_settings import capital_of

    view, holdings = seen.view, Holdings()
    holdings.load(view.positions.values())
    basis = Basis(
        totals=view.totals.values(), navs=view.nav.values(), marks=seen.marks, now_ms=seen.now_ms,
        max_mark_age_ms=int(settings.executor.max_tick_age_s * 1000), capital=capital_of(settings),
        base_currency=settings.ledger.base_currency,
    )  # fmt: skip
    there = {*settings.accounts, *view.risk, *(row.account for row in view.positions.values())} - {""}
    navs = {account: holdings.nav_of(account, basis) for account in sorted(there)}
    rows = [_row(seen, settings, account, nav) for account, nav in navs.items()]
    if len(navs) > 1:
        known = [nav for nav in navs.values() if isinstance(nav, Decimal)]
        total: Decimal | str = sum(known, ZERO) if len(known) == len(navs) else "an account's is not"
        rows.append(_row(seen, settings, "", total))
    return rows


def _row(seen: "Look", settings: "Settings", account: str, nav: Decimal | str) -> dict[str, Any]:
    from holdfast.contracts.portfolio import RiskRow
    from holdfast.domain.portfolio_rules import DAY_MS, drawdown_of, shrink_factor
    from holdfast.domain.wallets import wallets_in
    from holdfast.runtime.limit_settings import portfolio_of

    rules = portfolio_of(settings).of(account)
    kept = seen.view.risk.get(account) or RiskRow(account=account)
    known = nav if isinstance(nav, Decimal) else None
    depth = drawdown_of(known, kept.high_water) if known is not None and kept.high_water is not None else None
    day = kept.day_nav if kept.day == seen.now_ms // DAY_MS else None
    lost = None if day is None or known is None or day <= 0 else divide(sub(known, day), day)
    return {
        "account": account or "all", "nav": _text(known), "wallet": _text(wallets_in(seen.services.beats).get(account)), "high_water": _text(kept.high_water), "drawdown_pct": _text(depth, HUNDRED),
        "day_nav": _text(day), "day_pct": _text(lost, HUNDRED), "losses": kept.losses,
        "limits_pct": _text(shrink_factor(depth or ZERO, kept.variance, rules), HUNDRED), "missing": nav if isinstance(nav, str) else None,
    }  # fmt: skip


def _text(amount: Decimal | None, times: Decimal = ONE) -> str | None:
    return None if amount is None else canonical(mul(amount, times))
