"""What others do on the account, what happens while we are away, and reads that say too little: each is noticed and handled."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.codes import Code, ExitReason, FillKind, Leg, OrderState, Side
from holdfast.contracts.messages import Fill
from holdfast.domain.orders import is_ours
from holdfast.domain.precheck import order_id_of
from holdfast.domain.settle import taken_in
from services.executor.foreign import settled, signed, unrecorded
from tests.venue._world import D, bench, live_world, started
from venue_sim.faults import Fault, Kind

DAY = 24 * 3600 * 1000


async def minutes(world, count=2):
    """The executor compares every minute; prices stay fresh."""
    for _ in range(count):
        await world.price("42000")
        await world.pass_time(65_000, step=5_000)


async def bought(world, quantity="0.1"):
    await world.price("42000")
    await world.give(world.buy(quantity))
    await world.settle()
    await world.pass_time(1_000)
    assert world.ours() == world.held()


def trouble(world):
    return world.executor.heartbeat()["unreadable"]


def by_hand(world, side, quantity):
    world.exchange.by_hand("BTCUSDT", side, D(quantity))


def quarantine(world):
    return [row for row in world.ledger.state.quarantine.values() if not row.resolved]


async def test_a_position_opened_by_hand_is_quarantined_and_nothing_is_sent_for_it():
    async with live_world() as world:
        by_hand(world, "BUY", "0.2")
        sent = len(world.exchange.received)
        await minutes(world)
        (row,) = quarantine(world)
        assert (row.symbol, row.side.value, row.quantity) == ("BTC/USDT", "long", D("0.2"))
        assert (world.ours(), trouble(world)) == ({}, None), "shown and yellow, not red"
        await world.price("42000")
        await world.give(world.buy("0.1"))
        assert "in quarantine" in world.refusal().reason
        await world.settle()
        assert len(world.exchange.received) == sent


async def test_taken_in_by_a_person_it_is_a_position_with_exits():
    async with live_world() as world:
        by_hand(world, "BUY", "0.2")
        await minutes(world)
        (row,) = quarantine(world)
        update, _ = world.ledger.take(taken_in(row, world.clock.now))
        await world.hear([update])
        await minutes(world)
        assert (world.ours(), quarantine(world), trouble(world)) == ({"BTC/USDT": D("0.2")}, [], None)
        (position,) = world.ledger.state.positions.values()
        assert position.stop_loss < D(42_000) < position.take_profit


async def test_on_a_symbol_that_the_settings_name_it_is_taken_in_by_itself_and_nowhere_else():
    async with live_world(adopt=["BTC/USDT"]) as world:
        by_hand(world, "BUY", "0.2")
        world.exchange.by_hand("ETHUSDT", "BUY", D(1))
        await minutes(world)
        assert (world.ours(), trouble(world)) == ({"BTC/USDT": D("0.2")}, None)
        assert [row.symbol for row in quarantine(world)] == ["ETH/USDT"]
        (position,) = world.ledger.state.positions.values()
        assert position.stop_loss < D(42_000) < position.take_profit


async def test_on_a_symbol_to_be_flattened_it_is_closed_at_market_through_a_refusal_and_a_restart():
    async with live_world(flatten=["BTC/USDT"]) as world:
        by_hand(world, "SELL", "0.2")
        world.server.venue.faults.arm(Fault(Kind.RATE_LIMITED, "POST", "/fapi/v1/order", times=1))
        await minutes(world, 1)
        await world.start()
        await world.settle()
        await minutes(world)
        assert (world.held(), world.ours(), quarantine(world), trouble(world)) == ({}, {}, [], None)
        (trade,) = [trade for update in world.ledger.updates for trade in update.trades]
        assert trade.exit_reason is ExitReason.FLATTEN


async def test_while_something_is_to_be_flattened_nothing_of_ours_is_added_to_it():
    async with live_world(flatten=["BTC/USDT"]) as world:
        by_hand(world, "BUY", "0.2")
        world.server.venue.faults.arm(Fault(Kind.RATE_LIMITED, "POST", "/fapi/v1/order", times=10_000))
        await minutes(world)
        assert (world.ours(), quarantine(world)) == ({"BTC/USDT": D("0.2")}, [])
        await world.price("42000")
        await world.give(world.buy("0.1"))
        assert (world.refusal().code, "flatten" in world.refusal().reason) == (Code.EXIT_IN_PROGRESS, True)


async def test_ours_is_not_flattened_whatever_its_intent_calls_itself():
    async with live_world(flatten=["BTC/USDT"]) as world:
        await world.price("42000")
        await world.give(world.buy("0.1", id="q-1"))
        await world.settle()
        await world.pass_time(2_000)
        assert world.ours() == {"BTC/USDT": D("0.1")}


async def test_what_would_be_mixed_with_ours_is_not_flattened():
    async with live_world(flatten=["BTC/USDT"]) as world:
        await bought(world)
        by_hand(world, "BUY", "0.2")
        await minutes(world)
        assert (world.ours(), world.held()) == ({"BTC/USDT": D("0.1")}, {"BTC/USDT": D("0.3")})
        assert [row.quantity for row in quarantine(world)] == [D("0.2")]
        await world.give_exits(world.close())
        await world.settle()
        await minutes(world)
        assert (world.held(), world.ours(), quarantine(world)) == ({}, {}, [])


async def test_a_position_closed_by_hand_is_closed_here_too_with_the_true_price():
    async with live_world() as world:
        await bought(world)
        await world.price("41900")
        by_hand(world, "SELL", "0.1")
        await minutes(world)
        assert (world.ours(), quarantine(world), trouble(world)) == ({}, [], None)
        (trade,) = [trade for update in world.ledger.updates for trade in update.trades]
        assert (trade.exit_reason, trade.exit_price) == (ExitReason.EXIT_ON_VENUE, D(41_900))


async def test_an_exit_that_the_venue_refuses_makes_us_look_at_once():
    async with live_world() as world:
        await bought(world)
        by_hand(world, "SELL", "0.1")
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(4_000, step=500)
        assert (world.ours(), trouble(world)) == ({}, None), "not a minute later"
        (trade,) = [trade for update in world.ledger.updates for trade in update.trades]
        assert trade.exit_reason is ExitReason.EXIT_ON_VENUE


async def test_one_that_was_partly_closed_by_hand_is_smaller_and_keeps_its_exits():
    async with live_world() as world:
        await bought(world)
        by_hand(world, "SELL", "0.04")
        await minutes(world)
        assert (world.ours(), trouble(world)) == ({"BTC/USDT": D("0.06")}, None)


async def test_a_liquidation_is_applied_as_one():
    async with live_world() as world:
        await bought(world)
        world.exchange.liquidate()
        await minutes(world)
        assert (world.ours(), trouble(world)) == ({}, None)
        (trade,) = [trade for update in world.ledger.updates for trade in update.trades]
        assert trade.exit_reason is ExitReason.LIQUIDATION


async def test_a_trade_by_hand_through_zero_closes_ours_and_the_rest_is_quarantined():
    async with live_world() as world:
        await bought(world)
        by_hand(world, "SELL", "0.3")
        await minutes(world)
        (row,) = quarantine(world)
        assert (world.ours(), row.side.value, row.quantity, trouble(world)) == ({}, "short", D("0.2"), None)


async def test_a_position_that_was_there_before_us_is_quarantined_though_nobody_can_read_its_trades():
    async with bench() as tools:
        world = await started(*tools)
        by_hand(world, "BUY", "0.2")
        world.exchange.trades.clear()
        await minutes(world)
        (row,) = quarantine(world)
        assert (row.quantity, row.price) == (D("0.2"), D("42000.1"))
        assert (world.ours(), trouble(world)) == ({}, None)


async def test_two_days_of_missed_trades_are_applied_with_their_true_time_and_price():
    async with live_world() as world:
        await bought(world)
        await world.give(
            world.entry(symbol="BTC/USDT", side="buy", quantity="0.2", type="limit", price="41950")
        )
        await world.settle()
        filled_at = world.clock.now = world.clock.now + 3_600_000
        await world.price("41940")
        world.clock.now += 2 * DAY
        await world.start()
        await world.settle()
        await minutes(world)
        assert world.ours() == world.held() == {"BTC/USDT": D("0.3")}
        last = [fill for update in world.ledger.updates for fill in update.fills][-1]
        assert (last.price, last.executed_at // 1000) == (D(41_950), filled_at // 1000)
        assert trouble(world) is None


async def test_an_order_that_somebody_canceled_is_noticed():
    async with live_world() as world:
        await world.give(
            world.entry(symbol="BTC/USDT", side="buy", quantity="0.2", type="limit", price="41000")
        )
        await world.settle()
        assert world.order().state is OrderState.OPEN
        world.exchange.cancel_all("BTCUSDT")
        await world.pass_time(10_000, step=1_000)
        assert world.ledger.state.orders == {}


async def test_positions_that_are_shown_as_empty_delete_nothing_and_stop_entries():
    async with live_world() as world:
        await bought(world)
        world.server.venue.faults.arm(Fault(Kind.EMPTY_LIST, "GET", "/fapi/v3/positionRisk", times=1_000))
        await minutes(world)
        assert world.ours() == {"BTC/USDT": D("0.1")}
        assert "the venue holds 0, the ledger 0.1" in trouble(world)
        await world.price("42000")
        await world.give(world.buy("0.1"))
        assert world.refusal().code is Code.RECORD_MISMATCH
        world.bus.clear()
        world.server.venue.faults.clear()
        await minutes(world)
        assert trouble(world) is None


async def test_rows_of_both_sides_that_hold_nothing_change_nothing():
    async with live_world() as world:
        await bought(world)
        world.server.venue.faults.arm(Fault(Kind.HEDGE_ROWS, "GET", "/fapi/v3/positionRisk", times=1_000))
        await minutes(world)
        assert (world.ours(), trouble(world)) == ({"BTC/USDT": D("0.1")}, None)


async def test_an_account_that_somebody_put_into_hedge_mode_is_unreadable_not_flat():
    async with live_world() as world:
        await bought(world)
        account = world.exchange.account
        account.positions["BTCUSDT", "LONG"] = account.positions.pop(("BTCUSDT", "BOTH"))
        account.hedged = True
        await minutes(world, 1)
        assert "in hedge mode" in trouble(world)
        assert world.ours() == {"BTC/USDT": D("0.1")}


async def test_after_a_restart_what_others_did_is_old_news():
    async with live_world() as world:
        await bought(world)
        by_hand(world, "SELL", "0.04")
        by_hand(world, "BUY", "0.5")
        await minutes(world)
        before = (world.ours(), len(quarantine(world)), len(world.ledger.known.fills))
        assert before[0] == {"BTC/USDT": D("0.06")}
        await world.start()
        await world.settle()
        await minutes(world)
        assert (world.ours(), len(quarantine(world)), len(world.ledger.known.fills)) == before
        assert trouble(world) is None
        assert [book.disputed for book in world.ledger.state.books.values()] == [None]


# -- the rules alone -----------------------------------------------------------------------------------------------------


def fill(number, change):
    return Fill(
        id=f"f{number}", at=number, account="main", exchange="x", symbol="BTC/USDT", order_id="web_1", trade_id=str(number),
        side=Side.BUY if change > 0 else Side.SELL, quantity=abs(change), price="100", executed_at=number,
    )  # fmt: skip


changes = st.lists(st.integers(-9, 9).filter(bool).map(Decimal), max_size=8)


@given(changes, st.integers(-20, 20).map(Decimal), st.integers(0, 8))
def test_what_explains_the_position_does(steps, recorded, known):
    """However many of the trades are old news, those that are given explain the difference exactly."""
    trades = [fill(number, change) for number, change in enumerate(steps)]
    there = recorded + sum(steps[min(known, len(steps)) :])
    news = unrecorded(there, recorded, trades)
    assert news is not None
    assert recorded + sum(signed(one) for one in news) == there


@given(changes, st.integers(-20, 20).map(Decimal))
def test_what_is_applied_only_ever_shrinks_ours_and_nothing_is_left_out(steps, held):
    trades = [fill(number, change) for number, change in enumerate(steps)]
    told = settled(trades, held)
    assert sum(signed(one) for one in told) == sum(steps)
    left = held
    for one in told:
        if one.kind is not FillKind.TRADE:
            assert abs(left + signed(one)) < abs(left)
            assert (left + signed(one)) * left >= 0
            left += signed(one)
    assert len({one.trade_id for one in told}) == len(told)


def test_our_ids_are_known_from_others():
    assert is_ours(order_id_of("main", "any intent", Leg.NET))
    assert not any(map(is_ours, ("", "web_1", "autoclose-1", "x-cvBPrNm9abc", "h1")))
