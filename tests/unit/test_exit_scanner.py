"""The exit scanner bare: a fake clock, a ledger that says what the test wants, and what comes out."""

import logging
from decimal import Decimal as D  # noqa: N817

import pytest

from holdfast.contracts.codes import (
    Action,
    Code,
    ExitReason,
    OrderState,
    OrderType,
    PositionSide,
    ResultStatus,
    UpdateKind,
)
from holdfast.contracts.messages import Heartbeat, LedgerUpdated
from holdfast.contracts.streams import MARKET_TICK
from holdfast.contracts.wire import Entry, intent_digest
from holdfast.domain.view import Gap
from tests.unit._exits import LONG, SHORT, SYMBOL, T0, Desk, FakeClock, answer, exit_order, position, tick

BLOCKED, FILLED, CANCELED = ResultStatus.BLOCKED, ResultStatus.FILLED, ResultStatus.CANCELED


# -- firing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "price", "reason"),
    [
        (LONG, 90, ExitReason.STOP_LOSS),
        (LONG, 120, ExitReason.TAKE_PROFIT),
        (SHORT, 110, ExitReason.STOP_LOSS),
        (SHORT, 80, ExitReason.TAKE_PROFIT),
    ],
)
async def test_a_touched_level_asks_for_the_close_of_its_position(
    side: PositionSide, price: int, reason: ExitReason
) -> None:
    """A market order for everything that is not yet exiting, naming position, version, attempt, and what fired it."""
    desk = Desk(position(side=side, version=3, correlation_id="c1", strategy="s1"))
    assert await desk.load() == []
    assert await desk.ticks(tick(100)) == []
    (intent,) = await desk.ticks(tick(price, at=T0 + 2000))
    assert (intent.action, intent.type, intent.reduce_only, intent.quantity) == (
        Action.CLOSE,
        OrderType.MARKET,
        True,
        None,
    )
    assert (intent.position_id, intent.position_version, intent.attempt, intent.reason) == (
        "p1",
        3,
        1,
        reason,
    )
    assert (intent.account, intent.exchange, intent.symbol) == ("a-p1", "paper", SYMBOL)
    assert (intent.trigger_price, intent.trigger_at) == (D(price), T0 + 2000)
    assert (intent.correlation_id, intent.strategy) == ("c1", "s1")
    assert intent.expires_at is None
    assert await desk.ticks(tick(price, at=T0 + 2001), tick(price, at=T0 + 2002)) == [], (
        "it is asked for once"
    )


async def test_a_level_touched_for_one_tick_of_a_batch_was_touched() -> None:
    desk = Desk(position())
    await desk.load()
    (intent,) = await desk.ticks(tick(100), tick(90), tick(100))
    assert intent.reason is ExitReason.STOP_LOSS


async def test_a_bad_print_fires_nothing_until_a_second_tick_confirms_it() -> None:
    desk = Desk(position())
    await desk.load()
    assert await desk.ticks(tick(100), tick(50), tick(0), tick(100), tick(101, 99), tick(100)) == []
    assert await desk.ticks(tick(50)) == []
    (intent,) = await desk.ticks(tick(51))
    assert (intent.reason, intent.trigger_price) == (ExitReason.STOP_LOSS, D(51))
    assert desk.scanner.heartbeat()["details"]["bad_prints"] == "4"


async def test_ttl_of_a_replay_follows_the_ticks_and_not_the_wall() -> None:
    desk = Desk(position(expires_at=T0 + 60_000))
    await desk.load()
    assert await desk.ticks(tick(100, at=T0)) == []
    assert await desk.after(120) == [], "two minutes of wall time are no time in a replay that stands still"
    assert await desk.ticks(tick(100, at=T0 + 59_999)) == []
    (intent,) = await desk.ticks(tick(100, at=T0 + 60_000))
    assert (intent.reason, intent.trigger_at) == (ExitReason.TTL, T0 + 60_000)


async def test_ttl_of_a_live_feed_goes_on_without_ticks() -> None:
    desk = Desk(position(expires_at=T0 + 60_000))
    await desk.load()
    await desk.ticks(tick(100, at=T0, live=True))
    assert await desk.after(59.75) == []
    (intent,) = await desk.after(0.5)
    assert (intent.reason, intent.trigger_price, intent.trigger_at) == (ExitReason.TTL, D(100), T0 + 60_000)


