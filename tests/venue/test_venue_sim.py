"""The simulated venue, as an unmodified ccxt sees it, and as it is inside."""

import contextlib
import json
from dataclasses import replace
from decimal import Decimal

import aiohttp
import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venue._stage import KEY, START, D, HandClock, client, quote, until, venue
from venue_sim.account import Position
from venue_sim.door import Door
from venue_sim.errors import VenueError
from venue_sim.exchange import Exchange
from venue_sim.faults import OF_SENDS, PREVENTED, SPOILED, Fault, Kind
from venue_sim.market import Quote, read_tape
from venue_sim.orders import Algo, Ask
from venue_sim.stream import algo_event

BTC = "BTC/USDT:USDT"


@pytest.fixture
async def stage():
    clock = HandClock()
    async with venue(clock) as server, client(server, clock) as exchange:
        yield server, exchange, clock


async def test_a_market_order_walks_the_book_and_is_a_position(stage):
    server, exchange, _ = stage
    quote(server, "42000", "42000.1", size="0.5")
    order = await exchange.create_order(BTC, "market", "buy", "0.7", None, {"clientOrderId": "h1"})
    assert (order["status"], order["filled"]) == ("closed", "0.7")
    trades = await exchange.fetch_my_trades(BTC)
    assert [(row["price"], row["amount"]) for row in trades] == [("42000.1", "0.5"), ("42000.2", "0.2")]
    (position,) = await exchange.fetch_positions()
    assert (position["contracts"], position["side"]) == ("0.7", "long")
    balance = await exchange.fetch_balance()
    assert D(balance["USDT"]["total"]) < D(1_000_000)


async def test_a_limit_order_rests_fills_at_its_price_and_is_found_by_client_id(stage):
    server, exchange, _ = stage
    await exchange.create_order(BTC, "limit", "buy", "1", "41000", {"clientOrderId": "h1"})
    assert [row["clientOrderId"] for row in await exchange.fetch_open_orders(BTC)] == ["h1"]
    quote(server, "40999", "40999.5")
    found = await exchange.fetch_order(None, BTC, {"origClientOrderId": "h1"})
    assert (found["status"], found["average"]) == ("closed", "41000.00000")
    assert (await exchange.fetch_my_trades(BTC))[0]["takerOrMaker"] == "maker"


async def test_cancel_then_cancel_again(stage):
    _, exchange, _ = stage
    await exchange.create_order(BTC, "limit", "buy", "1", "41000", {"clientOrderId": "h1"})
    canceled = await exchange.cancel_order(None, BTC, {"origClientOrderId": "h1"})
    assert canceled["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        await exchange.cancel_order(None, BTC, {"origClientOrderId": "h1"})


async def test_a_stop_lives_at_its_own_endpoint_and_becomes_an_order_when_reached(stage):
    server, exchange, _ = stage
    await exchange.create_order(BTC, "market", "buy", "0.5", None, {"clientOrderId": "h1"})
    stop = {"clientAlgoId": "s1", "reduceOnly": True, "stopLossPrice": "41000"}
    await exchange.create_order(BTC, "market", "sell", "0.5", None, stop)
    assert await exchange.fetch_open_orders(BTC) == []
    (shown,) = await exchange.fetch_open_orders(BTC, params={"trigger": True})
    assert (shown["clientOrderId"], shown["triggerPrice"]) == ("s1", "41000")
    quote(server, "40990", "40990.1")
    assert await exchange.fetch_positions() == []
    assert (await exchange.fetch_order(None, BTC, {"clientAlgoId": "s1", "trigger": True}))[
        "status"
    ] == "closed"


async def test_the_account_can_be_asked_for_everything_an_executor_needs(stage):
    server, exchange, _ = stage
    assert await exchange.fetch_time() == START
    assert (await exchange.fetch_position_mode())["hedged"] is False
    assert (await exchange.set_leverage(7, BTC))["leverage"] == 7
    assert (await exchange.sapiGetAccountApiRestrictions())["enableWithdrawals"] is False
    assert (await exchange.fetch_leverage_tiers([BTC]))[BTC]
    await exchange.fapiPrivatePostCountdownCancelAll({"symbol": "BTCUSDT", "countdownTime": 1000})
    assert server.venue.exchange.countdowns == {"BTCUSDT": START + 1000}


async def test_the_dead_mans_switch_cancels_what_is_open(stage):
    _, exchange, clock = stage
    await exchange.create_order(BTC, "limit", "buy", "1", "41000", {"clientOrderId": "h1"})
    await exchange.fapiPrivatePostCountdownCancelAll({"symbol": "BTCUSDT", "countdownTime": 1000})
    clock.now += 1001
    assert await exchange.fetch_open_orders(BTC) == []


async def test_a_reduce_only_order_that_closes_everything_is_filled_and_a_larger_one_is_cut(stage):
    _, exchange, _ = stage
    for quantity in ("0.1", "0.3"):
        await exchange.create_order(BTC, "market", "buy", "0.1", None, {"clientOrderId": "in"})
        given_params = {"clientOrderId": "out", "reduceOnly": True}
        order = await exchange.create_order(BTC, "market", "sell", quantity, None, given_params)
        assert (order["status"], order["filled"]) == ("closed", "0.1")
    assert await exchange.fetch_positions() == []


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (("market", "buy", "5000", None, {}), -4005),
        (("market", "sell", "1", None, {"reduceOnly": True}), -2022),
        (("limit", "buy", "0.001", "1000", {}), -4164),
        (("limit", "buy", "1", "43000", {"postOnly": True}), -5022),
        (("limit", "buy", "120", "42001", {"timeInForce": "FOK"}), -5021),
        (("market", "buy", "900", None, {}), -2019),
    ],
)
async def test_a_refused_order_is_not_taken(stage, order, code):
    server, exchange, _ = stage
    kind, side, amount, price, given_params = order
    with pytest.raises(ccxt.BaseError, match=f'"code":{code}'):
        await exchange.create_order(BTC, kind, side, amount, price, {"clientOrderId": "h", **given_params})
    assert server.venue.exchange.received == []


