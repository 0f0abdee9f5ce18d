"""The command `holdfast`: a small composition. Every module in `MODULES` has `register(app)`, which adds its commands.

Heavy imports belong into the commands, not to the head of their modules: health checks start this every few seconds.
"""

from typing import Annotated

import typer

from holdfast import __version__
from holdfast.cli import (
    adopt,
    backups,
    docs,
    door,
    exits,
    exits_cli,
    health,
    keys,
    listing,
    orders,
    paper,
    proving,
    quarantine,
    replay,
    settings_cli,
    steer,
    store_tools,
    up,
    watch,
    why,
)

MODULES = (
    up,
    listing,
    why,
    orders,
    exits_cli,
    exits,
    steer,
    watch,
    adopt,
    store_tools,
    proving,
    backups,
    quarantine,
    paper,
    replay,
    settings_cli,
    keys,
    door,
    health,
    docs,
)

app = typer.Typer(
    name="holdfast",
    help="Keeps a trading bot's positions safe: no open position is ever without its exits, through any restart.",
    no_args_is_help=True,
    add_completion=False,
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
    app()


if __name__ == "__main__":
    main()
