"""The demonstration producer: its signal, and its manners: one intent at a time, nothing doubled, nothing hammered."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import (
    Code,
    ExitReason,
    Kind,
    Leg,
    PositionSide,
    ResultStatus,
    Role,
    Side,
    UpdateKind,
)
from holdfast.contracts.messages import IntentResult, LedgerSnapshot, LedgerUpdated, OrderIntent, Tick
from holdfast.contracts.rows import BookRow, IntentRow, OrderRow, PositionRow, book_id
from holdfast.contracts.streams import INTENT_RESULT, MARKET_TICK, ORDER_INTENT
from holdfast.contracts.wire import Entry, parse_intent
from holdfast.domain.view import LedgerView, snapshot_checksum
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.settings import DemoSettings, Settings
from services.demo.app import build
from services.demo.service import Demo
from services.demo.signal import Averages, Cross, Sampler
from tests.unit._feed import FakeClock

D = Decimal
BOOK = book_id("demo", "paper", "BTC/USDT")
T0 = 1_700_000_000_000
FILLED, BLOCKED = ResultStatus.FILLED, ResultStatus.BLOCKED


# --- the signal


@settings(max_examples=150)
@given(st.lists(st.integers(1, 20), max_size=60), st.integers(1, 4), st.integers(1, 6))
def test_a_cross_is_a_change_of_sides_of_two_averages(prices, fast, more):
    """As computed the slow way, from the whole list, with fractions that do not round."""
    averages, slow, side = Averages(fast, fast + more), fast + more, 0
    for n, price in enumerate(prices, 1):
        difference = sum(prices[max(0, n - fast) : n]) * slow - sum(prices[max(0, n - slow) : n]) * fast
        now = (difference > 0) - (difference < 0) if n >= slow else 0
        expected = {1: Cross.ABOVE, -1: Cross.BELOW}[now] if now and side and now != side else None
        assert expected == averages.add(D(price))
        side = now or side
    assert averages.are_full == (len(prices) >= slow)


def test_a_sampler_takes_the_first_moment_of_each_interval():
    minute, every = Sampler(60_000), Sampler(0)
    moments = [T0, T0 + 1, T0 + 40_000, T0 + 110_000, T0 + 119_000, T0 + 400_000]
    assert [minute.takes(at) for at in moments] == [True, False, True, True, False, True]
    assert all(every.takes(at) for at in [1, 1, 2])


# --- a world around the producer


class World:
    """A producer, its view, and a ledger that answers as it is told to."""

    def __init__(self, *, symbol="BTC/USDT:USDT", loaded=True, quiet=False, run="r1") -> None:
        self.clock, self.view = FakeClock(), LedgerView()
        self.settings = Settings(demo=DemoSettings(symbol=symbol, fast=1, slow=2))
        self.demo = Demo(self.settings, self.view, self.clock)
        self.run, self.index, self.seq = run, 0, 0
        self.sent: list[OrderIntent] = []
        if loaded:
            self.load()
        if not quiet:
            self.clock.move(5000)

    def load(self) -> None:
        checksum = snapshot_checksum([])
        part = LedgerSnapshot(
            id="s", at=T0, snapshot_id="s", seq=self.seq, chain="", store_id="store", epoch=1, part=1, parts=1, checksum=checksum
        )  # fmt: skip
        self.view.load([part])

    def keep(self, outputs) -> list[OrderIntent]:
        assert all(out.stream is ORDER_INTENT for out in outputs)
        self.sent += [out.message for out in outputs]
        return [out.message for out in outputs]

    async def tick(self, *prices, symbol="BTC/USDT", live=True) -> list[OrderIntent]:
        entries = []
        for price in prices:
            at = T0 + self.index * 1000
            message = Tick(
                id=f"{self.run}:{self.index}", at=at, symbol=symbol, bid=D(price), ask=D(price), last=D(price), feed="f", run=self.run, live=live
            )  # fmt: skip
            self.index += 1
            entries.append(Entry(MARKET_TICK, "1-0", b"", message))
        return self.keep(await self.demo.on_ticks(entries))

    async def rise(self) -> list[OrderIntent]:
        """Fast crosses above slow."""
        return await self.tick(10, 9, 11)

    async def fall(self) -> list[OrderIntent]:
        return await self.tick(10, 11, 9)

    async def result(self, intent, status=FILLED) -> list[OrderIntent]:
        answer = IntentResult(id="a", at=T0, intent_id=intent.id, status=status)
        return self.keep(await self.demo.on_results([Entry(INTENT_RESULT, "1-0", b"", answer)]))

    async def update(
        self, *, intent=None, status=FILLED, positions=(), orders=(), books=()
    ) -> list[OrderIntent]:
        """One update of the ledger, applied to the view and then told, as the bus does it."""
        self.seq += 1
        intents = []
        if intent is not None:
            code = None if status is FILLED else Code.HALTED
            intents = [IntentRow(intent_id=intent.id, digest="d", status=status, code=code, at=T0)]
        update = LedgerUpdated(
            id=f"u{self.seq}", at=T0, seq=self.seq, store_id="store", epoch=1, kind=UpdateKind.FILLED,
            intents=intents, positions=list(positions), orders=list(orders), books=list(books),
        )  # fmt: skip
        self.view.apply(update)
        return self.keep(await self.demo.on_updates([update]))


def position(side, position_id="p1", quantity="0.01") -> PositionRow:
    return PositionRow(
        position_id=position_id, book_id=BOOK, account="demo", exchange="paper", symbol="BTC/USDT", side=side,
        kind=Kind.LINEAR, contract_size=D(1), settle="USDT", quantity=D(quantity), cost=D(1), entry_price=D(10),
        take_profit=D(11), stop_loss=D(9), take_profit_spec="0.5%", stop_loss_spec="0.5%",
        opened_at=T0, changed_at=T0, recorded_at=T0,
    )  # fmt: skip


def entry_order(state="open") -> OrderRow:
    return OrderRow(
        order_id="o1", intent_id="x", book_id=BOOK, account="demo", exchange="paper", symbol="BTC/USDT",
        contract_size=D(1), settle="USDT", role=Role.ENTRY, side=Side.BUY, quantity=D(1), state=state, incarnation="i", epoch=1,
        send_by=T0, reserved_at=T0, changed_at=T0,
    )  # fmt: skip


def book(**fields) -> BookRow:
    return BookRow(book_id=BOOK, account="demo", exchange="paper", symbol="BTC/USDT", leg=Leg.NET, **fields)


async def long_world(**options) -> World:
    """A world that holds the long position its producer asked for."""
    world = World(**options)
    (opening,) = await world.rise()
    assert await world.update(intent=opening, positions=[position(PositionSide.LONG)]) == []
    return world


# --- what it asks for


async def test_above_it_opens_a_long_with_exits_and_a_short_life():
    world = World()
    (intent,) = await world.rise()
    assert (intent.side, intent.quantity, intent.symbol) == (Side.BUY, D("0.01"), "BTC/USDT:USDT")
    assert (intent.take_profit, intent.stop_loss, intent.ttl_s) == ("0.5%", "0.5%", D(14_400))
    assert (intent.strategy, intent.account, intent.cause_id) == ("demo", "demo", "r1:2")
    assert intent.expires_at - intent.at == 5000
    assert intent == parse_intent("order.intent", f"{T0}-0", intent.body()).evolve(correlation_id=None)


async def test_below_it_opens_a_short_where_it_can_be_short():
    (intent,) = await World().fall()
    assert intent.side is Side.SELL


async def test_on_spot_below_means_flat():
    assert await World(symbol="BTC/USDT").fall() == []
    world = await long_world(symbol="BTC/USDT")
    (closing,) = await world.fall()
    assert (closing.action, closing.position_id) == ("close", "p1")
    gone = position(PositionSide.LONG, quantity="0")
    assert await world.update(intent=closing, positions=[gone]) == []


async def test_other_symbols_and_impossible_prices_are_none_of_its_business():
    world = World()
    assert await world.tick(10, 9, 11, symbol="ETH/USDT") == []
    assert await world.tick(10, 9, 0, 9) == []


async def test_stop_and_reverse_takes_two_steps():
    """Close, its answer, the ledger's word that nothing is held, and only then the other side."""
    world = await long_world()
    (closing,) = await world.fall()
    assert (closing.action, closing.position_id, closing.reduces) == ("close", "p1", True)
    assert closing.expires_at is None
    assert await world.tick(9) == []
    (opening,) = await world.update(intent=closing, positions=[position(PositionSide.LONG, quantity="0")])
    assert opening.side is Side.SELL
    assert opening.id != closing.id
    assert opening.cause_id == closing.cause_id


