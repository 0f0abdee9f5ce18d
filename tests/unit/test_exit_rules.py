"""Every rule and every veto at its threshold, each pair of rules, long and short; and what holds for all of them."""

import itertools
from decimal import Decimal as D  # noqa: N817

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import ExitReason, PositionSide, StopBy
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.rows import PositionRow
from holdfast.domain.conditions import net_pct, price_of_net
from holdfast.domain.exits import HARDNESS, RULES, evaluate, thresholds_version
from holdfast.domain.explaining import story
from holdfast.domain.market import Quote
from tests.unit._exits import LONG, SHORT, T0, position

R = ExitReason
SIDES = [LONG, SHORT]
EVERYTHING = (
    "liquidation_guard_pct=20 leverage=5 maintenance_pct=0.5 emergency_loss_pct=20 extraordinary_profit_pct=50 reversal_confidence=0.6"
    " roi=0:5,60:2 signal=on stagnation_after_s=3600 stagnation_band_pct=1 ai_hold_confidence=0.7 min_hold_s=120 min_loss_pct=0.5"
    " trailing.distance_pct=2 trailing.activation_pct=3 trailing.only_after_activation=on breakeven_trigger_pct=2 fee_pct=0.05"
)


def held(side: PositionSide = LONG, terms: str = "", **fields: object) -> PositionRow:
    """A position at 100 whose own levels are far away, so that one rule at a time is looked at."""
    far = (
        {"stop_loss": D(1), "take_profit": D(1000)}
        if side is LONG
        else {"stop_loss": D(1000), "take_profit": D(1)}
    )
    return position(side=side, terms=terms, **(far | fields))  # type: ignore[arg-type]


def at(side: PositionSide, price: object) -> Quote:
    """A quote at which a long at 100 would be closed at *price*; for a short the mirror image, 200 - price."""
    mirrored = D(str(price)) if side is LONG else 200 - D(str(price))
    return Quote(mirrored, mirrored, T0)


def view(direction: str, confidence: str, model: str = "m") -> Prediction:
    return Prediction(
        id="v",
        at=T0,
        symbol="BTC/USDT",
        direction=direction,
        confidence=D(confidence),
        model=model,
        expires_at=T0 + 60_000,
    )


def against(side: PositionSide, confidence: str) -> Prediction:
    return view("short" if side is LONG else "long", confidence)


def supporting(side: PositionSide, confidence: str) -> Prediction:
    return view(side.value, confidence)


PRICES = [
    # terms, at (or beyond) which price of a long it fires, at which it does not yet, reason
    ("emergency_loss_pct=20", "79.99", "80", R.EMERGENCY_LOSS),
    ("extraordinary_profit_pct=50", "150.01", "150", R.EXTRAORDINARY_PROFIT),
    ("roi=0:5", "105", "104.99", R.ROI),
    ("roi=0:0", "100", "99.99", R.ROI),
]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("terms", "fires", "not_yet", "reason"), PRICES)
def test_a_price_rule_at_its_threshold(
    side: PositionSide, terms: str, fires: str, not_yet: str, reason: ExitReason
) -> None:
    """More than 20 % of loss, more than 50 % of profit; at least the table's profit."""
    row = held(side, terms)
    assert evaluate(row, at(side, fires), T0).fire is reason
    assert evaluate(row, at(side, not_yet), T0).fire is None
    assert evaluate(held(side), at(side, fires), T0).fire is None, "off"


@pytest.mark.parametrize("side", SIDES)
def test_the_liquidation_guard_fires_in_its_band_and_at_its_edge(side: PositionSide) -> None:
    """Leverage 5 without maintenance: liquidation at 20 % of a loss, the guard a fifth of the way back, at 16 %."""
    row = held(side, "liquidation_guard_pct=20 leverage=5")
    assert evaluate(row, at(side, 84), T0).fire is R.LIQUIDATION_GUARD
    assert evaluate(row, at(side, "84.01"), T0).fire is None
    assert evaluate(held(side, "leverage=5"), at(side, 84), T0).fire is None
    spot = held(side, "liquidation_guard_pct=20 leverage=5", kind="spot")
    assert evaluate(spot, at(side, 84), T0).fire is None


@pytest.mark.parametrize("side", SIDES)
def test_a_reversal_needs_more_than_its_confidence_and_a_prediction_that_counts(side: PositionSide) -> None:
    row = held(side, "reversal_confidence=0.6")
    assert evaluate(row, at(side, 100), T0, [against(side, "0.61")]).fire is R.REVERSAL
    assert evaluate(row, at(side, 100), T0, [against(side, "0.6")]).fire is None
    assert evaluate(row, at(side, 100), T0, [supporting(side, "0.99")]).fire is None
    assert evaluate(row, at(side, 100), T0, [view("hold", "0.99")]).fire is None
    assert evaluate(row, at(side, 100), T0).fire is None


