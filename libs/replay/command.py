"""The command line of `holdfast replay`."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from holdfast.contracts.money import parse_amount
from holdfast.runtime.configuration import EXIT_CODE, ConfigurationError, load
from holdfast.runtime.faults import Terminal
from holdfast.runtime.settings import Settings
from replay import show
from replay.outcome import Outcome
from replay.policy import exits_of
from replay.run import BadRun, Terms, by_symbol, kinds_of, play, recordings_of, settings_of
from replay.signals import BadSignals, read_signals
from services.market_feed.recorded import BadRecording

FAILED, USAGE = 1, 2
CAPITAL = Decimal(100_000)
ENTRIES = 10
"""Without --stake, the capital is good for so many entries at a time."""

Candles = Annotated[
    list[Path] | None, typer.Option("--candles", help="A CSV of candles; may be given several times.")
]
Ticks = Annotated[
    list[Path] | None, typer.Option("--ticks", help="A CSV of trades or quotes; may be given several times.")
]
Signals = Annotated[
    Path | None, typer.Option("--signals", help="CSV: ts_ms,symbol,action[,quantity,confidence].")
]
Policy = Annotated[
    Path | None,
    typer.Option("--policy", help="A TOML file with a section exits; rules it does not name are off."),
]
Symbol = Annotated[
    list[str] | None, typer.Option("--symbol", help="What a file tells of, one per file; default: its name.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON line per trade, then one with the summary.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a report to this file.")]
Fee = Annotated[
    str | None, typer.Option("--fee", help="Percent of the value, per fill. Default: the paper venue's.")
]
Slippage = Annotated[
    str | None,
    typer.Option(
        "--slippage", help="Percent that market orders fill worse. Default: 0; --ticks: the paper venue's."
    ),
]
Capital = Annotated[
    str | None, typer.Option("--capital", help="Money to start with, in the quote currency. Default: 100000.")
]
Leverage = Annotated[
    str | None, typer.Option("--leverage", help="A position's value / its margin. Default: 1.")
]
Stake = Annotated[
    str | None,
    typer.Option("--stake", help="Margin of an entry without a quantity. Default: a tenth of the capital."),
]
Soft = Annotated[
    bool, typer.Option("--soft-signals", help="Vetoes may hold back what exit_long and exit_short ask for.")
]
Journal = Annotated[
    str | None,
    typer.Option(
        "--journal", help="Instead: a recorded ledger, folded anew and compared: folder, file or redis://..."
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", help="The configuration. Default: holdfast.toml, if there is one.")
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files, on which terms."""

    paths: Sequence[Path]
    candles: bool
    signals: Path
    names: Sequence[str]
    policy: Path | None
    terms: Terms


def fail(text: str, code: int = FAILED) -> NoReturn:
    """Say *text* on standard error and end with *code*."""
    print(f"holdfast replay: {text}", file=sys.stderr)
    raise typer.Exit(code)


def replay(
    candles: Candles = None,
    ticks: Ticks = None,
    signals: Signals = None,
    policy: Policy = None,
    symbol: Symbol = None,
    as_json: Json = False,
    html: Html = None,
    fee: Fee = None,
    slippage: Slippage = None,
    capital: Capital = None,
    leverage: Leverage = None,
    stake: Stake = None,
    soft_signals: Soft = False,
    journal: Journal = None,
    config: Config = None,
) -> None:
    """Candles or ticks and signals through the system's own handlers and rules, in one process, in market time."""
    if journal is not None:
        _compare(journal, as_json=as_json)
        return
    paths = candles or ticks
    if not paths or (candles and ticks):
        fail("give either --candles or --ticks, or --journal", USAGE)
    if signals is None:
        fail("--signals is missing: the CSV that says when to enter and when to leave", USAGE)
    try:
        base = load(config=config)
        money = _amount("--capital", capital, CAPITAL)
        terms = Terms(
            capital=money,
            stake=_amount("--stake", stake, money / ENTRIES),
            leverage=_amount("--leverage", leverage, Decimal(1)),
            fee_pct=_percent("--fee", fee, base.paper.fee_pct),
            slippage_pct=_percent("--slippage", slippage, Decimal(0) if candles else base.paper.slippage_pct),
            soft_signals=soft_signals,
        )
        wanted = Wanted(paths, bool(candles), signals, symbol or [], policy, terms)
        settings, outcome = _run(base, wanted)
    except ConfigurationError as error:
        fail(str(error), EXIT_CODE)
    except (BadRun, BadRecording, BadSignals) as error:
        fail(str(error), USAGE)
    except Terminal as error:
        fail(str(error))
    _tell(settings, wanted, outcome, as_json=as_json, html=html)


def _run(base: Settings, wanted: Wanted) -> tuple[Settings, Outcome]:
    """Everything is read and checked before anything is played."""
    given = read_signals(wanted.signals)
    recordings = recordings_of(wanted.paths, wanted.names, given, candles=wanted.candles)
    signals = by_symbol(given, recordings, wanted.signals)
    exits = exits_of(base, wanted.policy, soft=wanted.terms.soft_signals)
    kinds = kinds_of(recordings, wanted.names)
    settings = settings_of(base, wanted.terms, kinds, exits, candles=wanted.candles)
    outcome = asyncio.run(play(settings, wanted.terms, recordings, signals, candles=wanted.candles))
    return settings, outcome


def _tell(settings: Settings, wanted: Wanted, outcome: Outcome, *, as_json: bool, html: Path | None) -> None:
    print("\n".join(show.policy_lines(settings)), file=sys.stderr if as_json else sys.stdout)
    print("\n".join(show.as_json(outcome) if as_json else show.as_text(outcome)))
    if html is not None:
        from replay.report import report

        names = [path.name for path in (*wanted.paths, wanted.signals)]
        html.write_text(report(settings, outcome, names), encoding="utf-8")
        print(f"report: {html}", file=sys.stderr)


def _compare(journal: str, *, as_json: bool) -> None:
    from replay.journal import BadJournal, compare

    try:
        comparison = compare(journal)
    except BadJournal as error:
        fail(str(error), USAGE)
    print("\n".join(show.json_lines([comparison.as_row()]) if as_json else comparison.lines()))
    if comparison.differences:
        raise typer.Exit(FAILED)


def _amount(name: str, text: str | None, default: Decimal) -> Decimal:
    """A positive amount; *default* where none is given."""
    if text is None:
        return default
    amount = _parsed(name, text)
    if amount <= 0:
        raise BadRun(f"{name} {text}: must be greater than zero")
    return amount


def _percent(name: str, text: str | None, default: Decimal) -> Decimal:
    if text is None:
        return default
    percent = _parsed(name, text.removesuffix("%"))
    if not 0 <= percent < 100:
        raise BadRun(f"{name} {text}: a percent from 0 to below 100 is expected")
    return percent


def _parsed(name: str, text: str) -> Decimal:
    try:
        return parse_amount(text.strip())
    except ValueError as error:
        raise BadRun(f"{name} {text}: {error}") from None
