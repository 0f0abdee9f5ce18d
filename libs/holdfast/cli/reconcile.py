"""`reconcile`: what the exchange holds and what the ledger has recorded, side by side, read by this command itself.

It shows first. With --apply it takes in what is in quarantine, as `quarantine --adopt` does; a difference that quarantine does not
explain is a person's to look into, and stays. On spot a position is what our own orders bought, and the other coins are inventory.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import NOT_CONFIRMED, Config, Dir, fail, settings_of
from holdfast.cli.orders import Wait
from holdfast.cli.quarantine import adopt_rows
from holdfast.cli.show import Column, Json, print_json, print_rows, short
from holdfast.cli.store_tools import Yes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.bus.client import Client
    from holdfast.contracts.messages import Fill
    from holdfast.domain.coins import Place
    from holdfast.domain.view import LedgerView
    from holdfast.runtime.settings import Settings
    from holdfast.venues.ccxt_venue import CcxtVenue

OVERLAP_MS = 600_000
_COLUMNS = (
    Column("book", "book"), Column("ledger", "ledger", short, right=True), Column("quarantine", "quarantine", short, right=True),
    Column("venue", "venue", short, right=True), Column("inventory", "inventory", short, right=True), Column("", "verdict"),
)  # fmt: skip
Apply = typer.Option(False, "--apply", help="Then take in what is in quarantine.")
Only = typer.Option([], "--account", help="Only this one; may be repeated. All live accounts without it.")


def register(app: typer.Typer) -> None:
    app.command("reconcile")(reconcile)


def reconcile(
    apply: bool = Apply,
    account: list[str] = Only,
    yes: Yes = False,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Ledger against exchange: positions and open orders of every live account. Exit code 0 they agree, 1 they do not."""
    from holdfast.runtime.live_settings import meant_live

    settings = settings_of(directory, config)
    if not meant_live(settings):
        fail('no account has mode = "live"; for paper there is `holdfast audit`', 2)
    if unknown := [name for name in account if name not in meant_live(settings)]:
        fail(f"{', '.join(unknown)}: no live account; there are {', '.join(meant_live(settings))}", 2)
    names = account or list(meant_live(settings))

    async def read(client: "Client") -> "tuple[LedgerView, list[dict[str, Any]]]":
        return await _read(client, settings, names)

    view, rows = on_bus(directory, config, read)
    if as_json:
        print_json(rows)
    else:
        print_rows(
            rows, _COLUMNS, as_json=False, empty="nothing is held on either side, and no order is open"
        )
    aside = [row for row in view.quarantine.values() if not account or row.account in account]
    aside.sort(key=lambda row: (row.executed_at, row.at))
    if apply and aside:
        if not yes and (as_json or not typer.confirm(f"Take {len(aside)} fills in?")):
            fail("nothing was taken in; say --yes if that is what you want", 2)
        missing, _ = on_bus(directory, config, lambda client: adopt_rows(client, aside, wait))
        if missing:
            fail(f"not confirmed: {', '.join(sorted(missing))}; repeating the command is safe", NOT_CONFIRMED)
    raise typer.Exit(0 if all(row["agrees"] for row in rows) else 1)


async def _read(
    client: "Client", settings: "Settings", names: list[str]
) -> "tuple[LedgerView, list[dict[str, Any]]]":
    """The ledger first, then each exchange. Ends the command where either cannot be read."""
    from holdfast.cli.looking import look
    from holdfast.runtime.faults import Terminal
    from holdfast.venues.live import connect
    from holdfast.venues.port import VenueUnreadable

    seen = await look(client, prices=False, services=False)
    if seen.trouble is not None:
        fail(seen.trouble)
    rows: list[dict[str, Any]] = []
    for name in names:
        try:
            venue = await connect(settings, name, client.clock)
            try:
                held, orders = (
                    await _held(seen.view, venue, client.clock.wall_ms()),
                    await venue.open_orders(),
                )
            finally:
                await venue.close()
        except VenueUnreadable as error:
            fail(f"{name} at {settings.account[name].exchange} cannot be read: {error}")
        except Terminal as error:
            fail(str(error), error.code)
        key = (name, venue.exchange)
        rows += _positions(seen.view, key, *held)
        rows += _orders(seen.view, key, {one.order_id: one.symbol for one in orders})
    return seen.view, rows


