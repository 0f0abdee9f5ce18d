"""The ledger against anything: random wishes, fills and statuses in any order, failing commits, poisoned batches, kills, wiped buses.

A model that knows only which fills were applied says what every book must hold. After each step the ledger's memory, a view
fed by what was published, a snapshot, and the store loaded afresh must be the same, and hold together.
"""

import asyncio
import atexit
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from contextlib import closing
from decimal import Decimal
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import ExitReason, FillKind, Role, StatusKind
from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.contracts.messages import Fill, OrderReserve
from holdfast.contracts.money import ZERO, add, canonical
from holdfast.domain.portfolio_rules import Portfolio, PortfolioRules
from holdfast.domain.position import signed
from holdfast.runtime.faults import Transient
from holdfast.store.opening import sqlite_path
from holdfast.store.reading import SqliteReader
from holdfast.store.store import ConstraintBroken
from holdfast.store.verify import verify
from tests.unit._ledger import (
    BTC,
    ETH,
    Desk,
    Trouble,
    as_entry,
    cancel,
    entry,
    fill,
    leave,
    move_exits,
    nav,
    refusal,
    rows_of,
    rules,
    snapshot_view,
    status,
    steer,
)

D = Decimal
QUANTITIES = [
    "1",
    "1",
    "0.5",
    "2.0005",
    "0.001",
    "0.000000000000000000000001",
    "999999999999999999999999",
    "1.00000000000000000000000000000000000001",
]
PRICES = ["100", "100", "95.5", "120", "0.000000000000000000000003", "700000000000000000000000"]
PLACES = [{}, {}, {"symbol": ETH}, {"account": "other"}]
PROMISES = {
    "chain",
    "tables",
    "columns",
    "constraints",
    "invariants",
    "fills",
    "arithmetic",
    "sums",
    "trades",
    "totals",
}
"""Of `ledger verify`; "reasons" and "intents" are about a scanner and an executor, which are not here."""
RULES = Portfolio(
    accounts=("main", "other"),
    default=PortfolioRules(
        cooldown_ms=60_000, loss_streak=3, loss_streak_pause_ms=60_000, max_daily_loss=D(50)
    ),
    total=PortfolioRules(of_all=True, max_drawdown_pct=D(50), shrink_drawdown_pct=D(80)),
    max_nav_age_ms=600_000,
)
"""Tight enough to hold entries back now and then; half of the runs have none."""
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Shrinking a failure takes minutes: add Phase.shrink when one is to be understood."""


@cache
def template() -> Path:
    """An empty store, made once."""
    folder = Path(tempfile.mkdtemp(prefix="hf-machine-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Desk(folder).close()
    return folder


class LedgerMachine(RuleBasedStateMachine):
    @initialize(portfolio=st.sampled_from([Portfolio(), RULES]))
    def start(self, portfolio):
        self.folder = Path(tempfile.mkdtemp(prefix="hf-machine-"))
        shutil.copytree(template(), self.folder, dirs_exist_ok=True)
        self.desk = Desk(self.folder, rules(max_positions=3, portfolio=portfolio))
        self.queue, self.count = [nav(main="1000", other="1000")], 0
        self.orders: dict[str, str] = {}
        """Every order that was ever reserved -> its book."""
        self.seen: set[str] = set()
        self.net: dict[str, Decimal] = defaultdict(lambda: ZERO)
        self.ended: set[str] = set()
        self.looked_at = 0
        self.wishes: list[OrderReserve] = []
        self.fills: list[Fill] = []

    def name(self, kind):
        self.count += 1
        return f"{kind}{self.count}"

    # -- messages -----------------------------------------------------------------------------------------------------------

    @rule(
        side=st.sampled_from(["buy", "buy", "sell"]),
        quantity=st.sampled_from(QUANTITIES),
        where=st.sampled_from(PLACES),
        limit=st.booleans(),
        epoch=st.sampled_from([1, 1, 1, 2]),
    )
    def wish_to_open(self, side, quantity, where, limit, epoch):
        price = {"type": "limit", "price": "99"} if limit else {}
        self.wish(entry(self.name("e"), side, quantity, epoch=epoch, **where, **price))

    @rule(
        quantity=st.sampled_from([None, None, "0.5", "0.0004", "7"]),
        reason=st.sampled_from([None, *sorted(ExitReason)]),
        where=st.sampled_from(PLACES),
        limit=st.booleans(),
        named=st.booleans(),
    )
    def wish_to_close(self, quantity, reason, where, limit, named):
        price = {"type": "limit", "price": "99"} if limit else {}
        book = f"{where.get('account', 'main')}/paper/{where.get('symbol', BTC)}"
        position = self.desk.view.position(book)
        which = {"position_id": position.position_id} if named and position is not None else {}
        self.wish(leave(self.name("x"), quantity, reason=reason, epoch=2, **where, **price, **which))

    @rule(
        side=st.sampled_from(["buy", "sell"]),
        where=st.sampled_from(PLACES),
        quantity=st.sampled_from(["1", "2.0005", "0.5"]),
    )
    def opens_and_fills(self, side, where, quantity):
        name = self.name("e")
        self.wish(entry(name, side, "2.0005", epoch=2, **where))
        self.fill(fill(self.name("t"), f"o-{name}", side, quantity, **where))

    @rule(
        where=st.sampled_from(PLACES),
        reason=st.sampled_from(["stop_loss", "take_profit", "ttl", "close"]),
        quantity=st.sampled_from([None, None, "0.5"]),
        filled=st.sampled_from(["0.5", "1", "2.0005"]),
        end=st.sampled_from([None, "canceled", "unknown", "rejected"]),
    )
    def closes_and_fills(self, where, reason, quantity, filled, end):
        """Partly, wholly, or through zero; then perhaps the venue says that it has ended."""
        book = f"{where.get('account', 'main')}/paper/{where.get('symbol', BTC)}"
        position = self.desk.view.position(book)
        if position is None:
            return
        name, side = self.name("x"), "sell" if position.side == "long" else "buy"
        self.wish(leave(name, quantity, reason=reason, position_id=position.position_id, epoch=2, **where))
        self.fill(fill(self.name("t"), f"o-{name}", side, filled, **where))
        if end:
            self.queue.append(status(f"o-{name}", end, id=self.name("s")))

    @rule(which=st.integers(0, 1000), where=st.sampled_from(PLACES), one=st.booleans())
    def wish_to_cancel(self, which, where, one):
        names = sorted(self.orders)
        self.wish(
            cancel(self.name("c"), names[which % len(names)] if one and names else None, epoch=2, **where)
        )

    @rule(code=st.sampled_from(["no_price", "expired"]))
    def refused_by_the_executor(self, code):
        self.wish(refusal(self.name("r"), code, "blocked", epoch=2))

    @precondition(lambda self: self.wishes)
    @rule(which=st.integers(0, 1000), tampered=st.booleans())
    def wish_again(self, which, tampered):
        again = self.wishes[which % len(self.wishes)]
        self.queue.append(again.evolve(intent_digest="another", id=self.name("again")) if tampered else again)

    @rule(
        which=st.integers(0, 1000),
        side=st.sampled_from(["buy", "sell"]),
        honest=st.integers(0, 3),
        quantity=st.sampled_from([*QUANTITIES, "0"]),
        price=st.sampled_from([*PRICES, "0"]),
        fee=st.sampled_from(["0", "0.01", "-0.001"]),
        currency=st.sampled_from([None, "USDT", "BNB"]),
    )
    def fills_an_order(self, which, side, honest, quantity, price, fee, currency):
        """Of any order, ended or not, by any quantity, mostly on the order's own side."""
        names = sorted(self.orders)
        order_id = names[which % len(names)] if names else "o-nobody"
        known = self.desk.view.orders.get(order_id)
        where = self.place_of(order_id)
        if known is not None and honest:
            side = known.side.value
            quantity = str(known.remaining) if honest == 1 and known.remaining else quantity
        if D(quantity) and D(quantity).adjusted() < -24:
            quantity = "0.000000000000000000000001"
        self.fill(
            fill(self.name("t"), order_id, side, quantity, price, fee=fee, fee_currency=currency, **where)
        )

    @rule(
        kind=st.sampled_from(
            [FillKind.LIQUIDATION, FillKind.FUNDING, FillKind.ADJUSTMENT, FillKind.ADOPTION, FillKind.TRADE]
        ),
        side=st.sampled_from(["buy", "sell"]),
        quantity=st.sampled_from(QUANTITIES),
        where=st.sampled_from(PLACES),
    )
    def fills_by_itself(self, kind, side, quantity, where):
        self.fill(
            fill(self.name("v"), "", side, quantity, kind=kind, fee="0.5", fee_currency="USDT", **where)
        )

    @rule(where=st.sampled_from(PLACES), too_much=st.sampled_from(["0", "0", "0.5"]))
    def the_rest_is_dust(self, where, too_much):
        """It leaves the books where it is exactly what is held, and a long; otherwise nothing happens."""
        place = {"account": "main", "symbol": BTC} | where
        quantity = add(abs(self.net[f"{place['account']}/paper/{place['symbol']}"]), D(too_much))
        if quantity and len(canonical(quantity)) < 25:  # more digits than an amount may have are a sum's
            self.fill(fill(self.name("d"), "", "sell", canonical(quantity), "0", kind=FillKind.DUST, **where))

    @precondition(lambda self: self.fills)
    @rule(
        which=st.integers(0, 1000),
        how=st.sampled_from(["same", "other content", "other symbol", "other order"]),
    )
    def fill_again(self, which, how):
        again = self.fills[which % len(self.fills)]
        changes = {
            "other content": {"price": D(77)},
            "other symbol": {"symbol": "SOL/USDT"},
            "other order": {"order_id": "o-else"},
        }.get(how, {})
        self.queue.append(again.evolve(**changes))

    @precondition(lambda self: self.orders)
    @rule(
        which=st.integers(0, 1000),
        kind=st.sampled_from(sorted(StatusKind)),
        filled=st.sampled_from([None, None, "0", "0.5", "1000"]),
        again=st.booleans(),
    )
    def status_of_an_order(self, which, kind, filled, again):
        names = sorted(self.orders)
        message = status(names[which % len(names)], kind, filled_quantity=filled, id=self.name("s"))
        self.queue += [message, message] if again else [message]

    @rule(
        state=st.sampled_from(["active", "active", "halted", "reduce_only"]),
        scope=st.sampled_from(["all", "account"]),
    )
    def person_steers(self, state, scope):
        self.queue.append(steer(state, scope, "main" if scope == "account" else "", id=self.name("k")))

    @rule(
        which=st.integers(0, 1000),
        stop=st.sampled_from(["99", "1%", "1000", None]),
        take=st.sampled_from(["101", "1%", None]),
        insist=st.booleans(),
    )
    def moves_exits(self, which, stop, take, insist):
        """Of a position that is open, or was once."""
        names = sorted(self.desk.view.positions) or ["p-gone"]
        self.queue.append(
            move_exits(
                names[which % len(names)], id=self.name("m"), stop_loss=stop, take_profit=take, insist=insist
            )
        )

    @rule(
        main=st.sampled_from(["1000", "1000", "960", "940", "400", None]),
        other=st.sampled_from(["1000", "1000", "2000", None]),
        seconds=st.sampled_from([0, 1, 1, 30, 90, 86_400]),
    )
    def is_worth(self, main, other, seconds):
        """Time passes, and accounts are marked: one of them, both, none."""
        self.desk.clock.now += seconds * 1000
        navs = {"main": main, "other": other}
        missing = {account: "no price yet" for account, worth in navs.items() if worth is None}
        known = {account: worth for account, worth in navs.items() if worth is not None}
        self.queue.append(nav(self.desk.clock.now, missing, **known))

    @rule()
    def poison(self):
        """An adjustment made for a version that its position never had; of a position that is gone it is none."""
        names = sorted(self.desk.view.positions) or ["p-gone"]
        self.queue.append(move_exits(names[0], id=self.name("m"), position_version=10**6, stop_loss="5"))

    def wish(self, message):
        self.wishes.append(message)
        self.queue.append(message)

    def fill(self, message):
        self.fills.append(message)
        self.queue.append(message)

    def place_of(self, order_id):
        account, _, symbol = self.orders.get(order_id, "main/paper/" + BTC).split("/", 2)
        return {"account": account, "symbol": symbol}

    # -- the ledger ----------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.queue)
    @rule(
        at=st.sampled_from(
            [
                "",
                "",
                "",
                "BEGIN",
                "COMMIT",
                "COMMIT",
                "SELECT body FROM orders",
                "SELECT order_id",
                "SELECT position_id",
                "INSERT",
            ]
        ),
        landed=st.booleans(),
        error=st.sampled_from([sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY]),
    )
    def a_batch(self, at, landed, error):
        batch, self.queue = self.queue, []
        trouble = Trouble(self.desk.store._driver)
        self.desk.store._driver = trouble
        trouble.next(at, landed=landed, error=error)
        self.deliver(batch)
        self.desk.store._driver = trouble.driver

    def deliver(self, batch):
        """As the bus does: wait out what passes, take a failed batch one by one, bury what fails alone. Never a fill."""
        try:
            self.patiently(batch)
        except (ContractViolation, ConstraintBroken):
            if len(batch) > 1:
                for message in batch:
                    self.deliver([message])
                return
            assert isinstance(batch[0], ExitAdjust), "only an adjustment of what has changed may be refused"
            return
        for message in batch:
            self.learn(message)

    def patiently(self, batch):
        for _ in range(2):
            try:
                self.desk.run(*batch)
                return
            except Transient:
                continue
        self.desk.run(*batch)

    def learn(self, message):
        if isinstance(message, OrderReserve):
            for update in self.updates_of(message.id):
                self.orders |= {
                    row.order_id: row.book_id
                    for row in update.orders
                    if row.intent_id == message.intent_id and message.order
                }
        elif isinstance(message, Fill) and message.key not in self.seen:
            self.seen.add(message.key)
            ours = message.order_id in self.orders or message.kind is not FillKind.TRADE
            if ours and message.kind is not FillKind.FUNDING:
                book = f"{message.account}/{message.exchange}/{message.symbol}"
                move = message.quantity if message.side == "buy" else message.quantity.copy_negate()
                if message.kind is FillKind.DUST and self.net[book] != message.quantity:
                    return
                self.net[book] = add(self.net[book], move)

    def updates_of(self, cause):
        return [update for update in self.desk.updates if update.cause_id == cause]

    @precondition(lambda self: self.queue)
    @rule()
    def a_kill_between_commit_and_publication(self):
        batch, self.queue = self.queue, []
        try:
            asyncio.run(self.desk.ledger.on_work([as_entry(message) for message in batch]))
        except ContractViolation:
            self.deliver(batch)
            return
        self.restart()
        for message in batch:
            self.learn(message)

    @rule()
    def restart(self):
        self.desk.restart()
        self.desk.publish(self.desk.heal(self.desk.newest))

    @rule(left=st.integers(0, 1000))
    def the_bus_is_wiped_or_rewound(self, left):
        seqs = [0, *self.desk.published]
        left = seqs[left % len(seqs)]
        newest = (left, dict(self.desk.published[left].beside)["hash"]) if left else None
        outputs = self.desk.heal(newest)
        if left < len(self.desk.published):
            assert rows_of(snapshot_view(outputs)) == rows_of(self.desk.state)
        self.desk.publish(outputs)

    # -- what must hold --------------------------------------------------------------------------------------------------------

    @invariant()
    def everybody_holds_the_same(self):
        if hasattr(self, "desk"):
            self.desk.check()

    @invariant()
    def every_book_holds_what_its_fills_sum_to(self):
        if not hasattr(self, "desk"):
            return
        held = {row.book_id: signed(row) for row in self.desk.state.positions.values()}
        expected = {book: net for book, net in self.net.items() if net}
        assert held == expected, (held, expected)

    @invariant()
    def an_intent_ends_once(self):
        """And what ended it stands in one update; an exit never opens."""
        if not hasattr(self, "desk"):
            return
        for update in self.desk.updates[self.looked_at :]:
            for row in update.intents:
                assert row.intent_id not in self.ended
                if row.is_final:
                    self.ended.add(row.intent_id)
            assert all(row.reduce_only for row in update.orders if row.role is Role.EXIT)
        self.looked_at = len(self.desk.updates)

    def teardown(self):
        if not hasattr(self, "desk"):
            return
        self.desk.close()
        with closing(SqliteReader(sqlite_path(self.folder))) as reader:
            found = {check.check: check.problems for check in verify(reader)}
        shutil.rmtree(self.folder)
        broken = {name: problems for name, problems in found.items() if name in PROMISES and problems}
        assert broken == {}, broken


LedgerMachine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=QUICK,
)
TestLedgerMachine = LedgerMachine.TestCase
