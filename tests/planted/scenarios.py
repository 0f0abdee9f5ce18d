"""What must be true, shown on real handlers: each scenario passes on the code as it is, and names what broke when it is not.

The checks are of what anybody can see: orders sent, trades at the venue, rows in the store, messages on the bus.
"""

import shutil
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import Any

from fakeredis import FakeServer
from fakeredis.aioredis import FakeRedis

from holdfast.bus.follow import Reader
from holdfast.contracts import streams
from holdfast.contracts.codes import Role, TradingState
from holdfast.contracts.messages import Control, Fill, OrderRequest, OrderReserve
from holdfast.runtime.faults import Terminal
from holdfast.store.opening import open_store, sqlite_path
from holdfast.store.soundness import mark_of
from tests.planted._world import BTC, ETH, START, Names, Time, World

D = Decimal


async def in_flight(world: World) -> None:
    """A buy and a sell in one batch, nothing filled yet: the second is blocked, and the venue sees one side."""
    await world.tick("100")
    world.intent("long", "buy")
    world.intent("short", "sell")
    await world.settle()
    await world.tick("100")
    await world.settle()
    assert (world.answer("long").status, world.answer("short").status) == ("filled", "blocked")
    assert await world.venue_holds() == world.position().quantity == D(1)


async def every_position_has_exits(world: World) -> None:
    """An intent that names no exits: the store never holds its position without a stop-loss and a take-profit."""
    await world.opened()
    with closing(sqlite3.connect(sqlite_path(world.directory))) as store:
        rows = store.execute("SELECT stop_loss, take_profit FROM positions").fetchall()
    assert rows == [("90", "120")], "a position without the exits that policy demands"


async def recorded_before_sent(world: World) -> None:
    """At the moment an order reaches the venue, the store holds its reservation."""
    await world.opened()
    world.close_intent("out")
    await world.settle()
    assert len(world.sends) == 2
    assert world.unrecorded == [], f"sent before the ledger had recorded them: {world.unrecorded}"


async def fills_count_once(world: World) -> None:
    """The executor owes every fill until it is shown, so each may come again, under another entry id."""
    await world.opened()
    (fill,) = await world.venue_fills()
    for _ in range(3):
        world.send(streams.FILL, fill)
        await world.settle()
    assert world.position().quantity == D(1), "a fill was applied twice"
    assert not world.bus.of(streams.DEAD_LETTER), "a fill that came twice became a dead letter"
    assert world.stored("books", "book_id", f"main/paper/{BTC}").get("disputed") is None
    await world.check_fills()


async def exits_never_exceed_the_position(world: World) -> None:
    """Two people close at once: what both exits may take out is what there is, and the venue ends flat, not short."""
    await world.opened()
    world.close_intent("one")
    world.close_intent("two")
    await world.settle()
    working = sum((order.remaining for order in world.orders()), D(0))
    assert working <= world.position().quantity, (
        f"exits of {working} work against {world.position().quantity}"
    )
    await world.tick("100")
    await world.settle()
    assert await world.venue_holds() == 0
    assert world.positions() == []


async def a_halt_lets_exits_pass(world: World) -> None:
    """Trading is halted: nothing opens, everything closes."""
    await world.opened()
    world.send(streams.CONTROL, Control(id="halt", at=START, state=TradingState.HALTED, by="ann"))
    await world.settle()
    world.intent("more", "buy")
    world.close_intent("out")
    await world.settle()
    await world.tick("100")
    await world.settle()
    assert world.answer("more").status == "blocked"
    assert world.answer("out").status == "filled", f"a halt stopped an exit: {world.answer('out').code}"
    assert world.positions() == []


async def a_lost_answer_is_not_a_failure(world: World) -> None:
    """The venue took the order, its answer was lost: no second order, and what it filled becomes a position."""
    await world.tick("100")
    world.venue.lose_answers = True
    world.intent("first", "buy")
    await world.settle()
    world.venue.lose_answers = False
    world.intent("second", "buy")
    await world.settle()
    assert world.answer("second").status == "blocked", "an entry was let in while another had no clear answer"
    await world.wait(3)
    await world.tick("100")
    await world.wait(5)
    assert set(world.sends.values()) == {1}
    assert await world.venue_holds() == world.position().quantity == D(1)
    await world.check_fills()


async def an_unreadable_venue_takes_no_entries(world: World) -> None:
    """The venue does not answer: what is held there is not known, so nothing is opened; an exit is tried all the same."""
    await world.opened()
    world.venue.unreadable = True
    await world.wait(1)
    world.intent("more", "buy")
    await world.settle()
    assert world.answer("more").status == "blocked", "an entry was let in while nobody could see what is held"
    world.close_intent("out")
    await world.settle()
    assert world.answer("out").status == "accepted"