async def test_a_client_id_may_be_used_again_once_its_order_has_ended_as_at_the_real_venue(stage):
    """Which is why it is a look-up key, and no idempotency."""
    server, exchange, _ = stage
    for _ in range(2):
        await exchange.create_order(BTC, "market", "buy", "0.1", None, {"clientOrderId": "same"})
    assert len(server.venue.exchange.received) == 2
    await exchange.create_order(BTC, "limit", "buy", "1", "41000", {"clientOrderId": "open"})
    with pytest.raises(ccxt.BaseError, match='"code":-4116'):
        await exchange.create_order(BTC, "limit", "buy", "1", "41000", {"clientOrderId": "open"})


# -- the door -----------------------------------------------------------------------------------------------------------


async def test_a_wrong_secret_a_wrong_key_and_a_late_request_are_turned_away():
    clock = HandClock()
    async with venue(clock) as server:
        async with client(server, clock, secret="another-secret") as exchange:
            with pytest.raises(ccxt.BaseError, match='"code":-1022'):
                await exchange.fapiPrivateGetPositionSideDual()
        async with client(server, clock, key="another-key") as exchange:
            with pytest.raises(ccxt.BaseError, match='"code":-2015'):
                await exchange.fapiPrivateGetPositionSideDual()
        server.venue.skew_ms = 61_000
        async with client(server, clock) as exchange:
            with pytest.raises(ccxt.BaseError, match='"code":-1021'):
                await exchange.fapiPrivateGetPositionSideDual()
        server.venue.skew_ms = -1_500
        async with client(server, clock) as exchange:
            with pytest.raises(ccxt.BaseError, match='"code":-1021'):
                await exchange.fapiPrivateGetPositionSideDual()


def test_who_goes_on_after_429_is_banned():
    now = [START]
    door = Door(lambda: now[0], KEY, "secret")
    door.weight_limit = 10
    for _ in range(10):
        door.weigh("GET", "/fapi/v1/time", has_symbol=False)
    statuses = []
    for _ in range(3):
        with pytest.raises(VenueError) as caught:
            door.weigh("GET", "/fapi/v1/time", has_symbol=False)
        statuses.append(caught.value.status)
    assert statuses == [429, 418, 418]
    now[0] += 121_000
    assert door.weigh("GET", "/fapi/v1/time", has_symbol=False) == 1


def test_too_many_orders_in_ten_seconds():
    door = Door(lambda: START, KEY, "secret")
    door.order_limit = 2
    for _ in range(2):
        door.weigh("POST", "/fapi/v1/order", has_symbol=True)
    with pytest.raises(VenueError, match="-1015"):
        door.weigh("POST", "/fapi/v1/order", has_symbol=True)


# -- faults ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(OF_SENDS - {Kind.DELAYED}))
async def test_a_fault_does_what_its_name_says_and_is_used_up(stage, kind):
    server, exchange, _ = stage
    await exchange.load_markets()
    exchange.timeout = 200 if kind in {Kind.NO_ANSWER, Kind.SILENT_BEFORE, Kind.HIDDEN} else 10_000
    server.venue.faults.arm(Fault(kind, "POST", "/fapi/v1/order", delay_ms=1000))
    told = None
    with contextlib.suppress(ccxt.BaseError):
        told = (await exchange.create_order(BTC, "market", "buy", "0.1", None, {"clientOrderId": "h1"}))["id"]
    assert told is None, "a spoiled answer says nothing"
    assert len(server.venue.exchange.received) == (1 if kind in SPOILED else 0)
    assert (kind in SPOILED) is not (kind in PREVENTED)
    exchange.timeout = 10_000
    assert (await exchange.create_order(BTC, "market", "buy", "0.1", None, {"clientOrderId": "h2"}))["id"]


