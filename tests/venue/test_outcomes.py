"""The outcome table: every fault × every kind of order, through real ccxt, gives the right outcome, and look-ups the truth."""

import asyncio

import pytest

from holdfast.contracts.codes import Code, OrderState
from holdfast.venues.outcomes import REFUSALS, Attempt, codes_of, described, verdict
from holdfast.venues.port import OutcomeKind, VenueUnreadable
from tests.venue._stage import KINDS, D, HandClock, ccxt_venue, impatient, quote, row, until, venue
from venue_sim.faults import PREVENTED, SPOILED, Fault, Kind
from venue_sim.orders import Order

PROVEN = frozenset({Kind.RATE_LIMITED, Kind.BANNED})
"""Not done, and the answer proves it. Of all other faults nobody can know from the answer."""

SILENT = frozenset({Kind.NO_ANSWER, Kind.SILENT_BEFORE, Kind.HIDDEN})


@pytest.fixture
async def stage():
    clock = HandClock()
    async with venue(clock) as server, ccxt_venue(server, clock) as adapter:
        server.venue.exchange.by_hand("BTCUSDT", "BUY", D("0.5"), "earlier")
        server.venue.exchange.received.clear()
        yield server, adapter, clock


async def resolve(adapter, order, clock):
    """Look-ups as the executor repeats them, until they say something."""
    adapter.take_row(order)
    for _ in range(20):
        clock.now += 1_500
        shown = await adapter.look_up([order.order_id])
        if order.order_id in shown:
            return shown[order.order_id]
    raise AssertionError("never resolved")


def endpoint(kind):
    """Where orders of this kind are sent."""
    return "/fapi/v1/algoOrder" if "stop_price" in KINDS[kind] else "/fapi/v1/order"


