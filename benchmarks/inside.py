"""Figures of single parts, in one process: ticks over many positions, arming after a restart, one check, a long history."""

import asyncio
import statistics
import tempfile
import time
import timeit
from decimal import Decimal
from pathlib import Path

import orjson

from holdfast.bus.app import collect_seldom
from holdfast.contracts import streams
from holdfast.contracts.base import Message
from holdfast.contracts.codes import Kind, Role, Side
from holdfast.contracts.messages import Fill, LedgerSnapshot, OrderRequest, OrderReserve
from holdfast.contracts.rows import BookRow, PositionRow, book_id
from holdfast.contracts.wire import Entry, decode
from holdfast.domain.ledger_state import LedgerState
from holdfast.domain.view import LedgerView
from holdfast.position_invariant import PositionInvariantEnforcer
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.ids import SystemIds
from holdfast.runtime.settings import Settings
from holdfast.store.opening import open_store
from services.exit_scanner.service import ExitScanner
from services.ledger.app import rules_of
from services.ledger.service import Ledger
from services.ledger.snapshot import build_snapshot

CLOCK = SystemClock()
IDS = SystemIds(CLOCK)


class _Named:
    """What a snapshot needs of a store."""

    store_id, epoch = "bench", 1


EVERY_RULE = (
    "liquidation_guard_pct=20 leverage=2 maintenance_pct=0.5 emergency_loss_pct=20 extraordinary_profit_pct=50 reversal_confidence=0.6"
    " roi=0:30,60:25 signal=on stagnation_after_s=86400 stagnation_band_pct=0.5 ai_hold_confidence=0.7 min_hold_s=120 min_loss_pct=0.5"
    " trailing.distance_pct=10 breakeven_trigger_pct=40 breakeven_buffer_pct=0.1 fee_pct=0.05"
)
"""Terms of a position with every rule on; a price near its entry fires none, and each new high moves its stop."""


def snapshot_bodies(count: int, terms: str = "") -> list[bytes]:
    """A snapshot with *count* open positions: half of them in BTC/USDT, the others in as many symbols."""
    state, now = LedgerState(), CLOCK.wall_ms()
    for number in range(count):
        symbol, book = f"A{number}/USDT", book_id("main", "paper", f"A{number}/USDT")
        state.books[book] = BookRow.model_validate(
            {"book_id": book, "account": "main", "exchange": "paper", "symbol": symbol, "side": "long"}
        )
        entry = 100 + number % 997 if not terms else Decimal(150) + Decimal(number % 997) / 1000
        row = PositionRow.model_validate(
            {"position_id": f"p-{number}", "book_id": book, "account": "main", "exchange": "paper", "symbol": "BTC/USDT" if number % 2 else symbol, "side": "long", "contract_size": 1, "settle": "USDT",
             "quantity": 1, "cost": entry, "entry_price": entry, "take_profit": entry * 10_000, "stop_loss": str(Decimal(entry) / 1000), "take_profit_spec": "20%", "stop_loss_spec": "10%", "terms": terms, "kind": "linear", "opened_at": now, "changed_at": now, "recorded_at": now}
        )  # fmt: skip
        state.positions[row.position_id] = row
    return [
        part.body for part in build_snapshot(state, number=1, seq=1, chain="", store=_Named(), now_ms=now)
    ]  # type: ignore[arg-type]


def decode_all(bodies: list[bytes]) -> list[LedgerSnapshot]:
    return [LedgerSnapshot.model_validate_json(body) for body in bodies]


def scanner_over(bodies: list[bytes]) -> ExitScanner:
    view = LedgerView()
    view.load(decode_all(bodies))
    scanner = ExitScanner(Settings().scanner, CLOCK, IDS, view)
    asyncio.run(scanner.on_reset())
    return scanner


def tick_entries(count: int, start: int = 0) -> list[Entry]:
    """Ticks that wander, and rise by a ten-thousandth each from *start* on where that is given."""
    now = CLOCK.wall_ms()
    prices = [
        str(150 + number % 3) if not start else str(Decimal(150) + Decimal(start + number) / 10_000)
        for number in range(count)
    ]
    bodies = [
        {
            "id": f"r:{start + number}",
            "at": now + number,
            "symbol": "BTC/USDT",
            "bid": prices[number],
            "ask": prices[number],
            "last": "150",
            "feed": "bench",
            "run": "r",
            "live": True,
        }
        for number in range(count)
    ]
    return [
        decode(streams.MARKET_TICK, f"{now + number}-0", {b"body": orjson.dumps(body)})
        for number, body in enumerate(bodies)
    ]


