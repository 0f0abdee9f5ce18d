"""The twelve thresholds: where they stand, how far they may go, and that safety is never learned looser."""

from dataclasses import replace
from decimal import Decimal as D  # noqa: N817

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.codes import Kind
from holdfast.contracts.exit_terms import ExitTerms, parse_terms
from holdfast.domain.conditions import terms_of
from holdfast.domain.exit_policy import ExitPolicy, policy_for
from holdfast.domain.liquidation import guard_price
from holdfast.domain.thresholds import (
    DEFAULT_BOUNDS,
    THRESHOLDS,
    Bound,
    bounds_of,
    clamped,
    complaints,
    in_row,
    learned_policy,
    named_by,
    of_policy,
    of_row,
    too_far,
)
from holdfast.runtime.exit_settings import policy_table
from holdfast.runtime.settings import Settings
from tests.unit._exits import LONG, SHORT, T0, exit_order, position

NAMES = [one.name for one in THRESHOLDS]
SAFETY = {"stop_loss_pct", "emergency_loss_pct", "max_hold_s"}
ALL_ON = ExitPolicy(
    stop_loss_pct=D(10),
    take_profit_pct=D(20),
    max_hold_s=D(7200),
    terms=ExitTerms(
        emergency_loss_pct=D(20), extraordinary_profit_pct=D(50), reversal_confidence=D("0.6"), ai_hold_confidence=D("0.7"),
        min_hold_s=D(120), min_loss_pct=D("0.5"), trailing_activation_pct=D(3), trailing_distance_pct=D(2), breakeven_trigger_pct=D(4),
    ),
)  # fmt: skip


def test_there_are_the_twelve_of_the_contract():
    assert sorted(NAMES) == sorted(
        [
            "ai_hold_confidence",
            "min_hold_s",
            "min_loss_pct",
            "emergency_loss_pct",
            "extraordinary_profit_pct",
            "reversal_confidence",
            "take_profit_pct",
            "stop_loss_pct",
            "trail_activation_pct",
            "trail_distance_pct",
            "max_hold_s",
            "breakeven_trigger_pct",
        ]
    )
    assert {one.name for one in THRESHOLDS if one.safety} == SAFETY


def test_a_policy_with_everything_on_names_all_of_them():
    assert list(of_policy(ALL_ON)) == NAMES


def test_what_a_policy_has_off_is_not_among_its_thresholds():
    default = policy_table(Settings()).default
    off = {"trail_activation_pct", "trail_distance_pct", "max_hold_s", "breakeven_trigger_pct"}
    assert set(of_policy(default)) == set(NAMES) - off
    assert "take_profit_pct" not in of_policy(replace(default, ladder="5%:0.5,10%:0.5"))


def test_every_default_of_the_policy_lies_inside_its_bounds():
    default = of_policy(policy_table(Settings()).default)
    assert [name for name, value in default.items() if not DEFAULT_BOUNDS[name].holds(value)] == []


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_a_row_says_the_thresholds_it_lives_by(side):
    row = position(side=side, terms=str(ALL_ON.terms), expires_at=T0 + 7_200_000)
    assert of_row(row) == of_policy(ALL_ON)


@pytest.mark.parametrize(("side", "stop", "take"), [(LONG, 92, 130), (SHORT, 108, 70)])
def test_levels_that_were_prices_are_distances_from_the_entry(side, stop, take):
    row = position(side=side, stop_loss_spec=str(stop), take_profit_spec=str(take))
    assert (of_row(row)["stop_loss_pct"], of_row(row)["take_profit_pct"]) == (8, 30)


# -- in a row ---------------------------------------------------------------------------------------------------------


def test_a_row_with_its_own_thresholds_is_the_same_row():
    row = position(terms=str(ALL_ON.terms), expires_at=T0 + 7_200_000)
    assert in_row(row, of_row(row)) is row
    assert in_row(row, {}) is row


@pytest.mark.parametrize(("side", "stop", "take"), [(LONG, D(95), D(107)), (SHORT, D(105), D(93))])
def test_a_row_gets_the_levels_that_policy_would_have_seeded(side, stop, take):
    made = in_row(position(side=side), {"stop_loss_pct": D(5), "take_profit_pct": D(7)}, version=3)
    assert (made.stop_loss, made.take_profit) == (stop, take)
    assert (made.stop_loss_spec, made.take_profit_spec) == ("5%", "7%")
    assert terms_of(made).learned == 3


