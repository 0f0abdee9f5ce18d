"""Binance spot and Kraken, simulated, as an unmodified ccxt sees them: what is alike at both."""

import asyncio
import contextlib

import aiohttp
import ccxt
import ccxt.pro as pro
import pytest

from tests.venue._spot import ADD, BTC, CANCEL, COIN, FEE, WIRES, on_stage
from tests.venue._stage import BITCOIN, START, D, plain_client, until
from venue_sim.faults import OF_SENDS, PREVENTED, SPOILED, Fault, Kind


@pytest.fixture(params=WIRES)
async def stage(request):
    async with on_stage(request.param) as given:
        yield given


async def test_the_instrument_and_the_clock_are_read(stage):
    market = stage.client.market(BTC)
    assert (market["id"], market["spot"], market["active"]) == (BITCOIN[stage.wire], True, True)
    spec = stage.exchange.specs[BITCOIN[stage.wire]]
    read = [market["precision"]["price"], market["precision"]["amount"], market["limits"]["amount"]["min"]]
    assert [D(str(one)) for one in read] == [spec.tick, spec.step, spec.least]
    assert D(str(market["limits"]["cost"]["min"])) == spec.least_notional
    assert await stage.client.fetch_time() == START


async def test_a_market_order_buys_coins_and_pays_its_fee(stage):
    stage.quote("42000", "42000.1", size="0.5")
    await stage.order("market", "buy", "0.7")
    trades = await stage.client.fetch_my_trades(BTC)
    assert min((D(one["price"]), D(one["amount"])) for one in trades) == (D("42000.1"), D("0.5"))
    fees = {one["fee"]["currency"] for one in trades}
    assert fees == {"BTC" if stage.wire == "binance" else "USDT"}
    paid = sum(D(one["fee"]["cost"]) for one in trades)
    cost = sum(D(one["price"]) * D(one["amount"]) for one in trades)
    assert paid == (D("0.7") if stage.wire == "binance" else cost) * FEE[stage.wire]
    balance = await stage.client.fetch_balance()
    in_coins, in_money = (paid, 0) if stage.wire == "binance" else (0, paid)
    assert D(balance["BTC"]["total"]) == D("0.7") - in_coins
    assert D(balance["USDT"]["free"]) == D(1_000_000) - cost - in_money


async def test_a_limit_order_rests_locks_its_money_and_fills_at_its_price(stage):
    await stage.order("limit", "buy", "1", "41000")
    (resting,) = await stage.client.fetch_open_orders(BTC)
    assert (resting["clientOrderId"], resting["status"]) == ("h1", "open")
    locked = D((await stage.client.fetch_balance())["USDT"]["used"])
    assert locked == D(41_000) * (1 + (FEE["kraken"] if stage.wire == "kraken" else 0))
    stage.quote("40999", "40999.5")
    (found,) = await stage.found("h1")
    assert (found["status"], D(found["filled"]), D(found["average"])) == ("closed", 1, 41_000)
    (trade,) = await stage.client.fetch_my_trades(BTC)
    assert (trade["takerOrMaker"], trade["order"]) == ("maker", found["id"])


async def test_an_order_is_looked_up_by_the_venues_number(stage):
    order = await stage.order(
        "market", "sell" if stage.exchange.held().get(COIN[stage.wire]) else "buy", "0.1"
    )
    found = await stage.client.fetch_order(order["id"], BTC)
    assert (found["status"], D(found["filled"]), found["clientOrderId"]) == ("closed", D("0.1"), "h1")


async def test_a_canceled_order_cannot_be_canceled_again(stage):
    await stage.order("limit", "buy", "1", "41000")
    await stage.cancel()
    assert [one["status"] for one in await stage.found("h1")] == ["canceled"]
    with pytest.raises(ccxt.OrderNotFound):
        await stage.cancel()


async def test_an_ioc_order_takes_what_is_there_and_ends(stage):
    stage.quote("42000", "42000.1", size="0.3")
    await stage.order("limit", "buy", "1", "42000.1", timeInForce="IOC")
    (found,) = await stage.found("h1")
    assert (found["status"], D(found["filled"])) == ("expired", D("0.3"))


