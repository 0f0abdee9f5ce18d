"""The paper venue behaves like an exchange: later ticks fill, every answer is on disk, a restart changes nothing."""

import sqlite3

import pytest

from holdfast.contracts.codes import (
    Code,
    FillKind,
    Kind,
    Leg,
    OrderState,
    PositionSide,
)
from holdfast.contracts.rows import PositionRow
from holdfast.venues.paper import PaperVenue
from holdfast.venues.paper_record import PaperRecord, RecordTaken
from holdfast.venues.port import OutcomeKind, Venue, VenueOrder, VenuePosition, VenueUnreadable
from tests.unit._paper import (
    BTC,
    BUY,
    COIN,
    ETH,
    FOK,
    IOC,
    SELL,
    SPOT,
    D,
    Desk,
    adoption,
    order,
    rules_of,
    tick,
)


@pytest.fixture
def make(tmp_path):
    made = []

    def build(**paper):
        made.append(Desk(tmp_path / f"{len(made)}.db", **paper))
        return made[-1]

    yield build
    for desk in made:
        desk.record.close()


@pytest.fixture
def desk(make):
    return make()


def test_it_is_a_venue(desk):
    venue: Venue = desk.venue
    assert (venue.account, venue.exchange, venue.rules(BTC)) == ("main", "paper", rules_of(BTC))


async def test_an_order_fills_at_the_first_tick_after_it_arrived(desk):
    await desk.ticks(tick(10, "49", "51"))
    (outcome,) = await desk.submit(order("o1"))
    assert (outcome.kind, outcome.venue_order_id) == (OutcomeKind.ACCEPTED, "paper-1")
    assert (await desk.ticks(tick(9, "1", "2"), tick(11, symbol=ETH))).fills == []  # older; another symbol
    events = await desk.ticks(tick(12), now_ms=77)
    (fill,) = events.fills
    assert (fill.price, fill.quantity, fill.executed_at, fill.at) == (D(101), D(1), 12, 77)
    assert (fill.order_id, fill.cause_id, fill.correlation_id, fill.trade_id) == ("o1", "i-o1", "c-o1", "p1")
    assert (fill.instrument, fill.contract_size, fill.settle, fill.kind) == (
        Kind.LINEAR,
        D(1),
        "USDT",
        FillKind.TRADE,
    )
    assert events.orders == []
    assert await desk.state("o1") is OrderState.FILLED
    assert (await desk.ticks(tick(13))).fills == []


async def test_fees_and_slippage_are_the_settings(make):
    desk = make(fee_pct=D("0.1"), slippage_pct=D(1))
    await desk.submit(order("o1"))
    (fill,) = (await desk.ticks(tick(1))).fills
    assert (fill.price, fill.fee, fill.fee_currency) == (D("102.01"), D("0.10201"), "USDT")
    assert desk.venue.cash() == {"USDT": -D("102.01") - D("0.10201")}


@pytest.mark.parametrize(
    ("made", "first", "then", "end"),
    [
        # (order, fills at 99/101, fills at 89/91 and 109/111 afterwards, its end)
        (order("o", BUY), 1, 0, OrderState.FILLED),
        (order("o", BUY, tif=IOC), 1, 0, OrderState.FILLED),
        (order("o", BUY, tif=FOK), 1, 0, OrderState.FILLED),
        (order("o", BUY, price="105"), 1, 0, OrderState.FILLED),
        (order("o", BUY, price="105", tif=IOC), 1, 0, OrderState.FILLED),
        (order("o", BUY, price="105", tif=FOK), 1, 0, OrderState.FILLED),
        (order("o", BUY, price="95"), 0, 1, OrderState.FILLED),
        (order("o", BUY, price="50"), 0, 0, OrderState.OPEN),
        (order("o", BUY, price="95", tif=IOC), 0, 0, OrderState.CANCELED),
        (order("o", BUY, price="95", tif=FOK), 0, 0, OrderState.CANCELED),
        (order("o", BUY, price="95", post_only=True), 0, 1, OrderState.FILLED),
        (order("o", BUY, price="105", post_only=True), 0, 0, OrderState.CANCELED),
        (order("o", SELL), 1, 0, OrderState.FILLED),
        (order("o", SELL, price="95"), 1, 0, OrderState.FILLED),
        (order("o", SELL, price="105"), 0, 1, OrderState.FILLED),
        (order("o", SELL, price="105", tif=IOC), 0, 0, OrderState.CANCELED),
        (order("o", SELL, price="95", post_only=True), 0, 0, OrderState.CANCELED),
    ],
)
async def test_every_type_and_time_in_force(desk, made, first, then, end):
    await desk.submit(made)
    events = await desk.ticks(tick(1))
    assert len(events.fills) == first
    later = await desk.ticks(tick(2, "89", "91"), tick(3, "109", "111"))
    assert [fill.price for fill in later.fills] == [made.price] * then
    assert await desk.state("o") is end
    assert [ended.state for ended in events.orders] == (
        [OrderState.CANCELED] if end is OrderState.CANCELED else []
    )
    assert len(await desk.venue.open_orders()) == (end is OrderState.OPEN)


