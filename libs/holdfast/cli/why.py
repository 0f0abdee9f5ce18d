"""`explain`: why is it still open, and for a closed position: what closed it, and what every other rule would have done."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import Config, Dir, fail
from holdfast.cli.show import Column, Json, clock_time, console, duration, plain, print_json, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.bus.client import Client
    from holdfast.contracts.exit_messages import ExitEvaluated
    from holdfast.contracts.messages import Trade
    from holdfast.contracts.rows import PositionRow
    from holdfast.domain.conditions import Seen


@dataclass(slots=True)
class Known:
    """A position, what is seen of its market, and the trade that it has become, if it is closed."""

    row: "PositionRow"
    seen: "Seen"
    atr: Decimal | None
    trade: "Trade | None" = None
    stop: Decimal | None = None
    """Price of its stop that rests at the venue."""

    def told(self, at: int) -> "ExitEvaluated":
        from holdfast.domain.explaining import evaluated

        return evaluated(self.row, self.seen, self.atr, at)


def explain(
    what: Annotated[str, typer.Argument(metavar="POSITION|SYMBOL", help="A position's id, or the beginning of it, or a symbol.")],
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Why is it still open: every rule in order, how far away it is, what would fire next, and what holds what back."""

    async def work(client: "Client") -> "list[tuple[Known, ExitEvaluated]]":
        return [(one, one.told(client.clock.wall_ms())) for one in await find(client, what)]

    found = on_bus(directory, config, work)
    if not found:
        fail(
            f"no position, open or closed lately, is called {plain(what)}; `holdfast positions` lists the open ones"
        )
    if as_json:
        print_json([_document(one, said) for one, said in found])
        return
    for one, said in found:
        _show(one, said)


def _document(one: Known, said: "ExitEvaluated") -> dict[str, Any]:
    from holdfast.domain.conditions import thresholds_of

    closed = None if one.trade is None else one.trade.model_dump(mode="json")
    stop = None if one.stop is None else f"{one.stop:f}"
    return said.model_dump(mode="json") | {
        "trade": closed,
        "stop_at_venue": stop,
        "in_force": thresholds_of(one.row),
    }


# -- finding --------------------------------------------------------------------------------------------------------


async def find(client: "Client", what: str) -> list[Known]:
    """The open positions of that name; without one, the last closed."""
    from holdfast.cli.looking import look
    from holdfast.domain.instruments import canonical_or
    from holdfast.domain.protecting import resting_prices

    seen = await look(client, prices=False, services=False)
    if seen.trouble is not None:
        fail(seen.trouble)
    symbol = canonical_or(what)
    rows = [
        row
        for row in seen.view.positions.values()
        if row.symbol == symbol or row.position_id.startswith(what)
    ]
    if rows:
        markets = await _markets(client, {row.symbol for row in rows})
        stops = resting_prices(rows, seen.view.orders.values())
        return [replace(markets.of(row), stop=stops.get(row.position_id)) for row in rows]
    trade = await _closed(client, what, symbol)
    return [] if trade is None else [_as_it_left(trade)]


async def _closed(client: "Client", what: str, symbol: str) -> "Trade | None":
    from holdfast.contracts.messages import Trade
    from holdfast.contracts.streams import LEDGER_TRADE

    async for entry in client.backwards(LEDGER_TRADE):
        one = entry.message
        if isinstance(one, Trade) and (one.symbol == symbol or one.position_id.startswith(what)):
            return one
    return None