def truth_of(exchange, name):
    """The order of that name, or the conditional one, which has filled nothing yet."""
    return exchange.find("BTCUSDT", name) or next(
        Order(algo.number, algo.ask, algo.at, algo.updated)
        for algo in exchange.algos.values()
        if algo.ask.client_id == name
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_every_fault_of_every_kind_of_order(stage, kind):
    server, adapter, clock = stage
    exchange = server.venue.exchange
    for number, fault in enumerate(sorted(SPOILED | PREVENTED)):
        exchange.by_hand("BTCUSDT", "BUY", D("0.5"))  # so that there is something to close
        exchange.received.clear()
        order = row(f"h{number}", clock=clock, **KINDS[kind])
        impatient(adapter, 150 if fault in SILENT else 10_000)
        server.venue.faults.arm(Fault(fault, "POST", endpoint(kind), delay_ms=4_000))
        (outcome,) = await adapter.submit([order], now_ms=clock.now)
        expected = OutcomeKind.REJECTED if fault in PROVEN else OutcomeKind.UNKNOWN
        assert outcome.kind is expected, (fault, outcome.reason)
        shown = await resolve(adapter, order, clock)
        taken = fault in SPOILED
        assert (shown is not None) is taken, fault
        assert len(exchange.received) == taken, (fault, "once, or not at all")
        if shown is not None:
            adapter.take_row(order.evolve(state=OrderState.OPEN, venue_order_id=shown.venue_order_id))
            fills = await adapter.trades_of([order.order_id])
            truth = truth_of(exchange, order.order_id)
            assert sum((fill.quantity for fill in fills), D(0)) == truth.filled == shown.filled, fault
            assert {fill.order_id for fill in fills} <= {order.order_id}, fault


@pytest.mark.parametrize("kind", KINDS)
async def test_without_a_fault_it_is_accepted_and_found(stage, kind):
    server, adapter, clock = stage
    order = row(clock=clock, **KINDS[kind])
    (outcome,) = await adapter.submit([order], now_ms=clock.now)
    assert outcome.kind is OutcomeKind.ACCEPTED
    sent = server.venue.exchange.received[-1]
    assert (sent.client_id, sent.reduce_only) == ("h1", order.reduce_only)
    assert sent.time_in_force == {"ioc entry": "IOC", "post-only entry": "GTX"}.get(kind, "GTC")
    shown = (await adapter.look_up(["h1"]))["h1"]
    assert (shown.venue_order_id, shown.order_id) == (outcome.venue_order_id, "h1")


async def test_an_order_that_is_still_on_its_way_is_not_absent_before_its_window_has_closed(stage):
    """The answer is given up, look-ups show nothing, and then it arrives."""
    server, adapter, clock = stage
    order = row(clock=clock)
    impatient(adapter)
    server.venue.faults.arm(Fault(Kind.DELAYED, "POST", "/fapi/v1/order", delay_ms=100_000))
    (outcome,) = await adapter.submit([order], now_ms=clock.now)
    assert outcome.kind is OutcomeKind.UNKNOWN
    adapter.take_row(order)
    clock.now += 3_000
    assert await adapter.look_up(["h1"]) == {}, "nothing shown, and that proves nothing yet"
    await until(lambda: server.venue.exchange.received)
    assert (await adapter.look_up(["h1"]))["h1"].state is OrderState.FILLED


async def test_one_look_up_that_shows_nothing_proves_nothing(stage):
    _, adapter, clock = stage
    adapter.take_row(row(clock=clock))
    clock.now += 30_000
    assert await adapter.look_up(["h1"]) == {}
    clock.now += 1_000
    assert await adapter.look_up(["h1"]) == {}
    clock.now += 1_000
    assert await adapter.look_up(["h1"]) == {"h1": None}


@pytest.mark.parametrize("path", ["/fapi/v1/openOrders", "/fapi/v1/allOrders", "/fapi/v1/order"])
async def test_a_look_up_that_fails_is_no_evidence(stage, path):
    server, adapter, clock = stage
    adapter.take_row(row(clock=clock))
    clock.now += 30_000
    for fault in (Kind.RESET, Kind.HTML, Kind.EMPTY, Kind.GARBAGE, Kind.BAD_GATEWAY, Kind.TRUNCATED):
        server.venue.faults.arm(Fault(fault, "GET", path, times=10))
        for _ in range(2):
            clock.now += 3_000
            with pytest.raises(VenueUnreadable):
                await adapter.look_up(["h1"])
        server.venue.faults.clear()
    clock.now += 3_000
    assert await adapter.look_up(["h1"]) == {}
    clock.now += 3_000
    assert await adapter.look_up(["h1"]) == {"h1": None}


async def test_what_became_too_late_in_the_limiter_never_reaches_the_wire(stage):
    server, adapter, clock = stage
    before = len(server.venue.log)

    async def throttle(cost=None):
        clock.now += 2_001

    adapter.clients.trade.enableRateLimit = True
    adapter.clients.trade.throttle = throttle
    (outcome,) = await adapter.submit([row(clock=clock)], now_ms=clock.now)
    assert (outcome.kind, outcome.code) == (OutcomeKind.NOT_SENT, Code.NOT_SENT)
    assert len(server.venue.log) == before


async def test_a_burst_of_entries_in_the_limiter_holds_up_no_exit(stage):
    """Each order costs 200 ms of ccxt's limiter; an exit behind twenty entries would come too late."""
    server, adapter, clock = stage
    for client in (adapter.clients.trade, adapter.clients.leave):
        client.enableRateLimit = True
        client.throttler.config["tokens"] = 0
    burst = [row(f"h{number}", clock=clock, quantity="0.001") for number in range(20)]
    entries = asyncio.ensure_future(adapter.submit(burst, now_ms=clock.now))
    await until(lambda: server.venue.exchange.received)
    exit_ = row("h99", clock=clock, side="sell", role="exit", reduce_only=True, position_id="p1")
    (outcome,) = await adapter.submit([exit_], now_ms=clock.now)
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert len(server.venue.exchange.received) < 15, "most entries still wait"
    entries.cancel()
    await asyncio.gather(entries, return_exceptions=True)


async def test_a_wall_clock_that_was_put_back_does_not_let_a_late_order_out(stage):
    server, adapter, clock = stage

    async def throttle(cost=None):
        clock.now += 2_001
        clock.wall_ms = lambda: clock.now - 60_000

    adapter.clients.trade.enableRateLimit = True
    adapter.clients.trade.throttle = throttle
    (outcome,) = await adapter.submit([row(clock=clock)], now_ms=clock.now)
    assert outcome.kind is OutcomeKind.NOT_SENT
    assert server.venue.exchange.received == []


async def test_no_connection_is_a_proof(stage):
    server, adapter, clock = stage
    await server.stop()
    (outcome,) = await adapter.submit([row(clock=clock)], now_ms=clock.now)
    assert outcome.kind in {OutcomeKind.NOT_SENT, OutcomeKind.UNKNOWN}
    (again,) = await adapter.submit([row("h2", clock=clock)], now_ms=clock.now)
    assert (again.kind, "no connection" in again.reason) == (OutcomeKind.NOT_SENT, True)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"quantity": "900"}, Code.INSUFFICIENT_FUNDS),
        ({"quantity": "0.0001"}, Code.VENUE_REJECTED),
        ({"type": "limit", "price": "1000", "quantity": "0.001"}, Code.BELOW_MINIMUM),
        ({"type": "limit", "price": "43000", "post_only": True}, Code.POST_ONLY_WOULD_TAKE),
        ({"type": "limit", "price": "42001", "quantity": "120", "time_in_force": "fok"}, Code.UNFILLED),
        ({"side": "buy", "role": "exit", "reduce_only": True}, Code.VENUE_REJECTED),
        (KINDS["stop"] | {"stop_price": "42001"}, Code.WOULD_TRIGGER),
    ],
)
async def test_a_refusal_in_the_venues_own_words_is_a_proof(stage, fields, code):
    server, adapter, clock = stage
    (outcome,) = await adapter.submit([row(clock=clock, **fields)], now_ms=clock.now)
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, code), outcome.reason
    assert server.venue.exchange.received == []