async def test_good_till_is_wall_time(desk):
    await desk.submit(order("o1", price="50", good_till=1000), order("o2", price="50", good_till=3000))
    assert (await desk.venue.poll(now_ms=999)).orders == []
    (ended,) = (await desk.venue.poll(now_ms=1000)).orders
    assert (ended.order_id, ended.state, ended.code) == ("o1", OrderState.EXPIRED, Code.UNFILLED)
    desk.restart()
    (ended,) = (
        await desk.ticks(tick(1, "1", "2"), now_ms=3000)
    ).orders  # expired before the tick could fill it
    assert ended.order_id == "o2"
    assert await desk.held() == {}


async def test_bad_prints_fill_nothing_and_a_new_run_is_a_new_timeline(desk):
    await desk.submit(order("o1"))
    bad = [tick(50, "0", "101"), tick(51, "102", "101"), tick(52, "-1", "-1")]
    assert (await desk.ticks(*bad)).fills == []
    await desk.ticks(tick(100))
    await desk.submit(order("o2"))
    assert (await desk.ticks(tick(99))).fills == []
    assert len((await desk.ticks(tick(5, run="r2"))).fills) == 1


async def test_an_older_tick_of_the_run_does_not_fill_what_rests(desk):
    await desk.submit(order("o1", price="95"))
    await desk.ticks(tick(10), tick(20))
    assert (await desk.ticks(tick(15, "89", "91"))).fills == []
    assert len((await desk.ticks(tick(20, "89", "91"))).fills) == 1


async def test_a_tick_that_stood_before_the_order_does_not_fill_it_after_a_restart(desk):
    await desk.ticks(tick(10))
    await desk.submit(order("o1"))
    desk.restart()
    assert (await desk.ticks(tick(9), tick(10))).fills == []
    assert len((await desk.ticks(tick(11))).fills) == 1


async def test_reduce_only_never_takes_more_than_is_held(desk):
    await desk.submit(order("in", quantity="2"))
    await desk.ticks(tick(1))
    await desk.submit(
        order("x1", SELL, "1.5", reduce=True),
        order("x2", SELL, "1.5", reduce=True),
        order("x3", SELL, "2", reduce=True),
    )
    events = await desk.ticks(tick(2))
    assert [fill.quantity for fill in events.fills] == [D("1.5"), D("0.5")]
    assert [(e.order_id, e.state, e.code, e.filled) for e in events.orders] == [
        ("x2", OrderState.CANCELED, Code.NOTHING_TO_CLOSE, D("0.5")),
        ("x3", OrderState.CANCELED, Code.NOTHING_TO_CLOSE, D(0)),
    ]
    assert await desk.held() == {}


