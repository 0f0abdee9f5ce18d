"""What the trades of a run come to. Ratios are None where there is too little to tell.

| figure | is |
|---|---|
| win_rate | share of trades with a profit above zero, fees counted |
| expectancy | mean profit of a trade, in money; `expectancy_ratio` in units of the mean loss |
| profit_factor | sum of profits / sum of losses |
| max_drawdown | largest fall of equity from a peak, as a share of that peak; positions count at their market price |
| sharpe | mean / standard deviation (n - 1) of daily returns, times the square root of 365 |
| sortino | mean of daily returns / root of the mean square of the negative ones, times the square root of 365 |
| exposure | share of market time during which a position was open |

Days are UTC; a market that never closes has 365 of them. The risk-free rate is taken as zero.
"""

import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from holdfast.contracts.money import ZERO, add, canonical
from replay.outcome import Outcome, ReplayTrade

DAYS_A_YEAR = 365
_PLACES = 8


def summarize(outcome: Outcome) -> dict[str, Any]:
    """Ready for JSON: money as texts, ratios as numbers or None."""
    trades = outcome.trades
    wins = [trade for trade in trades if trade.profit > 0]
    losses = [trade for trade in trades if trade.profit < 0]
    returns = daily_returns(outcome)
    span = outcome.last_ms - outcome.first_ms
    return {
        "trades": len(trades),
        "wins": len(wins),
        "losses": len(losses),
        "win_rate": _ratio(len(wins), len(trades)),
        "profit": canonical(_sum(trades)),
        "profit_ratio": _ratio(float(_sum(trades)), float(outcome.capital)),
        "expectancy": canonical(_mean(trades)) if trades else None,
        "expectancy_ratio": expectancy_ratio(trades),
        "profit_factor": _ratio(float(_sum(wins)), -float(_sum(losses))),
        "max_drawdown": _rounded(outcome.drawdown_ratio),
        "max_drawdown_money": round(outcome.drawdown, 2),
        "sharpe": sharpe(returns),
        "sortino": sortino(returns),
        "exposure": _ratio(outcome.held_ms, span),
        "fees": canonical(_added(trade.fees for trade in trades)),
        "capital": canonical(outcome.capital),
        "final_equity": round(outcome.value(), 2),
        "exit_reasons": dict(sorted(Counter(trade.exit_reason for trade in trades).items())),
        "ignored_signals": dict(sorted(Counter(why for _, why in outcome.ignored).items())),
        "refused_intents": dict(sorted(outcome.refused.items())),
        "from_ms": outcome.first_ms,
        "to_ms": outcome.last_ms,
    }


def daily_returns(outcome: Outcome) -> list[float]:
    """From one day's end to the next, the first from the capital; days without a price count as no change."""
    returns: list[float] = []
    before = float(outcome.capital)
    last_day: int | None = None
    for day, equity in sorted(outcome.days.items()):
        if last_day is not None:
            returns += [0.0] * (day - last_day - 1)
        returns.append(equity / before - 1 if before > 0 else 0.0)
        before, last_day = equity, day
    return returns


def sharpe(returns: Sequence[float]) -> float | None:
    """See the module. None with fewer than two days, or where nothing varies."""
    if len(returns) < 2:
        return None
    mean = math.fsum(returns) / len(returns)
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in returns) / (len(returns) - 1))
    return _rounded(mean / spread * math.sqrt(DAYS_A_YEAR)) if spread > 0 else None


def sortino(returns: Sequence[float]) -> float | None:
    """See the module. None with fewer than two days, or without a losing one."""
    if len(returns) < 2:
        return None
    mean = math.fsum(returns) / len(returns)
    downside = math.sqrt(math.fsum(min(one, 0.0) ** 2 for one in returns) / len(returns))
    return _rounded(mean / downside * math.sqrt(DAYS_A_YEAR)) if downside > 0 else None


def expectancy_ratio(trades: Sequence[ReplayTrade]) -> float | None:
    """(1 + mean win / mean loss) x win rate - 1: what a trade brings per unit that a losing one costs."""
    wins = [float(trade.profit) for trade in trades if trade.profit > 0]
    losses = [-float(trade.profit) for trade in trades if trade.profit < 0]
    if not trades or not losses:
        return None
    mean_win = math.fsum(wins) / len(wins) if wins else 0.0
    mean_loss = math.fsum(losses) / len(losses)
    win_rate, loss_rate = len(wins) / len(trades), len(losses) / len(trades)
    return _rounded((mean_win * win_rate - mean_loss * loss_rate) / mean_loss)


def _sum(trades: Sequence[ReplayTrade]) -> Decimal:
    return _added(trade.profit for trade in trades)


def _added(amounts: Any) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = add(total, amount)
    return total


def _mean(trades: Sequence[ReplayTrade]) -> Decimal:
    return (_sum(trades) / len(trades)).quantize(Decimal("1e-8"))


def _ratio(part: float, whole: float) -> float | None:
    return _rounded(part / whole) if whole else None


def _rounded(value: float) -> float:
    return round(value, _PLACES) + 0.0