@pytest.mark.parametrize("side", SIDES)
def test_the_step_of_the_roi_table_in_force_is_the_last_that_has_begun(side: PositionSide) -> None:
    row = held(side, "roi=0:5,60:2,120:-1")
    hour = 3_600_000
    assert evaluate(row, at(side, 102), T0 + hour - 1).fire is None
    assert evaluate(row, at(side, 102), T0 + hour).fire is R.ROI
    assert evaluate(row, at(side, "98.99"), T0 + 2 * hour).fire is None
    assert evaluate(row, at(side, 99), T0 + 2 * hour).fire is R.ROI
    assert evaluate(held(side, "roi=10:5"), at(side, 190), T0 + 599_999).fire is None


@pytest.mark.parametrize("side", SIDES)
def test_roi_is_net_of_the_fees_of_both_sides(side: PositionSide) -> None:
    """A fee of 0.5 % each way: a gross profit of 6 % leaves a little less than 5."""
    row = held(side, "roi=0:5 fee_pct=0.5")
    exact = price_of_net(row, D(5))
    beyond = D("0.000001") if side is LONG else D("-0.000001")
    assert abs(net_pct(row, exact) - 5) < D("1e-15")
    assert evaluate(row, Quote(exact + beyond, exact + beyond, T0), T0).fire is R.ROI
    assert evaluate(row, Quote(exact - beyond, exact - beyond, T0), T0).fire is None


@pytest.mark.parametrize("side", SIDES)
def test_stagnation_looks_at_time_and_then_at_the_band(side: PositionSide) -> None:
    row = held(side, "stagnation_after_s=60 stagnation_band_pct=1")
    for price, fires in (("101", True), ("99", True), ("101.01", False), ("98.99", False), ("100", True)):
        assert (evaluate(row, at(side, price), T0 + 60_000).fire is R.STAGNATION) is fires, price
        assert evaluate(row, at(side, price), T0 + 59_999).fire is None


def test_a_soft_close_fires_where_signals_are_on() -> None:
    assert evaluate(held(terms="signal=on", signal_at=T0), at(LONG, 100), T0).fire is R.SIGNAL
    assert evaluate(held(terms="signal=on"), at(LONG, 100), T0).fire is None
    assert evaluate(held(signal_at=T0), at(LONG, 100), T0).fire is None


@pytest.mark.parametrize(
    ("by", "reason"),
    [(StopBy.SET, R.STOP_LOSS), (StopBy.TRAILING, R.TRAILING_STOP), (StopBy.BREAK_EVEN, R.BREAK_EVEN)],
)
def test_a_stop_is_called_after_what_put_it_there(by: StopBy, reason: ExitReason) -> None:
    decision = evaluate(held(stop_loss=D(98), stop_by=by), at(LONG, 97), T0)
    assert (decision.fire, decision.price, decision.level) == (reason, D(97), D(98))
    assert HARDNESS[reason] == HARDNESS[R.STOP_LOSS]


SOFT = "signal=on"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("veto", "terms", "price", "after_ms", "said", "fires"),
    [
        ("ai_confidence", "ai_hold_confidence=0.7", "100", 0, "0.71", False),
        ("ai_confidence", "ai_hold_confidence=0.7", "100", 0, "0.7", True),
        ("min_hold", "min_hold_s=120", "100", 119_999, None, False),
        ("min_hold", "min_hold_s=120", "100", 120_000, None, True),
        ("min_loss", "min_loss_pct=0.5", "99.51", 0, None, False),
        ("min_loss", "min_loss_pct=0.5", "99.5", 0, None, True),
        ("min_loss", "min_loss_pct=0.5", "100", 0, None, True),
        ("min_loss", "min_loss_pct=0.5", "99.99", 0, None, False),
    ],
)
def test_a_veto_at_its_threshold(
    side: PositionSide, veto: str, terms: str, price: str, after_ms: int, said: str | None, fires: bool
) -> None:
    """Each holds a soft exit back just before it, and no longer at it."""
    row = held(side, f"{SOFT} {terms}", signal_at=T0)
    views = [supporting(side, said)] if said else []
    decision = evaluate(row, at(side, price), T0 + after_ms, views)
    assert (decision.fire is R.SIGNAL) is fires
    assert fires or (
        decision.held is not None and (decision.held.rule, decision.held.veto) == ("signal", veto)
    )
    assert evaluate(held(side, SOFT, signal_at=T0), at(side, price), T0 + after_ms, views).fire is R.SIGNAL, (
        "off"
    )