async def test_the_closing_side_of_a_hedged_leg_only_shrinks(desk):
    legs = [order("l", BUY, leg=Leg.LONG), order("s", SELL, "2", leg=Leg.SHORT)]
    await desk.submit(*legs, order("lx", SELL, "5", leg=Leg.LONG))
    await desk.ticks(tick(1))
    assert await desk.venue.positions() == [VenuePosition(BTC, Leg.SHORT, D(-2))]


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (order("o", quantity="0.015"), Code.VENUE_REJECTED),
        (order("o", quantity="0.01"), Code.BELOW_MINIMUM),
        (order("o", quantity="0.04", price="100"), Code.BELOW_MINIMUM),
        (order("o", price="100.001"), Code.VENUE_REJECTED),
        (order("o", symbol="NO/SUCH"), Code.UNKNOWN_SYMBOL),
        (order("o", contract_size=D(2)), Code.INSTRUMENT_MISMATCH),
        (order("o", SELL, symbol=SPOT), Code.SPOT_SHORT),
        (order("o", account="other"), Code.UNKNOWN_ACCOUNT),
        (order("o", quantity="20000", price="100"), Code.INSUFFICIENT_FUNDS),
        (order("o", quantity="2000", price="100", symbol=SPOT), Code.INSUFFICIENT_FUNDS),
        (order("o", quantity="20000", notional=D(2_000_000)), Code.INSUFFICIENT_FUNDS),
        (order("o", quantity="200000", price="0.1", symbol=COIN), None),
    ],
)
async def test_what_the_venue_does_not_take(desk, made, code):
    (outcome,) = await desk.submit(made)
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED if code else OutcomeKind.ACCEPTED, code)
    if outcome.venue_order_id and code:
        assert await desk.submit(made) == [outcome]  # asked again, the same answer
        assert await desk.state("o") is OrderState.REJECTED


async def test_dust_can_be_closed_and_exits_need_no_money(make):
    desk = make(capital=D(11))
    await desk.venue.adopt([adoption(quantity=D("0.005"), price=D(100))], now_ms=1)
    (outcome,) = await desk.submit(order("x", SELL, "0.005", reduce=True))
    assert outcome.kind is OutcomeKind.ACCEPTED
    (fill,) = (await desk.ticks(tick(1, "1", "2"))).fills
    assert fill.quantity == D("0.005")


async def test_live_orders_hold_their_money_until_they_end(make):
    desk = make(capital=D(25), leverage=D(10))
    one, two, three = [order(f"o{n}", price="100") for n in range(3)]
    kinds = [outcome.kind for outcome in await desk.submit(one, two, three)]
    assert kinds == [OutcomeKind.ACCEPTED, OutcomeKind.ACCEPTED, OutcomeKind.REJECTED]
    desk.restart()
    assert (await desk.submit(order("o4", price="100")))[0].code is Code.INSUFFICIENT_FUNDS
    await desk.venue.cancel([one], now_ms=2)
    assert (await desk.submit(order("o5", price="100")))[0].kind is OutcomeKind.ACCEPTED


async def test_money_that_is_gone_when_a_market_order_fills_ends_it(make):
    desk = make(capital=D(10), leverage=D(10))
    await desk.submit(order("o1"))  # no price is known yet: accepted
    (ended,) = (await desk.ticks(tick(1))).orders
    assert (ended.state, ended.code) == (OrderState.REJECTED, Code.INSUFFICIENT_FUNDS)


async def test_not_sent_after_send_by_and_then_it_is_absent(desk):
    (outcome,) = await desk.submit(order("o1"), now_ms=10_001)
    assert (outcome.kind, outcome.code) == (OutcomeKind.NOT_SENT, Code.NOT_SENT)
    assert await desk.venue.look_up(["o1"]) == {"o1": None}


async def test_an_order_id_is_one_order_whenever_it_comes(desk):
    made = order("o1", price="50")
    first, again = await desk.submit(made, made)
    assert first == again
    desk.restart()
    assert await desk.submit(made, now_ms=99_999) == [first]
    assert len(await desk.venue.open_orders()) == 1
    await desk.ticks(tick(1, "40", "45"))
    assert await desk.submit(made) == [first]
    assert (await desk.ticks(tick(2))).fills == []
    assert await desk.held() == {BTC: D(1)}


async def test_a_cancel_is_asked_and_its_end_is_told(desk):
    made = order("o1", price="50")
    await desk.submit(made)
    (asked,) = await desk.venue.cancel([made.evolve(code=Code.DISPLACED)], now_ms=2)
    assert asked.kind is OutcomeKind.ACCEPTED
    (ended,) = (await desk.venue.poll(now_ms=3)).orders
    assert (ended.state, ended.code) == (OrderState.CANCELED, Code.DISPLACED)
    assert (await desk.venue.poll(now_ms=3)).orders == []
    desk.restart()
    await desk.venue.cancel([made], now_ms=4)  # whoever missed the end asks again
    assert (await desk.venue.poll(now_ms=5)).orders == [ended]
    assert (await desk.ticks(tick(1, "1", "2"))).fills == []


