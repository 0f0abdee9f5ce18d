"""The executor on a real exchange's wire: entries, exits, limits of a live account, unknown orders, and seeded histories."""

from holdfast.contracts.codes import Code, OrderState
from tests.venue._world import D, live_world
from venue_sim.faults import Fault, Kind


async def test_a_position_is_opened_and_closed():
    async with live_world() as world:
        await world.give(world.buy("0.1"))
        await world.settle()
        await world.pass_time(1_000)
        assert world.ours() == world.held() == {"BTC/USDT": D("0.1")}
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(1_000)
        assert world.ours() == world.held() == {}
        assert [ask.reduce_only for ask in world.exchange.received] == [False, True]
        assert world.recorded_trades() == {str(trade.number) for trade in world.exchange.trades}


async def test_an_exit_that_the_venue_cuts_to_what_is_held_ends_with_what_it_filled():
    """Somebody has sold a part by hand, a moment ago: a reduce-only order becomes smaller than it was asked for, and is "filled"."""
    async with live_world() as world:
        await world.give(world.buy("0.1"))
        await world.settle()
        await world.pass_time(1_000)
        world.exchange.by_hand("BTCUSDT", "SELL", D("0.04"))
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(6_000, step=500)
        assert world.ours() == world.held() == {}, "not a minute later"
        assert world.ledger.state.orders == {}


async def test_an_order_without_an_answer_blocks_entries_lets_exits_pass_and_is_resolved():
    async with live_world() as world:
        await world.give(world.buy("0.1"))
        await world.settle()
        await world.pass_time(1_000)
        world.server.venue.faults.arm(Fault(Kind.RESET, "POST", "/order"))
        await world.give(world.buy("0.2"))
        await world.settle()
        (unknown,) = world.ledger.state.orders.values()
        assert unknown.state is OrderState.UNKNOWN
        await world.give(world.buy("0.3"))
        assert world.refusal().code is Code.BOOK_UNKNOWN
        await world.settle()
        await world.pass_time(2_000)
        assert world.ours() == world.held() == {"BTC/USDT": D("0.3")}
        assert len(world.exchange.received) == 2


async def test_an_order_that_never_arrived_ends_as_never_sent_and_not_before_its_window_has_closed():
    async with live_world() as world:
        world.server.venue.faults.arm(Fault(Kind.SILENT_BEFORE, "POST", "/order"))
        await world.give(world.buy("0.2"))
        await world.settle()
        await world.pass_time(12_000, step=1_000)
        assert world.order().state is OrderState.UNKNOWN
        await world.pass_time(20_000, step=1_000)
        assert world.ledger.state.orders == {}
        assert world.exchange.received == []


async def test_the_limits_of_a_live_account_stop_entries_and_never_exits():
    async with live_world(max_notional="5000", daily_loss="50") as world:
        await world.give(world.buy("0.2"))
        assert (world.refusal().code, "max_notional" in world.refusal().reason) == (
            Code.MAX_ACCOUNT_NOTIONAL,
            True,
        )
        await world.settle()
        await world.give(world.buy("0.1"))
        await world.settle()
        await world.pass_time(1_000)
        await world.price("41000")
        await world.pass_time(11_000, step=1_000)
        await world.price("41000")
        await world.give(world.buy("0.01"))
        assert (world.refusal().code, "daily_loss" in world.refusal().reason) == (Code.DAILY_LOSS, True)
        await world.settle()
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(1_000)
        assert world.ours() == world.held() == {}


async def test_a_symbol_that_the_account_does_not_list_is_refused():
    async with live_world(symbols=["ETH/USDT"]) as world:
        await world.give(world.buy("0.1"))
        assert "symbols does not list BTC/USDT" in world.refusal().reason


async def test_without_a_days_result_there_are_no_entries():
    async with live_world() as world:
        world.server.venue.faults.arm(Fault(Kind.BAD_GATEWAY, "GET", "/userTrades", times=100))
        await world.pass_time(11_000, step=1_000)
        await world.price("42000")
        await world.give(world.buy("0.1"))
        assert world.refusal().code is Code.VENUE_UNREADABLE


async def test_the_heartbeat_says_live():
    async with live_world() as world:
        assert world.executor.heartbeat()["details"]["live"] == "main at binanceusdm"


async def test_an_entry_right_after_a_start_or_at_midnight_waits_until_the_account_was_read():
    async with live_world() as world:
        await world.start()
        await world.price("42000")
        await world.give(world.buy("0.1"))
        assert world.ledger.known.intents == {}, "nobody has answered it yet"
        await world.pass_time(1_000)
        assert world.ours() == world.held() == {"BTC/USDT": D("0.1")}
        world.clock.now += 24 * 3_600_000
        await world.price("42000")
        await world.give(world.buy("0.2"))
        assert len(world.exchange.received) == 1
        await world.pass_time(1_000)
        assert world.ours() == world.held() == {"BTC/USDT": D("0.3")}


async def test_an_entry_does_not_wait_for_ever_for_an_account_that_cannot_be_read():
    async with live_world() as world:
        world.server.venue.faults.arm(Fault(Kind.BAD_GATEWAY, "GET", "", times=1_000))
        world.clock.now += 24 * 3_600_000  # the day's result is a new one
        await world.price("42000")
        await world.give(world.buy("0.1"))
        await world.pass_time(4_000, step=1_000)
        assert world.ledger.known.intents == {}
        await world.price("42000")
        await world.pass_time(3_000, step=1_000)
        assert [row.code for row in world.ledger.known.intents.values()] == [Code.VENUE_UNREADABLE]
        assert world.exchange.received == []


async def test_a_fill_that_cannot_be_read_yet_is_not_taken_for_somebody_elses():
    async with live_world() as world:
        await world.give(world.buy("0.1", type="limit", price="41000"))
        await world.settle()
        await world.pass_time(1_000)
        world.server.venue.faults.arm(Fault(Kind.BAD_GATEWAY, "GET", "/userTrades", times=10_000))
        await world.price("40999")
        await world.pass_time(70_000, step=1_000)
        assert (world.held(), world.ours()) == ({"BTC/USDT": D("0.1")}, {})
        assert world.ledger.state.quarantine == {}
        world.server.venue.faults.clear()
        await world.pass_time(10_000, step=1_000)
        assert world.ours() == world.held() == {"BTC/USDT": D("0.1")}
        assert world.ledger.state.quarantine == {}


async def test_an_order_of_a_market_that_is_no_longer_listed_stops_entries_and_no_exit():
    async with live_world() as world:
        await world.give(world.buy("0.1"))
        await world.give(world.entry(symbol="ETH/USDT", side="buy", quantity="1", type="limit", price="2400"))
        await world.settle()
        await world.start()
        for gone in (world.venue._theirs, world.venue._rules):
            del gone["ETH/USDT"]
        await world.price("42000")
        await world.give_exits(world.entry(action="cancel", symbol="ETH/USDT"))
        await world.pass_time(6_000, step=1_000)
        await world.price("42000")
        await world.give(world.buy("0.1"))
        await world.give_exits(world.close())
        await world.settle()
        assert world.held() == {}
        assert "no such market" in world.executor.heartbeat()["unreadable"]