async def test_a_live_tick_read_late_does_not_set_the_market_clock_back() -> None:
    """After a restart the last tick may be old; the market has gone on since, and its price is as old as it is."""
    desk = Desk(position(expires_at=T0 + 60_000))
    desk.clock.now += 70_000
    old = Entry(MARKET_TICK, f"{T0}-0", b"", tick(100, at=T0, live=True))
    assert await desk.scanner.on_ticks([old]) == []
    (intent,) = await desk.load()
    assert intent.reason is ExitReason.TTL
    assert desk.scanner.heartbeat()["warnings"] == [f"{SYMBOL}: the last price came 70 s ago"]


async def test_a_position_that_filled_while_its_book_was_being_closed_is_closed_without_a_price() -> None:
    desk = Desk()
    await desk.load()
    (intent,) = await desk.update(position(closing=ExitReason.FLATTEN))
    assert (intent.reason, intent.trigger_price, intent.trigger_at) == (ExitReason.FLATTEN, None, None)


async def test_a_new_position_is_judged_by_the_last_price_but_not_by_one_older_than_itself() -> None:
    """What the price was before the position existed says nothing about it."""
    desk = Desk()
    await desk.load()
    await desk.ticks(tick(89, at=T0 - 1))
    assert await desk.update(position("old")) == []
    (late,) = await desk.ticks(tick(89, at=T0))
    assert late.position_id == "old"
    (at_once,) = await desk.update(position("new"))
    assert (at_once.position_id, at_once.reason) == ("new", ExitReason.STOP_LOSS)


async def test_exits_that_were_moved_count_from_then_on() -> None:
    desk = Desk(position())
    await desk.load()
    await desk.ticks(tick(100))
    assert await desk.update(position(version=2, stop_loss=D(95)), kind=UpdateKind.ADJUSTED) == []
    (intent,) = await desk.ticks(tick(95))
    assert intent.position_version == 2
    (at_once,) = await desk.update(position("p2"), position("p3", stop_loss=D(96)))
    assert at_once.position_id == "p3"


# -- seeds ------------------------------------------------------------------------------------------------------------


async def test_a_restart_with_six_positions_and_no_fills_arms_all_six() -> None:
    """Once a registry was rebuilt from fills alone: six positions open, none armed, nothing could close, nothing could open."""
    names = [f"p{n}" for n in range(6)]
    desk = Desk(*[position(name, LONG if n % 2 else SHORT) for n, name in enumerate(names)])
    assert await desk.load() == []
    beat = desk.scanner.heartbeat()
    assert (beat["armed"], beat["armed_through"], beat["unarmed"], beat["seq"]) == (6, 10, [], 10)
    assert beat["warnings"] == [f"{SYMBOL}: no price yet; its exits wait for one"]
    await desk.ticks(tick(100))
    longs = await desk.ticks(tick(90))
    shorts = await desk.ticks(tick(100), tick(110))
    assert {one.position_id for one in longs} == {"p1", "p3", "p5"}
    assert {one.position_id for one in shorts} == {"p0", "p2", "p4"}
    assert len(longs) + len(shorts) == 6


async def test_the_log_says_one_position_right_after_its_fill(caplog: pytest.LogCaptureFixture) -> None:
    """Once it said "0 positions to check" 298 times while seven were open."""
    caplog.set_level(logging.INFO, "holdfast.exit_scanner")
    desk = Desk()
    await desk.after(1)
    assert "not been read yet" in caplog.text
    assert "0 positions" not in caplog.text, "not read is not empty"
    await desk.load()
    caplog.clear()
    await desk.update(position())
    assert [one.getMessage() for one in caplog.records] == ["exit evaluation: 1 positions, 1 armed"]
    caplog.clear()
    await desk.after(10)
    assert [one.getMessage() for one in caplog.records] == ["exit evaluation: 1 positions, 1 armed"] * 2


# -- pursuit ----------------------------------------------------------------------------------------------------------


async def fired(desk: Desk, price: int = 90):  # type: ignore[no-untyped-def]
    """The intent of the exit that *price* fires."""
    await desk.load()
    await desk.ticks(tick(100))
    (intent,) = await desk.ticks(tick(price, at=T0 + 2000))
    return intent