def test_a_row_keeps_what_is_off_and_what_was_named():
    row = position(terms="min_hold_s=120")
    values = {"trail_distance_pct": D(2), "max_hold_s": D(60), "min_hold_s": D(60), "stop_loss_pct": D(5)}
    made = in_row(row, values, named={"stop_loss_pct"})
    assert (made.terms, made.expires_at, made.stop_loss) == ("min_hold_s=60", None, row.stop_loss)


def test_a_ladder_stays_what_it_is():
    row = position(take_profit_spec="5%:0.5,10%:0.5", take_profit=D(105))
    made = in_row(row, {"take_profit_pct": D(2), "stop_loss_pct": D(3)})
    assert (made.take_profit_spec, made.take_profit, made.stop_loss) == ("5%:0.5,10%:0.5", D(105), D(97))


def test_a_deadline_counts_from_the_opening():
    row = position(expires_at=T0 + 7_200_000)
    assert in_row(row, {"max_hold_s": D(600)}).expires_at == T0 + 600_000


def test_a_stop_that_has_moved_is_not_loosened():
    row = position(stop_loss=D(99), stop_by="trailing")
    assert in_row(row, {"stop_loss_pct": D(5)}).stop_loss == D(99)


def test_a_seeded_stop_stays_before_the_liquidation_guard():
    terms = ExitTerms(leverage=D(10), maintenance_pct=D("0.5"), liquidation_guard_pct=D(20))
    row = position(terms=str(terms), stop_loss=D(99), stop_loss_spec="1%")
    guard = guard_price(Kind.LINEAR, LONG, D(100), terms)
    assert in_row(row, {"stop_loss_pct": D(15)}).stop_loss == guard


def test_thresholds_that_an_intent_names_are_known_by_its_order():
    order = exit_order(position(), None, D(1), T0)
    assert named_by(order) == frozenset()
    said = order.evolve(
        stop_loss_spec="3%",
        ttl_s=D(60),
        exits={"trailing.distance_pct": "2", "min_hold_s": "off", "roi": "off"},
    )
    assert named_by(said) == {"stop_loss_pct", "max_hold_s", "trail_distance_pct", "min_hold_s"}


# -- what is allowed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [("0", "1", "1"), ("2", "1", "1"), ("1", "2", "0")])
def test_a_bound_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match=r"low|step"):
        Bound(*map(D, bad))


def test_bounds_of_the_configuration_take_the_place_of_the_default():
    mine = Bound(D(1), D(2), D("0.1"))
    assert bounds_of({"stop_loss_pct": mine}) == {**DEFAULT_BOUNDS, "stop_loss_pct": mine}
    with pytest.raises(ValueError, match="stop_los: no such threshold"):
        bounds_of({"stop_los": mine})
    with pytest.raises(ValueError, match="reversal_confidence: high is at most 1"):
        bounds_of({"reversal_confidence": Bound(D("0.5"), D(2), D("0.1"))})


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"stop_loss_pct": D("10.5")}, "stop_loss_pct: 10.5 would be looser than the policy's 10"),
        ({"max_hold_s": D(7201)}, "max_hold_s: 7201 would be looser than the policy's 7200"),
        ({"emergency_loss_pct": D(25)}, "emergency_loss_pct: 25 would be looser than the policy's 20"),
        ({"emergency_loss_pct": D(5)}, "stop_loss_pct: 10 is wider than emergency_loss_pct 5"),
        ({"take_profit_pct": D(51)}, "take_profit_pct: 51 is outside 0.5 to 50"),
        ({"min_hold": D(1)}, "min_hold: no such threshold"),
        ({"stop_loss_pct": D("9.5"), "take_profit_pct": D(30)}, None),
    ],
)
def test_values_that_may_not_be_applied_are_named(values, complaint):
    assert complaints(values, of_policy(ALL_ON), DEFAULT_BOUNDS) == ([] if complaint is None else [complaint])


def test_what_is_off_may_not_be_switched_on():
    policy = {"stop_loss_pct": D(10)}
    assert complaints({"max_hold_s": D(600)}, policy, DEFAULT_BOUNDS) == [
        "max_hold_s: it is off in the policy, and stays off"
    ]