async def followers_equal_the_ledger(world: World) -> None:
    """An update is lost on the bus: whoever follows notices, and ends with exactly the ledger's positions."""
    await world.opened()
    world.intent("eth", "buy", symbol=ETH)
    await world.tick("10", ETH)
    await world.settle(until=streams.LEDGER_UPDATED)
    world.bus.entries[streams.LEDGER_UPDATED.name].pop()
    world.time.now += 1
    world.intent("sol", "buy", symbol="SOL/USDT")
    await world.tick("10", "SOL/USDT")
    await world.settle()
    await world.wait(3)
    live = {order.order_id: order.state for order in world.orders()}
    for view in (world.view, world.watching):
        assert {key: row.state for key, row in view.orders.items()} == live, (
            "a follower is not what the ledger is"
        )
    assert world.scanner.armed_through == world.ledger.seq


async def a_second_ledger_is_refused(world: World) -> None:
    """... by the lock, with the holder's name; and one that got past it can no longer commit."""
    refusal = ""
    try:
        open_store(
            url="", directory=world.directory, who="intruder", ids=Names("other-"), check=False
        ).close()
    except Terminal as error:
        refusal = str(error)
    assert "another ledger has this store" in refusal, "two ledgers have one store"


async def a_replaced_ledger_is_fenced(world: World) -> None:
    """It slept, and another took over: what it still has in hand is not committed."""
    await world.tick("100")
    with closing(sqlite3.connect(sqlite_path(world.directory))) as successor, successor:
        successor.execute("UPDATE store SET epoch = epoch + 1")
    world.intent("late", "buy")
    refusal = ""
    try:
        await world.settle()
    except Terminal as error:
        refusal = str(error)
    assert "taken over" in refusal, "a ledger that had been replaced did not notice"
    assert world.orders() == [], "a ledger that had been replaced went on writing"


async def nothing_is_sent_again_after_a_restart(world: World) -> None:
    """Killed between send and hearing of it: the next life looks the order up, and sends nothing."""
    await world.tick("100")
    world.intent("first", "buy")
    await world.settle()
    await world.start()
    world.bus.add(streams.ORDER_INTENT, b'{"id":"first","side":"buy","quantity":"1","symbol":"BTC/USDT"}')
    await world.settle()
    await world.wait(5)
    await world.tick("100")
    await world.settle()
    assert set(world.sends.values()) == {1}, f"sent more than once: {world.sends}"
    assert await world.venue_holds() == world.position().quantity == D(1)


async def every_reader_of_a_view_sees_all(world: World) -> None:
    """Two instances, one of them restarted in between: each has read every entry."""
    server = FakeServer()
    clients = [FakeRedis(server=server, protocol=2) for _ in range(3)]
    readers = [Reader(client, streams.HEARTBEAT, clock=Time(), block_ms=10) for client in clients[:2]]
    seen: list[list[str]] = [[], []]

    async def read() -> None:
        for reader, names in zip(readers, seen, strict=True):
            names += [entry_id for entry_id, _ in await reader.read()]

    try:
        for number in range(4):
            await clients[2].xadd(streams.HEARTBEAT.name, {"body": "{}"}, id=f"{number + 1}-0")
            await read()
    finally:
        for client in clients:
            await client.aclose()
    assert seen == [[f"{number + 1}-0" for number in range(4)]] * 2, "a reader of a view has holes"


async def fills_survive_a_wipe(world: World) -> None:
    """The bus forgets a fill before the ledger has read it: within seconds it is told again."""
    await world.tick("100")
    world.intent("first", "buy")
    await world.settle()
    await world.tick("100")
    assert len(world.bus.of(streams.FILL)) == 1
    world.wipe()
    await world.wait(30)
    await world.check_fills()
    assert world.position().quantity == D(1)


async def a_stop_displaces_a_softer_exit(world: World) -> None:
    """A take-profit rests at the venue for the whole position, the price falls: the stop is sent, and closes it."""
    await world.opened()
    world.close_intent("soft", type="limit", price="119")
    await world.settle()
    await world.tick("89")
    await world.settle()
    await world.tick("89")
    await world.settle()
    (trade,) = world.bus.of(streams.LEDGER_TRADE) or [None]
    assert trade is not None, "the stop was stopped by a softer exit"
    assert trade.exit_reason == "stop_loss"
    assert await world.venue_holds() == 0


async def poison_harms_only_itself(world: World) -> None:
    """A control with a used id and other content comes in one batch with a good one: only the forgery is dead."""
    world.send(streams.CONTROL, Control(id="c", at=START, state=TradingState.ACTIVE, by="ann"))
    await world.settle()
    entries = [
        Control(id="c", at=START, state=TradingState.HALTED, by="mallory"),
        Control(id="d", at=START, state=TradingState.REDUCE_ONLY, by="ann"),
    ]
    for message in entries:
        world.send(streams.CONTROL, message)
    await world.settle()
    dead = [letter.payload for letter in world.bus.of(streams.DEAD_LETTER)]
    assert len(dead) == 1, "poison took its batch with it"
    assert "mallory" in dead[0]
    assert world.stored("control", "scope", "all")["state"] == "reduce_only", "poison took its batch with it"