async def _held(
    view: "LedgerView", venue: "CcxtVenue", now: int
) -> "tuple[Mapping[Place, Decimal], Mapping[Place, Decimal]]":
    """What the exchange holds for us; on spot also what of the coins is inventory. Raises VenueUnreadable."""
    from holdfast.contracts.codes import Leg
    from holdfast.contracts.money import ZERO, sub
    from holdfast.domain.coins import covered, recorded_of, shortages
    from holdfast.domain.orders import is_ours
    from holdfast.domain.position import base_of

    if not venue.shows_coins:
        return {(one.symbol, one.leg): one.quantity for one in await venue.positions()}, {}
    here, aside = _recorded(view, (venue.account, venue.exchange))
    quantities = {
        place: here.get(place, ZERO) + aside.get(place, ZERO) for place in here.keys() | aside.keys()
    }
    recorded = recorded_of(view, venue.account, venue.exchange, quantities)
    totals = {coin: whole for coin, (_, whole) in (await venue.balances()).items()}
    sides: tuple[dict[Place, list[Fill]], ...] = {}, {}
    for fill in await venue.trades_since(
        recorded.since(max(recorded.last.values(), default=now) - OVERLAP_MS, now)
    ):
        sides[is_ours(fill.order_id)].setdefault((fill.symbol, fill.leg), []).append(fill)
    there = recorded.by_trades(sides[1], sides[0], now)
    needed = recorded.needed()
    covered(there, recorded, shortages(needed, totals))
    places = [(symbol, Leg.NET) for symbol in venue.traded_symbols()]
    inventory = {
        place: sub(totals.get(base_of(place[0]), ZERO), needed.get(base_of(place[0]), ZERO))
        for place in places
    }
    return there, {place: amount for place, amount in inventory.items() if amount > 0}


def _recorded(
    view: "LedgerView", key: tuple[str, str]
) -> "tuple[dict[Place, Decimal], dict[Place, Decimal]]":
    """What the ledger holds of one account, signed, and what of it is in quarantine."""
    from holdfast.contracts.money import ZERO

    here: dict[Place, Decimal] = {}
    aside: dict[Place, Decimal] = {}
    for position in view.positions.values():
        if (position.account, position.exchange) == key:
            signed = position.quantity if position.side.value == "long" else -position.quantity
            here[position.symbol, position.leg] = signed
    for row in view.quarantine.values():
        if (row.account, row.exchange) == key and row.side is not None:
            place = (row.symbol, row.leg)
            aside[place] = aside.get(place, ZERO) + (
                row.quantity if row.side.value == "long" else -row.quantity
            )
    return here, aside


def _positions(
    view: "LedgerView",
    key: tuple[str, str],
    there: "Mapping[Place, Decimal]",
    inventory: "Mapping[Place, Decimal]",
) -> list[dict[str, Any]]:
    """A row for each book that somebody holds something of. Inventory is shown and no difference."""
    from holdfast.contracts.money import ZERO, canonical
    from holdfast.contracts.rows import book_id

    here, aside = _recorded(view, key)
    rows = []
    for place in sorted(here.keys() | aside.keys() | there.keys() | inventory.keys()):
        ours, apart, theirs = (table.get(place, ZERO) for table in (here, aside, there))
        agrees = ours + apart == theirs
        verdict = "differs" if not agrees else "in quarantine" if apart else "same" if theirs else "inventory"
        rows.append(
            {"book": book_id(*key, *place), "inventory": canonical(inventory.get(place, ZERO)), "ledger": canonical(ours), "quarantine": canonical(apart),
             "venue": canonical(theirs), "agrees": agrees, "verdict": verdict}
        )  # fmt: skip
    return rows


def _orders(view: "LedgerView", key: tuple[str, str], there: dict[str, str]) -> list[dict[str, Any]]:
    """Stops that rest, and orders that only one side shows open. One that the ledger has just reserved may be on its way."""
    rows = [row for row in view.orders.values() if (row.account, row.exchange) == key]
    live = {row.order_id: row.symbol for row in rows}
    both = [row for row in rows if row.stop_price is not None and row.order_id in there]
    only = [(name, there[name], "open at the venue alone") for name in there.keys() - live.keys()]
    only += [(name, live[name], "live in the ledger alone") for name in live.keys() - there.keys()]
    return [
        {"book": row.book_id, "inventory": "", "ledger": short(row.quantity), "quarantine": "", "venue": short(row.quantity), "agrees": True,
         "verdict": f"stop at {short(row.stop_price)}"}
        for row in both
    ] + [
        {"book": f"{key[0]}/{key[1]}/{symbol}", "inventory": "", "ledger": name if name in live else "", "quarantine": "", "venue": name if name in there else "",
         "agrees": False, "verdict": f"order {text}"}
        for name, symbol, text in sorted(only)
    ]  # fmt: skip
