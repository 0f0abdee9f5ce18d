"""The scanner with every rule on: what it asks, what it tells the ledger, and that a restart in the middle changes nothing."""

import itertools
import random
from decimal import Decimal as D  # noqa: N817

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import ExitReason, PositionSide, ResultStatus, StopBy
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.rows import PositionRow
from holdfast.domain.conditions import Seen, closing_price
from holdfast.domain.exits import HARDNESS, STOPS, evaluate, thresholds_version
from holdfast.domain.market import Quote
from holdfast.domain.policy import apply_adjust
from holdfast.domain.trail_index import TrailIndex
from holdfast.domain.trailing import Trail, adjustment, advance, trail_of
from holdfast.domain.triggers import Triggers
from holdfast.domain.watching import NONE_FIRED
from tests.unit._exits import LONG, SHORT, SYMBOL, T0, Desk, position, tick

R = ExitReason
TRAIL = "trailing.distance_pct=2 trailing.activation_pct=3 trailing.only_after_activation=on"
_numbers = itertools.count(1)


def view(direction: str, confidence: str, model: str = "m", at: int = T0, lasts: int = 60_000) -> Prediction:
    return Prediction(
        id=f"v{next(_numbers)}", at=at, symbol=SYMBOL, direction=direction, confidence=D(confidence), model=model, expires_at=at + lasts
    )  # fmt: skip


def far(side: PositionSide = LONG, name: str = "p1", **fields: object) -> PositionRow:
    levels = {"take_profit": D(1000)} if side is LONG else {"take_profit": D(1)}
    return position(name, side, **(levels | fields))  # type: ignore[arg-type]


async def run(desk: Desk, *prices: object, start: int = 1) -> list[OrderIntent]:
    out: list[OrderIntent] = []
    for number, price in enumerate(prices, start):
        out += await desk.ticks(tick(price, at=T0 + 1000 * number))
    return out


# -- trailing -------------------------------------------------------------------------------------------------------


async def test_a_trail_exits_at_its_level_and_the_ledger_hears_of_it_before_the_exit() -> None:
    desk = Desk(far(terms=TRAIL))
    await desk.load()
    assert await run(desk, 103, 110, 108) == []
    (exit_intent,) = await run(desk, "107.8", start=4)
    assert (exit_intent.reason, exit_intent.trigger_price, exit_intent.trigger_level) == (
        R.TRAILING_STOP,
        D("107.8"),
        D("107.8"),
    )
    assert exit_intent.thresholds == thresholds_version(desk.positions["p1"])
    said = desk.adjusts[-1]
    assert (said.stop_loss, said.stop_by, said.high_water, said.insist) == (
        "107.8",
        StopBy.TRAILING,
        D(110),
        False,
    )


async def test_a_price_that_jumped_over_the_level_is_what_the_exit_says_it_got() -> None:
    desk = Desk(far(terms=TRAIL))
    await desk.load()
    (one,) = await run(desk, 103, 110, 99)
    assert (one.trigger_price, one.trigger_level) == (D(99), D("107.8"))


async def test_the_ledger_is_told_at_most_once_a_second_and_not_of_what_it_knows() -> None:
    desk = Desk(far(terms=TRAIL))
    await desk.load()
    await run(desk, 103)
    await desk.after(0.25)
    assert len(desk.adjusts) == 1
    await desk.adjusted()
    assert desk.positions["p1"].stop_loss == D("100.94")
    for number in range(8):
        await desk.ticks(tick(D(104) + number, at=T0 + 10_000 + number))
        await desk.after(0.25)
    assert len(desk.adjusts) == 2
    await desk.adjusted()
    await desk.after(2)
    await desk.adjusted()
    await desk.after(2)
    assert desk.adjusts == []
    assert desk.positions["p1"].stop_loss == D(111) * D("0.98")


