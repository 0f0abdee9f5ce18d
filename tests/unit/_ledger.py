"""The ledger for tests, twice: `Mem` decides in memory; `Desk` is the real service on a real store. Both check themselves.

After every message: the invariants of every book, and that a view fed by the updates, as JSON, holds what the ledger holds.
"""

import asyncio
import sqlite3
from decimal import Decimal
from typing import Any

from holdfast.contracts.codes import Code, Kind, Role, StatusKind
from holdfast.contracts.exit_messages import ExitAdjust, ExitThresholds
from holdfast.contracts.messages import (
    CancelRequest,
    Control,
    Fill,
    LedgerUpdated,
    OrderRequest,
    OrderReserve,
    OrderStatus,
    Refusal,
    SnapshotRequest,
)
from holdfast.contracts.outcomes import TradeOutcome
from holdfast.contracts.portfolio import NavMark
from holdfast.contracts.streams import (
    CONTROL,
    EXIT_ADJUST,
    EXIT_THRESHOLDS,
    FILL,
    INTENT_RESULT,
    LEDGER_SNAPSHOT,
    LEDGER_UPDATED,
    NAV_MARK,
    ORDER_RESERVE,
    ORDER_STATUS,
    SNAPSHOT_REQUEST,
    TRADE_OUTCOME,
)
from holdfast.contracts.trusted import snapshot_of, update_of
from holdfast.contracts.wire import Entry, Numbered, Out
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.invariants import check_book
from holdfast.domain.learning import learn
from holdfast.domain.ledger_state import Known, LedgerState
from holdfast.domain.limits import Limits
from holdfast.domain.portfolio import take_mark
from holdfast.domain.reservation import Rules
from holdfast.domain.reserve import reserve
from holdfast.domain.settle import settle_fill, settle_status
from holdfast.domain.steer import adjust, control
from holdfast.domain.view import LedgerView
from holdfast.runtime.ids import SystemIds
from holdfast.store.batch import GENESIS, chain
from holdfast.store.opening import open_store
from services.ledger.service import Ledger

D = Decimal
NOW = 1_700_000_000_000
BTC, ETH = "BTC/USDT", "ETH/USDT"
BOOK = "main/paper/BTC/USDT"
WIDE = Limits(1000, D(10) ** 60, D(10) ** 60, D(10) ** 60, 1_000_000)


def rules(**changes: Any) -> Rules:
    """Limits that never bite, a stop of 10 % and a take-profit of 20 %."""
    limits = {name: changes.pop(name) for name in tuple(changes) if name.startswith("max_")}
    values = {name: getattr(WIDE, name) for name in Limits.__dataclass_fields__} | limits
    return Rules(**({"limits": Limits(**values), "policy": ExitPolicy(D(10), D(20))} | changes))


# -- messages ---------------------------------------------------------------------------------------------------------


def _reserve(intent: str, **given: Any) -> OrderReserve:
    given.setdefault("id", f"r-{intent}")
    where = {
        name: given.pop(name)
        for name in ("account", "exchange", "symbol", "leg", "epoch", "strategy", "intent_digest", "id")
        if name in given
    }
    return OrderReserve(
        **({"at": NOW, "intent_id": intent, "intent_digest": f"digest-{intent}", "account": "main", "exchange": "paper", "symbol": BTC,
            "incarnation": "e1", "epoch": 1, "correlation_id": f"c-{intent}"} | where | given)
    )  # fmt: skip


def order(intent: str, role: Role, given: dict[str, Any]) -> OrderReserve:
    fields = set(OrderRequest.model_fields)
    wanted = {
        "order_id": f"o-{intent}",
        "kind": Kind.LINEAR,
        "settle": "USDT",
        "quantity_step": "0.001",
        "reference_price": "100",
        "send_by": NOW + 2000,
    }
    wanted |= {name: given.pop(name) for name in tuple(given) if name in fields}
    return _reserve(intent, order=OrderRequest(role=role, **wanted), **given)


def entry(intent: str, side: str = "buy", quantity: str = "1", **given: Any) -> OrderReserve:
    """A proposal to open."""
    return order(intent, Role.ENTRY, {"side": side, "quantity": quantity, **given})


def leave(intent: str, quantity: str | None = None, **given: Any) -> OrderReserve:
    """A proposal to close; by a rule when *reason* is given."""
    return order(intent, Role.EXIT, {"quantity": quantity, **given})


