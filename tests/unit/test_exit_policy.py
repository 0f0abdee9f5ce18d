"""`[exits]`: tables that override each other key by key, complaints with line and key, and what an intent may say."""

from dataclasses import replace
from decimal import Decimal as D  # noqa: N817
from pathlib import Path

import pytest

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Code, Kind, PositionSide
from holdfast.contracts.exit_terms import OVERRIDABLE, ExitTerms, TriggerPrice, overridden, parse_terms
from holdfast.contracts.messages import OrderIntent
from holdfast.domain.exit_policy import ExitPolicy, PolicyTable, policy_for
from holdfast.domain.liquidation import guard_price, liquidation_price
from holdfast.domain.reseeding import new_terms
from holdfast.runtime.configuration import ConfigurationError, load
from holdfast.runtime.exit_settings import policy_table
from tests.unit._exits import LONG, SHORT


@pytest.fixture
def table(tmp_path: Path):  # type: ignore[no-untyped-def]
    def read(text: str) -> PolicyTable:
        file = tmp_path / "holdfast.toml"
        file.write_text(text)
        return policy_table(load(config=file, env={}, dotenv=tmp_path / "none"))

    return read


def test_the_policy_of_the_issue_reads_as_it_is_written(table) -> None:  # type: ignore[no-untyped-def]
    policy = table(
        """
[exits]
stop_loss_pct = "10"
take_profit_ladder = [{ at_pct = "5", fraction = "0.5" }, { at_pct = "10", fraction = "0.5" }]
roi = { "0" = "5", "60" = "2" }
trigger = "last"
[exits.trailing]
distance_pct = "2"
activation_pct = "3"
only_after_activation = true
"""
    ).default
    assert (policy.stop_loss_pct, policy.ladder) == (D(10), "5%:0.5,10%:0.5")
    terms = policy.terms
    assert terms.roi == ((D(0), D(5)), (D(60), D(2)))
    assert (
        terms.trailing_distance_pct,
        terms.trailing_activation_pct,
        terms.trailing_only_after_activation,
    ) == (D(2), D(3), True)
    assert terms.trigger is TriggerPrice.LAST
    assert (terms.emergency_loss_pct, terms.extraordinary_profit_pct, terms.min_hold_s) == (
        D(20),
        D(50),
        D(120),
    )


def test_symbol_and_account_override_key_by_key_and_the_account_goes_last(table) -> None:  # type: ignore[no-untyped-def]
    found = table(
        """
[exits]
min_hold_s = 60
emergency_loss_pct = 15
[exits."BTC/USDT"]
stop_loss_pct = 3
emergency_loss_pct = 12
[exits."BTC/USDT".trailing]
distance_pct = 2
[account.main.exits]
emergency_loss_pct = "off"
[account.main.exits.trailing]
distance_atr = 3
"""
    )
    keys = [("other", "ETH/USDT"), ("other", "BTC/USDT"), ("main", "ETH/USDT"), ("main", "BTC/USDT")]
    seen = [(p.stop_loss_pct, p.terms.emergency_loss_pct) for p in (found.of(*key) for key in keys)]
    assert seen == [(D(10), D(15)), (D(3), D(12)), (D(10), None), (D(3), None)]
    assert all(found.of(*key).terms.min_hold_s == 60 for key in keys)
    trails = [
        (p.terms.trailing_distance_pct, p.terms.trailing_distance_atr)
        for p in (found.of(*key) for key in keys)
    ]
    assert trails == [(None, None), (D(2), None), (None, D(3)), (None, D(3))]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            '[exits]\nstop_loss_pct = "25"\n',
            ["line 2", "stop_loss_pct 25 is wider than emergency_loss_pct 20"],
        ),
        (
            '[exits]\nmin_hold_s = 5\n[exits."BTC/USDT"]\nemergency_loss_pct = 5\n',
            ["line 4", '[exits."BTC/USDT"]', "stop_loss_pct 10 is wider than emergency_loss_pct 5"],
        ),
        ('[exits]\ntake_profit_pct = "off"\n', ["line 2", "take_profit_pct can only be off where trailing or max_hold_s is set"]),
        ('[exits]\nstop_loss_pct = "off"\n', ["line 2", "exits.stop_loss_pct = 'off'"]),
        ('[exits."BTC/USDT"]\nmin_hold_s = -1\n', ["line 2", "exits.symbols (BTC/USDT.min_hold_s)"]),
        ('[exits."BTC/USDT"]\nmin_hold = 1\n', ["line 2", "exits.symbols (BTC/USDT.min_hold)", "no such key"]),
        ('[account.main.exits]\nroi = { "x" = 5 }\n', ["line 2", "[account.main.exits]", "roi", "not a number of minutes"]),
        ("[exits]\nreversal_confidence = 60\n", ["line 2", "exits.reversal_confidence"]),
        ("[exits.trailing]\ndistance_pct = 2\ndistance_atr = 3\n", ["only one of the two"]),
        ("[exits]\ntake_profit_ladder = [{ at_pct = 5, fraction = 0.5 }]\n", ["take_profit_ladder can only leave a rest"]),
        ("[exits]\nbreakeven_triger_pct = 2\n", ["line 2", "did you mean breakeven_trigger_pct?"]),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_its_line_and_its_keys(table, text: str, parts: list[str]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigurationError) as complaint:
        table(text)
    for part in parts:
        assert part in str(complaint.value)