def test_holding_is_a_view_for_the_position_whatever_its_side() -> None:
    for side in SIDES:
        row = held(side, f"{SOFT} ai_hold_confidence=0.7", signal_at=T0)
        assert evaluate(row, at(side, 100), T0, [view("hold", "0.9")]).held is not None
        assert evaluate(row, at(side, 100), T0, [against(side, "0.9")]).fire is R.SIGNAL


def test_the_first_veto_that_holds_is_the_one_that_is_named_and_says_until_when() -> None:
    """AI, then time, then loss: each gives way to the next."""
    row = held(terms=f"{SOFT} ai_hold_confidence=0.7 min_hold_s=120 min_loss_pct=0.5", signal_at=T0)
    ai = view("long", "0.8")
    cases = [
        ([ai], T0, "99.9", ("ai_confidence", ai.expires_at)),
        ([], T0, "99.9", ("min_hold", T0 + 120_000)),
        ([], T0 + 120_000, "99.9", ("min_loss", None)),
    ]
    for views, now, price, expected in cases:
        found = evaluate(row, at(LONG, price), now, views).held
        assert found is not None
        assert (found.veto, found.until_ms) == expected
    assert evaluate(row, at(LONG, 99), T0 + 120_000).fire is R.SIGNAL


@pytest.mark.parametrize("side", SIDES)
def test_no_veto_holds_a_hard_exit(side: PositionSide) -> None:
    row = held(side, EVERYTHING, stop_loss=D(95) if side is LONG else D(105))
    decision = evaluate(row, at(side, 95), T0, [supporting(side, "1")])
    assert decision.fire is R.STOP_LOSS


# -- pairs ----------------------------------------------------------------------------------------------------------

RECIPES: dict[ExitReason, tuple[str, dict[str, object], str | None]] = {
    R.LIQUIDATION_GUARD: ("liquidation_guard_pct=20 leverage=1000", {}, None),
    R.STOP_LOSS: ("", {"stop_loss": 100}, None),
    R.EMERGENCY_LOSS: ("emergency_loss_pct=0.0001", {}, None),
    R.TAKE_PROFIT: ("", {"take_profit": 0}, None),
    R.EXTRAORDINARY_PROFIT: ("extraordinary_profit_pct=0.0001", {}, None),
    R.TTL: ("", {"expires_at": T0}, None),
    R.REVERSAL: ("reversal_confidence=0.6", {}, "0.9"),
    R.ROI: ("roi=0:-50", {}, None),
    R.SIGNAL: ("signal=on", {"signal_at": T0}, None),
    R.STAGNATION: ("stagnation_after_s=0 stagnation_band_pct=50", {}, None),
}
"""How to make each rule hold: terms, fields of the row, and how confident a prediction against it has to be."""
_LEVELS = {
    ("stop_loss", LONG): D("100.2"), ("stop_loss", SHORT): D("99.8"),
    ("take_profit", LONG): D("99.8"), ("take_profit", SHORT): D("100.2"),
}  # fmt: skip
_LOSING = {R.LIQUIDATION_GUARD, R.EMERGENCY_LOSS}
_WINNING = {R.EXTRAORDINARY_PROFIT}


def test_every_rule_of_the_table_has_its_recipe() -> None:
    assert set(RECIPES) == {rule.reason for rule in RULES if rule.reason is not None}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(RECIPES, 2)))
def test_of_two_rules_that_hold_the_one_higher_up_in_the_table_wins(
    side: PositionSide, first: ExitReason, second: ExitReason
) -> None:
    """Every pair that one price can bring about. (A loss and a profit cannot be at once: then each is alone.)"""
    if {first, second} & _LOSING and {first, second} & _WINNING:
        pytest.skip("one price is not above and below the entry at once")
    price = "99.9" if {first, second} & _LOSING else "100.1"
    terms = " ".join(RECIPES[one][0] for one in (first, second))
    fields: dict[str, object] = {}
    for one in (first, second):
        for name, value in RECIPES[one][1].items():
            fields[name] = _LEVELS[name, side] if name in {"stop_loss", "take_profit"} else value
    views = [against(side, "0.9")] if R.REVERSAL in (first, second) else []
    row = held(side, terms, **fields)
    order = [rule.reason for rule in RULES]
    winner = min(first, second, key=order.index)
    assert evaluate(row, at(side, price), T0, views).fire is winner
    for one in (first, second):
        alone = held(side, RECIPES[one][0], **{n: fields[n] for n in RECIPES[one][1]})
        assert evaluate(alone, at(side, price), T0, views if one is R.REVERSAL else []).fire is one


# -- what holds for all ---------------------------------------------------------------------------------------------

prices = st.decimals("60", "160", places=2)
chances = st.decimals("0", "1", places=2)