async def test_a_delayed_order_is_taken_after_its_client_has_given_up_but_not_beyond_its_window(stage):
    server, exchange, clock = stage
    await exchange.load_markets()
    exchange.timeout = 200
    server.venue.faults.arm(Fault(Kind.DELAYED, "POST", "/fapi/v1/order", delay_ms=40_000))
    with pytest.raises(ccxt.RequestTimeout):
        await exchange.create_order(BTC, "market", "buy", "0.1", None, {"clientOrderId": "h1"})
    await until(lambda: server.venue.exchange.received)
    assert len(server.venue.exchange.received) == 1
    server.venue.faults.arm(Fault(Kind.DELAYED, "POST", "/fapi/v1/order", delay_ms=20_000))
    with pytest.raises(ccxt.RequestTimeout):
        await exchange.create_order(BTC, "market", "buy", "0.1", None, {"clientOrderId": "h2"})
    clock.now += 60_001
    answer, asked = server.venue.answer, []
    server.venue.answer = lambda *request: asked.append(answer(*request)) or asked[-1]
    await until(lambda: asked)
    assert ("-1021" in asked[0].text, len(server.venue.exchange.received)) == (True, 1)


async def test_what_is_hidden_is_shown_by_no_read_until_its_time(stage):
    server, exchange, clock = stage
    await exchange.load_markets()
    exchange.timeout = 300
    server.venue.faults.arm(Fault(Kind.HIDDEN, "POST", "/fapi/v1/order", delay_ms=3000))
    with pytest.raises(ccxt.RequestTimeout):
        await exchange.create_order(BTC, "market", "buy", "0.1", None, {"clientOrderId": "h1"})
    exchange.timeout = 10_000
    with pytest.raises(ccxt.OrderNotFound):
        await exchange.fetch_order(None, BTC, {"origClientOrderId": "h1"})
    assert await exchange.fetch_my_trades(BTC) == []
    clock.now += 3000
    assert (await exchange.fetch_order(None, BTC, {"origClientOrderId": "h1"}))["status"] == "closed"
    assert len(await exchange.fetch_my_trades(BTC)) == 1


async def test_faults_of_reads(stage):
    server, exchange, _ = stage
    for _ in range(2):
        await exchange.create_order(BTC, "market", "buy", "0.1", None, {"clientOrderId": "h"})
    ids = [row["id"] for row in await exchange.fapiPrivateGetUserTrades({"symbol": "BTCUSDT"})]
    for kind, expected in (
        (Kind.DOUBLED, [ids[0], ids[0], ids[1], ids[1]]),
        (Kind.SHUFFLED, ids[::-1]),
        (Kind.EMPTY_LIST, []),
    ):
        server.venue.faults.arm(Fault(kind, "GET", "/userTrades"))
        rows = await exchange.fapiPrivateGetUserTrades({"symbol": "BTCUSDT"})
        assert [row["id"] for row in rows] == expected
    server.venue.faults.arm(Fault(Kind.HEDGE_ROWS, "GET", "/positionRisk"))
    rows = await exchange.fapiPrivateV3GetPositionRisk()
    assert {row["positionSide"] for row in rows} == {"BOTH", "LONG", "SHORT"}


async def test_a_fill_may_come_after_the_cancel_was_answered(stage):
    server, exchange, _ = stage
    await exchange.create_order(BTC, "limit", "buy", "1", "41000", {"clientOrderId": "h1"})
    server.venue.faults.arm(Fault(Kind.FILL_AFTER_CANCEL, "DELETE", "/order"))
    assert (await exchange.cancel_order(None, BTC, {"origClientOrderId": "h1"}))["status"] == "canceled"
    assert [row["amount"] for row in await exchange.fetch_my_trades(BTC)] == ["1"]


# -- the user's stream, and control ----------------------------------------------------------------------------------------------


async def test_the_users_stream_tells_each_change_and_the_end_of_its_key(stage):
    server, exchange, _ = stage
    key = (await exchange.fapiPrivatePostListenKey())["listenKey"]
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.url}/ws/{key}") as socket:
        await exchange.create_order(BTC, "market", "buy", "0.1", None, {"clientOrderId": "h1"})
        events = [json.loads((await socket.receive(timeout=5)).data) for _ in range(3)]
        assert [event["e"] for event in events] == [
            "ORDER_TRADE_UPDATE",
            "ORDER_TRADE_UPDATE",
            "ACCOUNT_UPDATE",
        ]
        assert (events[1]["o"]["c"], events[1]["o"]["x"], events[1]["o"]["l"]) == ("h1", "TRADE", "0.1")
        await server.expire_listen_key()
        assert json.loads((await socket.receive(timeout=5)).data)["e"] == "listenKeyExpired"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{server.url}/ws/{key}")