async def crossed_exits_are_put_right(world: World) -> None:
    """An adoption whose stop-loss stands above its take-profit: recorded all the same, with exits from policy."""
    fill = {
        "id": "a-1", "at": START, "account": "main", "exchange": "paper", "symbol": BTC, "trade_id": "adopted", "kind": "adoption",
        "side": "buy", "quantity": "2", "price": "100", "executed_at": START, "stop_loss": "130", "take_profit": "70", "instrument": "linear",
    }  # fmt: skip
    world.send(streams.FILL, **fill)
    await world.settle()
    assert not world.bus.of(streams.DEAD_LETTER), "a fill was refused"
    position = world.position()
    assert (position.stop_loss, position.take_profit) == (D(90), D(120))
    assert position.seeded


async def trade_ids_are_of_their_symbol(world: World) -> None:
    """Exchanges number trades per symbol: the same number twice is two trades."""
    for symbol, price in ((BTC, "100"), (ETH, "10")):
        fill = Fill(
            id=f"a-{symbol}", at=START, account="main", exchange="paper", symbol=symbol, order_id="", trade_id="7", kind="adoption",
            side="buy", quantity=D(1), price=D(price), executed_at=START,
        )  # fmt: skip
        world.send(streams.FILL, fill)
    await world.settle()
    held = {position.symbol: position.quantity for position in world.positions()}
    assert held == {BTC: D(1), ETH: D(1)}, f"two symbols share a trade id, and the ledger holds {held}"


async def a_stop_that_locks_the_coins_goes_before_they_are_sold(world: World) -> None:
    """On spot a stop rests for all that is held, and somebody closes: until it has ended nothing else may sell."""

    def wants(name: str, role: Role, **more: Any) -> None:
        order = OrderRequest(
            order_id=f"o-{name}", kind="spot", settle="USDT", role=role, quantity_step="0.001", reference_price="100", send_by=START, **more,
        )  # fmt: skip
        reserve = OrderReserve(
            id=f"r-{name}", at=START, intent_id=name, intent_digest=name, account="other", exchange="binance", symbol=BTC, incarnation="i",
            epoch=1, order=order,
        )  # fmt: skip
        world.send(streams.ORDER_RESERVE, reserve)

    wants("in", Role.ENTRY, side="buy", quantity="1")
    bought = Fill(
        id="f", at=START, account="other", exchange="binance", symbol=BTC, order_id="o-in", trade_id="t", side="buy", quantity=D(1),
        price=D(100), executed_at=START, instrument="spot",
    )  # fmt: skip
    await world.settle()
    world.send(streams.FILL, bought)
    await world.settle()
    held = world.position()
    wants("stop", Role.PROTECT, side="sell", position_id=held.position_id, stop_price=D(90))
    await world.settle()
    wants("out", Role.EXIT, alone=True, position_id=held.position_id)
    await world.settle()
    selling = sum((order.remaining for order in world.orders()), D(0))
    assert selling <= held.quantity, f"{selling} could be sold, {held.quantity} are held"
    assert [order.state for order in world.orders()] == ["canceling"]


async def a_fill_after_the_end_counts(world: World) -> None:
    """An order is canceled, and afterwards a fill of it is told: exchanges do that, and the coins are there."""
    await world.tick("100")
    world.intent("rest", "buy", type="limit", price="90")
    await world.settle()
    (order,) = world.orders()
    world.send(streams.ORDER_INTENT, id="away", action="cancel", symbol=BTC)
    await world.settle()
    await world.wait(2)
    assert world.orders() == []
    late = Fill(
        id="late", at=START, account="main", exchange="paper", symbol=BTC, order_id=order.order_id, trade_id="late", side="buy",
        quantity=D(1), price=D(90), executed_at=START,
    )  # fmt: skip
    world.send(streams.FILL, late)
    await world.settle()
    held = [position.quantity for position in world.positions()]
    assert held == [D(1)], f"a fill after its order's end was not counted: {held}"


async def an_old_store_does_not_write_over_a_newer_stream(world: World) -> None:
    """The store was restored from a backup: the ledger says so and stops; it neither skips nor overwrites."""
    await world.opened()
    file, backup = sqlite_path(world.directory), world.directory / "backup.db"
    world.store.backup(backup)
    world.intent("more", "buy")
    await world.settle()
    newest = world.store.last()
    world.ledger.close()
    for leftover in (*file.parent.glob("ledger.db*"), mark_of(file)):
        leftover.unlink()  # on another machine, say: the mark that would tell is not there
    shutil.copy(backup, file)
    world.start_ledger()
    refusal = ""
    try:
        await world.ledger.heal(newest)
    except Terminal as error:
        refusal = str(error)
    assert "backup" in refusal, f"a store at {world.ledger.seq} went on against a stream at {newest[0]}"