async def test_a_post_only_order_that_would_take_never_does(stage):
    """Refused by the one; by the other accepted and canceled at once."""
    with contextlib.suppress(ccxt.BaseError):
        await stage.order("limit", "buy", "1", "43000", postOnly=True)
    assert [one["status"] for one in await stage.found("h1")] == (
        ["canceled"] if stage.wire == "kraken" else []
    )
    assert await stage.client.fetch_my_trades(BTC) == []
    await stage.order("limit", "buy", "1", "41000", client_id="h2", postOnly=True)
    assert len(await stage.client.fetch_open_orders(BTC)) == 1


async def test_a_stop_is_an_ordinary_order_that_locks_its_coins_until_it_triggers(stage):
    await stage.order("market", "buy", "0.5")
    held = stage.exchange.coins[COIN[stage.wire]].quantize(D("0.001"), "ROUND_DOWN")
    await stage.order("market", "sell", str(held), client_id="s1", stopLossPrice="41000")
    (shown,) = await stage.client.fetch_open_orders(BTC)
    assert (shown["clientOrderId"], D(shown["stopLossPrice"] or shown["triggerPrice"])) == ("s1", 41_000)
    with pytest.raises(ccxt.InsufficientFunds):
        await stage.order("market", "sell", "0.4", client_id="x1")
    stage.quote("40990", "40990.1")
    (found,) = await stage.found("s1")
    assert (found["status"], D(found["filled"])) == ("closed", held)


async def test_a_stop_limit_rests_at_its_limit_once_it_has_triggered(stage):
    await stage.order("market", "buy", "0.5")
    await stage.order("limit", "sell", "0.4", "41500", client_id="s1", stopLossPrice="41000")
    stage.quote("40990", "40990.1")
    (found,) = await stage.found("s1")
    assert (found["status"], D(found["price"])) == ("open", 41_500)
    stage.quote("41500", "41500.1")
    assert [one["status"] for one in await stage.found("s1")] == ["closed"]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (
            ("market", "buy", "900"),
            {"binance": "insufficient balance", "kraken": "EOrder:Insufficient funds"},
        ),
        (("market", "sell", "1"), {"binance": "insufficient balance", "kraken": "EOrder:Insufficient funds"}),
        (("market", "buy", "0.00001"), {"binance": "failure: NOTIONAL", "kraken": "volume minimum not met"}),
        (("limit", "buy", "0.0001", "1"), {"binance": "failure: NOTIONAL", "kraken": "Cost minimum not met"}),
    ],
)
async def test_a_refused_order_is_not_taken(stage, order, said):
    with pytest.raises(ccxt.BaseError, match=said[stage.wire]):
        await stage.order(*order)
    assert stage.exchange.orders == {}


async def test_a_client_id_may_be_used_again_once_its_order_has_ended(stage):
    """Which is why it is a look-up key, and no idempotency."""
    for _ in range(2):
        await stage.order("market", "buy", "0.1", client_id="same")
    assert len(stage.exchange.received) == 2
    await stage.order("limit", "buy", "1", "41000", client_id="open")
    with pytest.raises(ccxt.BaseError, match=r"(?i)duplicate"):
        await stage.order("limit", "buy", "1", "41000", client_id="open")


async def test_a_position_side_or_reduce_only_does_not_exist(stage):
    with pytest.raises(ccxt.BaseError):
        await stage.order("market", "buy", "0.1", reduceOnly=True)
    assert stage.exchange.received == []


async def test_what_is_told_to_be_silent_says_nothing_and_what_is_told_to_be_cut_is_no_answer(stage):
    stage.server.venue.faults.arm(Fault(Kind.SILENT_BEFORE, *ADD[stage.wire]))
    with pytest.raises(ccxt.RequestTimeout):
        await stage.order("market", "buy", "0.1")
    stage.server.venue.faults.arm(Fault(Kind.RESET_BEFORE, *ADD[stage.wire]))
    with pytest.raises(ccxt.NetworkError) as caught:
        await stage.order("market", "buy", "0.1")
    assert "500" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(OF_SENDS - {Kind.DELAYED}))
async def test_a_fault_does_what_its_name_says_and_is_used_up(stage, kind):
    stage.server.venue.faults.arm(Fault(kind, *ADD[stage.wire], delay_ms=1000))
    told = None
    with contextlib.suppress(ccxt.BaseError):
        told = (await stage.order("market", "buy", "0.1"))["id"]
    assert told is None, "a spoiled answer says nothing"
    assert len(stage.exchange.received) == (1 if kind in SPOILED else 0)
    assert (kind in SPOILED) is not (kind in PREVENTED)
    assert (await stage.order("market", "buy", "0.1", client_id="h2"))["id"]