def test_a_trail_or_a_longest_hold_may_take_the_place_of_a_take_profit(table) -> None:  # type: ignore[no-untyped-def]
    assert table('[exits]\ntake_profit_pct = "off"\nmax_hold_s = 60\n').default.take_profit_pct is None
    trailed = table('[exits]\ntake_profit_pct = "off"\n[exits.trailing]\ndistance_pct = 1\n').default
    assert trailed.take_profit_pct is None


def test_everything_that_may_be_off_can_be(table) -> None:  # type: ignore[no-untyped-def]
    names = ("liquidation_guard_pct", "emergency_loss_pct", "extraordinary_profit_pct", "reversal_confidence", "ai_hold_confidence", "min_hold_s", "min_loss_pct")  # fmt: skip
    policy = table("[exits]\nsignal = false\n" + "".join(f'{name} = "off"\n' for name in names)).default
    assert all(getattr(policy.terms, name) is None for name in names)
    assert policy.terms.signal is False


def test_percents_on_the_margin_are_divided_by_the_leverage_where_there_is_one(table) -> None:  # type: ignore[no-untyped-def]
    policy = table('[paper]\nleverage = 5\n[exits]\nbasis = "margin"\n').default
    linear, _ = policy_for(policy, Kind.LINEAR, None)
    assert (linear.stop_loss_pct, linear.terms.emergency_loss_pct) == (D(2), D(4))
    spot, _ = policy_for(policy, Kind.SPOT, None)
    assert (spot.stop_loss_pct, spot.terms.emergency_loss_pct, spot.terms.leverage) == (D(10), D(20), None)


# -- what an intent may say -----------------------------------------------------------------------------------------


def intent(**fields: object) -> OrderIntent:
    return OrderIntent(id="i", at=1, symbol="BTC/USDT", side="buy", quantity="1", **fields)  # type: ignore[arg-type]


def test_an_intent_overrides_single_keys_and_a_wrong_one_is_refused_by_name() -> None:
    assert intent(exits={"trailing.distance_pct": "2", "min_hold_s": "off"}).exits == {
        "trailing.distance_pct": "2",
        "min_hold_s": "off",
    }
    for exits, said in (
        ({"min_hold": "1"}, "min_hold: no such exit key"),
        ({"leverage": "100"}, "leverage: no such exit key"),
        ({"roi": "x"}, "roi: minutes:percent pairs are expected"),
        ({"emergency_loss_pct": "-1"}, "emergency_loss_pct: must be greater than zero"),
        ({"reversal_confidence": "60"}, "reversal_confidence: at most 1"),
    ):
        with pytest.raises(ValueError, match=said):
            intent(exits=exits)
    with pytest.raises(ContractViolation, match="exits"):
        OrderIntent.parse(
            b'{"id":"i","at":1,"symbol":"BTC/USDT","side":"buy","quantity":"1","exits":{"signal":"maybe"}}'
        )


