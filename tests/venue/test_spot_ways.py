"""What Binance spot and Kraken each do in their own way, simulated, and that coins are neither made nor lost."""

import contextlib
import json
from dataclasses import replace

import aiohttp
import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venue._spot import BTC, WIRES, on_stage
from tests.venue._stage import BITCOIN, START, D, secret_of, until
from venue_sim.answers import Venue
from venue_sim.errors import Refusal, VenueError
from venue_sim.faults import Fault, Kind
from venue_sim.kraken_door import Counter
from venue_sim.kraken_rows import named, number_of
from venue_sim.market import Quote
from venue_sim.orders import Ask


@pytest.fixture
async def binance():
    async with on_stage("binance") as given:
        yield given


@pytest.fixture
async def kraken():
    async with on_stage("kraken") as given:
        yield given


# -- Binance's own ways -----------------------------------------------------------------------------------------------------------


async def test_binance_stops_can_be_canceled_and_replaced_in_one_request(binance):
    await binance.order("market", "buy", "0.5")
    await binance.order("market", "sell", "0.4", client_id="s1", stopLossPrice="41000")
    answer = await binance.client.privatePostOrderCancelReplace(
        {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.4", "cancelReplaceMode": "STOP_ON_FAILURE",
         "cancelOrigClientOrderId": "s1", "newClientOrderId": "x1"}
    )  # fmt: skip
    assert (answer["cancelResult"], answer["newOrderResponse"]["status"]) == ("SUCCESS", "FILLED")
    assert [order.status for order in binance.exchange.orders.values()] == ["FILLED", "CANCELED", "FILLED"]


async def test_binance_shows_trades_of_at_most_a_day_at_once(binance):
    await binance.order("market", "buy", "0.1")
    day = 24 * 3600 * 1000
    assert len(await binance.client.fetch_my_trades(BTC, START, None, {"until": START + day})) == 1
    with pytest.raises(ccxt.BaseError, match="24 hours"):
        await binance.client.fetch_my_trades(BTC, START, None, {"until": START + day + 1})


async def test_binance_takes_no_request_of_another_time(binance):
    binance.server.venue.skew_ms = 61_000
    with pytest.raises(ccxt.BaseError, match="-1021"):
        await binance.client.fetch_balance()


async def test_binance_turns_away_who_asks_too_much(binance):
    binance.server.venue.dialect.door.weight_limit = 70
    for _ in range(2):
        await binance.client.fetch_balance()
    with pytest.raises(ccxt.DDoSProtection, match="429"):
        await binance.client.fetch_balance()


async def test_binance_lets_nobody_listen_without_a_signature(binance):
    async with (
        aiohttp.ClientSession(binance.server.url) as session,
        session.ws_connect("/ws-api/v3") as socket,
    ):

        async def ask(document):
            await socket.send_str(document if isinstance(document, str) else json.dumps(document))
            return json.loads((await socket.receive(timeout=5)).data)

        given = {"apiKey": binance.client.apiKey, "timestamp": START, "signature": "00"}
        asked = {"id": "1", "method": "userDataStream.subscribe.signature", "params": given}
        assert (await ask(asked))["error"]["code"] == -1022
        assert (await ask(asked | {"params": {"apiKey": "x"}}))["error"]["code"] == -2015
        assert (await ask({"id": 2, "method": "order.place"}))["status"] == 404
        assert (await ask("no json"))["status"] == 400
        assert binance.server.listeners == 0


async def test_binance_answers_a_fok_that_it_cannot_fill_whole_with_an_expired_order(binance):
    order = await binance.order("limit", "buy", "15", "42000.1", timeInForce="FOK")
    assert (order["status"], order["filled"]) == ("expired", "0")


# -- Kraken's own ways --------------------------------------------------------------------------------------------------------------


async def test_kraken_takes_each_nonce_once_and_only_higher_ones_unless_its_key_has_a_window(kraken):
    nonces = [5_000_000_000_000, 4_999_999_999_990]
    kraken.client.incrementing_nonce = lambda: nonces[-1]
    await kraken.client.fetch_balance()
    with pytest.raises(ccxt.InvalidNonce):
        await kraken.client.fetch_balance()
    nonces.pop()
    await kraken.client.fetch_balance()
    nonces.append(4_999_999_999_995)
    with pytest.raises(ccxt.InvalidNonce):
        await kraken.client.fetch_balance()
    kraken.server.venue.dialect.adjust({"nonce_window": 10_000})
    await kraken.client.fetch_balance()


