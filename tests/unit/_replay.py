"""Replays of a handful of candles or ticks: written as tuples, played through everything, told as tuples."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from holdfast.runtime.settings import Settings
from replay.outcome import Outcome, ReplayTrade
from replay.policy import completed
from replay.run import Terms, by_symbol, kinds_of, play, recordings_of, settings_of
from replay.signals import read_signals

D = Decimal
T0 = 1_700_000_040_000
"""A whole minute."""
MINUTE = 60_000
BTC, ETH = "BTC/USDT", "ETH/USDT"
WIDE = {"stop_loss_pct": "50", "take_profit_pct": "100"}
"""Exits that no test meets by accident."""

Ohlc = tuple[float | int | str, ...]


def terms_of(**given: Any) -> Terms:
    """No costs, ample money, entries of 100 units of the quote currency."""
    plain: dict[str, Any] = {
        "capital": D(100_000),
        "stake": D(100),
        "leverage": D(1),
        "fee_pct": D(0),
        "slippage_pct": D(0),
    }
    return Terms(**(plain | given))


def write_candles(path: Path, candles: Sequence[Ohlc], start: int = T0) -> Path:
    lines = [
        f"{start + n * MINUTE},{','.join(str(price) for price in ohlc)}" for n, ohlc in enumerate(candles)
    ]
    path.write_text("\n".join(["ts_ms,open,high,low,close", *lines]) + "\n")
    return path


def write_signals(path: Path, signals: Sequence[tuple[Any, ...]], symbol: str = BTC) -> Path:
    """Each (candle, action) or (candle, action, quantity); a candle's number, or a time in ms."""
    lines = []
    for when, action, *quantity in signals:
        at = when if when > 1_000_000 else T0 + when * MINUTE
        lines.append(f"{at},{symbol},{action},{quantity[0] if quantity else ''}")
    path.write_text("\n".join(["ts_ms,symbol,action,quantity", *lines]) + "\n")
    return path


def run_files(
    files: Sequence[Path],
    signals: Path,
    *,
    candles: bool,
    names: Sequence[str] = (),
    exits: Any = None,
    **terms: Any,
) -> Outcome:
    given = read_signals(signals)
    recordings = recordings_of(files, names, given, candles=candles)
    on = terms_of(**terms)
    settings = settings_of(
        Settings(), on, kinds_of(recordings, names), completed(WIDE | (exits or {})), candles=candles
    )
    chosen = by_symbol(given, recordings, signals)
    return asyncio.run(play(settings, on, recordings, chosen, candles=candles))


def run_candles(
    folder: Path, candles: Sequence[Ohlc], signals: Sequence[tuple[Any, ...]], **more: Any
) -> Outcome:
    file = write_candles(folder / "btcusdt.csv", candles)
    return run_files([file], write_signals(folder / "signals.csv", signals), candles=True, **more)


def told(trades: Sequence[ReplayTrade]) -> list[tuple[Any, ...]]:
    """(side, candle of entry, candle of exit, entry, exit, reason) of each."""
    return [
        (
            trade.side,
            (trade.opened_ms - T0) // MINUTE,
            (trade.closed_ms - T0) // MINUTE,
            trade.entry_price,
            trade.exit_price,
            trade.exit_reason,
        )
        for trade in trades
    ]


def mirrored(candles: Sequence[Ohlc], about: int = 200) -> list[Ohlc]:
    """The candles seen from the other side: every price as far below as it was above half of *about*."""
    return [
        tuple(about - D(str(price)) for price in (opened, low, high, closed))
        for opened, high, low, closed in candles
    ]


def kinds_for_linear() -> dict[str, Any]:
    """Settings under which BTC may be short, at no cost."""
    free = {"fee_pct": "0.1", "slippage_pct": "0"}
    return {"instruments": {BTC: {"kind": "linear"}}, "paper": free, "exits": completed(WIDE)}