async def test_an_open_order_of_the_same_id_is_no_proof_that_this_one_was_refused(stage):
    _, adapter, clock = stage
    resting = row(clock=clock, type="limit", price="41000")
    await adapter.submit([resting], now_ms=clock.now)
    (outcome,) = await adapter.submit([resting], now_ms=clock.now)
    assert outcome.kind is OutcomeKind.UNKNOWN


async def test_one_that_hangs_delays_the_others_no_longer_than_its_answer_is_waited_for(stage):
    server, adapter, clock = stage
    impatient(adapter, 1_000)
    server.venue.faults.arm(Fault(Kind.NO_ANSWER, "POST", "/fapi/v1/order"))
    started = asyncio.get_running_loop().time()
    outcomes = await adapter.submit([row("h1", clock=clock), row("h2", clock=clock)], now_ms=clock.now)
    assert sorted(one.kind for one in outcomes) == [OutcomeKind.ACCEPTED, OutcomeKind.UNKNOWN]
    assert asyncio.get_running_loop().time() - started < 9


async def test_a_cancel_that_finds_nothing_says_so_and_one_without_an_answer_is_unknown(stage):
    server, adapter, clock = stage
    resting = row(clock=clock, type="limit", price="41000")
    (outcome,) = await adapter.cancel([resting], now_ms=clock.now)
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, Code.NO_SUCH_ORDER)
    await adapter.submit([resting], now_ms=clock.now)
    server.venue.faults.arm(Fault(Kind.BAD_GATEWAY, "DELETE", "/order"))
    (outcome,) = await adapter.cancel([resting], now_ms=clock.now)
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert (await adapter.look_up(["h1"]))["h1"].state is OrderState.CANCELED


async def test_fills_and_ends_are_told_by_polling_whatever_the_order_they_come_in(stage):
    server, adapter, clock = stage
    quote(server, "42000", "42000.1", size="0.04")
    market, resting = row(clock=clock), row("h2", clock=clock, type="limit", price="41000")
    await adapter.submit([market, resting], now_ms=clock.now)
    for kind in (Kind.DOUBLED, Kind.SHUFFLED):
        server.venue.faults.arm(Fault(kind, "GET", "/userTrades"))
    events = await adapter.poll(now_ms=clock.now)
    assert [str(fill.quantity) for fill in events.fills] == ["0.04", "0.04", "0.02"]
    assert events.orders == []
    server.venue.exchange.cancel_all("BTCUSDT")
    clock.now += 5_000
    events = await adapter.poll(now_ms=clock.now)
    assert [(order.order_id, order.state) for order in events.orders] == [("h2", OrderState.CANCELED)]


async def test_an_end_waits_for_the_fills_that_it_names(stage):
    """A fill after a cancel, whose trade is not visible yet: first the fill, then the end."""
    server, adapter, clock = stage
    resting = row(clock=clock, type="limit", price="41000")
    await adapter.submit([resting], now_ms=clock.now)
    await adapter.poll(now_ms=clock.now)
    quote(server, "40999", "41000", size="0.03")
    server.venue.exchange.cancel_all("BTCUSDT")
    server.venue.faults.arm(Fault(Kind.EMPTY_LIST, "GET", "/userTrades"))
    clock.now += 5_000
    assert (await adapter.poll(now_ms=clock.now)).orders == []
    clock.now += 5_000
    events = await adapter.poll(now_ms=clock.now)
    assert [str(fill.quantity) for fill in events.fills] == ["0.03"]
    assert [order.filled for order in events.orders] == [D("0.03")]