def test_a_policy_outside_its_bounds_is_not_learned():
    policy, values = {"stop_loss_pct": D(30)}, {"stop_loss_pct": D(5)}
    assert clamped(values, policy, DEFAULT_BOUNDS) == policy
    assert complaints(values, policy, DEFAULT_BOUNDS) == [
        "stop_loss_pct: the policy's 30 is outside the bounds, so it stays"
    ]


def test_a_days_step_is_measured_from_where_the_day_began():
    before = {"stop_loss_pct": D(10), "take_profit_pct": D(20)}
    assert too_far({"stop_loss_pct": D("9.5"), "take_profit_pct": D(21)}, before, DEFAULT_BOUNDS) == []
    assert too_far({"stop_loss_pct": D("9.49")}, before, DEFAULT_BOUNDS) == [
        "stop_loss_pct: 9.49 is more than 0.5 from 10"
    ]


def test_a_learned_policy_is_what_a_new_position_gets():
    policy = learned_policy(ALL_ON, {"stop_loss_pct": D(8), "trail_distance_pct": D(1)}, 7, DEFAULT_BOUNDS)
    assert (policy.stop_loss_pct, policy.terms.trailing_distance_pct, policy.terms.learned) == (8, 1, 7)
    assert (policy.take_profit_pct, policy.max_hold_s) == (ALL_ON.take_profit_pct, ALL_ON.max_hold_s)


def test_percents_of_the_margin_are_learned_as_percents_of_the_price():
    terms = replace(ALL_ON.terms, leverage=D(5))
    on_price, _ = policy_for(replace(ALL_ON, on_margin=True, terms=terms), Kind.LINEAR, None)
    assert of_policy(on_price)["stop_loss_pct"] == 2


AMOUNTS = st.decimals(D("0.001"), D(10_000), places=3)
ANY_VALUES = st.dictionaries(st.sampled_from(NAMES), AMOUNTS)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, D]:
    """Any policy that the configuration takes: its stop within its emergency loss."""
    found = draw(st.dictionaries(st.sampled_from(NAMES), AMOUNTS))
    found["stop_loss_pct"] = min(draw(AMOUNTS), found.get("emergency_loss_pct", D(10_000)))
    return found


@st.composite
def some_bounds(draw: st.DrawFn) -> dict[str, Bound]:
    pairs = {name: sorted(draw(st.tuples(AMOUNTS, AMOUNTS))) for name in NAMES}
    return {name: Bound(low, high, D(1)) for name, (low, high) in pairs.items()}


@given(ANY_VALUES, policies(), some_bounds())
def test_clamped_values_are_always_allowed(values, policy, bounds):
    kept = clamped(values, policy, bounds)
    assert kept.keys() == policy.keys()
    assert complaints(kept, policy, bounds) == []
    assert all(kept[name] <= policy[name] for name in SAFETY & kept.keys())
    assert all(bounds[name].holds(value) or value == policy[name] for name, value in kept.items())
    assert clamped(kept, policy, bounds) == kept


@given(ANY_VALUES, st.integers(1, 99))
def test_a_learned_policy_is_never_looser_and_always_one(values, version):
    made = learned_policy(ALL_ON, values, version, DEFAULT_BOUNDS)
    assert complaints(of_policy(made), of_policy(ALL_ON), DEFAULT_BOUNDS) == []
    assert parse_terms(str(made.terms)) == made.terms
    assert made.stop_loss_pct <= ALL_ON.stop_loss_pct


@given(ANY_VALUES, st.sampled_from([LONG, SHORT]))
def test_a_row_with_any_values_can_be_recorded(values, side):
    """The store's CHECKs: a stop above zero, a take-profit above zero and beyond the stop."""
    row = position(side=side, terms=str(ALL_ON.terms), expires_at=T0 + 7_200_000)
    made = in_row(row, clamped(values, of_policy(ALL_ON), DEFAULT_BOUNDS))
    assert type(row).model_validate(made.model_dump()) == made
    assert made.stop_loss > 0
    assert made.take_profit > made.stop_loss if side is LONG else 0 < made.take_profit < made.stop_loss