@given(
    price=prices,
    after=st.integers(0, 8_000_000),
    signal=st.booleans(),
    confidence=chances,
    word=st.sampled_from(["with", "against", "hold", "none"]),
    stop=st.decimals("50", "99", places=2),
    profit=st.decimals("101", "149", places=2),
)
@settings(max_examples=300, deadline=None)
def test_short_is_the_mirror_image_of_long_with_every_rule_on(
    price: D, after: int, signal: bool, confidence: D, word: str, stop: D, profit: D
) -> None:
    """Reflect prices at the entry price, and predictions: the same exit, the same veto. (Without fees, which are of a value.)"""
    terms = EVERYTHING.replace(" fee_pct=0.05", "").replace(" maintenance_pct=0.5", "")
    found = []
    for side in SIDES:
        level = {"stop_loss": stop, "take_profit": profit}
        if side is SHORT:
            level = {name: 200 - value for name, value in level.items()}
        row = position(side=side, terms=terms, signal_at=T0 if signal else None, **level)
        words = {"with": side.value, "against": "short" if side is LONG else "long", "hold": "hold"}
        views = [view(words[word], str(confidence))] if word != "none" else []
        decision = evaluate(row, at(side, price), T0 + after, views)
        found.append((decision.fire, decision.held.veto if decision.held else None))
    assert found[0] == found[1]


@given(
    price=prices,
    after=st.integers(0, 8_000_000),
    signal=st.booleans(),
    side=st.sampled_from(SIDES),
    confidence=chances,
)
@settings(max_examples=200, deadline=None)
def test_the_story_says_what_the_decision_does(
    price: D, after: int, signal: bool, side: PositionSide, confidence: D
) -> None:
    """What fires is the first rule that says so, unless a veto says that it holds it back."""
    row = position(side=side, terms=EVERYTHING, signal_at=T0 if signal else None)
    views = [view("hold", str(confidence))]
    told = story(row, at(side, price), T0 + after, views)
    firing = [one for one in told.rules if one.fires]
    holding = [one for one in told.vetoes if one.fires]
    if told.decision.fire is not None:
        assert told.decision.rule == firing[0].rule
        assert firing[0].hard or not holding
    elif firing:
        assert not firing[0].hard
        assert told.decision.held is not None
        assert told.decision.held.veto == holding[0].rule
    else:
        assert told.decision.held is None


def test_the_story_tells_how_far_it_is_in_percent_in_atr_and_in_money() -> None:
    row = held(
        terms="emergency_loss_pct=20 roi=0:5,60:2",
        stop_loss=D(90),
        take_profit=D(120),
        expires_at=T0 + 9_000_000,
    )
    told = story(row, at(LONG, 100), T0, atr=D(4))
    stop = next(one for one in told.rules if one.rule == "stop_loss")
    assert (stop.distance_pct, stop.distance_atr, stop.profit_there) == (D(-10), D("-2.5"), D(-20))
    assert told.next_up is not None
    assert told.next_up.rule == "roi"
    assert told.next_down is not None
    assert told.next_down.rule == "stop_loss"
    assert told.next_in_time is not None
    assert (told.next_in_time.rule, told.next_in_time.due_at) == ("roi", T0 + 3_600_000)


@pytest.mark.parametrize(("trigger", "price"), [("quote", "99"), ("last", "105"), ("mark", "111")])
def test_the_policy_says_which_price_is_looked_at(trigger: str, price: str) -> None:
    quote = Quote(D(99), D(101), T0, last=D(105), mark=D(111))
    row = held(terms=f"trigger={trigger}", take_profit=D(price))
    decision = evaluate(row, quote, T0)
    assert (decision.fire, decision.price) == (R.TAKE_PROFIT, D(price))
    bare = Quote(D(99), D(101), T0)
    assert evaluate(held(terms=f"trigger={trigger}", take_profit=D(99)), bare, T0).price == D(99)


def test_a_row_from_before_there_were_terms_reads_as_all_off() -> None:
    """An old store's JSON: stop, profit and time, as ever."""
    old = position().json_bytes()
    assert b"terms" not in old
    row = PositionRow.model_validate_json(old)
    assert (row.terms, row.laddered, row.stop_by, row.high_water) == ("", D(0), StopBy.SET, None)
    for price in ("60", "200"):
        assert evaluate(held(), at(LONG, price), T0 + 10**9, [against(LONG, "1")]).fire is None


def test_equal_thresholds_have_equal_names() -> None:
    assert thresholds_version(held(terms="min_hold_s=1")) == thresholds_version(held(SHORT, "min_hold_s=1"))
    assert thresholds_version(held(terms="min_hold_s=1")) != thresholds_version(held(terms="min_hold_s=2"))
    assert thresholds_version(held(terms="learned=7")).startswith("v7.")