def cancel(intent: str, order_id: str | None = None, **given: Any) -> OrderReserve:
    return _reserve(intent, cancel=CancelRequest(order_id=order_id), **given)


def refusal(intent: str, code: Code, status: str = "blocked", **given: Any) -> OrderReserve:
    return _reserve(intent, refusal=Refusal(code=code, reason="because", status=status), **given)


def fill(
    trade: str, order_id: str = "", side: str = "buy", quantity: str = "1", price: str = "100", **given: Any
) -> Fill:
    """An execution; `order_id` is the client order id (`o-<intent>`)."""
    defaults = {
        "id": f"f-{trade}-{order_id}",
        "at": NOW,
        "account": "main",
        "exchange": "paper",
        "symbol": BTC,
        "executed_at": NOW,
        "instrument": Kind.LINEAR,
    }
    return Fill(
        **(
            defaults
            | {"order_id": order_id, "trade_id": trade, "side": side, "quantity": quantity, "price": price}
            | given
        )
    )


def status(order_id: str, kind: StatusKind | str, **given: Any) -> OrderStatus:
    filled = given.get("filled_quantity", "")
    defaults = {"id": f"s-{order_id}-{kind}-{filled}", "at": NOW, "account": "main", "exchange": "paper"}
    return OrderStatus(**(defaults | {"order_id": order_id, "status": kind} | given))


def steer(state: str, scope: str = "all", target: str = "", **given: Any) -> Control:
    defaults = {"id": f"k-{state}-{scope}-{target}", "at": NOW, "by": "a person", "why": "a test"}
    return Control(**(defaults | {"state": state, "scope": scope, "target": target} | given))


def nav(at: int = NOW, missing: dict[str, str] | None = None, **navs: str) -> NavMark:
    """What accounts are worth: `nav(main="100000")`."""
    what = "-".join(f"{account}{amount}" for account, amount in navs.items())
    return NavMark(id=f"n-{at}-{what}", at=at, currency="USDT", navs=navs, missing=missing or {})


def move_exits(position_id: str, **given: Any) -> ExitAdjust:
    return ExitAdjust(
        **(
            {
                "id": f"x-{position_id}",
                "at": NOW,
                "by": "a person",
                "why": "a test",
                "position_id": position_id,
            }
            | given
        )
    )


# -- comparing --------------------------------------------------------------------------------------------------------

TABLES = (
    "positions",
    "orders",
    "books",
    "control",
    "totals",
    "quarantine",
    "nav",
    "risk",
    "learning",
    "thresholds",
    "executors",
)


def rows_of(holder: Any) -> dict[str, dict[Any, Any]]:
    """Everything a LedgerState or a LedgerView holds, in one form."""
    return {
        table: {
            key: row if isinstance(row, int) else row.json_bytes()
            for key, row in getattr(holder, table).items()
        }
        for table in TABLES
    }


def books_of(state: LedgerState) -> tuple[Decimal, dict[str, Any]]:
    """What limits count, in total and by book."""
    return state.exposure.total_notional, dict(state.exposure._books)


def check_state(state: LedgerState) -> None:
    """The invariants of every book, and that the indexes say what the rows say."""
    for key, book in state.books.items():
        check_book(book, state.position(key), state.live_orders(key))
    assert {row.book_id: key for key, row in state.positions.items()} == state.position_of_book
    by_book = {book: set(orders) for book, orders in state.orders_of_book.items() if orders}
    mine: dict[str, set[str]] = {}
    for row in state.orders.values():
        mine.setdefault(row.book_id, set()).add(row.order_id)
    assert by_book == mine


