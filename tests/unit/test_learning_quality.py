"""How good exits were: premature ones, how long positions were held, and what stops lost beside their level."""

from decimal import Decimal as D  # noqa: N817
from typing import Any

import pytest

from holdfast.contracts.codes import ExitReason as R
from holdfast.contracts.outcomes import TradeOutcome
from learning.quality import exit_quality, premature, slip_pct
from tests.unit._exits import LONG, SHORT, T0
from tests.unit._learning import outcome


def soft(
    prices: list[object], *, reason: R = R.SIGNAL, pnl: str = "-4", closed_s: int = 1, **more: Any
) -> TradeOutcome:
    """A soft exit after *closed_s* seconds; its take-profit stands at 120 (short: 80)."""
    return outcome(
        prices,
        exit_reason=reason,
        realized_pnl=D(pnl),
        closed_at=T0 + closed_s * 1000,
        exit_price=D(98),
        **more,
    )


def test_a_loss_taken_before_the_target_came_is_premature():
    assert premature(soft([100, 98, 110, 121])) is True
    assert premature(soft([100, 102, 90, 79], side=SHORT)) is True
    assert premature(soft([100, 98, 110, 119])) is False


def test_a_target_after_the_longest_hold_was_not_given_away():
    assert premature(soft([100, 98, 110, 121], row={"expires_at": T0 + 2500})) is False


@pytest.mark.parametrize(
    "trade",
    [
        soft([100, 98, 121], reason=R.STOP_LOSS),
        soft([100, 98, 121], reason=R.REVERSAL),
        soft([100, 98, 121], pnl="1"),
        soft([100, 98]),
        soft([100, 98, 121], row={"take_profit": None, "take_profit_spec": "off", "expires_at": T0 + 9000}),
    ],
    ids=["hard", "reversal", "a gain", "nothing known after it", "no target"],
)
def test_of_other_exits_the_question_is_not_asked(trade):
    assert premature(trade) is None


@pytest.mark.parametrize(
    ("side", "reason", "price", "level", "slip"),
    [
        (LONG, R.STOP_LOSS, "89.1", None, "1"),
        (SHORT, R.STOP_LOSS, "111.1", None, "1"),
        (LONG, R.STOP_LOSS, "90.9", None, "-1"),
        (LONG, R.TRAILING_STOP, "98", "100", "2"),
        (LONG, R.TRAILING_STOP, "98", None, None),
        (LONG, R.TAKE_PROFIT, "98", "100", None),
    ],
)
def test_slip_is_how_much_worse_the_fill_was_than_the_level(side, reason, price, level, slip):
    trade = outcome(
        [100],
        side=side,
        exit_reason=reason,
        exit_price=D(price),
        trigger_level=None if level is None else D(level),
    )
    assert slip_pct(trade) == (None if slip is None else D(slip))


def test_all_together():
    trades = [
        soft([100, 98, 110, 121]),
        soft([100, 98, 110], closed_s=1),
        outcome([100, 89], exit_reason=R.STOP_LOSS, exit_price=D("89.1"), closed_at=T0 + 4000),
        outcome([100, 89], exit_reason=R.STOP_LOSS, exit_price=D("89.55"), closed_at=T0 + 6000),
    ]
    found = exit_quality(trades)
    assert (found.trades, found.soft_losses, found.premature, found.stops) == (4, 2, 1, 2)
    assert found.premature_share == D("0.5")
    assert found.average_hold_s == 3
    assert (found.average_slip_pct, found.worst_slip_pct) == (D("0.75"), D(1))


def test_of_nothing_nothing_is_said():
    found = exit_quality([])
    assert (found.trades, found.premature_share, found.average_hold_s, found.average_slip_pct) == (
        0,
        None,
        None,
        None,
    )