async def test_kraken_takes_no_order_after_its_deadline(kraken):

    def deadline(ms):
        return {"deadline": kraken.client.iso8601(kraken.clock.now + ms)}

    kraken.server.venue.faults.arm(Fault(Kind.DELAYED, "POST", "/AddOrder", delay_ms=20_000))
    with pytest.raises(ccxt.RequestTimeout):
        await kraken.order("market", "buy", "0.1", **deadline(5_000))
    kraken.clock.now += 5_001
    answer, asked = kraken.server.venue.answer, []
    kraken.server.venue.answer = lambda request: asked.append(answer(request)) or asked[-1]
    await until(lambda: asked)
    assert ("Deadline elapsed" in asked[0].text, kraken.exchange.received) == (True, [])
    await kraken.order("market", "buy", "0.1", client_id="h2", **deadline(5_000))
    with pytest.raises(ccxt.BaseError, match="deadline"):
        await kraken.order("market", "buy", "0.1", client_id="h3", **deadline(61_000))


async def test_kraken_shows_fifty_trades_at_once_the_latest_first(kraken):
    kraken.clock.now += 500
    for number in range(60):
        kraken.exchange.by_hand("XBTUSDT", "BUY", D("0.01"), f"w{number}")
    raw = kraken.client.privatePostTradesHistory
    first, rest = [(await raw({"ofs": ofs}))["result"] for ofs in (0, 50)]
    assert (len(first["trades"]), len(rest["trades"]), first["count"]) == (50, 10, 60)
    newest = kraken.exchange.trades[-1].number
    assert next(iter(first["trades"])) == named("T", newest)
    assert len(await kraken.client.fetch_my_trades(BTC, START + 200)) == 50, "whole seconds"
    kraken.clock.now = START + 1000
    kraken.exchange.by_hand("XBTUSDT", "BUY", D("0.01"), "last")
    assert await kraken.client.fetch_my_trades(BTC, START + 1000) == [], "the start itself is left out"


async def test_kraken_ids_of_clients_have_a_form(kraken):
    for good in (
        "6d1b345e-2821-40e2-ad83-4ecb18a06876",
        "da8e4ad59b78481c93e589746b0cf91f",
        "arb-20240509-00010",
    ):
        await kraken.order("limit", "buy", "0.1", "41000", client_id=good)
        assert [one["clientOrderId"] for one in await kraken.found(good)] == [good]
    with pytest.raises(ccxt.BaseError, match="cl_ord_id"):
        await kraken.order("limit", "buy", "0.1", "41000", client_id="h6004b7c577787d597266f5a39f13d5")


async def test_kraken_groups_orders_by_userref(kraken):
    for number in range(2):
        await kraken.client.create_order(BTC, "limit", "buy", 0.1, 41_000 + number, {"userref": 7})
    await kraken.client.create_order(BTC, "limit", "buy", 0.1, 41_000)
    mine = await kraken.client.fetch_open_orders(BTC, params={"userref": 7})
    assert [one["clientOrderId"] for one in mine] == ["7", "7"]
    await kraken.client.cancel_order("", BTC, {"userref": 7})
    assert len(await kraken.client.fetch_open_orders(BTC)) == 1


async def test_kraken_cancels_all_when_its_dead_mans_switch_is_not_called_again(kraken):
    await kraken.order("limit", "buy", "1", "41000")
    await kraken.client.cancel_all_orders_after(60_000)
    kraken.clock.now += 60_001
    assert await kraken.client.fetch_open_orders(BTC) == []
    await kraken.order("limit", "buy", "1", "41000", client_id="h2")
    await kraken.client.cancel_all_orders_after(60_000)
    await kraken.client.cancel_all_orders_after(0)
    kraken.clock.now += 60_001
    assert len(await kraken.client.fetch_open_orders(BTC)) == 1
    await kraken.client.cancel_all_orders()
    assert await kraken.client.fetch_open_orders(BTC) == []


async def test_kraken_counts_calls_and_orders(kraken):
    for _ in range(20):
        await kraken.client.fetch_balance()
    with pytest.raises(ccxt.DDoSProtection, match="EAPI:Rate limit"):
        await kraken.client.fetch_balance()
    kraken.clock.now += 30_000
    await kraken.client.fetch_balance()
    kraken.server.venue.dialect.door.order_limit = 2.0
    for number in range(2):
        await kraken.order("limit", "buy", "0.1", "41000", client_id=f"h{number}")
    with pytest.raises(ccxt.DDoSProtection, match="EOrder:Rate limit"):
        await kraken.order("limit", "buy", "0.1", "41000", client_id="h2")
    assert len(kraken.exchange.received) == 2