class Mem:
    """The domain's decisions on one state, everything known remembered."""

    def __init__(self, with_rules: Rules | None = None) -> None:
        self.rules = with_rules or rules()
        self.state, self.known, self.now = LedgerState(), Known(), NOW
        self.updates: list[LedgerUpdated] = []
        self.view = LedgerView()
        self.view.store_id, self.view.seq = "s", 0

    def do(self, message: Any) -> Any:
        """Decide upon *message*; what it changed."""
        if isinstance(message, OrderReserve):
            change = reserve(self.state, message, self.known, self.rules, self.now)
        elif isinstance(message, Fill):
            change = settle_fill(self.state, message, self.known, self.rules, self.now)
        elif isinstance(message, OrderStatus):
            change = settle_status(self.state, message, self.known, self.now)
        elif isinstance(message, Control):
            change = control(self.state, message, self.now)
        elif isinstance(message, ExitThresholds):
            change = learn(self.state, message, self.rules.policy, self.rules.learning, self.now)
        elif isinstance(message, NavMark):
            change = take_mark(self.state, message, self.rules.portfolio, self.now)
        else:
            change = adjust(self.state, message, self.now)
        if not change.is_empty:
            update = change.as_update(seq=len(self.updates) + 1, store_id="s", epoch=1, at=self.now)
            self.updates.append(update)
            self.view.apply(LedgerUpdated.model_validate_json(update.body()))
        check_state(self.state)
        assert rows_of(self.view) == rows_of(self.state)
        return change

    def answer(self, message: OrderReserve) -> tuple[str, Code | None]:
        """Status and code of the intent after *message*."""
        self.do(message)
        return self.of(message.intent_id)

    def of(self, intent: str) -> tuple[str, Code | None]:
        row = self.known.intents[intent]
        return row.status.value, row.code

    def open(
        self, side: str = "buy", quantity: str = "1", price: str = "100", intent: str = "open", **given: Any
    ) -> Any:
        """A position, through an entry and its fill."""
        symbol = given.get("symbol", BTC)
        assert self.answer(entry(intent, side, quantity, **given))[0] == "accepted"
        self.do(
            fill(
                f"t-{intent}",
                f"o-{intent}",
                side,
                quantity,
                price,
                symbol=symbol,
                account=given.get("account", "main"),
            )
        )
        return (
            self.state.position(self.state.orders[f"o-{intent}"].book_id)
            if f"o-{intent}" in self.state.orders
            else self.position(symbol)
        )

    def position(self, symbol: str = BTC) -> Any:
        return self.state.position(f"main/paper/{symbol}")

    def order(self, intent: str) -> Any:
        """The order of an intent, live or ended."""
        return self.state.orders.get(f"o-{intent}") or self.known.orders[f"o-{intent}"]

    @property
    def book(self) -> Any:
        return self.state.books[BOOK]


# -- the service ----------------------------------------------------------------------------------------------------------


class FakeClock:
    def __init__(self) -> None:
        self.now = NOW

    def wall_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> int:
        return self.now - NOW + 1

    async def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


_STREAMS = {
    OrderReserve: ORDER_RESERVE,
    Fill: FILL,
    OrderStatus: ORDER_STATUS,
    Control: CONTROL,
    ExitAdjust: EXIT_ADJUST,
    ExitThresholds: EXIT_THRESHOLDS,
    TradeOutcome: TRADE_OUTCOME,
    SnapshotRequest: SNAPSHOT_REQUEST,
    NavMark: NAV_MARK,
}


def as_entry(message: Any, number: int = 0) -> Entry:
    return Entry(_STREAMS[type(message)], f"{NOW}-{number}", message.body(), message)