async def test_break_even_and_atr_are_told_too() -> None:
    desk = Desk(far(terms="breakeven_trigger_pct=2 fee_pct=0"))
    await desk.load()
    assert await run(desk, 102) == []
    await desk.after(0.25)
    await desk.adjusted()
    assert (desk.positions["p1"].stop_loss, desk.positions["p1"].stop_by) == (D(100), StopBy.BREAK_EVEN)
    (one,) = await run(desk, 100, start=3)
    assert one.reason is R.BREAK_EVEN


async def test_a_trail_in_atr_waits_for_one_and_keeps_it() -> None:
    desk = Desk(far(terms="trailing.distance_atr=2"))
    await desk.load()
    minute = 60_000
    for number in range(15):
        await desk.ticks(tick(100, at=T0 + number * minute), tick(101, at=T0 + number * minute + 1))
    assert await desk.ticks(tick(110, at=T0 + 15 * minute)) == []
    await desk.after(0.25)
    await desk.adjusted()
    assert desk.positions["p1"].atr == 1
    (one,) = await desk.ticks(tick(108, at=T0 + 16 * minute))
    assert (one.reason, one.trigger_level) == (R.TRAILING_STOP, D(108))


tapes = st.lists(st.decimals("92", "112", places=1), min_size=4, max_size=40)
TERMS = st.sampled_from(
    [
        TRAIL,
        "trailing.distance_pct=3",
        "trailing.distance_pct=1 trailing.activation_pct=4",
        "breakeven_trigger_pct=2 trailing.distance_pct=5",
    ]
)