async def test_kraken_wants_a_token_that_is_still_good(kraken):
    token = (await kraken.client.privatePostGetWebSocketsToken())["result"]["token"]
    async with aiohttp.ClientSession(kraken.server.url) as session, session.ws_connect("/v2") as socket:

        async def subscribe(channel, token):
            asked = {"method": "subscribe", "params": {"channel": channel, "token": token}, "req_id": 1}
            await socket.send_json(asked)
            return json.loads((await socket.receive(timeout=5)).data)

        assert "Invalid session" in (await subscribe("executions", "wrong"))["error"]
        assert "Unsupported" in (await subscribe("book", token))["error"]
        assert (await subscribe("balances", token))["success"] is True
        assert json.loads((await socket.receive(timeout=5)).data)["data"][0]["asset"] == "USDT"
        kraken.clock.now += 901_000
        assert "Invalid session" in (await subscribe("executions", token))["error"]
        await socket.send_str("no json")
        assert json.loads((await socket.receive(timeout=5)).data)["success"] is False


async def test_kraken_orders_that_are_only_to_be_validated_are_not_taken(kraken):
    answer = await kraken.client.privatePostAddOrder(
        {
            "pair": "XBTUSDT",
            "type": "buy",
            "ordertype": "limit",
            "volume": "0.1",
            "price": "41000",
            "validate": "true",
        }
    )
    assert answer["result"] == {"descr": {"order": "buy 0.10000000 XBTUSDT @ limit 41000"}}
    assert kraken.exchange.orders == {}


def test_a_counter_runs_down_with_time():
    counter = Counter(limit=2, a_second=1.0)
    counter.add(2, 0, "full")
    with pytest.raises(VenueError, match="full"):
        counter.add(1, 999, "full")
    counter.add(1, 1_000, "full")
    counter.charge(5, 1_000)
    assert counter.value == 2, "a cancel is never refused, and later orders wait for it"
    counter.add(1, 2_000, "full")


@given(st.integers(0, 2**80 - 1))
def test_ids_of_kraken_are_numbers_in_other_letters(number):
    assert number_of(named("O", number)) == number
    assert len(named("O", number)) == 19


# -- coins -----------------------------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["BUY", "SELL"]),
        st.sampled_from(["market", "limit", "stop", "cancel", "quote"]),
        st.integers(1, 400),
        st.integers(-300, 300),
    ),
    max_size=30,
)


@pytest.mark.parametrize("dialect", WIRES)
@given(steps)
def test_coins_are_neither_made_nor_lent_and_only_fees_are_lost(dialect, history):
    """Whatever is asked: nothing is negative, nothing is locked that is not there, and money moves only with trades."""
    made = Venue(lambda: START, key="k", secret=secret_of(dialect), wallet=D(50_000), dialect=dialect)
    spot, symbol = made.exchange, BITCOIN[dialect]
    spot.quote(symbol, Quote(D(40_000), D(40_001), size=D("0.2")))
    for number, (side, what, size, move) in enumerate(history):
        price = D(40_000 + move)
        ask = Ask(symbol, side, "MARKET", f"h{number}", D(size) / 1000)
        with contextlib.suppress(Refusal):
            if what == "market":
                spot.place(ask)
            elif what == "limit":
                spot.place(replace(ask, type="LIMIT", price=price))
            elif what == "stop":
                spot.place_stop(replace(ask, type="STOP_LOSS", trigger=price))
            elif what == "cancel":
                spot.cancel_all(symbol)
            else:
                spot.quote(symbol, Quote(price, price + 1, size=D("0.2")))
        money, coin = spot.specs[symbol].quote, spot.specs[symbol].base
        assert all(amount >= 0 for amount in spot.coins.values())
        for trades, start, name in ((spot.trades, D(50_000), money), (spot.trades, D(0), coin)):
            flow = sum(
                (
                    (1 if (t.side == "BUY") is (name == coin) else -1)
                    * (t.quantity if name == coin else t.quantity * t.price)
                    for t in trades
                ),
                start,
            )
            fees = sum((t.fee for t in trades if t.fee_asset == name), D(0))
            assert spot.coins.get(name, D(0)) == flow - fees
