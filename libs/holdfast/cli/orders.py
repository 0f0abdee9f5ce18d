"""`intent`, `close`, `cancel`, `flatten`: a wish is published, and the command returns when the ledger has answered it.

Exit codes: 0 the ledger has recorded it (an entry may rest: "accepted, not filled yet"), 1 it was refused, 2 wrong usage and
nothing was published, 3 no answer came in time: then repeating with the same --id is safe, because an intent has one end.
"""

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import FAILED, NOT_CONFIRMED, Config, Dir, fail, settings_of
from holdfast.cli.show import Json, plain, print_json

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.bus.client import Client
    from holdfast.contracts.messages import IntentResult, OrderIntent
    from holdfast.contracts.rows import PositionRow

USAGE = 2
Wait = Annotated[float, typer.Option(min=0.1, max=3600, help="Longest wait for the answer, in s.")]
Id = Annotated[
    str | None,
    typer.Option("--id", help="Id of the intent; the same id again is the same intent.", show_default=False),
]
AsProducer = Annotated[
    str | None,
    typer.Option(
        "--key", help="Sign as this producer, on its own stream; see `holdfast keys`.", show_default=False
    ),
]
Account = Annotated[str, typer.Option(help="The account.")]
Exchange = Annotated[
    str | None,
    typer.Option(help="The exchange. Default: where the account trades by the settings.", show_default=False),
]


def register(app: typer.Typer) -> None:
    app.command("intent", context_settings={"ignore_unknown_options": True})(
        intent
    )  # a quantity of -1 is named as such
    app.command("close")(close)
    app.command("cancel")(cancel)
    app.command("flatten")(flatten)


