"""The rules: which price, at which level, in which order, and why not."""

import itertools
from decimal import Decimal as D  # noqa: N817

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import ExitReason, OrderState, OrderType, PositionSide
from holdfast.contracts.rows import PositionRow
from holdfast.domain.conditions import closing_price
from holdfast.domain.exits import HARDNESS, RULES, Decision, displaces, evaluate
from holdfast.domain.explaining import explain
from holdfast.domain.market import Quote
from tests.unit._exits import LONG, SHORT, T0, exit_order, position

prices = st.decimals("0.01", "1000", places=2)


def quote(bid: object, ask: object | None = None, at: int = T0) -> Quote:
    return Quote(D(str(bid)), D(str(bid if ask is None else ask)), at)


@pytest.mark.parametrize(
    ("side", "at_stop", "before_stop", "at_profit", "before_profit"),
    [(LONG, "90", "90.01", "120", "119.99"), (SHORT, "110", "109.99", "80", "80.01")],
)
def test_levels_fire_when_they_are_touched_exactly(
    side: PositionSide, at_stop: str, before_stop: str, at_profit: str, before_profit: str
) -> None:
    """<= and >=, never < and >."""
    held = position(side=side)
    assert evaluate(held, quote(at_stop), T0) == Decision(ExitReason.STOP_LOSS, D(at_stop), T0)
    assert evaluate(held, quote(at_profit), T0) == Decision(ExitReason.TAKE_PROFIT, D(at_profit), T0)
    assert evaluate(held, quote(before_stop), T0).fire is None
    assert evaluate(held, quote(before_profit), T0).fire is None


def test_a_long_looks_at_the_bid_and_a_short_at_the_ask() -> None:
    """What closing would really get, not the last price or the middle."""
    assert evaluate(position(side=LONG), quote(90, 121), T0).fire is ExitReason.STOP_LOSS
    assert evaluate(position(side=LONG), quote("90.5", 121), T0).fire is None
    assert evaluate(position(side=SHORT), quote(79, 110), T0).fire is ExitReason.STOP_LOSS
    assert evaluate(position(side=SHORT), quote(79, 81), T0).fire is None


@given(
    entry=st.decimals("10", "500", places=2),
    distance=st.decimals("0", "9", places=2),
    spread=st.decimals("0", "1", places=2),
)
@settings(max_examples=200, deadline=None)
def test_short_is_the_mirror_image_of_long(entry: D, distance: D, spread: D) -> None:
    """Reflect prices at the entry, swap bid and ask: the same decision."""

    def mirrored(price: D) -> D:
        return 1000 - price

    long = position(side=LONG, entry_price=entry, stop_loss=entry - 5, take_profit=entry + 5)
    short = position(
        side=SHORT,
        entry_price=mirrored(entry),
        stop_loss=mirrored(entry - 5),
        take_profit=mirrored(entry + 5),
    )
    for bid in (entry - distance, entry + distance):
        one = evaluate(long, Quote(bid, bid + spread, T0), T0)
        other = evaluate(short, Quote(mirrored(bid + spread), mirrored(bid), T0), T0)
        assert one.fire is other.fire


@given(
    side=st.sampled_from([LONG, SHORT]),
    stop=prices,
    profit=prices,
    bid=prices,
    spread=prices,
    left=st.integers(-5, 5),
)
@settings(max_examples=300, deadline=None)
def test_evaluate_says_what_its_rules_say_one_by_one(
    side: PositionSide, stop: D, profit: D, bid: D, spread: D, left: int
) -> None:
    """Written out once more, plainly: the stop first, then the profit, then the clock."""
    held = position(side=side, stop_loss=stop, take_profit=profit, expires_at=T0 + left)
    now = quote(bid, bid + spread)
    price = closing_price(held, now)
    stopped = price <= stop if side is LONG else price >= stop
    gained = price >= profit if side is LONG else price <= profit
    expected = (
        ExitReason.STOP_LOSS
        if stopped
        else ExitReason.TAKE_PROFIT
        if gained
        else ExitReason.TTL
        if left <= 0
        else None
    )
    assert evaluate(held, now, T0).fire is expected
    fires = {verdict.rule for verdict in explain(held, now, T0) if verdict.fires}
    assert fires == {
        name
        for name, holds in {"stop_loss": stopped, "take_profit": gained, "ttl": left <= 0}.items()
        if holds
    }


def test_the_stop_wins_over_the_profit_when_one_price_reaches_both() -> None:
    crossed = position(stop_loss=D(100), take_profit=D(100))
    assert evaluate(crossed, quote(100), T0).fire is ExitReason.STOP_LOSS


def test_ttl_fires_at_its_market_time_and_not_while_that_is_unknown() -> None:
    held = position(expires_at=T0 + 1000)
    assert evaluate(held, quote(100), T0 + 999).fire is None
    assert evaluate(held, quote(100), None).fire is None
    assert evaluate(held, quote(100), T0 + 1000) == Decision(ExitReason.TTL, D(100), T0 + 1000)
    assert evaluate(held, None, T0 + 1000) == Decision(ExitReason.TTL, None, T0 + 1000)