async def test_silence_repeats_the_very_same_intent_and_after_long_silence_a_fresh_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same id cannot count twice; but an id that was answered to a killed scanner is answered no more."""
    desk = Desk(position())
    first = await fired(desk)
    assert await desk.after(4.75) == []
    assert await desk.after(0.25) == [first]
    later = await desk.after(60)
    assert len(later) == 12
    assert len({one.id for one in later}) == 3
    assert {one.attempt for one in later} == {1}
    assert len({(one.id, intent_digest(one)) for one in later}) == 3, "one id, one content"
    assert caplog.text.count("sent again") == 4, "ever more seldom"


async def test_an_answer_to_any_of_the_repetitions_is_heard() -> None:
    desk = Desk(position())
    first = await fired(desk)
    assert len(await desk.after(30)) == 6
    assert await desk.accept(first) == []
    await desk.ticks(tick(89))
    assert await desk.after(10) == []


async def test_an_accepted_exit_is_left_to_work_and_a_closed_position_is_forgotten() -> None:
    desk = Desk(position())
    intent = await fired(desk)
    assert await desk.accept(intent) == []
    assert await desk.after(6) == []
    assert await desk.end(intent, FILLED, D(2)) == []
    beat = desk.scanner.heartbeat()
    assert (beat["armed"], beat["details"]["exiting"], beat["warnings"]) == (0, "0", [])
    assert await desk.ticks(tick(80)) == []
    assert await desk.after(60) == []
    assert desk.scanner.chase.awaited == {}


async def test_a_refused_exit_is_asked_for_again_after_five_seconds_though_the_price_came_back() -> None:
    """What has fired stays fired. The next attempt has an id of its own; nothing was reserved, so its number is the same."""
    desk = Desk(position())
    first = await fired(desk)
    assert (
        await desk.update(
            answers=(answer(first, BLOCKED, code=Code.VENUE_UNREADABLE),), kind=UpdateKind.BLOCKED
        )
        == []
    )
    await desk.ticks(tick(105))
    assert await desk.after(4.75) == []
    (second,) = await desk.after(0.25)
    assert second.id != first.id
    assert (second.attempt, second.reason, second.trigger_price) == (1, ExitReason.STOP_LOSS, D(90))


async def test_an_exit_whose_level_has_moved_is_judged_again_from_the_start() -> None:
    """An add moved the take-profit while the exit was on its way: the ledger refuses it, and only the new level fires."""
    held = position()
    desk = Desk(held)
    await desk.load()
    (first,) = await desk.ticks(tick(120))
    assert first.reason is ExitReason.TAKE_PROFIT
    moved = held.evolve(take_profit=D(130), version=2)
    refused = answer(first, BLOCKED, code=Code.POSITION_GONE)
    assert await desk.update(moved, answers=(refused,), kind=UpdateKind.BLOCKED) == []
    assert await desk.after(20) == []
    (second,) = await desk.ticks(tick(130, at=T0 + 90_000))
    assert (second.reason, second.trigger_price, second.position_version) == (
        ExitReason.TAKE_PROFIT,
        D(130),
        2,
    )


async def test_an_attempt_that_ended_unfilled_is_followed_by_the_next() -> None:
    """attempt = 1 + the exit orders that the ledger has recorded."""
    desk = Desk(position())
    first = await fired(desk)
    await desk.accept(first)
    assert await desk.end(first, ResultStatus.REJECTED, code=Code.VENUE_REJECTED) == []
    assert await desk.after(4.75) == []
    (second,) = await desk.after(0.25)
    assert (second.attempt, second.position_version) == (2, 3)


async def test_what_a_partial_fill_left_is_closed_at_once() -> None:
    desk = Desk(position())
    first = await fired(desk)
    await desk.accept(first)
    (rest,) = await desk.end(first, ResultStatus.PARTLY_FILLED, D("0.5"))
    assert (rest.attempt, rest.quantity) == (2, None)


async def test_uncovered_quantity_fires_at_once_beside_a_live_attempt() -> None:
    """An entry filled late: what it added is not covered by the exit in flight."""
    desk = Desk(position())
    first = await fired(desk)
    await desk.accept(first)
    held = desk.positions["p1"]
    (second,) = await desk.update(held.evolve(quantity=D(3), version=held.version + 1))
    assert second.attempt == 2
    assert await desk.after(4) == []


async def test_an_exit_in_doubt_is_tried_again_after_five_seconds_and_not_before() -> None:
    """UNKNOWN covers its quantity for a while; then another attempt displaces it."""
    desk = Desk(position())
    first = await fired(desk)
    await desk.accept(first)
    row = next(iter(desk.orders.values())).evolve(state=OrderState.UNKNOWN)
    assert (
        await desk.update(
            orders=(row,), answers=(answer(first, ResultStatus.UNKNOWN),), kind=UpdateKind.STATUS
        )
        == []
    )
    assert await desk.after(4.75) == []
    (second,) = await desk.after(0.25)
    assert second.attempt == 2


async def test_a_harder_reason_does_not_wait_for_a_softer_exit_in_flight() -> None:
    """INV-6: the stop is sent at once, whatever became of the take-profit; not the other way round."""
    desk = Desk(position(take_profit=D("100.5")))
    soft = await fired(desk, 101)
    await desk.accept(soft)
    (hard,) = await desk.ticks(tick(90, at=T0 + 3000))
    assert (hard.reason, hard.attempt, hard.trigger_price) == (ExitReason.STOP_LOSS, 2, D(90))
    await desk.accept(hard)
    assert await desk.ticks(tick(101), tick(90), tick(101)) == []
    late = answer(soft, BLOCKED, code=Code.EXIT_IN_FLIGHT)
    assert await desk.update(answers=(late,), kind=UpdateKind.BLOCKED) == [], (
        "the softer exit's end changes nothing"
    )


async def test_what_a_displaced_exit_filled_all_the_same_leaves_the_rest_to_the_harder_one_at_once() -> None:
    """The rung's fill was on its way when the stop displaced it: the stop was for more than is left, and is taken back (INV-5)."""
    desk = Desk(position(take_profit=D("100.5")))
    await fired(desk, 101)
    (stop,) = await desk.ticks(tick(90, at=T0 + 3000))
    await desk.accept(stop)
    held = desk.positions["p1"]
    left = held.evolve(quantity=D("0.5"), version=held.version + 1)
    assert await desk.update(left) == [], "it may still fill: nothing goes out beside it"
    (rest,) = await desk.end(stop, CANCELED, code=Code.DISPLACED)
    assert (rest.reason, rest.attempt, rest.quantity) == (ExitReason.STOP_LOSS, held.exit_attempts + 1, None)
    await desk.accept(rest)
    assert await desk.end(rest, ResultStatus.REJECTED, code=Code.VENUE_REJECTED) == [], (
        "the same once more is no news"
    )


