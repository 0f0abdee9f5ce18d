"""Trades on made-up and on recorded markets, as the learner gets them: a path of closing prices behind each entry.

*Pullbacks*: a long is bought 3 % below the fair value, towards which the price is drawn; but three in ten are no pullbacks: the price
drifts away for good. So the best take-profit lies a little above the fair value, and the best stop is wide enough for the noise
and tight enough for the breakdowns. Both can be found by brute force.

*Noise*: one long random walk with fat tails (Student's t, 4 degrees of freedom) and spells of high and low volatility; longs and shorts,
by the toss of a coin, every half hour, held at the same time. No exit is better than another.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from holdfast.contracts.codes import ExitReason, PositionSide
from holdfast.contracts.outcomes import PathPoint, TradeOutcome
from holdfast.contracts.rows import PositionRow, book_id
from holdfast.domain.thresholds import BY_NAME, Values
from learning.counterfactual import outcome_under

Floats = npt.NDArray[np.float64]

MINUTE = 60_000
START = 1_700_000_000_000
FEE_PCT = Decimal("0.05")
PULLBACK_PCT, FAIR_PULL, STEP_PCT = 3.0, 0.05, 0.6
BREAKDOWNS, DRIFT_PCT = 0.3, -0.12
LENGTH = 120
"""Prices of a made-up trade, a minute apart; it is held for 100 of them at most."""


def price(value: float) -> Decimal:
    """Eight significant digits."""
    return Decimal(f"{value:.8g}")


def point(at: int, ohlc: Sequence[float]) -> PathPoint:
    first, high, low, last = (price(one) for one in ohlc)
    return PathPoint.trusted(at=at, first=first, low=low, high=high, last=last)


def row_of(
    name: str, at: int, entry: Decimal, side: PositionSide, values: Values, fee_pct: Decimal = FEE_PCT
) -> PositionRow:
    """A fresh position of one unit with *values* as its thresholds."""
    long = side is PositionSide.LONG
    terms = [
        f"{key.replace('trailing_', 'trailing.', 1)}={values[one.name]}"
        for one in BY_NAME.values()
        if (key := one.field) is not None and one.name in values
    ]
    stop, take = (1 - values["stop_loss_pct"] / 100), (1 + values["take_profit_pct"] / 100)
    if not long:
        stop, take = 2 - stop, 2 - take
    return PositionRow(
        position_id=name, book_id=book_id("main", "paper", "X/USDT"), account="main", exchange="paper", symbol="X/USDT", side=side,
        kind="linear", contract_size=Decimal(1), settle="USDT", quantity=Decimal(1), cost=entry, entry_price=entry,
        take_profit=price(float(entry * take)), stop_loss=price(float(entry * stop)),
        take_profit_spec=f"{values['take_profit_pct']}%", stop_loss_spec=f"{values['stop_loss_pct']}%",
        terms=" ".join([*terms, f"fee_pct={fee_pct}"]),
        expires_at=at + int(values["max_hold_s"] * 1000), opened_at=at, changed_at=at, recorded_at=at,
        bought=Decimal(1) if long else Decimal(0), sold=Decimal(0) if long else Decimal(1), entry_value=entry,
    )  # fmt: skip


def trade(
    name: str,
    at: int,
    path: list[PathPoint],
    through: int,
    side: PositionSide,
    values: Values,
    fee_pct: Decimal = FEE_PCT,
) -> TradeOutcome:
    """A closed trade whose market went along *path*, and that ended as its thresholds say."""
    row = row_of(name, at, path[0].first, side, values, fee_pct)
    unknown = TradeOutcome(
        id=f"o-{name}", at=at, position_id=name, row=row, closed_at=through, exit_reason=ExitReason.TTL,
        exit_price=path[-1].last, realized_pnl=Decimal(0), path=path, through=through,
    )  # fmt: skip
    ended = outcome_under(unknown)
    pnl = price(ended.profit_ratio) * row.entry_value
    return unknown.evolve(
        closed_at=ended.closed_at, exit_reason=ended.reason, exit_price=ended.price, realized_pnl=pnl
    )


def pullbacks(rng: np.random.Generator, count: int) -> Floats:
    """Paths of *count* trades: percent from the entry price, by minute."""
    paths = np.zeros((count, LENGTH))
    broken = rng.random(count) < BREAKDOWNS
    for minute in range(1, LENGTH):
        before = paths[:, minute - 1]
        pull = np.where(broken, DRIFT_PCT, FAIR_PULL * (PULLBACK_PCT - before))
        paths[:, minute] = before + pull + STEP_PCT * rng.standard_normal(count)
    return paths


def pullback_trades(
    rng: np.random.Generator, count: int, values: Values, begin: int = 0
) -> list[TradeOutcome]:
    """*count* trades one after the other, from number *begin* on."""
    found = []
    for number, path in enumerate(pullbacks(rng, count), begin):
        at = START + number * LENGTH * MINUTE
        points = [point(at + n * MINUTE, [100 + move] * 4) for n, move in enumerate(path)]
        through = at + (LENGTH - 1) * MINUTE
        found.append(trade(f"p{number}", at, points, through, PositionSide.LONG, values))
    return found


def noise_trades(rng: np.random.Generator, count: int, values: Values, every: int = 30) -> list[TradeOutcome]:
    """*count* trades on one random walk, a new one each *every* minutes: several are open at once."""
    length = count * every + LENGTH
    calm = np.repeat(rng.uniform(0.5, 1.5, size=length // 500 + 1), 500)[:length]
    moves = 0.35 * calm * rng.standard_t(4, size=length) / np.sqrt(2)
    prices = 100 * np.exp(np.cumsum(moves - np.square(0.35 * calm) / 200) / 100)
    found = []
    for number in range(count):
        begin, at = number * every, START + number * every * MINUTE
        path = [point(at + n * MINUTE, [one] * 4) for n, one in enumerate(prices[begin : begin + LENGTH])]
        side = PositionSide.LONG if rng.random() < 0.5 else PositionSide.SHORT
        found.append(trade(f"n{number}", at, path, at + (LENGTH - 1) * MINUTE, side, values))
    return found


Surface = Mapping[tuple[float, float], float]


def brute_force(
    paths: Floats, takes: Sequence[float], stops: Sequence[float], hold: int, risk_aversion: float
) -> Surface:
    """(take-profit, stop) -> mean net profit less the penalty for losses, in percent: by looking at every path, without the rules."""
    fee = float(FEE_PCT)
    held = paths[:, : hold + 1]
    found: dict[tuple[float, float], float] = {}
    for take in takes:
        for stop in stops:
            ended = (held >= take) | (held <= -stop)
            ended[:, -1] = True
            move = held[np.arange(len(held)), ended.argmax(axis=1)]
            net = move - fee * (2 + move / 100)
            found[take, stop] = float(
                net.mean() - risk_aversion * np.sqrt(np.square(np.minimum(net, 0)).mean())
            )
    return found