def _as_it_left(trade: "Trade") -> Known:
    """The position as its last exit saw it: the trade's levels and thresholds, at the price that fired."""
    from holdfast.contracts.codes import ExitReason, PositionSide, StopBy
    from holdfast.contracts.money import mul
    from holdfast.contracts.rows import PositionRow
    from holdfast.domain.conditions import Seen
    from holdfast.domain.market import Quote
    from holdfast.domain.policy import expiry

    keys = dict(trade.thresholds)
    take, stop, hold = (keys.pop(name, None) for name in ("take_profit", "stop_loss", "max_hold_s"))
    by = {ExitReason.TRAILING_STOP: StopBy.TRAILING, ExitReason.BREAK_EVEN: StopBy.BREAK_EVEN}
    long = trade.side is PositionSide.LONG
    row = PositionRow(
        position_id=trade.position_id, book_id=trade.position_id, account=trade.account, exchange=trade.exchange, symbol=trade.symbol,
        leg=trade.leg, side=trade.side, kind=trade.kind, contract_size=trade.contract_size, settle=trade.settle, quantity=trade.quantity,
        cost=mul(trade.quantity, trade.entry_price), entry_price=trade.entry_price, take_profit=trade.take_profit, stop_loss=trade.stop_loss,
        take_profit_spec=take or "off", stop_loss_spec=stop or str(trade.stop_loss), terms=" ".join(f"{k}={v}" for k, v in keys.items()),
        expires_at=None if hold is None else expiry(trade.opened_at, Decimal(hold)), opened_at=trade.opened_at, changed_at=trade.closed_at,
        recorded_at=trade.opened_at, bought=trade.quantity if long else 0, sold=0 if long else trade.quantity,
        stop_by=by.get(trade.exit_reason, StopBy.SET),
    )  # fmt: skip
    price, at = trade.trigger_price or trade.exit_price, trade.trigger_at or trade.closed_at
    return Known(row, Seen(Quote(price, price, at, price, price), at), None, trade)


class _Markets:
    """Ticks and predictions that the bus keeps, folded: quotes, market time, ATR, trails, views."""

    def __init__(self, client: "Client") -> None:
        from holdfast.domain.market import Markets
        from holdfast.domain.predictions import Predictions

        self.client, self.markets, self.predictions = (
            client,
            Markets(client.settings.scanner.bad_print_pct),
            Predictions(),
        )
        self.atr: dict[str, Any] = {}
        self.quotes: dict[str, list[Any]] = {}

    def of(self, row: "PositionRow") -> Known:
        """A position with its stop where the ticks since its mark have brought it."""
        from holdfast.domain.conditions import Seen, closing_price
        from holdfast.domain.trailing import advance

        quotes = self.quotes.get(row.symbol, [])
        atr = self.atr[row.symbol].value if row.symbol in self.atr else None
        since = row.opened_at if row.high_water_at is None else row.high_water_at
        for quote in quotes:
            if quote.at > since:
                row = advance(row, closing_price(row, quote), quote.at, row.atr)
        wall = self.client.clock.wall_ms()
        now = self.markets.now(row.symbol, self.client.clock.monotonic_ms())
        views = self.predictions.current(row.symbol, wall)
        return Known(row, Seen(quotes[-1] if quotes else None, now, views), atr)


async def _markets(client: "Client", symbols: "Iterable[str]") -> _Markets:
    from holdfast.cli.looking import ALL_TICKS
    from holdfast.contracts.exit_messages import Prediction
    from holdfast.contracts.messages import Tick
    from holdfast.contracts.streams import MARKET_TICK, PREDICTION
    from holdfast.contracts.wire import entry_time_ms
    from holdfast.domain.atr import Atr
    from holdfast.domain.instruments import canonical_or, tick_of_book

    wanted, found = set(symbols), _Markets(client)
    wall, steady = client.clock.wall_ms(), client.clock.monotonic_ms()
    for entry in reversed(await client.newest(MARKET_TICK, ALL_TICKS)):
        tick = tick_of_book(entry.message) if isinstance(entry.message, Tick) else None
        if tick is None or tick.symbol not in wanted:
            continue
        quote = found.markets.on_tick(tick, wall, steady - max(0, wall - entry_time_ms(entry.entry_id)))
        if quote is not None:
            found.quotes.setdefault(tick.symbol, []).append(quote)
            found.atr.setdefault(tick.symbol, Atr()).tick(quote.last or quote.bid, quote.at)
    for entry in reversed(await client.newest(PREDICTION, 1000)):
        if isinstance(entry.message, Prediction):
            found.predictions.hear(entry.message, canonical_or(entry.message.symbol), wall)
    return found