def test_terms_are_one_text_for_one_meaning() -> None:
    every = ExitTerms(
        emergency_loss_pct=D(20), roi=((D(0), D(5)), (D(60), D(-2))), signal=True, trailing_distance_atr=D("1.5"), trigger=TriggerPrice.MARK
    )  # fmt: skip
    assert parse_terms(str(every)) == every
    assert (
        str(every) == "emergency_loss_pct=20 roi=0:5,60:-2 signal=on trailing.distance_atr=1.5 trigger=mark"
    )
    assert str(parse_terms("")) == ""
    assert overridden(every, {"trailing.distance_pct": "2"}).trailing_distance_atr is None
    with pytest.raises(ValueError, match="min_hold_s"):
        parse_terms("min_hold_s=x")
    assert {"trailing.distance_pct", "roi", "trigger"} <= OVERRIDABLE


def test_overrides_that_contradict_the_policy_change_nothing_and_say_so() -> None:
    policy = ExitPolicy(D(10), None, terms=parse_terms("trailing.distance_pct=2"))
    kept, notes = policy_for(policy, Kind.LINEAR, {"trailing.distance_pct": "off"})
    assert kept == policy
    assert "take_profit_pct can only be off" in notes[0]
    tight, notes = policy_for(policy, Kind.LINEAR, {"emergency_loss_pct": "5"})
    assert (tight.stop_loss_pct, notes) == (D(5), [])


# -- liquidation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "side", "leverage", "price"),
    [
        (Kind.LINEAR, LONG, 5, 80), (Kind.LINEAR, SHORT, 5, 120), (Kind.LINEAR, LONG, 1, None), (Kind.LINEAR, SHORT, 1, 200),
        (Kind.INVERSE, LONG, 4, 80), (Kind.INVERSE, SHORT, 5, 125), (Kind.INVERSE, SHORT, 1, None), (Kind.SPOT, LONG, 5, None),
    ],
)  # fmt: skip
def test_where_the_venue_would_liquidate(
    kind: Kind, side: PositionSide, leverage: int, price: int | None
) -> None:
    """Worked by hand: the margin, entry value / leverage, is lost at that price."""
    terms = ExitTerms(leverage=D(leverage), liquidation_guard_pct=D(20))
    assert liquidation_price(kind, side, D(100), terms) == price
    guard = guard_price(kind, side, D(100), terms)
    assert (guard is None) if price is None else (guard == D(price) + (100 - D(price)) / 5)
    assert guard_price(kind, side, D(100), replace(terms, liquidation_guard_pct=None)) is None


def test_the_maintenance_margin_brings_it_nearer() -> None:
    terms = ExitTerms(leverage=D(10), maintenance_pct=D(10), liquidation_guard_pct=D(20))
    assert guard_price(Kind.LINEAR, LONG, D(100), terms) == 100, "nothing is left over: closed at once"
    assert Code.STOP_BEYOND_LIQUIDATION.value == "stop_beyond_liquidation"


# -- a new policy for open positions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "wanted", "becomes"),
    [
        ("emergency_loss_pct=20", "emergency_loss_pct=15", "emergency_loss_pct=15"),
        ("emergency_loss_pct=20", "emergency_loss_pct=25", "emergency_loss_pct=20"),
        ("emergency_loss_pct=20", "", "emergency_loss_pct=20"),
        ("", "emergency_loss_pct=15", "emergency_loss_pct=15"),
        ("min_hold_s=120", "min_hold_s=60", "min_hold_s=60"),
        ("min_hold_s=60", "min_hold_s=120", "min_hold_s=60"),
        ("min_hold_s=60", "", ""),
        ("ai_hold_confidence=0.7", "ai_hold_confidence=0.8", "ai_hold_confidence=0.8"),
        ("ai_hold_confidence=0.8", "ai_hold_confidence=0.7", "ai_hold_confidence=0.8"),
        ("liquidation_guard_pct=20", "liquidation_guard_pct=10", "liquidation_guard_pct=20"),
        ("roi=0:5,60:2", "roi=0:4,60:2", "roi=0:4,60:2"),
        ("roi=0:5,60:2", "roi=0:4,60:3", "roi=0:5,60:2"),
        ("roi=0:5", "", "roi=0:5"),
        ("trailing.distance_pct=2", "trailing.distance_pct=1", "trailing.distance_pct=1"),
        ("trailing.distance_pct=2", "trailing.distance_atr=1", "trailing.distance_pct=2"),
        ("", "signal=on", "signal=on"),
    ],
)
def test_new_terms_are_taken_where_they_are_tighter(held: str, wanted: str, becomes: str) -> None:
    assert new_terms(held, wanted, insist=False)[0] == becomes
    assert new_terms(held, wanted, insist=True) == (wanted, [])
