"""Our venue on Binance spot and on Kraken, through real ccxt: the outcome table, look-ups, lists, trades, and coins that are no position."""

import aiohttp
import pytest

from holdfast.contracts.codes import Code, OrderState
from holdfast.venues.ccxt_ways import ways_of
from holdfast.venues.port import OutcomeKind, VenueUnreadable
from tests.venue._spot import ADD, OURS, WIRES, numbered, on_adapter
from tests.venue._stage import D, impatient, quote, until
from venue_sim.faults import PREVENTED, SPOILED, Kind

PROVEN = frozenset({Kind.RATE_LIMITED, Kind.BANNED})
KINDS = {
    "market entry": {},
    "limit entry": {"type": "limit", "price": "41000"},
    "ioc entry": {"type": "limit", "price": "42100", "time_in_force": "ioc"},
    "post-only entry": {"type": "limit", "price": "41000", "post_only": True},
    "market exit": {"side": "sell", "role": "exit", "reduce_only": True, "position_id": "p1"},
    "limit exit": {"side": "sell", "role": "exit", "reduce_only": True, "position_id": "p1", "type": "limit", "price": "43000"},
    "stop": {"side": "sell", "role": "protect", "reduce_only": True, "position_id": "p1", "stop_price": "41000"},
}  # fmt: skip
ENDED = {"binance": "/allOrders", "kraken": "/ClosedOrders"}
OPEN = {"binance": "/openOrders", "kraken": "/OpenOrders"}
TRADES = {"binance": "/myTrades", "kraken": "/TradesHistory"}
READ = {"binance": "GET", "kraken": "POST"}
CANCEL = {"binance": ("DELETE", "/order"), "kraken": ("POST", "/CancelOrder")}


@pytest.fixture(params=WIRES)
async def stage(request):
    async with on_adapter(request.param) as given:
        yield given


@pytest.mark.parametrize("kind", KINDS)
async def test_every_fault_of_every_kind_of_order(stage, kind):
    impatient(stage.adapter)
    for number, fault in enumerate(sorted(SPOILED | PREVENTED)):
        stage.exchange.received.clear()
        order = stage.row(numbered(number), **KINDS[kind])
        stage.arm(fault, *ADD[stage.wire], delay_ms=4_000)
        outcome = await stage.send(order)
        expected = OutcomeKind.REJECTED if fault in PROVEN else OutcomeKind.UNKNOWN
        assert outcome.kind is expected, (fault, outcome.reason)
        shown = await stage.resolve(order)
        taken = fault in SPOILED
        assert (shown is not None) is taken, fault
        assert len(stage.exchange.received) == taken, (fault, "once, or not at all")
        if shown is not None:
            stage.adapter.take_row(order.evolve(state=OrderState.OPEN, venue_order_id=shown.venue_order_id))
            fills = await stage.adapter.trades_of([order.order_id])
            assert sum((fill.quantity for fill in fills), D(0)) == stage.truth(order).filled == shown.filled
            assert {fill.order_id for fill in fills} <= {order.order_id}, fault
        stage.exchange.cancel_all(stage.symbol)  # five stops of a symbol are the most


@pytest.mark.parametrize("kind", KINDS)
async def test_without_a_fault_it_is_accepted_and_found(stage, kind):
    order = stage.row(**KINDS[kind])
    outcome = await stage.send(order)
    assert outcome.kind is OutcomeKind.ACCEPTED, outcome.reason
    sent = stage.exchange.received[-1]
    assert (sent.reduce_only, sent.quantity, sent.buys) == (False, order.quantity, order.side.value == "buy")
    assert sent.time_in_force == {"ioc entry": "IOC", "post-only entry": "GTX"}.get(kind, "GTC")
    shown = (await stage.adapter.look_up([OURS]))[OURS]
    assert (shown.venue_order_id, shown.order_id) == (outcome.venue_order_id, OURS)
    still_open = [one.order_id for one in await stage.adapter.open_orders()]
    assert still_open == ([OURS] if stage.truth(order).is_open else [])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"quantity": "900"}, Code.INSUFFICIENT_FUNDS),
        ({"side": "sell", "quantity": "60"}, Code.INSUFFICIENT_FUNDS),
        ({"quantity": "0.00001"}, Code.BELOW_MINIMUM),
        ({"type": "limit", "price": "1000", "quantity": "0.0001"}, Code.BELOW_MINIMUM),
    ],
)
async def test_a_refusal_in_the_venues_own_words_is_a_proof(stage, fields, code):
    outcome = await stage.send(stage.row(**fields))
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, code), outcome.reason
    assert stage.exchange.received == []