@given(
    tape=tapes,
    terms=TERMS,
    side=st.sampled_from([LONG, SHORT]),
    dies=st.integers(1, 39),
    heard=st.booleans(),
    down=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
async def test_a_restart_in_the_middle_of_a_trail_exits_at_the_same_tick(
    tape: list[D], terms: str, side: PositionSide, dies: int, heard: bool, down: int
) -> None:
    """At any tick, whether or not the ledger has heard of the last moves, and with ticks missed while nobody was there."""
    prices = tape if side is LONG else [200 - price for price in tape]
    ticks = [tick(price, at=T0 + 1000 * number) for number, price in enumerate(prices, 1)]
    steady = Desk(far(side, terms=terms))
    await steady.load()
    expected = [one for each in ticks for one in await steady.ticks(each)]
    died = Desk(far(side, terms=terms))
    await died.load()
    found: list[OrderIntent] = []
    for each in ticks[:dies]:
        found += await died.ticks(each)
        if heard:
            await died.after(0.25)
            await died.adjusted()
    if not found:
        anew = Desk(*died.positions.values())
        await anew.ticks(*ticks[: dies + down])
        found += await anew.load()
        for each in ticks[dies + down :]:
            found += await anew.ticks(each)
    first = [(one.reason, one.trigger_price, one.trigger_at) for one in expected[:1]]
    again = [(one.reason, one.trigger_price, one.trigger_at) for one in found[:1]]
    if first and first[0][0] is R.STOP_LOSS:
        return  # the fixed stop: what nobody saw, nobody saw
    assert again == first


def naive(held: dict[str, tuple[PositionRow, D | None]], price: D) -> tuple[set[str], dict[str, D]]:
    """Each trail on its own."""
    reached, bests = set(), {}
    for key, (row, best) in held.items():
        trail = trail_of(row)
        assert trail is not None
        now = price if best is None else (max(best, price) if row.side is LONG else min(best, price))
        bests[key] = now
        stop = trail.level(row.side, now)
        if price <= stop if row.side is LONG else price >= stop:
            reached.add(key)
    return reached, bests


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_thousands_of_trails_in_groups_are_each_exact(side: PositionSide) -> None:
    """Percent and absolute distances, members that come and go, a price that wanders: the same as one by one."""
    dice = random.Random(11)
    index, price = TrailIndex(side), D(1000)
    held: dict[str, tuple[PositionRow, D | None]] = {}
    for turn in range(600):
        for _ in range(dice.randint(0, 4)):
            key = f"p{next(_numbers)}"
            terms = dice.choice(
                ["trailing.distance_pct=0.3", "trailing.distance_pct=1", "trailing.distance_atr=2"]
            )
            row = far(side, key, terms=terms, atr=D(dice.randint(1, 9)))
            best = dice.choice([None, price + dice.randint(-20, 20)])
            trail = trail_of(row)
            assert trail is not None
            index.add(key, trail, best)
            held[key] = (row, best)
        if held and turn % 3 == 0:
            gone = dice.choice(sorted(held))
            index.remove(gone)
            del held[gone]
        price += dice.randint(-6, 6)
        asked = index.on_price(price)
        expected, bests = naive(held, price)
        assert set(asked) == expected
        assert len(asked) == len(expected)
        for key in held:
            held[key] = (held[key][0], bests[key])
            assert index.best(key) == bests[key]
    assert set(index) == set(held)
    assert len(index) > 300


def test_a_trail_that_was_never_priced_reaches_nothing() -> None:
    index = TrailIndex(LONG)
    index.add("p", Trail(D(2), relative=True), None)
    assert index.best("p") is None
    assert index.on_price(D(50)) == []
    assert index.best("p") == 50
    assert index.best("nobody") is None


# -- every rule, through the index ----------------------------------------------------------------------------------

EVERYTHING = (
    "emergency_loss_pct=8 extraordinary_profit_pct=9 reversal_confidence=0.6 roi=0:5,1:2,3:-1 signal=on stagnation_after_s=240"
    " stagnation_band_pct=0.5 ai_hold_confidence=0.7 min_hold_s=120 min_loss_pct=1 trailing.distance_pct=2 trailing.activation_pct=3"
    " trailing.only_after_activation=on breakeven_trigger_pct=2 fee_pct=0.05"
)
moves = st.lists(
    st.tuples(
        st.decimals("90", "111", places=1), st.integers(0, 40_000), st.sampled_from(["-", "-", "-", "long", "short", "hold", "none"]), st.decimals("0.5", "1", places=1)
    ),
    min_size=1,
    max_size=30,
)  # fmt: skip


@given(
    tape=moves,
    side=st.sampled_from([LONG, SHORT]),
    signal_at=st.none() | st.integers(0, 20),
    trigger=st.sampled_from(["quote", "last", "mark"]),
)
@settings(max_examples=200, deadline=None)
def test_whoever_is_asked_only_when_the_index_says_so_misses_nothing(
    tape: list[tuple[D, int, str, D]], side: PositionSide, signal_at: int | None, trigger: str
) -> None:
    """One position, every rule on: asked at every tick, and asked when the index says so, it exits at the same tick for the same reason."""
    terms = f"{EVERYTHING} trigger={trigger}"
    plain = indexed = position(
        side=side,
        terms=terms,
        take_profit=D(109) if side is LONG else D(91),
        stop_loss=D(93) if side is LONG else D(107),
    )
    triggers = Triggers()
    triggers.arm(indexed)
    now, views = T0, tuple[Prediction, ...]()
    for number, (price, wait, word, confidence) in enumerate(tape):
        now += wait
        if signal_at == number:
            plain, indexed = plain.evolve(signal_at=now), indexed.evolve(signal_at=now)
            triggers.arm(indexed, NONE_FIRED, Seen(None, now, views))
        quote = Quote(price, price + 1, now, last=price, mark=price)
        new_views = word != "-"
        if new_views:
            views = () if word == "none" else (view(word, str(confidence)),)
        one = closing_price(plain, quote)
        plain = advance(plain, one, now)
        expected = evaluate(plain, quote, now, views)
        asked = triggers.on_price(SYMBOL, quote) + triggers.due(SYMBOL, now)
        asked += triggers.on_predictions(SYMBOL, views) if new_views else []
        asked += triggers.at_once()
        found = None
        best = triggers.best("p1")
        if best is not None:
            indexed = advance(indexed, best, now)
        if asked:
            indexed = advance(indexed, one, now) if indexed.high_water_at != now else indexed
            found = evaluate(indexed, quote, now, views)
        assert (found.fire if found else None) is expected.fire
        if expected.fire is not None:
            return
        if asked:
            triggers.arm(indexed, NONE_FIRED, Seen(quote, now, views))


# -- ladders --------------------------------------------------------------------------------------------------------

LADDER = "5%:0.5,10%:0.25,20%:0.25"


def laddered(**fields: object) -> PositionRow:
    return position(
        take_profit=D(105),
        take_profit_spec=LADDER,
        quantity=D(4),
        cost=D(400),
        bought=D(4),
        entry_value=D(400),
        **fields,
    )  # type: ignore[arg-type]


async def fill_rung(desk: Desk, intent: OrderIntent, quantity: D) -> list[OrderIntent]:
    """The order of a rung fills: the position shrinks and its ladder goes on, as the ledger does it."""
    from holdfast.domain.ladder import next_price

    held = desk.positions["p1"]
    orders = tuple(
        row.evolve(state="filled", filled=quantity, changed_at=desk.clock.now)
        for row in desk.orders.values()
        if row.intent_id == intent.id
    )
    left = held.evolve(
        quantity=held.quantity - quantity, laddered=held.laddered + quantity, version=held.version + 1
    )
    left = left.evolve(take_profit=next_price(left))
    from tests.unit._exits import answer

    return await desk.update(left, orders=orders, answers=(answer(intent, ResultStatus.FILLED, quantity),))


async def test_a_rung_closes_its_part_and_the_next_one_waits() -> None:
    desk = Desk(laddered())
    await desk.load()
    (rung,) = await run(desk, 106)
    assert (rung.reason, rung.quantity, rung.trigger_price, rung.trigger_level) == (
        R.TAKE_PROFIT,
        D(2),
        D(106),
        D(105),
    )
    await desk.accept(rung, D(2))
    assert await run(desk, 106, 107, start=2) == []
    assert await fill_rung(desk, rung, D(2)) == []
    assert desk.scanner.chase.pursuits == {}
    assert await run(desk, 109, start=5) == []
    (second,) = await run(desk, 110, start=6)
    assert second.quantity == 1


async def test_a_second_rung_that_is_reached_while_the_first_is_under_way_goes_out_beside_it() -> None:
    desk = Desk(laddered())
    await desk.load()
    (rung,) = await run(desk, 105)
    await desk.accept(rung, D(2))
    (second,) = await run(desk, 111, start=2)
    assert second.quantity in {D(1), D(3)}
    assert desk.scanner.chase.pursuits["p1"].goal == 3


async def test_a_stop_gets_past_a_rung_in_flight_and_takes_everything() -> None:
    desk = Desk(laddered())
    await desk.load()
    (rung,) = await run(desk, 105)
    await desk.accept(rung, D(2))
    (stop,) = await run(desk, 90, start=2)
    assert (stop.reason, stop.quantity) == (R.STOP_LOSS, None)


async def test_a_rung_that_came_to_nothing_is_tried_again() -> None:
    desk = Desk(laddered())
    await desk.load()
    (rung,) = await run(desk, 105)
    await desk.accept(rung, D(2))
    assert await desk.end(rung, ResultStatus.REJECTED) == []
    later = await desk.after(6)
    assert [one.quantity for one in later[:1]] == [D(2)]


# -- predictions ----------------------------------------------------------------------------------------------------


async def test_a_reversal_fires_when_the_prediction_comes() -> None:
    desk = Desk(far(terms="reversal_confidence=0.6"))
    await desk.load()
    await run(desk, 100)
    assert await desk.predict(view("short", "0.6")) == []
    (one,) = await desk.predict(view("short", "0.7"))
    assert one.reason is R.REVERSAL


async def test_a_prediction_that_does_not_count_reverses_nothing() -> None:
    desk = Desk(far(terms="reversal_confidence=0.6"))
    await desk.load()
    await run(desk, 100)
    old = view("short", "0.9", at=T0 - 100_000)
    ahead = view("short", "0.9", at=T0 + 120_000)
    assert await desk.predict(old, ahead) == []
    refused = desk.scanner.predictions.refused["m"]
    assert refused == {"expired": 1, "from_the_future": 1}


async def test_what_a_prediction_held_back_goes_out_when_it_ends() -> None:
    desk = Desk(far(terms="signal=on ai_hold_confidence=0.7"))
    await desk.load()
    await desk.predict(view("hold", "0.9", lasts=10_000))
    await run(desk, 100)
    assert await desk.update(far(terms="signal=on ai_hold_confidence=0.7", signal_at=T0, version=2)) == []
    await desk.after(1)
    assert desk.told[-1].held_by == "ai_confidence" or any(
        one.held_by == "ai_confidence" for one in desk.told
    )
    assert await desk.after(8) == []
    out = await desk.after(2)
    assert [one.reason for one in out[:1]] == [R.SIGNAL]


async def test_a_soft_exit_waits_for_the_minimum_hold_and_is_not_asked_at_every_tick() -> None:
    desk = Desk(far(terms="roi=0:5 min_hold_s=120", opened_at=T0))
    await desk.load()
    assert await run(desk, 106, 107, 106) == []
    assert desk.scanner.triggers.on_price(SYMBOL, Quote(D(107), D(107), T0)) == []
    (one,) = await desk.ticks(tick(106, at=T0 + 120_000))
    assert one.reason is R.ROI


# -- what it tells --------------------------------------------------------------------------------------------------


async def test_every_position_is_told_in_turn_and_what_fired_at_once() -> None:
    desk = Desk(*(far(name=f"p{number}", terms=EVERYTHING) for number in range(12)))
    await desk.load()
    await run(desk, 100)
    await desk.after(1)
    assert {one.position_id for one in desk.told} == set(desk.positions)
    assert len(desk.told) <= 4 * 5
    said = desk.told[0]
    assert [one.rule for one in said.rules][:4] == [
        "closing",
        "liquidation_guard",
        "stop_loss",
        "emergency_loss",
    ]
    assert [one.rule for one in said.vetoes] == ["ai_confidence", "min_hold", "min_loss"]
    assert said.next_down == "emergency_loss"
    desk.told.clear()
    await run(desk, 89, start=20)
    await desk.after(0.25)
    assert desk.told[0].fires in {R.STOP_LOSS, R.EMERGENCY_LOSS}


def test_the_reasons_of_stops_are_as_hard_as_each_other() -> None:
    assert {HARDNESS[reason] for reason in STOPS.values()} == {HARDNESS[R.STOP_LOSS]}


def test_no_two_adjustments_share_an_id_unless_they_are_one() -> None:
    row = far(terms=TRAIL)
    moved = advance(row, D(110), T0 + 1)
    one, other = adjustment(row, moved, T0, "a"), adjustment(row, moved, T0 + 5, "a")
    assert one is not None
    assert other is not None
    assert one.id != other.id, "another time is another content"
    assert apply_adjust(row, one)[0].stop_loss == D("107.8")


async def test_what_was_told_is_not_told_again_before_the_ledger_has_had_time_to_answer() -> None:
    """Found in a running system: the same words a moment later, under the same id, went to dead.letter."""
    desk = Desk(far(terms=TRAIL))
    await desk.load()
    await run(desk, 103)
    await desk.after(2)
    assert len(desk.adjusts) == 1
    await desk.after(5)
    assert len({one.id for one in desk.adjusts}) == len(desk.adjusts) == 2
