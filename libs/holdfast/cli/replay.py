"""`replay`, `venue-sim`: start `python -m replay` or `venue_sim`, which stand above the services and are never imported from here."""

import os
import sys

import typer

_TAKES_ALL = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    app.command("replay", context_settings=_TAKES_ALL)(replay)
    app.command("venue-sim", context_settings=_TAKES_ALL)(venue_sim)


def replay(context: typer.Context) -> None:
    """Candles or ticks and signals through the same handlers and rules, in seconds: trades, a summary, a report."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "replay", *context.args])  # noqa: S606 - the same process becomes the replay


def venue_sim(context: typer.Context) -> None:
    """A pretend exchange on 127.0.0.1 that speaks the wire of Binance USD-M futures, with faults on demand; for tests."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "venue_sim", *context.args])  # noqa: S606 - the same process becomes the venue