def ticks(*, quick: bool) -> list[dict[str, object]]:
    """A tick over many open positions, none fired, against a few."""
    from benchmarks.run import row

    many = scanner_over(snapshot_bodies(10_000 if quick else 100_000))
    few = scanner_over(snapshot_bodies(100))
    ratios = []
    for _ in range(7):
        entries = tick_entries(2000)
        costs = []
        for scanner in (many, few):
            started = time.perf_counter()
            fired = asyncio.run(scanner.on_ticks(entries))
            costs.append(time.perf_counter() - started)
            if fired:
                raise RuntimeError("a tick fired something; the figure would mean nothing")
        ratios.append(costs[0] / costs[1])
    return [
        row(
            "a tick over 100,000 open positions, none fired, against 100",
            statistics.median(ratios),
            "<= 2",
            "<= 1.2",
            ratios=ratios,
        )
    ]


def ticks_with_every_rule(*, quick: bool) -> list[dict[str, object]]:
    """The same with every rule on and a price that rises: each tick is a new high, and moves every trailing stop."""
    from benchmarks.run import row

    many = scanner_over(snapshot_bodies(10_000 if quick else 100_000, EVERY_RULE))
    few = scanner_over(snapshot_bodies(100, EVERY_RULE))
    ratios, start = [], 1
    for _ in range(7):
        entries = tick_entries(2000, start)
        start += 2000
        costs = []
        for scanner in (many, few):
            started = time.perf_counter()
            fired = asyncio.run(scanner.on_ticks(entries))
            costs.append(time.perf_counter() - started)
            if fired or scanner.triggers.best("p-1") != Decimal(entries[-1].message.bid):  # type: ignore[union-attr]
                raise RuntimeError("something fired, or no stop moved; the figure would mean nothing")
        ratios.append(costs[0] / costs[1])
    return [
        row(
            "a tick over 100,000 open positions with every rule on, each a new high, none fired, against 100",
            statistics.median(ratios),
            "<= 2",
            "<= 1.2",
            ratios=ratios,
        )
    ]


def arming(*, quick: bool) -> list[dict[str, object]]:
    """Snapshot to armed, against reading and decoding the snapshot alone; garbage is collected as in a service."""
    from benchmarks.run import row

    collect_seldom()
    rows = []
    for rules, terms, goal in (("", "", "<= 2.5"), (" and every rule on", EVERY_RULE, "<= 5")):
        bodies = snapshot_bodies(10_000 if quick else 100_000, terms)
        ratios = []
        for _ in range(3):
            started = time.perf_counter()
            decode_all(bodies)
            decoded = time.perf_counter()
            scanner_over(bodies)
            ratios.append((time.perf_counter() - decoded) / (decoded - started))
        what = (
            f"exit_scanner armed after a restart with 100,000 positions{rules}, against decoding the snapshot"
        )
        rows.append(row(what, statistics.median(ratios), "<= 5", goal, ratios=ratios))
    return rows


def check(*, quick: bool) -> list[dict[str, object]]:
    """The public enforcer's check of one order, in microseconds: the one absolute figure (the seed's bound is absolute)."""
    from benchmarks.run import row

    enforcer, held = PositionInvariantEnforcer(), {"BTCUSDT": Decimal("0.5"), "ETHUSDT": Decimal(-1)}
    number = 2_000 if quick else 50_000
    best = (
        min(
            timeit.repeat(
                lambda: enforcer.enforce_before_order("BTCUSDT", "buy", Decimal("0.1"), held),
                number=number,
                repeat=5,
            )
        )
        / number
        * 1e6
    )
    return [row("invariant check of one order, microseconds", best, "<= 100", "<= 5")]


