"""One run from files to an outcome: which files, on which terms, through the machine."""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Kind
from holdfast.domain.instruments import resolve
from holdfast.runtime.settings import Settings
from replay.candles import CandleRun
from replay.machine import Machine
from replay.orders import Sizing
from replay.outcome import Outcome
from replay.policy import NO_END_S
from replay.signals import BadSignals, Signal
from replay.ticks import TickRun
from services.market_feed.recorded import CANDLES, BadRecording, Recording, check
from services.market_feed.spec import ReplayFile, guess_symbol

KEEP = 200_000
"""Candles of a file that are kept in memory (some 100 MB) instead of being read twice."""


class BadRun(ValueError):  # noqa: N818 - it reads as what it is
    """The run cannot be made as it was asked for; the text says why."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run is made on. Percents as the settings have them; money in the quote currency."""

    capital: Decimal
    stake: Decimal
    """Margin of an entry whose signal names no quantity; its value is this times the leverage."""
    leverage: Decimal
    fee_pct: Decimal
    slippage_pct: Decimal
    soft_signals: bool = False


def recordings_of(
    paths: Sequence[Path], names: Sequence[str], signals: Sequence[Signal], *, candles: bool
) -> list[Recording]:
    """The files, read through and checked, each with the symbol it tells of. Raises BadRun or BadRecording."""
    if names and len(names) != len(paths):
        raise BadRun(f"{len(paths)} files and {len(names)} times --symbol; name one per file, in their order")
    symbols = list(names) if names else [_symbol_of(path, paths, signals) for path in paths]
    found: list[Recording] = []
    for path, name in zip(paths, symbols, strict=True):
        try:
            symbol = resolve(name).symbol
        except ContractViolation as error:
            raise BadRun(f"{path}: {error.text}") from None
        if symbol in {one.file.symbol for one in found}:
            raise BadRun(f"{path}: {symbol} is told of by another file already; name them with --symbol")
        recording = check(ReplayFile(path, symbol), keep=KEEP if candles else 0)
        if (recording.shape == CANDLES) is not candles:
            other = "--candles" if recording.shape == CANDLES else "--ticks"
            raise BadRecording(f"{path}: it holds {recording.shape}; give it with {other}")
        found.append(recording)
    return found


def _symbol_of(path: Path, paths: Sequence[Path], signals: Sequence[Signal]) -> str:
    named = {signal.symbol for signal in signals}
    guess = guess_symbol(path.name)
    if len(paths) == 1 and len(named) == 1 and (guess is None or guess not in named):
        return named.pop()
    if guess is None:
        raise BadRun(f"{path}: its name tells no symbol; name it with --symbol, like --symbol BTC/USDT")
    return guess


def by_symbol(
    signals: Sequence[Signal], recordings: Sequence[Recording], path: Path
) -> dict[str, list[Signal]]:
    """Signals of each symbol. Raises BadSignals for one that no file tells of."""
    known = {one.file.symbol for one in recordings}
    sorted_out: dict[str, list[Signal]] = defaultdict(list)
    for signal in signals:
        if signal.symbol not in known:
            raise BadSignals(
                f"{path}, line {signal.line}, column symbol: there are no prices of {signal.symbol}, only of {', '.join(sorted(known))}"
            )
        sorted_out[signal.symbol].append(signal)
    return sorted_out


def settings_of(
    base: Settings, terms: Terms, kinds: dict[str, Kind], exits: dict[str, Any], *, candles: bool
) -> Settings:
    """*base* as a run takes it: its paper venue on *terms*, its exits from *exits*, candles taken at their word.

    What is spot by its name is traded as a linear contract of the same price, so that it can be short and levered.
    """
    document = base.model_dump(mode="python")
    document["accounts"] = ["main"]
    document["exits"] = exits
    document["paper"] |= {
        "fee_pct": terms.fee_pct,
        "maker_fee_pct": terms.fee_pct,
        "slippage_pct": terms.slippage_pct,
        "capital": terms.capital,
        "leverage": terms.leverage,
        "market": "auto",
    }
    document["executor"]["reconcile_every_s"] = float(
        NO_END_S
    )  # nothing gets lost between this venue and this ledger
    document["ledger"] |= {"capital": terms.capital, "url": ""}
    given = {name: dict(one) for name, one in document["instruments"].items()}
    for symbol, kind in kinds.items():
        given[symbol] = {**given.get(symbol, {}), "kind": kind}
    document["instruments"] = given
    if candles:
        document["scanner"]["bad_print_pct"] = Decimal(1000)
    return Settings.model_validate(document)


def kinds_of(recordings: Sequence[Recording], names: Sequence[str]) -> dict[str, Kind]:
    """What each symbol is traded as: inverse where its name says so, else linear."""
    named = names or [one.file.symbol for one in recordings]
    return {
        one.file.symbol: Kind.INVERSE if resolve(name).kind is Kind.INVERSE else Kind.LINEAR
        for one, name in zip(recordings, named, strict=True)
    }


async def play(
    settings: Settings,
    terms: Terms,
    recordings: Sequence[Recording],
    signals: dict[str, list[Signal]],
    *,
    candles: bool,
) -> Outcome:
    """The run. Its store and record live in a temporary folder and are gone afterwards."""
    outcome = Outcome(terms.capital)
    inverse = frozenset(name for name, one in settings.instruments.items() if one.kind is Kind.INVERSE)
    sizing = Sizing(terms.stake * terms.leverage, inverse)
    kind = CandleRun if candles else TickRun
    with tempfile.TemporaryDirectory(prefix="holdfast-replay-") as folder:
        async with Machine(settings, Path(folder), outcome.hear) as machine:
            await kind(machine, outcome, sizing, soft=terms.soft_signals).play(recordings, signals)
    return outcome