async def test_a_persons_limit_close_does_not_hold_up_the_stop_but_a_market_close_does() -> None:
    """A limit may never fill; a market order as hard as the stop is already doing its work."""
    held = position()
    limit = exit_order(held, None, D(2), T0, type=OrderType.LIMIT, price=D(500))
    desk = Desk(held)
    desk.orders[limit.order_id] = limit
    assert (await fired(desk)).reason is ExitReason.STOP_LOSS
    other = Desk(held)
    market = exit_order(held, None, D(2), T0)
    other.orders[market.order_id] = market
    await other.load()
    assert await other.ticks(tick(90)) == []
    (intent,) = await other.update(orders=(market.evolve(state=OrderState.CANCELED),), kind=UpdateKind.STATUS)
    assert intent.reason is ExitReason.STOP_LOSS


async def test_an_exit_that_was_displaced_covers_nothing() -> None:
    """The ledger has taken it out of its sum; whether its cancel is confirmed does not matter."""
    held = position()
    desk = Desk(held)
    displaced = exit_order(held, None, D(2), T0, displaced=True, state=OrderState.CANCELING)
    desk.orders[displaced.order_id] = displaced
    assert (await fired(desk)).reason is ExitReason.STOP_LOSS


async def test_an_exit_that_stands_still_while_prices_flow_is_taken_back_and_made_anew() -> None:
    """After 15 s: a cancel, and the next attempt follows its end. Without prices it is not the order that is stuck."""
    desk = Desk(position())
    first = await fired(desk)
    await desk.accept(first)
    assert await desk.after(10) == []
    await desk.ticks(tick(90, at=T0 + 9000))
    assert await desk.after(4.75) == []
    (cancel,) = await desk.after(2)
    assert (cancel.action, cancel.order_id, cancel.reduces) == (Action.CANCEL, f"h-{first.id}", True)
    assert await desk.after(4) == [], "asked once"
    (second,) = await desk.end(first, CANCELED)
    assert second.attempt == 2
    silent = Desk(position(), max_tick_age_s=3)
    await silent.accept(await fired(silent))
    assert await silent.after(40) == []