async def test_an_answer_that_comes_before_the_rows_waits_for_them():
    world = await long_world()
    (closing,) = await world.fall()
    assert await world.result(closing, ResultStatus.ACCEPTED) == []
    assert await world.result(closing) == []
    assert await world.tick(9) == []
    assert len(await world.update(intent=closing, positions=[position(PositionSide.LONG, quantity="0")])) == 1


async def test_rows_that_come_in_a_snapshot_count_too():
    world = await long_world()
    (closing,) = await world.fall()
    await world.result(closing)
    world.load()
    assert [intent.side for intent in world.keep(await world.demo.on_reset())] == [Side.SELL]


async def test_a_snapshot_without_an_answer_says_nothing():
    world = await long_world()
    await world.fall()
    world.load()
    assert await world.demo.on_reset() == []


async def test_an_answer_whose_rows_never_come_is_taken_after_a_second():
    world = World()
    (opening,) = await world.rise()
    await world.result(opening)
    world.clock.move(999)
    assert await world.fall() == []
    world.clock.move(1)
    assert len(world.keep(await world.demo.on_timer())) == 1


# --- its manners


async def test_nothing_is_sent_while_an_intent_is_unanswered():
    world = World()
    await world.rise()
    assert await world.fall() == []
    assert await world.rise() == []