@pytest.mark.parametrize(
    "reason", [ExitReason.CLOSE, ExitReason.FLATTEN, ExitReason.TTL, ExitReason.STOP_LOSS]
)
def test_closing_fires_at_once_for_its_reason_with_or_without_a_price(reason: ExitReason) -> None:
    held = position(closing=reason)
    assert evaluate(held, None, None) == Decision(reason, None, None)
    assert evaluate(held, quote(100), T0).fire is reason


def test_a_stop_gets_past_a_softer_closing_but_not_past_a_persons_close() -> None:
    assert evaluate(position(closing=ExitReason.TAKE_PROFIT), quote(90), T0).fire is ExitReason.STOP_LOSS
    assert evaluate(position(closing=ExitReason.CLOSE), quote(90), T0).fire is ExitReason.CLOSE


def test_a_profit_that_is_switched_off_never_fires() -> None:
    held = position(take_profit=None, take_profit_spec="off", expires_at=T0 + 5)
    assert evaluate(held, quote(10_000), T0).fire is None


_BASIC = ("closing", "stop_loss", "take_profit", "ttl")


def test_it_can_say_why_not() -> None:
    """In words and numbers that a person can check."""
    said = {one.rule: one.text for one in explain(position(expires_at=T0 + 2500), quote("95.50", 96), T0)}
    assert {rule: text for rule, text in said.items() if rule in _BASIC} == {
        "closing": "not set for this position",
        "stop_loss": "bid 95.5 is not <= 90",
        "take_profit": "bid 95.5 is not >= 120",
        "ttl": "2500 ms of market time are left",
    }
    short = {
        one.rule: (one.fires, one.text)
        for one in explain(position(side=SHORT, closing=ExitReason.CLOSE), quote(1, 111), None)
    }
    assert short["stop_loss"] == (True, "ask 111 >= 110")
    assert short["closing"] == (True, "it is being closed: close")
    assert set(said) - set(_BASIC) == {rule.name for rule in RULES} - set(_BASIC)
    assert {text for rule, text in said.items() if rule not in _BASIC} == {"not set for this position"}
    unknown = [one for one in explain(position(expires_at=T0), None, None) if one.rule in _BASIC]
    assert [one.text for one in unknown][1:] == [
        "no price has come yet", "no price has come yet", "market time is not known yet",
    ]  # fmt: skip
    late = {one.rule: one.text for one in explain(position(expires_at=T0), None, T0 + 7)}
    assert late["ttl"] == "over by 7 ms of market time"


def test_the_table_is_in_order_and_every_reason_has_its_hardness() -> None:
    """A row in the wrong place, or a reason without a hardness, would make the order between exits a matter of luck."""
    assert set(HARDNESS) == set(ExitReason)
    ranks = [rule.rank for rule in RULES]
    assert ranks == sorted(ranks, reverse=True)
    assert [rule.name for rule in RULES if not rule.hard] == ["roi", "signal", "stagnation"]
    order = [
        ExitReason.LIQUIDATION_GUARD, ExitReason.STOP_LOSS, ExitReason.EMERGENCY_LOSS, ExitReason.TAKE_PROFIT,
        ExitReason.EXTRAORDINARY_PROFIT, ExitReason.TTL, ExitReason.REVERSAL, ExitReason.ROI,
    ]  # fmt: skip
    assert all(HARDNESS[one] > HARDNESS[next_one] for one, next_one in itertools.pairwise(order))
    assert HARDNESS[ExitReason.CLOSE] == HARDNESS[ExitReason.FLATTEN] == HARDNESS[ExitReason.STOP_LOSS]


def test_a_rule_that_does_not_apply_has_no_reason() -> None:
    with pytest.raises(ValueError, match="does not apply"):
        RULES[0].reason_for(position())


def _order(held: PositionRow, reason: ExitReason | None, **fields: object):  # type: ignore[no-untyped-def]
    return exit_order(held, None, D(2), T0, reason=reason, **fields)


@given(mine=st.sampled_from(list(ExitReason)), theirs=st.sampled_from(list(ExitReason)))
@settings(max_examples=300, deadline=None)
def test_nothing_softer_stands_in_the_way_and_nothing_harder_is_pushed_aside(
    mine: ExitReason, theirs: ExitReason
) -> None:
    """INV-6. Of equals, what may never fill gives way."""
    held = position()
    harder, equal = HARDNESS[mine] > HARDNESS[theirs], HARDNESS[mine] == HARDNESS[theirs]
    assert displaces(mine, _order(held, theirs)) is harder
    assert displaces(mine, _order(held, theirs, state=OrderState.UNKNOWN)) is (harder or equal)
    limit = _order(held, theirs, type=OrderType.LIMIT, price=D(500))
    assert displaces(mine, limit) is (harder or equal)
