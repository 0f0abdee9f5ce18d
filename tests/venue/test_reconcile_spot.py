"""Spot accounts, live, on two wires: what our orders bought is a position, and every other coin is inventory."""

import pytest

from holdfast.contracts.codes import Code, ExitReason
from tests.venue._spot import COIN, WIRES
from tests.venue._stage import BITCOIN
from tests.venue._world import D, bench, live_world, started


@pytest.fixture(params=WIRES)
async def world(request):
    async with live_world(request.param) as one:
        yield one


async def minutes(world, count=2, price="42000"):
    for _ in range(count):
        await world.price(price)
        await world.pass_time(65_000, step=5_000)


async def bought(world, quantity="0.1"):
    await world.price("42000")
    await world.give(world.buy(quantity))
    await world.settle()
    await world.pass_time(1_000)
    assert world.ours() == world.held() != {}
    return world.ours()["BTC/USDT"]


def trouble(world):
    return world.executor.heartbeat()["unreadable"]


def coins(world):
    return world.exchange.coins[COIN[world.wire]]


def by_hand(world, side, quantity):
    world.exchange.by_hand(BITCOIN[world.wire], side, D(quantity))


def trades(world):
    return [trade for update in world.ledger.updates for trade in update.trades]


async def test_what_our_order_bought_is_a_position_less_the_fee_that_was_taken_in_coins(world):
    held = await bought(world)
    assert held == (D("0.0999") if world.wire == "binance" else D("0.1"))
    await minutes(world)
    assert (world.ours(), trouble(world)) == ({"BTC/USDT": held}, None)
    await world.price("42000")
    await world.give(world.buy("0.1"))
    await world.settle()
    await world.pass_time(1_000)
    assert world.ours() == {"BTC/USDT": 2 * held}
    assert world.recorded_trades() == world.venue_trades()


async def test_coins_bought_by_hand_are_inventory_and_nothing_is_done_about_them(world):
    by_hand(world, "BUY", "0.5")
    await minutes(world)
    assert (world.ours(), trouble(world), list(world.ledger.state.quarantine)) == ({}, None, [])
    held = await bought(world)
    by_hand(world, "BUY", "0.2")
    by_hand(world, "SELL", "0.6")
    await minutes(world)
    assert (world.ours(), trouble(world)) == ({"BTC/USDT": held}, None), (
        "there are enough coins left for ours"
    )


async def test_our_coins_that_were_sold_by_hand_close_the_position_at_the_price_that_they_brought(world):
    held = await bought(world)
    await minutes(world, 1)
    await world.price("41900")
    by_hand(world, "SELL", str(held))
    await minutes(world, price="41900")
    assert (world.ours(), trouble(world)) == ({}, None)
    (trade,) = trades(world)
    assert (trade.exit_reason, trade.exit_price) == (ExitReason.EXIT_ON_VENUE, D(41_900))


async def test_of_a_sale_by_hand_only_what_is_missing_is_taken_from_ours_and_after_a_restart_it_still_adds_up(
    world,
):
    world.server.venue.dialect.adjust({"coins": {COIN[world.wire]: "1"}})
    held = await bought(world)
    await minutes(world, 1)
    by_hand(world, "SELL", "1.04")
    await minutes(world)
    assert (world.ours(), coins(world), trouble(world)) == (
        {"BTC/USDT": held - D("0.04")},
        held - D("0.04"),
        None,
    )
    await world.start()
    await world.settle()
    await minutes(world)
    assert (world.ours(), trouble(world)) == ({"BTC/USDT": held - D("0.04")}, None)
    by_hand(world, "SELL", "0.01")
    await minutes(world)
    assert (world.ours(), trouble(world)) == ({"BTC/USDT": held - D("0.05")}, None)


async def test_coins_that_are_gone_and_nobody_sold_are_disputed_and_nothing_is_deleted(world):
    held = await bought(world)
    by_hand(world, "BUY", "0.3")
    by_hand(world, "SELL", "0.29")
    await minutes(world, 1)
    world.server.venue.dialect.adjust({"coins": {COIN[world.wire]: "0.01"}})
    await minutes(world)
    assert world.ours() == {"BTC/USDT": held}
    assert f"the venue holds 0.01, the ledger {held}" in trouble(world)
    await world.price("42000")
    await world.give(world.buy("0.1"))
    assert world.refusal().code is Code.RECORD_MISMATCH
    world.bus.clear()
    world.server.venue.dialect.adjust({"coins": {COIN[world.wire]: str(held)}})
    await minutes(world)
    assert trouble(world) is None


@pytest.mark.parametrize("wire", WIRES)
async def test_a_wallet_full_of_foreign_coins_live_for_a_day_and_no_order_on_them(wire):
    """Coins of both symbols, and of one that nobody trades, bought by others before and meanwhile: none of them is anybody's business."""
    names = {"binance": "ETH", "kraken": "XETH"}
    wallet = {COIN[wire]: "3", names[wire]: "40", "DOGE": "100000"}
    async with bench(wire=wire) as tools:
        world = await started(*tools, wire, coins=wallet)
        for hour in range(24):
            price = str(42_000 - 400 * (hour % 7))
            await world.price(price)
            await world.price("2400", "ETH/USDT")
            if hour % 6 == 2:
                by_hand(world, "BUY", "0.3")
                by_hand(world, "SELL", "0.2")
            await world.pass_time(3_600_000, step=300_000)
        assert [ask for ask in world.exchange.received if world.of_ours(ask.client_id)] == []
        assert (world.ours(), trouble(world), list(world.ledger.state.quarantine)) == ({}, None, [])
        before = dict(world.exchange.coins)
        held = await bought(world)
        await minutes(world)
        await world.give_exits(world.close())
        await world.settle()
        await world.pass_time(5_000)
        await minutes(world)
        assert (world.ours(), trouble(world)) == ({}, None)
        sent = [ask for ask in world.exchange.received if world.of_ours(ask.client_id)]
        assert [(ask.side, ask.quantity) for ask in sent] == [("BUY", D("0.1")), ("SELL", held)]
        assert {name: amount for name, amount in world.exchange.coins.items() if name != "USDT"} == {
            name: amount for name, amount in before.items() if name != "USDT"
        }


async def test_the_day_counts_our_own_orders_and_what_our_coins_have_gained_since_midnight(world):
    held = await bought(world)
    by_hand(world, "BUY", "2")
    await world.price("43000")
    by_hand(world, "SELL", "2")
    await world.pass_time(11_000, step=1_000)
    cost, fee = (
        D("0.1") * D("42000.1"),
        D("0") if world.wire == "binance" else D("0.1") * D("42000.1") * D("0.004"),
    )
    assert await world.venue.day_result({"BTC/USDT": held}) == held * D("43000.05") - cost - fee.quantize(
        D("0.00000001")
    )
    world.clock.now += 24 * 3_600_000
    await world.price("43000")
    await world.price("44000")
    assert await world.venue.day_result({"BTC/USDT": held}) == held * 1000, "yesterday's gain is yesterday's"