async def test_without_an_answer_the_same_intent_is_sent_again():
    world = World()
    (opening,) = await world.rise()
    world.clock.move(4999)
    assert await world.demo.on_timer() == []
    world.clock.move(1)
    assert [opening] == world.keep(await world.demo.on_timer())
    assert await world.demo.on_timer() == []


@pytest.mark.parametrize(
    "status", [BLOCKED, ResultStatus.REJECTED, ResultStatus.EXPIRED, ResultStatus.PARTLY_FILLED]
)
async def test_a_refusal_ends_the_wish_and_the_next_crossing_makes_a_new_one(status):
    world = await long_world()
    (closing,) = await world.fall()
    assert await world.update(intent=closing, status=status) == []
    assert await world.tick(9, 9, 8) == []
    assert await world.demo.on_timer() == []
    assert await world.tick(20) == []  # above again: it is long already
    (again,) = await world.tick(1)
    assert (again.action, again.id != closing.id) == ("close", True)


async def test_a_close_that_leaves_something_is_not_repeated_for_the_same_crossing():
    world = await long_world()
    (closing,) = await world.fall()
    assert await world.update(intent=closing) == []
    assert await world.demo.on_timer() == []


async def test_it_waits_while_the_book_is_moving():
    """An exit or an entry of the book is on its way, from whoever: what is held is about to change."""
    world = World()
    await world.update(orders=[entry_order()], books=[book(side=PositionSide.LONG)])
    assert await world.rise() == []
    assert (
        await world.update(orders=[entry_order("canceled")], books=[book(exiting=ExitReason.STOP_LOSS)]) == []
    )
    assert len(await world.update(books=[book()])) == 1


async def test_a_position_that_an_exit_closed_is_not_closed_again():
    world = await long_world()
    await world.update(positions=[position(PositionSide.LONG, quantity="0")])
    (opening,) = await world.fall()
    assert opening.action == "open"


async def test_a_new_life_first_waits_until_old_wishes_have_expired():
    world = World(quiet=True)
    assert await world.rise() == []
    world.clock.move(4999)
    assert await world.demo.on_timer() == []
    world.clock.move(1)
    assert len(world.keep(await world.demo.on_timer())) == 1


async def test_nothing_is_sent_before_the_ledger_is_known():
    world = World(loaded=False)
    assert await world.rise() == []
    world.load()
    assert len(world.keep(await world.demo.on_reset())) == 1


async def test_living_through_the_same_ticks_again_makes_the_same_intents():
    one, two = World(), World()
    assert [intent.id for intent in await one.rise()] == [intent.id for intent in await two.rise()]
    other = World(run="r2")
    assert [intent.id for intent in await one.rise()] != [intent.id for intent in await other.rise()]


async def test_ticks_that_were_seen_are_not_seen_twice():
    world = World()
    await world.tick(10, 9)
    world.index = 0
    await world.tick(11)
    assert world.sent == []


async def test_a_new_run_is_another_market():
    world = World()
    await world.tick(10, 9)
    world.run, world.index = "r2", 0
    assert await world.tick(11) == []
    assert 1 == len(await world.tick(9, 11, 8)) == len(world.sent)


async def test_a_replay_is_sampled_every_three_minutes():
    world = World()
    assert await world.tick(10, 9, 11, live=False) == []
    for price in (10, 9, 11):
        world.index += 180
        await world.tick(price, live=False)
    assert len(world.sent) == 1


async def test_the_heartbeat_says_what_it_waits_for():
    world = World()
    (opening,) = await world.rise()
    details = world.demo.heartbeat()["details"]
    assert details == {"symbol": "BTC/USDT", "state": "ready", "waits_for": opening.id}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [({"fast": 5, "slow": 5}, "less than demo.slow"), ({"symbol": "BTC"}, "demo.symbol")],
)
def test_settings_that_cannot_work_are_said(fields, complaint):
    with pytest.raises(Terminal, match=complaint) as raised:
        build(Settings(demo=DemoSettings(**fields)))
    assert raised.value.code == EXIT_CONFIG