async def test_what_cannot_be_canceled_says_so(desk):
    done = order("done")
    await desk.submit(done)
    await desk.ticks(tick(1))
    never, filled = await desk.venue.cancel([order("never"), done], now_ms=2)
    assert (never.kind, never.code) == (OutcomeKind.REJECTED, Code.NO_SUCH_ORDER)
    assert (filled.kind, filled.reason) == (OutcomeKind.REJECTED, "the order is filled")


async def test_a_restart_between_two_parts_makes_the_same_second_part(make):
    desk = make(partial_fill_pct=D(100), fee_pct=D("0.1"))
    await desk.submit(order("o1", quantity="0.05"), order("o2", quantity="0.05", price="200"))
    first = await desk.ticks(tick(1))
    assert [fill.quantity for fill in first.fills] == [D("0.02"), D("0.02")]
    desk.restart()
    shown = await desk.venue.look_up(["o1"])
    assert shown["o1"] == VenueOrder(
        "o1", BTC, BUY, OrderState.PARTIAL, D("0.05"), D("0.02"), "paper-1", None, "paper record, order 1"
    )
    second = await desk.ticks(tick(2))
    assert [(fill.quantity, fill.price, fill.trade_id) for fill in second.fills] == [
        (D("0.03"), D(101), "p3"),
        (D("0.03"), D(200), "p4"),  # its first part took; the rest rested and made, at its own price
    ]
    assert await desk.venue.trades_of(["o1", "o2"]) == first.fills + second.fills


async def test_chances_are_drawn_once_and_for_all(make):
    orders = [order(f"o{n}") for n in range(100)]
    one, two = make(reject_pct=D(30)), make(reject_pct=D(30))
    first = [(outcome.kind, outcome.code) for outcome in await one.submit(*orders)]
    assert first == [(outcome.kind, outcome.code) for outcome in await two.submit(*orders)]
    assert 15 < first.count((OutcomeKind.REJECTED, Code.VENUE_REJECTED)) < 45


class Killed(BaseException):
    """The process died right here."""


async def test_killed_after_the_commit_before_the_answer_every_fact_is_told_again(desk, monkeypatch):
    commit = PaperRecord.commit

    def commit_and_die(self, **batch):
        commit(self, **batch)
        raise Killed

    monkeypatch.setattr(PaperRecord, "commit", commit_and_die)
    with pytest.raises(Killed):
        await desk.submit(order("o1"))
    desk.restart()
    assert await desk.state("o1") is OrderState.OPEN
    with pytest.raises(Killed):
        await desk.ticks(tick(5))
    desk.restart()
    monkeypatch.undo()
    (fill,) = await desk.venue.trades_of(["o1"])
    assert (fill.price, fill.id) == (D(101), (await desk.venue.trades_since(5))[0].id)
    assert await desk.venue.trades_after(0) == [fill]
    assert await desk.venue.trades_since(6) == []
    assert (await desk.ticks(tick(6))).fills == []
    assert await desk.held() == {BTC: D(1)}
    assert desk.record.verify() == []


async def test_a_commit_that_fails_leaves_unknown_and_memory_is_read_again(desk, monkeypatch):
    await desk.submit(order("o1"))

    def full(self, **batch):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(PaperRecord, "commit", full)
    (outcome,) = await desk.submit(order("o2"))
    assert (outcome.kind, outcome.reason.endswith("disk is full")) == (OutcomeKind.UNKNOWN, True)
    with pytest.raises(VenueUnreadable):
        await desk.ticks(tick(1))
    assert (await desk.venue.cancel([order("o1")], now_ms=2))[0].kind is OutcomeKind.UNKNOWN
    monkeypatch.undo()
    assert [shown.order_id for shown in await desk.venue.open_orders()] == ["o1"]
    assert len((await desk.ticks(tick(2))).fills) == 1
    assert desk.record.verify() == []


async def test_an_unreadable_record_is_never_an_empty_account(desk):
    made = order("o1")
    await desk.submit(made)
    await desk.venue.close()
    with pytest.raises(VenueUnreadable):
        await desk.venue.trades_since(0)
    with pytest.raises(VenueUnreadable):
        await desk.venue.look_up(["o2"])
    with pytest.raises(VenueUnreadable):
        await desk.ticks(tick(1))
    with pytest.raises(VenueUnreadable):  # memory can no longer be trusted, and is not
        await desk.venue.positions()
    assert (await desk.submit(order("o3")))[0].kind is OutcomeKind.UNKNOWN
    assert (await desk.venue.cancel([made], now_ms=2))[0].kind is OutcomeKind.UNKNOWN