def history(*, quick: bool) -> list[dict[str, object]]:
    """Messages per second of the ledger with a long history behind it, against a short one."""
    from benchmarks.run import row

    short, long = (2_000, 20_000) if quick else (10_000, 100_000)
    settings = Settings.model_validate(
        {"limits": {f"max_{name}_notional": "1e20" for name in ("symbol", "account", "total")}}
    )
    with tempfile.TemporaryDirectory() as folder:
        ledgers = {}
        for name, fills in (("short", short), ("long", long)):
            store = open_store(url="", directory=Path(folder) / name, who="bench", ids=IDS)
            ledger = Ledger(
                store, rules_of(settings), clock=CLOCK, snapshot_every_updates=10**9, snapshot_every_ms=10**9
            )
            _drive(ledger, "seed", 1_000)
            _multiply(store, fills)
            ledger.load()
            ledgers[name] = ledger
        ratios = []
        for number in range(5):
            rates = {
                name: _drive(ledger, f"round{number}", 2_000 if quick else 4_000)
                for name, ledger in ledgers.items()
            }
            ratios.append(rates["long"] / rates["short"])
        for ledger in ledgers.values():
            ledger.close()
    return [
        row(
            "ledger rate with 100,000 fills behind it, against 10,000",
            statistics.median(ratios),
            ">= 0.9",
            ">= 0.95",
            ratios=ratios,
        )
    ]


def _drive(ledger: Ledger, name: str, count: int, batch: int = 200) -> float:
    """Reserve and fill *count* entries; messages per second."""
    started = time.perf_counter()
    for first in range(0, count, batch):
        now = CLOCK.wall_ms()
        numbers = range(first, first + batch)
        ledger._apply(
            [_entry(streams.ORDER_RESERVE, _reserve(f"{name}-{number}", number, now)) for number in numbers]
        )
        ledger._apply([_entry(streams.FILL, _fill(f"{name}-{number}", number, now)) for number in numbers])
    return 2 * count / (time.perf_counter() - started)


def _entry(stream: streams.Stream, message: Message) -> Entry:
    return Entry(stream, "1-0", b"", message)


def _reserve(name: str, number: int, now: int) -> OrderReserve:
    order = OrderRequest(
        order_id=f"o-{name}",
        kind=Kind.LINEAR,
        settle="USDT",
        role=Role.ENTRY,
        side=Side.BUY,
        quantity=Decimal("0.01"),
        quantity_step=Decimal("0.01"),
        reference_price=Decimal(42_000),
        send_by=now,
    )
    return OrderReserve(
        id=f"r-{name}",
        at=now,
        intent_id=f"i-{name}",
        intent_digest="d",
        account="main",
        exchange="paper",
        symbol=f"S{number % 50}/USDT",
        incarnation="bench",
        epoch=1,
        order=order,
    )


def _fill(name: str, number: int, now: int) -> Fill:
    return Fill(
        id=f"f-{name}",
        at=now,
        account="main",
        exchange="paper",
        symbol=f"S{number % 50}/USDT",
        order_id=f"o-{name}",
        trade_id=f"t-{name}",
        side=Side.BUY,
        quantity=Decimal("0.01"),
        price=Decimal(42_000),
        executed_at=now,
    )


def _multiply(store: object, fills: int) -> None:
    """Copy the seed's rows under other keys until the tables hold *fills* fills; the journal grows with them."""
    connection = store._driver._connection  # type: ignore[attr-defined] - a bench may reach in
    seq, _ = store.last()  # type: ignore[attr-defined]
    have = connection.execute("SELECT count(*) FROM fills").fetchone()[0]
    copies = max(0, fills // have - 1)
    connection.execute("BEGIN IMMEDIATE")
    for copy in range(copies):
        mark = f"h{copy:06x}"
        connection.execute(
            "INSERT INTO fills SELECT ?||trade_id, ?||order_id, account, exchange, symbol, digest, seq FROM fills WHERE trade_id LIKE 't-seed%'",
            (mark, mark),
        )
        connection.execute(
            "INSERT INTO orders SELECT hex(randomblob(6))||?||order_id, hex(randomblob(6))||?||intent_id, book_id, role, side, state, quantity, filled, reduce_only, live, NULL, NULL, body FROM orders WHERE order_id LIKE 'o-seed%'",
            (mark, mark),
        )
        connection.execute(
            "INSERT INTO intents SELECT hex(randomblob(6))||?||intent_id, digest, status, body FROM intents WHERE intent_id LIKE 'i-seed%'",
            (mark,),
        )
        connection.execute(
            "INSERT INTO updates SELECT seq + ?, kind, at, hash, body FROM updates WHERE seq <= ?",
            (seq * (copy + 1), seq),
        )
    connection.execute("COMMIT")