async def test_in_hedge_mode_an_exit_closes_its_own_leg():
    clock = HandClock()
    async with venue(clock) as server, ccxt_venue(server, clock, hedged=True) as adapter:
        account = server.venue.exchange.account
        account.hedged = True
        long, short = row("h1", clock=clock, leg="long"), row("h2", clock=clock, side="sell", leg="short")
        exit_ = row(
            "h3", clock=clock, side="sell", quantity="0.04", role="exit", reduce_only=True, leg="long"
        )
        for order in (long, short, exit_):
            (outcome,) = await adapter.submit([order], now_ms=clock.now)
            assert outcome.kind is OutcomeKind.ACCEPTED, outcome.reason
        held = {position.leg.value: position.quantity for position in await adapter.positions()}
        assert held == {"long": D("0.06"), "short": D("-0.1")}
        assert {fill.leg.value for fill in await adapter.trades_since(clock.now - 1000)} == {"long", "short"}


# -- the table itself -----------------------------------------------------------------------------------------------------


class ExchangeError(Exception):
    """As ccxt names it."""


def test_whatever_is_not_listed_is_unknown():
    wired = Attempt(on_wire=True)
    for text in (
        'binanceusdm {"code":-1007,"msg":"Timeout"}',
        'binanceusdm {"code":-31337,"msg":"new"}',
        "binanceusdm POST http://x/fapi/v1/order",
        "",
    ):
        assert verdict("binanceusdm", ExchangeError(text), wired).kind is OutcomeKind.UNKNOWN
    refused = ExchangeError('binanceusdm {"code":-2019,"msg":"Margin is insufficient."}')
    assert verdict("binanceusdm", refused, wired).kind is OutcomeKind.REJECTED
    assert verdict("okx", refused, wired).kind is OutcomeKind.UNKNOWN, "another exchange's code is no proof"


OPEN_QUESTIONS = [
    "-1000", "-1001", "-1006", "-1007", "-1008", "-2010", "-4116", "EService:Unavailable", "EService:Busy", "EService:Timeout",
    "EGeneral:Internal error", "EOrder:Duplicate cl_ord_id",
]  # fmt: skip


@pytest.mark.parametrize("code", OPEN_QUESTIONS)
def test_codes_that_leave_it_open_are_in_no_allow_list(code):
    assert all(code not in codes for codes in REFUSALS.values())


def test_one_code_with_many_meanings_proves_only_those_that_are_listed():
    def kind(text, exchange="binance"):
        return verdict(exchange, ExchangeError(text), Attempt(on_wire=True)).kind

    answer = '{"code":-2010,"msg":"%s"}'
    assert kind(answer % "Account has insufficient balance for requested action.") is OutcomeKind.REJECTED
    assert kind(answer % "Duplicate order sent.") is OutcomeKind.UNKNOWN, "the other one may be this one"
    assert kind('{"code":-2021,"msg":"Order cancel-replace partially failed."}') is OutcomeKind.UNKNOWN
    assert kind('{"code":-2021,"msg":"Order would trigger."}', "binanceusdm") is OutcomeKind.REJECTED
    assert kind('{"error":["EOrder:Insufficient funds"]}', "kraken") is OutcomeKind.REJECTED
    two = '{"error":["EOrder:Insufficient funds","EService:Timeout"]}'
    assert kind(two, "kraken") is OutcomeKind.UNKNOWN


def test_an_answer_is_judged_by_its_own_words_and_not_by_what_the_library_made_of_them():
    """Of a few texts ccxt makes an exception that leaves the code out."""
    attempt = Attempt(on_wire=True, status=400, answer='{"code":-2019,"msg":"Margin is insufficient."}')
    assert (
        verdict("binanceusdm", ExchangeError("Margin is insufficient."), attempt).kind is OutcomeKind.REJECTED
    )
    limited = Attempt(on_wire=True, status=429, answer="<html>")
    assert verdict("binance", ExchangeError("?"), limited).kind is OutcomeKind.REJECTED


def test_signatures_are_cut_out_of_what_is_kept():
    error = ExchangeError("binanceusdm GET http://x/fapi/v1/order?symbol=X&signature=abc123&timestamp=1")
    assert "abc123" not in described(error)
    assert "symbol=X" in described(error)
    assert codes_of(str(error)) == ()