async def test_a_second_process_on_the_record_stops_the_first(desk):
    await desk.submit(order("o1"))
    other = PaperRecord(desk.path, "main")
    with pytest.raises(RecordTaken):
        await desk.submit(order("o2"))
    with pytest.raises(RecordTaken):
        await desk.ticks(tick(1))
    other.close()


def test_the_record_of_another_account_is_refused(desk):
    with pytest.raises(ValueError, match="main/paper, not other/paper"):
        PaperVenue("other", settings=desk.settings, instruments=rules_of, record=desk.record)


async def test_adopted_positions_are_held_and_never_reported(desk):
    await desk.venue.adopt([adoption(), adoption()], now_ms=1)
    await desk.venue.adopt([adoption()], now_ms=2)
    assert await desk.held() == {BTC: D(2)}
    desk.restart()
    await desk.venue.adopt([adoption()], now_ms=3)
    assert await desk.held() == {BTC: D(2)}
    assert await desk.venue.trades_after(0) == []
    await desk.submit(order("x", SELL, "2", reduce=True))
    (fill,) = (await desk.ticks(tick(1))).fills
    assert await desk.venue.trades_since(0) == [fill]
    assert desk.venue.cash() == {"USDT": D(98)}
    assert desk.record.verify() == []


async def test_an_adoption_without_a_currency_changes_nothing(desk):
    with pytest.raises(ValueError, match="no settlement currency"):
        await desk.venue.adopt([adoption(), adoption(symbol="NO/SUCH", trade_id="a-2")], now_ms=1)
    assert await desk.held() == {}
    assert desk.venue.cash() == {}


async def test_after_a_rebuild_the_venue_holds_what_the_ledger_holds(desk):
    await desk.submit(order("o1"), order("o2", price="50"))
    await desk.ticks(tick(1))
    row = PositionRow(
        position_id="p", book_id="b", account="main", exchange="paper", symbol=ETH, side=PositionSide.LONG, kind=Kind.LINEAR,
        contract_size=D(1), settle="USDT", quantity=D(3), cost=D(30), entry_price=D(10), take_profit=D(20), stop_loss=D(5),
        take_profit_spec="20", stop_loss_spec="5", opened_at=1, changed_at=1, recorded_at=1,
    )  # fmt: skip
    await desk.venue.rebuild_from_ledger([row], "store-b", now_ms=9)
    assert await desk.held() == {ETH: D(3)}
    assert await desk.venue.open_orders() == []
    assert await desk.venue.trades_after(0) == []
    await desk.submit(order("o3", symbol=ETH, side=SELL, quantity="3", reduce=True))
    (fill,) = (await desk.ticks(tick(5, "11", "12", symbol=ETH))).fills
    assert await desk.venue.trades_after(0) == [fill]
    assert desk.venue.cash() == {"USDT": D(3)}


async def test_inverse_contracts_settle_in_coin(make):
    desk = make(fee_pct=D("0.1"))
    await desk.submit(order("o1", BUY, "1000", symbol=COIN))
    await desk.ticks(tick(1, "99", "100", symbol=COIN))
    await desk.submit(order("o2", SELL, "1000", symbol=COIN, reduce=True))
    await desk.ticks(tick(2, "125", "126", symbol=COIN))
    assert desk.venue.cash() == {"BTC": D(10) - D(8) - D("0.01") - D("0.008")}


async def test_ten_thousand_orders_and_a_tick_that_touches_few(desk):
    orders = [order(f"o{n}", quantity="0.10", price=f"{50 + n % 40}") for n in range(10_000)]
    for start in range(0, 10_000, 500):
        outcomes = await desk.submit(*orders[start : start + 500])
        assert {outcome.kind for outcome in outcomes} == {OutcomeKind.ACCEPTED}
    assert (await desk.ticks(tick(1))).fills == []
    fills = (await desk.ticks(tick(2, "87", "88"))).fills
    assert [fill.order_id for fill in fills] == [f"o{n}" for n in range(10_000) if n % 40 >= 38]
    desk.restart()
    rest = (await desk.ticks(tick(3, "40", "41"))).fills
    assert len(rest) + len(fills) == 10_000 == desk.venue.last_trade_number
    assert await desk.held() == {BTC: D(1000)}
    assert desk.record.verify() == []