# -- showing --------------------------------------------------------------------------------------------------------


def _percent(value: Any) -> str:
    return f"{Decimal(value):+.2f} %"


def _plain_number(value: Any) -> str:
    return f"{Decimal(value):+.2f}"


_RULES = (
    Column("rule", "rule"),
    Column("", "stands"),
    Column("at price", "at_price", right=True),
    Column("away", "distance_pct", _percent, right=True),
    Column("ATR", "distance_atr", _plain_number, right=True),
    Column("profit there", "profit_there", _plain_number, right=True),
    Column("why", "text"),
)
_VETOES = (Column("veto", "rule"), Column("", "stands"), Column("why", "text"))


def _show(one: Known, said: "ExitEvaluated") -> None:
    for line in _head(one, said):
        print(plain(line))
    rules = [row.model_dump(mode="json") | {"stands": "fires" if row.fires else "-"} for row in said.rules]
    vetoes = [row.model_dump(mode="json") | {"stands": "holds" if row.fires else "-"} for row in said.vetoes]
    console().print(table(rows_for_people(rules), _RULES))
    console().print(table(vetoes, _VETOES))


def rows_for_people(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Amounts cut to what a person reads; those that programs need are in --json."""
    return [row | {"at_price": _short(row["at_price"])} for row in rules]


def _short(amount: str | None) -> str | None:
    return None if amount is None else f"{Decimal(amount):.8f}".rstrip("0").rstrip(".")


def _head(one: Known, said: "ExitEvaluated") -> "Iterable[str]":
    row, trade = one.row, one.trade
    price = "no price yet" if said.price is None else f"at {_short(str(said.price))}"
    yield f"{row.symbol} {row.side.value} {row.quantity:f} from {_short(str(row.entry_price))}, {price}  ({row.position_id}, thresholds {said.thresholds})"
    if trade is not None:
        yield f"closed {clock_time(trade.closed_at)} by {trade.exit_reason.value} at {_short(str(trade.exit_price))}: {_plain_number(trade.realized_pnl)} {trade.settle}{_gap(trade)}"
        yield "what each rule said at that moment:"
        return
    if said.market_at is not None:
        yield f"held for {duration(max(0, said.market_at - row.opened_at) // 1000)} of market time"
    if one.stop is not None:
        yield f"its stop rests at {row.exchange}, at {_short(str(one.stop))}"
    elif row.exchange != "paper":
        yield f"no stop rests at {row.exchange}"
    if said.fires is not None:
        yield f"fires: {said.fires.value}"
    elif said.held_by is not None:
        until = (
            ""
            if said.held_until is None or said.market_at is None
            else f", {max(0, said.held_until - said.market_at) // 1000} s to go"
        )
        yield f"{said.held_rule} is held back by {said.held_by}: {said.held_why}{until}"
    else:
        nexts = [f"{name} if {when}" for name, when in ((said.next_up, "the price rises"), (said.next_down, "it falls"), (said.next_in_time, "only time passes")) if name]  # fmt: skip
        yield "nothing fires; next: " + (", ".join(nexts) or "nothing that is known")


def _gap(trade: "Trade") -> str:
    """Says so when the price had jumped over the level."""
    if (
        trade.trigger_level is None
        or trade.trigger_price is None
        or trade.trigger_price == trade.trigger_level
    ):
        return ""
    return f"; a gap: its level was {_short(str(trade.trigger_level))}, the price that fired it {_short(str(trade.trigger_price))}"


def register(app: typer.Typer) -> None:
    app.command()(explain)