async def test_a_post_only_order_that_would_take_ends_without_a_fill(stage):
    order = stage.row(type="limit", price="43000", post_only=True)
    outcome = await stage.send(order)
    if stage.wire == "binance":
        assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, Code.POST_ONLY_WOULD_TAKE)
    else:
        assert outcome.kind is OutcomeKind.ACCEPTED
        assert (await stage.resolve(order)).state is OrderState.CANCELED
    assert stage.exchange.trades == []


async def test_an_open_order_of_the_same_id_is_no_proof_that_this_one_was_refused(stage):
    resting = stage.row(type="limit", price="41000")
    assert (await stage.send(resting)).kind is OutcomeKind.ACCEPTED
    assert (await stage.send(resting)).kind is OutcomeKind.UNKNOWN


async def test_an_order_on_its_way_is_not_absent_before_its_window_has_closed_and_never_taken_after(stage):
    impatient(stage.adapter)
    order = stage.row()
    stage.arm(Kind.DELAYED, *ADD[stage.wire], delay_ms=60_000)
    assert (await stage.send(order)).kind is OutcomeKind.UNKNOWN
    stage.adapter.take_row(order)
    answer, sends = stage.server.venue.answer, []

    def noted(request):
        given = answer(request)
        if (request.method, request.path.rpartition("/")[2]) == (
            ADD[stage.wire][0],
            ADD[stage.wire][1].rpartition("/")[2],
        ):
            sends.append(given)
        return given

    stage.server.venue.answer = noted
    for _ in range(3):
        stage.clock.now += 2_500
        assert await stage.adapter.look_up([OURS]) == {}, "nothing shown, and that proves nothing yet"
    stage.clock.now += 2_500
    for _ in range(2):
        stage.clock.now += 2_500
        shown = await stage.adapter.look_up([OURS])
    assert shown == {OURS: None}
    await until(lambda: sends)
    assert {"binance": "-1021", "kraken": "Deadline elapsed"}[stage.wire] in sends[0].text
    assert stage.exchange.received == []


@pytest.mark.parametrize("path", [OPEN, ENDED])
async def test_a_look_up_that_fails_is_no_evidence(stage, path):
    stage.adapter.take_row(stage.row())
    stage.clock.now += 30_000
    for fault in (Kind.RESET, Kind.HTML, Kind.EMPTY, Kind.GARBAGE, Kind.BAD_GATEWAY, Kind.TRUNCATED):
        stage.arm(fault, READ[stage.wire], path[stage.wire], times=10)
        for _ in range(2):
            stage.clock.now += 3_000
            with pytest.raises(VenueUnreadable):
                await stage.adapter.look_up([OURS])
        stage.server.venue.faults.clear()
    for expected in ({}, {OURS: None}):
        stage.clock.now += 3_000
        assert await stage.adapter.look_up([OURS]) == expected


async def test_a_cancel_that_finds_nothing_says_so_and_one_without_an_answer_is_unknown(stage):
    resting = stage.row(type="limit", price="41000")
    (outcome,) = await stage.adapter.cancel([resting], now_ms=stage.clock.now)
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, Code.NO_SUCH_ORDER)
    await stage.send(resting)
    stage.arm(Kind.BAD_GATEWAY, *CANCEL[stage.wire])
    (outcome,) = await stage.adapter.cancel([resting], now_ms=stage.clock.now)
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert (await stage.adapter.look_up([OURS]))[OURS].state is OrderState.CANCELED


async def test_fills_and_ends_are_told_by_polling(stage):
    quote(stage.server, "42000", "42000.1", size="0.04", symbol=stage.symbol)
    market, resting = stage.row(), stage.row(numbered(2), type="limit", price="41000")
    await stage.adapter.submit([market, resting], now_ms=stage.clock.now)
    events = await stage.adapter.poll(now_ms=stage.clock.now)
    assert [fill.quantity for fill in events.fills] == [D("0.04"), D("0.04"), D("0.02")]
    assert {fill.order_id for fill in events.fills} == {OURS}
    assert {fill.fee_currency for fill in events.fills} == {"BTC" if stage.wire == "binance" else "USDT"}
    stage.exchange.cancel_all(stage.symbol)
    stage.clock.now += 5_000
    events = await stage.adapter.poll(now_ms=stage.clock.now)
    assert [(order.order_id, order.state) for order in events.orders] == [(numbered(2), OrderState.CANCELED)]