async def test_what_is_hidden_is_shown_by_no_read_until_its_time(stage):
    stage.server.venue.faults.arm(Fault(Kind.HIDDEN, *ADD[stage.wire], delay_ms=3000))
    with pytest.raises(ccxt.RequestTimeout):
        await stage.order("market", "buy", "0.1")
    assert await stage.found("h1") == []
    assert await stage.client.fetch_my_trades(BTC) == []
    stage.clock.now += 3000
    assert [one["status"] for one in await stage.found("h1")] == ["closed"]
    assert len(await stage.client.fetch_my_trades(BTC)) == 1


async def test_a_fill_may_come_after_the_cancel_was_answered(stage):
    await stage.order("limit", "buy", "1", "41000")
    stage.server.venue.faults.arm(Fault(Kind.FILL_AFTER_CANCEL, *CANCEL[stage.wire]))
    await stage.cancel()
    assert [D(one["amount"]) for one in await stage.client.fetch_my_trades(BTC)] == [1]


async def test_reads_can_be_empty_or_out_of_order(stage):
    for number in range(3):
        stage.clock.now += 1
        await stage.order("market", "buy", "0.1", client_id=f"h{number}")

    async def ids():
        if stage.wire == "binance":
            return [one["id"] for one in await stage.client.privateGetMyTrades({"symbol": "BTCUSDT"})]
        return list((await stage.client.privatePostTradesHistory())["result"]["trades"])

    whole = await ids()
    assert len(whole) == 3
    path = {"binance": ("GET", "/myTrades"), "kraken": ("POST", "/TradesHistory")}[stage.wire]
    for kind, expected in ((Kind.SHUFFLED, whole[::-1]), (Kind.EMPTY_LIST, [])):
        stage.server.venue.faults.arm(Fault(kind, *path))
        assert await ids() == expected


async def test_a_wrong_secret_and_a_wrong_key_are_turned_away(stage):
    wrong = "YW5vdGhlci1zZWNyZXQ="
    async with plain_client(stage.server, stage.clock, stage.wire, secret=wrong) as other:
        with pytest.raises(ccxt.BaseError, match=r"-1022|Invalid signature"):
            await other.fetch_balance()
    async with plain_client(stage.server, stage.clock, stage.wire, key="another") as other:
        with pytest.raises(ccxt.AuthenticationError):
            await other.fetch_balance()


async def test_control_plays_the_person_and_shows_the_truth(stage):
    async with aiohttp.ClientSession(stage.server.url) as session:

        async def post(what, **document):
            async with session.post(f"/sim/{what}", json=document) as response:
                return response.status

        symbol = BITCOIN[stage.wire]
        assert await post("hand", symbol=symbol, side="buy", quantity="0.2") == 200
        assert await post("set", coins={"DOGE": "7"}, can_withdraw=True) == 200
        assert await post("liquidate") == 400, "nothing is on margin"
        assert await post("quote", symbol="NOSUCH", bid="1", ask="2") == 400
        async with session.get("/sim/state") as response:
            held = (await response.json())["positions"]
    assert (held["DOGE"], COIN[stage.wire] in held) == ("7", True)


async def test_watching_orders_and_trades_over_the_private_stream(stage):
    """ccxt.pro, unmodified: it fetches its token or signs in, subscribes, and is told."""
    async with plain_client(stage.server, stage.clock, stage.wire, library=pro, timeout_ms=5000) as watcher:
        await watcher.load_markets()
        watching = watcher.watch_orders(BTC)
        task = asyncio.ensure_future(watching)
        await until(lambda: stage.server.listeners)
        stage.clock.now += 1  # two clients of one key share its nonces
        await stage.order("limit", "buy", "1", "41000")
        (told, *_) = await task
        assert (told["status"], D(told["price"])) == ("open", 41_000)
        task = asyncio.ensure_future(watcher.watch_my_trades(BTC))
        async with aiohttp.ClientSession(stage.server.url) as session:
            document = {"symbol": BITCOIN[stage.wire], "bid": "40990", "ask": "40990.1"}
            await until(lambda: watcher.clients)
            await session.post("/sim/quote", json=document)
        (trade, *_) = await task
        assert (D(str(trade["price"])), D(str(trade["amount"]))) == (41_000, 1)
        await stage.server.expire_listen_key()