async def test_an_equally_hard_order_in_the_way_is_canceled_after_fifteen_seconds() -> None:
    """The ledger says it holds everything; a stop does not wait for it for ever."""
    held = position()
    limit = exit_order(held, None, D(2), T0, type=OrderType.LIMIT, price=D(500))
    desk = Desk(held)
    desk.orders[limit.order_id] = limit
    intent = await fired(desk)
    canceled = []
    for _ in range(4):
        await desk.update(
            answers=(answer(intent, BLOCKED, code=Code.EXIT_IN_FLIGHT),), kind=UpdateKind.BLOCKED
        )
        await desk.ticks(tick(90, at=T0 + 9000))
        sent = await desk.after(5)
        canceled += [one.order_id for one in sent if one.action is Action.CANCEL]
        intent = next((one for one in sent if one.action is Action.CLOSE), intent)
    assert canceled == [limit.order_id]


async def test_an_intent_that_named_an_old_version_is_sent_again_at_once_for_the_new_one() -> None:
    """The position changed between the intent and the ledger's look at it."""
    desk = Desk(position())
    first = await fired(desk)
    gone = answer(first, BLOCKED, code=Code.POSITION_GONE)
    (second,) = await desk.update(position(version=2, quantity=D("1.5")), answers=(gone,))
    assert (second.position_version, second.id != first.id) == (2, True)
    again = answer(second, BLOCKED, code=Code.POSITION_GONE)
    assert await desk.update(answers=(again,), kind=UpdateKind.BLOCKED) == []


async def test_after_a_minute_the_light_is_told() -> None:
    desk = Desk(position())
    await fired(desk)
    await desk.after(60)
    assert desk.scanner.heartbeat()["unreadable"] is None
    await desk.after(0.25)
    assert (
        desk.scanner.heartbeat()["unreadable"]
        == "exits fired more than 60 s ago have not closed their positions: p1"
    )


# -- restarts and gaps ------------------------------------------------------------------------------------------------


async def test_a_restart_in_the_middle_of_attempt_two_goes_on_where_the_ledger_stands() -> None:
    """The order is live: nothing is sent. When it ends, attempt three follows, with the trigger of the first."""
    held = position(
        exit_attempts=2, exit_reason=ExitReason.STOP_LOSS, trigger_price=D(90), trigger_at=T0 + 5, version=7
    )  # fmt: skip
    live = exit_order(held, None, D(2), T0, reason=ExitReason.STOP_LOSS, attempt=2)
    desk = Desk(held)
    desk.orders[live.order_id] = live
    desk.clock.now += 8_000
    assert await desk.load() == []
    assert await desk.after(2) == []
    (third,) = await desk.update(orders=(live.evolve(state=OrderState.CANCELED),), kind=UpdateKind.STATUS)
    assert (third.attempt, third.reason, third.trigger_price, third.trigger_at) == (
        3,
        ExitReason.STOP_LOSS,
        D(90),
        T0 + 5,
    )
    await desk.after(51)
    assert desk.scanner.heartbeat()["unreadable"] is not None, "its minute began with the order that was live"


async def test_a_restart_between_two_attempts_sends_the_next_at_once_though_the_price_came_back() -> None:
    desk = Desk(
        position(
            exit_attempts=1, exit_reason=ExitReason.STOP_LOSS, trigger_price=D(90), trigger_at=T0, version=4
        )
    )
    (intent,) = await desk.load()
    assert (intent.attempt, intent.reason) == (2, ExitReason.STOP_LOSS)


async def test_a_restart_while_an_attempt_is_in_doubt_waits_out_its_five_seconds() -> None:
    held = position(
        exit_attempts=1, exit_reason=ExitReason.STOP_LOSS, trigger_price=D(90), trigger_at=T0, version=4
    )
    doubtful = exit_order(
        held, None, D(2), T0, reason=ExitReason.STOP_LOSS, attempt=1, state=OrderState.UNKNOWN
    )
    desk = Desk(held)
    desk.orders[doubtful.order_id] = doubtful
    desk.clock.now += 3_000
    assert await desk.load() == []
    assert await desk.after(1.75) == []
    (second,) = await desk.after(0.25)
    assert second.attempt == 2


@pytest.mark.parametrize("reason", [ExitReason.CLOSE, ExitReason.STOP_LOSS])
async def test_a_persons_partial_close_is_not_taken_up_as_ours(reason: ExitReason) -> None:
    """It has no trigger: half was sold by hand, the rest is to be held."""
    desk = Desk(position(exit_attempts=1, exit_reason=reason, version=4))
    assert await desk.load() == []
    await desk.ticks(tick(100))
    assert await desk.after(30) == []
    assert len(await desk.ticks(tick(90))) == 1