class Desk:
    """A Ledger on a real store, with everything it published kept: `updates` as bytes by sequence."""

    def __init__(
        self, directory: Any, with_rules: Rules | None = None, url: str = "", every_updates: int = 10_000
    ) -> None:
        self.directory, self.rules, self.url, self.every_updates = (
            directory,
            with_rules or rules(),
            url,
            every_updates,
        )
        self.clock = FakeClock()
        self.published: dict[int, Numbered] = {}
        self.updates: list[LedgerUpdated] = []
        self.view = LedgerView()
        self.hash = GENESIS
        self.results: list[Any] = []
        self.out: list[Any] = []
        self.ledger = self._start()

    def _start(self) -> Ledger:
        self.store = open_store(
            url=self.url, directory=self.directory, who="ledger", ids=SystemIds(self.clock)
        )
        try:
            return Ledger(
                self.store,
                self.rules,
                clock=self.clock,
                snapshot_every_updates=self.every_updates,
                snapshot_every_ms=60_000,
            )
        except BaseException:
            self.store.close()
            raise

    def restart(self, with_rules: Rules | None = None) -> None:
        """End the ledger and start another one on its store."""
        self.close()
        self.rules = with_rules or self.rules
        self.ledger = self._start()

    def close(self) -> None:
        self.ledger.close()

    def run(self, *messages: Any) -> list[Any]:
        """Give *messages* to the ledger as one batch; what it returned. Errors come through."""
        outputs = asyncio.run(
            self.ledger.on_work([as_entry(message, n) for n, message in enumerate(messages)])
        )
        self.publish(outputs)
        return outputs

    def publish(self, outputs: list[Any]) -> None:
        """Be the bus and a follower: numbered updates once and without a gap, in a chain, into the view."""
        for output in outputs:
            self.out.append(output)
            if isinstance(output, Out) and output.stream is INTENT_RESULT:
                self.results.append(output.message)
            if not isinstance(output, Numbered) or output.stream is not LEDGER_UPDATED:
                continue
            update = update_of(output.body)
            assert output.entry_id == f"{update.seq}-0"
            if update.seq in self.published:
                assert self.published[update.seq] == output, "the same sequence, another content"
                continue
            assert update.seq == len(self.published) + 1
            self.hash = chain(self.hash, output.body)
            assert dict(output.beside)["hash"] == self.hash
            self.published[update.seq] = output
            self.updates.append(update)
            if not self.view.is_loaded:
                self.view.store_id, self.view.seq = update.store_id, 0
            self.view.apply(update)

    def heal(self, newest: tuple[int, str] | None) -> list[Any]:
        return asyncio.run(self.ledger.heal(newest))

    @property
    def newest(self) -> tuple[int, str] | None:
        """What a bus that has everything shows."""
        return (len(self.published), self.hash) if self.published else None

    def check(self) -> None:
        """Memory, the followers' view and the store say the same, and hold together."""
        check_state(self.ledger.state)
        mine = rows_of(self.ledger.state)
        if self.published:
            assert rows_of(self.view) == mine
        fresh = LedgerState()
        fresh.load(self.store.rows())
        fresh.executors.update(self.store.executors())
        assert rows_of(fresh) == mine
        assert self.store.last() == (self.ledger.seq, self.ledger.hash)
        assert books_of(fresh) == books_of(self.ledger.state)
        assert fresh.exposure.busy_books == self.ledger.state.exposure.busy_books

    @property
    def state(self) -> LedgerState:
        return self.ledger.state

    def result(self, intent: str) -> Any:
        """The last answer to an intent."""
        return [row for row in self.results if row.intent_id == intent][-1]


def snapshot_view(outputs: list[Any]) -> LedgerView:
    """The view that the newest snapshot among *outputs* gives."""
    parts = [
        snapshot_of(row.body)
        for row in outputs
        if isinstance(row, Numbered) and row.stream is LEDGER_SNAPSHOT
    ]
    view = LedgerView()
    view.load([part for part in parts if part.snapshot_id == parts[-1].snapshot_id])
    return view


def updates_of(outputs: list[Any]) -> list[LedgerUpdated]:
    return [
        LedgerUpdated.model_validate_json(row.body)
        for row in outputs
        if isinstance(row, Numbered) and row.stream is LEDGER_UPDATED
    ]


# -- a store in trouble ----------------------------------------------------------------------------------------------------


class Trouble:
    """A driver that passes everything on, but fails the next statement that starts with `at`: before or after it is done."""

    def __init__(self, driver: Any) -> None:
        self.driver, self.at, self.landed, self.error = driver, "", False, ""

    @classmethod
    def in_(cls, desk: Desk) -> "Trouble":
        desk.store._driver = trouble = cls(desk.store._driver)
        return trouble

    def next(self, at: str, *, landed: bool = False, error: int = sqlite3.SQLITE_IOERR) -> None:
        self.at, self.landed, self.error = at, landed, error

    def cursor(self) -> Any:
        return _Cursor(self, self.driver.cursor())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.driver, name)


class _Cursor:
    def __init__(self, trouble: Trouble, cursor: Any) -> None:
        self._trouble, self._cursor = trouble, cursor

    def execute(self, sql: str, *parameters: Any) -> Any:
        trouble = self._trouble
        if not trouble.at or not sql.startswith(trouble.at):
            return self._cursor.execute(sql, *parameters)
        trouble.at = ""
        if trouble.landed:
            self._cursor.execute(sql, *parameters)
        error = sqlite3.OperationalError("scripted trouble")
        error.sqlite_errorcode = trouble.error
        raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)
