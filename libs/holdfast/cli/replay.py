"""`replay`: starts `python -m replay`, which stands above the services and is therefore never imported from here."""

import os
import sys

import typer

_TAKES_ALL = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    app.command("replay", context_settings=_TAKES_ALL)(replay)


def replay(context: typer.Context) -> None:
    """Candles or ticks and signals through the same handlers and rules, in seconds: trades, a summary, a report."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "replay", *context.args])  # noqa: S606 - the same process becomes the replay