async def test_two_scanners_that_see_the_same_say_the_same() -> None:
    """One id, one content: the ledger gives the second its recorded answer."""
    one, two = Desk(position(version=5)), Desk(position(version=5))
    first, second = await fired(one), await fired(two)
    assert first == second
    other = Desk(position(version=5))
    await other.load()
    await other.ticks(tick(100))
    (third,) = await other.ticks(tick(89, at=T0 + 2500))
    assert third.id != first.id, "other content, other id: it is no tampering"


async def test_a_gap_changes_nothing_that_was_under_way() -> None:
    """A snapshot replaces the view: what was answered meanwhile is seen in it, what was not is repeated as it was."""
    desk = Desk(position(), position("p2", stop_loss=D(89)))
    first = await fired(desk)
    desk.seq += 50
    assert await desk.load() == []
    assert await desk.after(5) == [first]
    held = desk.positions["p1"]
    desk.positions["p1"] = held.evolve(
        exit_attempts=1, version=2, exit_reason=ExitReason.STOP_LOSS, trigger_at=T0
    )
    desk.seq += 50
    assert await desk.load() == []
    (second,) = await desk.after(5)
    assert (second.attempt, second.position_id) == (2, "p1")
    del desk.positions["p1"]
    desk.seq += 50
    assert await desk.load() == []
    assert await desk.after(30) == []
    assert desk.scanner.heartbeat()["armed"] == 1
    assert desk.scanner.heartbeat()["armed_through"] == desk.seq


async def test_while_the_ledger_is_silent_the_known_positions_stay_watched() -> None:
    """The stream of updates has a gap and no snapshot comes: armed_through stays, and so do the exits."""
    desk = Desk(position())
    await desk.load()
    with pytest.raises(Gap):
        desk.view.apply(
            LedgerUpdated(id="u", at=T0, seq=99, store_id="store", epoch=1, kind=UpdateKind.FILLED)
        )
    await desk.ticks(tick(100))
    await desk.after(600)
    assert len(await desk.ticks(tick(90))) == 1
    assert desk.scanner.heartbeat()["armed_through"] == 10


async def test_updates_that_reached_the_view_but_not_the_scanner_are_noticed() -> None:
    """A gap in the middle of a batch: the rows before it are in the view, nobody was told."""
    desk = Desk(position())
    await fired(desk)
    desk.view._take_position(position("p2"))
    desk.view._take_position(position("p3"))
    desk.view._take_position(position(quantity=D(0)))
    assert desk.scanner.heartbeat()["unarmed"] == ["p2", "p3"]
    await desk.after(0.25)
    assert desk.scanner.heartbeat()["unarmed"] == []
    await desk.after(6)
    assert set(desk.scanner.triggers) == {"p2", "p3"}


async def test_before_the_first_snapshot_nothing_is_claimed() -> None:
    """Not loaded is not empty."""
    desk = Desk()
    await desk.ticks(tick(100))
    assert await desk.after(1) == []
    beat = desk.scanner.heartbeat()
    assert (beat["armed"], beat["armed_through"], beat["seq"]) == (None, None, 0)


async def test_a_position_that_cannot_be_armed_is_named() -> None:
    """Every position has a stop by schema; if a table of rules had none, the light would say so."""
    desk = Desk(position())
    desk.scanner.triggers._rules = desk.scanner.triggers._rules[:1]
    await desk.load()
    await desk.update(position("p2"))
    beat = desk.scanner.heartbeat()
    assert (beat["armed"], beat["unarmed"]) == (0, ["p1", "p2"])
    await desk.update(position("p2", quantity=D(0)), kind=UpdateKind.FILLED)
    assert desk.scanner.heartbeat()["unarmed"] == ["p1"]


async def test_a_heartbeat_with_everything_late_is_still_a_valid_message() -> None:
    """Long ids and many symbols: what is said is cut, not refused."""
    names = [f"{n:03}" + "x" * 95 for n in range(300)]
    clock = FakeClock()
    desk = Desk(*[position(name, symbol=f"S{name[:3]}/USDT", account="main") for name in names], clock=clock)
    desk.scanner.triggers._rules = desk.scanner.triggers._rules[1:]
    await desk.load()
    await desk.ticks(*[tick(90, symbol=f"S{name[:3]}/USDT") for name in names])
    await desk.after(61)
    beat = Heartbeat(
        id="h",
        at=T0,
        service="exit_scanner",
        instance="0",
        incarnation="i",
        started_at=T0,
        **desk.scanner.heartbeat(),
    )
    assert len(beat.warnings) == 100
    assert beat.unreadable is not None
    assert beat.unreadable.endswith("and 295 more")