async def test_control_arms_faults_moves_prices_and_plays_the_person(stage):
    server, _, _ = stage
    async with aiohttp.ClientSession(server.url) as session:

        async def post(what, **document):
            async with session.post(f"/sim/{what}", json=document) as response:
                return response.status, await response.text()

        assert (await post("quote", symbol="BTCUSDT", bid="41000", ask="41000.1"))[0] == 200
        assert (await post("faults", kind="reset", method="POST", path="/order"))[0] == 200
        assert server.venue.faults.armed() == [Fault(Kind.RESET, "POST", "/order")]
        assert (await post("hand", symbol="BTCUSDT", side="buy", quantity="0.2"))[0] == 200
        async with session.get("/sim/state") as response:
            assert (await response.json())["positions"] == {"BTCUSDT BOTH": "0.2"}
        assert (await post("liquidate"))[0] == 200
        assert server.venue.exchange.trades[-1].liquidation
        status, text = await post("faults", kind="no such fault")
        assert (status, "no such fault" in text) == (400, True)
        assert (await post("nothing"))[0] == 404


# -- inside -----------------------------------------------------------------------------------------------------------------------

trades = st.lists(
    st.tuples(
        st.integers(-50, 50).filter(bool).map(lambda n: Decimal(n) / 10),
        st.integers(1, 500).map(Decimal),
    ),
    min_size=1,
    max_size=20,
)


@given(trades)
def test_money_is_neither_made_nor_lost(history):
    """What was realised plus what is open is what the trades came to at any price."""
    position, realised = Position(), Decimal(0)
    for quantity, price in history:
        realised += position.apply(quantity, price, 0)
    assert position.quantity == sum(quantity for quantity, _ in history)
    flow = sum(-quantity * price for quantity, price in history)
    mark = Decimal(100)
    assert abs(realised + position.profit(mark) - (flow + position.quantity * mark)) < Decimal("1e-15")


def test_a_position_without_margin_is_liquidated():
    exchange = Exchange(lambda: START, wallet=D(1_000))
    exchange.quote("BTCUSDT", Quote(D(42_000), D("42000.1")))
    exchange.place(Ask("BTCUSDT", "BUY", "MARKET", "h1", D("0.4")))
    exchange.quote("BTCUSDT", Quote(D(39_500), D("39500.1")))
    assert exchange.account.of("BTCUSDT").quantity == 0
    assert exchange.trades[-1].client_id.startswith("autoclose-")


def test_each_change_of_a_conditional_order_is_told():
    told = []
    exchange = Exchange(
        lambda: START,
        tell=lambda order, _: (
            told.append(algo_event(order, exchange.orders.get(order.order), START))
            if isinstance(order, Algo)
            else None
        ),
    )
    stop = Ask("BTCUSDT", "SELL", "STOP", "s1", D("0.1"), D(40_000), reduce_only=True, trigger=D(41_000))
    exchange.quote("BTCUSDT", Quote(D(42_000), D("42000.1")))
    for client_id in ("s1", "s2", "s3"):
        exchange.place_conditional(replace(stop, client_id=client_id))
    exchange.cancel_conditional(exchange.algos[min(exchange.algos)])
    exchange.by_hand("BTCUSDT", "BUY", D("0.1"))
    exchange.quote("BTCUSDT", Quote(D(40_990), D("40990.1")))
    said = [(event["o"]["caid"], event["o"]["X"]) for event in told]
    assert said == [
        ("s1", "NEW"), ("s2", "NEW"), ("s3", "NEW"), ("s1", "CANCELED"), ("s2", "TRIGGERING"), ("s2", "TRIGGERED"), ("s2", "FINISHED"),
        ("s3", "TRIGGERING"), ("s3", "REJECTED"),
    ]  # fmt: skip
    finished, rejected = told[6]["o"], told[8]["o"]
    assert (finished["ai"], finished["aq"], finished["act"]) == (str(max(exchange.orders)), "0.1", "LIMIT")
    assert (rejected["ai"], rejected["rm"]) == ("", "ReduceOnly Order is rejected.")


def test_a_tape_names_the_line_that_is_wrong(tmp_path):
    tape = tmp_path / "tape.csv"
    tape.write_text("at,symbol,bid,ask\n1,BTCUSDT,100,101\n2,BTCUSDT,102,x\n")
    rows = iter(read_tape(tape))
    assert next(rows) == ("BTCUSDT", Quote(D(100), D(101), 1))
    with pytest.raises(ValueError, match="line 3"):
        next(rows)
