"""The command `holdfast`: a small composition. Every module in `MODULES` has `register(app)`, which adds its commands.

Heavy imports belong into the commands, not to the head of their modules: health checks start this every few seconds.
"""

from typing import Annotated

import typer

from holdfast import __version__
from holdfast.cli import (
    adopt,
    alarms,
    backups,
    dlq,
    docs,
    doctor,
    door,
    exits,
    exits_cli,
    health,
    hooks,
    importing,
    keys,
    learn,
    limits_cli,
    listing,
    orders,
    paper,
    proving,
    quarantine,
    reconcile,
    replay,
    settings_cli,
    steer,
    store_tools,
    top,
    trace,
    up,
    watch,
    why,
)

MODULES = (
    up,
    limits_cli,
    listing,
    why,
    orders,
    exits_cli,
    exits,
    steer,
    watch,
    trace,
    top,
    doctor,
    dlq,
    alarms,
    adopt,
    importing,
    store_tools,
    proving,
    backups,
    quarantine,
    reconcile,
    learn,
    paper,
    replay,
    settings_cli,
    keys,
    hooks,
    door,
    health,
    docs,
)

app = typer.Typer(
    name="holdfast",
    help="Keeps a trading bot's positions safe: no open position is ever without its exits, through any restart.",
    epilog="Exit codes: 0 done; 1 it did not work; 2 wrong usage; 3 not confirmed, repeating with the same id is safe; "
    "69 something needed is not there; 73 another process holds it; 78 the configuration is wrong; 130 interrupted. "
    "`check` has its own: 0 consistent, 1 partial, 2 critical.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"holdfast {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end."),
    ] = False,
) -> None:
    """Options before any command."""


for module in MODULES:
    module.register(app)


def main() -> None:
    """The entry point."""
    from holdfast.runtime import early  # not where tests import this module: it stops their collector

    early.over()
    app()


if __name__ == "__main__":
    main()