async def test_an_order_of_just_twenty_trades_is_read_whole(stage):
    """At Kraken twenty trades may be named at once, and ccxt divides them so that nothing is left for a last, empty request."""
    order = stage.row(type="limit", price="41000", quantity="0.2")
    outcome = await stage.send(order)
    stage.adapter.take_row(order.evolve(state=OrderState.OPEN, venue_order_id=outcome.venue_order_id))
    for _ in range(2):
        quote(stage.server, "40000", "40000.1", size="0.01", symbol=stage.symbol)
    assert len(stage.exchange.trades) == 20
    assert sum(fill.quantity for fill in await stage.adapter.trades_of([OURS])) == D("0.2")


async def test_two_days_of_missed_trades_are_read_back_whoever_made_them(stage):
    """More than one page, over more than one window, at two instruments, the first of them at the very start."""
    began = stage.clock.now
    for hour in range(48):
        for number in range(2):
            stage.exchange.by_hand(stage.symbol, "BUY", D("0.01"), f"w{hour}-{number}")
        stage.clock.now += 3_600_000
        quote(stage.server, "42000", "42000.1", symbol=stage.symbol)
    stage.exchange.by_hand("ETHUSDT", "BUY", D("0.01"), "e1")
    fills = await stage.adapter.trades_since(began)
    truth = {str(trade.number) for trade in stage.exchange.trades}
    assert len(fills) == len(truth) == 97
    assert [fill.executed_at for fill in fills] == sorted(fill.executed_at for fill in fills)
    assert {fill.symbol for fill in fills} == {"BTC/USDT", "ETH/USDT"}
    assert {"w0-0", "e1"} <= {fill.order_id for fill in fills}
    assert len(await stage.adapter.trades_since(began + 1)) == 95


async def test_balances_are_coins_and_no_position(stage):
    await stage.send(stage.row())
    await stage.send(stage.row(numbered(2), side="sell", type="limit", price="43000", quantity="2"))
    free, total = (await stage.adapter.balances())["BTC"]
    fee = D("0.0001") if stage.wire == "binance" else D(0)
    assert (total, free) == (D("50.1") - fee, D("48.1") - fee)
    with pytest.raises(VenueUnreadable, match="spot"):
        await stage.adapter.positions()


async def test_instruments_clock_and_permissions_are_read(stage):
    rules = stage.adapter.rules("BTCUSDT")
    spec = stage.exchange.specs[stage.symbol]
    assert (rules.symbol, rules.quantity_step, rules.price_step) == ("BTC/USDT", spec.step, spec.tick)
    assert (rules.min_quantity, rules.min_notional) == (spec.least, spec.least_notional)
    assert await stage.adapter.server_time() == stage.clock.now
    assert await stage.adapter.can_withdraw() is False
    stage.exchange.can_withdraw = True
    assert await stage.adapter.can_withdraw() is True
    assert await stage.adapter.is_hedged() is None


async def test_ids_are_rendered_for_the_venue_and_read_back(stage):
    ways = ways_of(stage.adapter.capability, stage.adapter.clients)
    for order_id in (OURS, numbered(0), numbered(2**119), "web_12"):
        assert ways.ours(ways.named(order_id)) == order_id
    foreign = "686004b7c577787d597266f5a39f13d"
    assert ways.ours(foreign) == foreign
    assert len(ways.named(OURS)) == (32 if stage.wire == "kraken" else 31)


async def test_an_event_of_the_stream_makes_an_order_be_asked_about_at_once(stage):
    """Binance spot's, over its WebSocket API; Kraken's names no client order id through ccxt, so it is not listened to."""
    stage.adapter.follow()
    if stage.wire == "kraken":
        assert stage.adapter.stream is None
        return
    for round_ in range(2):
        await until(lambda: stage.server.listeners)
        order_id = numbered(round_)
        await stage.send(stage.row(order_id, type="limit", price="41000"))
        for _ in range(4):
            await stage.adapter.poll(now_ms=stage.clock.now)
            stage.clock.now += 500
        async with aiohttp.ClientSession(stage.server.url) as session:
            for bid in ("40999", "42000"):
                document = {"symbol": stage.symbol, "bid": bid, "ask": str(D(bid) + D("0.1"))}
                await session.post("/sim/quote", json=document)
        fills = []
        for _ in range(400):
            fills += (await stage.adapter.poll(now_ms=stage.clock.now)).fills
            if fills:
                break
            await stage.clock.sleep(1)
        assert {fill.order_id for fill in fills} == {order_id}
        await stage.server.expire_listen_key()