def intent(
    side: Annotated[str, typer.Argument(help="buy or sell (long and short are understood).")],
    symbol: Annotated[str, typer.Argument(help="Like BTC/USDT or BTCUSDT.")],
    quantity: Annotated[str | None, typer.Argument(help="Units of the instrument, like 0.01; or one of --quote, --nav-pct, --risk-pct.", show_default=False)] = None,
    quote: Annotated[str | None, typer.Option(help="Size as a value in the quote currency, like 500.", show_default=False)] = None,
    nav_pct: Annotated[str | None, typer.Option(help="Size as a value in percent of NAV.", show_default=False)] = None,
    risk_pct: Annotated[str | None, typer.Option(help="Size by what the stop-loss would lose, in percent of NAV.", show_default=False)] = None,
    replaces: Annotated[str | None, typer.Option(metavar="INTENT_ID", help="The entry whose place this one takes.", show_default=False)] = None,
    take_profit: Annotated[str | None, typer.Option(help="Price, percent like 5%, off, or a ladder like 5%:0.5,10%:0.5.", show_default=False)] = None,
    stop_loss: Annotated[str | None, typer.Option(help="Price, or percent like 2%.", show_default=False)] = None,
    ttl: Annotated[str | None, typer.Option(help="Longest hold, in market seconds.", show_default=False)] = None,
    exit_keys: Annotated[list[str] | None, typer.Option("--exit", metavar="KEY=VALUE", help="A key of the section exits for this position, like trailing.distance_pct=2. Repeatable.", show_default=False)] = None,
    reduce_only: Annotated[bool, typer.Option("--reduce-only", help="May only shrink a position.")] = False,
    order_type: Annotated[str | None, typer.Option("--type", help="market or limit; limit when there is a --price.", show_default=False)] = None,
    price: Annotated[str | None, typer.Option(help="Of a limit order.", show_default=False)] = None,
    time_in_force: Annotated[str, typer.Option("--tif", help="gtc, ioc or fok.")] = "gtc",
    post_only: Annotated[bool, typer.Option("--post-only", help="A limit order that must not take.")] = False,
    strategy: Annotated[str | None, typer.Option(help="A label that follows it to the trade.", show_default=False)] = None,
    intent_id: Id = None,
    key: AsProducer = None,
    account: Account = "main",
    exchange: Exchange = None,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Buy or sell. What you leave out of the exits is seeded from policy: no position is ever without them."""
    from holdfast.contracts.streams import ORDER_INTENT, ORDER_INTENT_EXIT

    document = {
        "symbol": symbol, "side": side, "quantity": quantity, "quote_amount": quote, "nav_pct": nav_pct, "risk_pct": risk_pct,
        "replaces": replaces, "take_profit": take_profit, "stop_loss": stop_loss,
        "ttl_s": ttl, "exits": _pairs(exit_keys), "reduce_only": reduce_only, "type": order_type or ("limit" if price is not None else "market"), "price": price,
        "time_in_force": time_in_force, "post_only": post_only, "strategy": strategy, "account": account,
        "exchange": _at(account, exchange, directory, config),
    }  # fmt: skip

    async def work(client: "Client") -> "Answers":
        wish = make(client, intent_id, document, key)
        return await ask(client, [(ORDER_INTENT_EXIT if wish.reduces else ORDER_INTENT, wish)], wait, key)

    made(intent_id, document)
    end(on_bus(directory, config, work, who=key), as_json=as_json)


def _at(account: str, exchange: str | None, directory: "Path | None", config: "Path | None") -> str:
    """*exchange*, or where the settings say that *account* trades: a live one at its exchange, every other one on paper."""
    from holdfast.runtime.live_settings import PAPER, meant_live

    if exchange is not None:
        return exchange
    settings = settings_of(directory, config)
    live = {} if settings.dry_run else meant_live(settings)
    return live[account].exchange if account in live else PAPER


def _pairs(exit_keys: list[str] | None) -> dict[str, str] | None:
    """`--exit KEY=VALUE`, as the intent has them."""
    return dict(one.partition("=")[::2] for one in exit_keys) if exit_keys else None


def close(
    symbol: Annotated[str | None, typer.Argument(help="Whose position to close.", show_default=False)] = None,
    position: Annotated[str | None, typer.Option(help="The position's id, or the beginning of it.", show_default=False)] = None,
    quantity: Annotated[str | None, typer.Option(help="Less than all of it.", show_default=False)] = None,
    fraction: Annotated[str | None, typer.Option(help="This share of it, like 0.5.", show_default=False)] = None,
    soft: Annotated[bool, typer.Option("--soft", help="Only a signal to leave: vetoes may hold it back.")] = False,
    intent_id: Id = None,
    account: Account = "main",
    exchange: Exchange = None,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Close a position at market, by its symbol or with --position by its id. Never stopped by a halt or a limit."""
    from holdfast.contracts.streams import ORDER_INTENT_EXIT

    if (symbol is None) == (position is None):
        fail(
            "name a SYMBOL or a --position, like: holdfast close BTC/USDT. `holdfast positions` lists them",
            USAGE,
        )
    document: dict[str, Any] = {
        "action": "close", "symbol": symbol or "?", "quantity": quantity, "fraction": fraction, "account": account,
        "exchange": _at(account, exchange, directory, config), "reason": "signal" if soft else "close",
        "soft": soft,
    }  # fmt: skip

    async def work(client: "Client") -> "Answers":
        named = document if position is None else document | await where(client, position)
        return await ask(client, [(ORDER_INTENT_EXIT, make(client, intent_id, named))], wait)

    made(intent_id, document)
    end(on_bus(directory, config, work), as_json=as_json)


def cancel(
    what: Annotated[str, typer.Argument(metavar="ORDER_ID|SYMBOL", help="One order, or all entries of a symbol.")],
    intent_id: Id = None,
    account: Account = "main",
    exchange: Exchange = None,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Ask for the cancel of one order (by order or intent id) or of every resting entry of a symbol."""
    from holdfast.contracts.base import ContractViolation
    from holdfast.contracts.streams import ORDER_INTENT_EXIT
    from holdfast.domain.instruments import canonical

    document: dict[str, Any] = {
        "action": "cancel", "account": account, "exchange": _at(account, exchange, directory, config),
    }  # fmt: skip
    try:
        document["symbol"] = canonical(what)
    except ContractViolation:
        document["order_id"] = what  # no pair, so it is the name of an order

    async def work(client: "Client") -> "Answers":
        return await ask(client, [(ORDER_INTENT_EXIT, make(client, intent_id, document))], wait)

    made(intent_id, document)
    end(on_bus(directory, config, work), as_json=as_json)


def flatten(
    account: Annotated[str | None, typer.Option(help="Only this account.", show_default=False)] = None,
    intent_id: Id = None,
    wait: Wait = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Close every open position at market and cancel every resting entry. New entries stay allowed: see `halt`."""

    async def work(client: "Client") -> "Answers":
        from holdfast.contracts.streams import ORDER_INTENT_EXIT

        base = intent_id or client.ids.new()
        wishes = [make(client, key, document) for key, document in await _everything(client, account, base)]
        answers = await ask(client, [(ORDER_INTENT_EXIT, wish) for wish in wishes], wait)
        answers.repeat_with = base
        return answers

    answers = on_bus(directory, config, work)
    if not answers.wishes and not as_json:
        print("nothing to do: no open positions, no resting entries")
        return
    end(answers, as_json=as_json, many=True)


async def _everything(client: "Client", account: str | None, base: str) -> list[tuple[str, dict[str, Any]]]:
    """One close per open position, then one cancel per live entry; ids derive from *base*, so that it can be repeated."""
    from holdfast.domain.view import LedgerView
    from holdfast.domain.wishes import flatten as everything

    view = LedgerView()
    await client.ledger(view)
    return list(everything(view, account, base))


# -- making and asking --------------------------------------------------------------------------------------------------


def made(intent_id: str | None, document: dict[str, Any]) -> None:
    """Check the intent before anything is reached: a wrong one ends the command with code 2 and publishes nothing."""
    _validated({"id": intent_id or "check", "at": 0, **document})


def make(
    client: "Client", intent_id: str | None, document: dict[str, Any], producer: str | None = None
) -> "OrderIntent":
    """The intent; entries expire a minute from now. The ids of a *producer* begin with its name."""
    from holdfast.contracts.wire import ENTRY_LIFETIME_MS

    key, now = intent_id or client.ids.new(), client.clock.wall_ms()
    if producer is not None:
        key = f"{producer}:{key.removeprefix(f'{producer}:')}"
    wish = _validated({"id": key, "at": now, "correlation_id": key, **document})
    if wish.action == "open" and not wish.reduces:
        return wish.evolve(expires_at=now + ENTRY_LIFETIME_MS)
    return wish


def _validated(document: dict[str, Any]) -> "OrderIntent":
    from pydantic import ValidationError

    from holdfast.contracts.base import ContractViolation
    from holdfast.contracts.messages import OrderIntent

    given = {
        key: _amount(value) if key in _AMOUNTS else value
        for key, value in document.items()
        if value is not None
    }
    try:
        return OrderIntent.model_validate(given)
    except ValidationError as error:
        fail(f"{ContractViolation.of(error)}; nothing was sent", USAGE)


_AMOUNTS = {"quantity", "quote_amount", "nav_pct", "risk_pct", "fraction", "price", "ttl_s"}


def _amount(value: Any) -> Any:
    """What a person types for a number: `1e-3` and `.5` too; what is none is left for the contract to name."""
    try:
        amount = Decimal(value.strip())
    except (InvalidOperation, AttributeError):
        return value
    return format(amount, "f") if amount.is_finite() and abs(amount.adjusted()) < 40 else value


class Answers:
    """The newest answer to each of several intents."""

    def __init__(self, wishes: "list[OrderIntent]") -> None:
        self.wishes = {wish.id: wish for wish in wishes}
        self.results: dict[str, IntentResult] = {}
        self.trouble = ""
        self.repeat_with = next(iter(self.wishes), "")

    def take(self, message: Any) -> bool:
        """Note an answer; True when every intent has come to an end."""
        if message.intent_id in self.wishes:
            self.results[message.intent_id] = message
        return all(key in self.results and self.is_over(key) for key in self.wishes)

    def is_over(self, key: str) -> bool:
        """Whether nothing more is waited for: it has an end, or is UNKNOWN."""
        return self.results[key].status != "accepted"

    def code(self, key: str) -> int:
        """The exit code of one intent."""
        result, wish = self.results.get(key), self.wishes[key]
        if result is None or result.status == "unknown":
            return NOT_CONFIRMED
        if result.status in ("accepted", "filled", "partly_filled", "noted"):
            return 0
        if wish.action == "cancel" and result.status == "canceled":
            return 0
        if wish.reason == "flatten" and result.code in ("position_gone", "nothing_to_close"):
            return 0  # closed already is what was wanted
        return FAILED


async def ask(
    client: "Client", wishes: "list[tuple[Any, OrderIntent]]", wait: float, producer: str | None = None
) -> Answers:
    """Publish all *wishes* (stream, intent) and wait until each has an end, at most *wait* seconds.

    Signed by *producer*, they go to its own stream.
    """
    from holdfast.contracts.streams import INTENT_RESULT, intent_stream
    from holdfast.contracts.wire import Out

    client.sign_as(producer)
    if producer is not None:
        wishes = [(intent_stream(producer), wish) for _, wish in wishes]
    answers = Answers([wish for _, wish in wishes])
    if wishes:
        await client.ask([Out(stream, wish) for stream, wish in wishes], INTENT_RESULT, answers.take, wait)
    answers.trouble = client.trouble
    return answers


async def where(client: "Client", key: str) -> dict[str, Any]:
    """Symbol, account, exchange and id of a position, open or closed since. Ends the command when there is none, or several."""
    from holdfast.contracts.streams import LEDGER_TRADE
    from holdfast.domain.view import LedgerView

    view = LedgerView()
    await client.ledger(view)
    found: dict[str, PositionRow | Any] = {
        row.position_id: row for row in view.positions.values() if row.position_id.startswith(key)
    }
    if not found:
        async for entry in client.backwards(LEDGER_TRADE):
            if entry.message is not None and getattr(entry.message, "position_id", "").startswith(key):
                found[getattr(entry.message, "position_id", "")] = entry.message
    if len(found) != 1:
        count = "no" if not found else f"{len(found)} different"
        fail(f"{count} positions begin with {plain(key)}; `holdfast positions` lists the open ones")
    row = next(iter(found.values()))
    return {
        "symbol": row.symbol, "account": row.account, "exchange": row.exchange, "position_id": row.position_id,
    }  # fmt: skip


def end(answers: Answers, *, as_json: bool, many: bool = False) -> None:
    """Print what came of it and end with its exit code."""
    codes = [answers.code(key) for key in answers.wishes]
    rows = [answers.results[key].model_dump(mode="json") for key in answers.wishes if key in answers.results]
    if as_json:
        if many:
            print_json(rows)
        elif rows:
            print_json(rows[0])
    for key in answers.wishes:
        say(key, answers, quiet=as_json)
    if NOT_CONFIRMED in codes and any(key not in answers.results for key in answers.wishes):
        why = f" ({answers.trouble})" if answers.trouble else ""
        fail(f"not confirmed{why}; repeat with --id {answers.repeat_with} is safe", NOT_CONFIRMED)
    raise typer.Exit(max(codes, default=0) if FAILED not in codes else FAILED)


def say(key: str, answers: Answers, *, quiet: bool) -> None:
    """One line about one intent: what came of it."""
    from holdfast.contracts.money import canonical

    result = answers.results.get(key)
    if result is None:
        return
    what = describe(answers.wishes[key])
    if answers.code(key) == FAILED:
        code = f" {result.code.value}" if result.code is not None else ""
        print_line(
            f"{what}: {result.status.value}{code}: {plain(result.reason or 'no reason given')}", quiet=quiet
        )
    elif result.status == "unknown":
        text = "the venue has given no clear answer yet; it is being looked up, do not send another"
        print_line(f"{what}: unknown: {text} (intent {key})", quiet=quiet)
    elif result.status == "accepted":
        print_line(f"{what}: accepted, not filled yet (order {result.order_id}, intent {key})", quiet=quiet)
    elif result.average_price is not None:
        filled = f"{canonical(result.filled_quantity)} at {canonical(result.average_price)}"
        print_line(
            f"{what}: {result.status.value} {filled} (order {result.order_id}, intent {key})", quiet=quiet
        )
    else:
        print_line(f"{what}: {result.status.value}: {plain(result.reason or 'done')}", quiet=quiet)


def print_line(text: str, *, quiet: bool) -> None:
    if not quiet:
        print(text)


def describe(wish: "OrderIntent") -> str:
    """`buy BTC/USDT 0.01`, `close BTC/USDT`, `cancel c-1a2b`."""
    from holdfast.contracts.money import canonical

    first = wish.side.value if wish.side is not None else wish.action.value
    quantity = f" {canonical(wish.quantity)}" if wish.quantity is not None else ""
    return plain(f"{first} {wish.order_id or wish.symbol or wish.position_id}{quantity}")
