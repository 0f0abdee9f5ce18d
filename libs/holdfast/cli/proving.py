"""`audit` and `drill`: proofs, run as programs of their own because the product never imports what proves it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.common import Config, Dir, fail, settings_of
from holdfast.cli.show import Json


def register(app: typer.Typer) -> None:
    app.command("audit")(audit)
    app.command("drill")(drill)


def audit(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Compare ledger and venue with an arithmetic of its own; changes nothing. Exit code 0 all holds, 1 not at rest, 2 broken."""
    settings = settings_of(directory, config)
    if settings.ledger.url:
        fail("the auditor reads SQLite; for a store in PostgreSQL there is `holdfast ledger verify`", 2)
    command = [sys.executable, "-m", "proving.audit", str(settings.dir), *(["--json"] if as_json else [])]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def drill(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long it is broken.")] = 2,
    seed: Annotated[int, typer.Option(help="Which faults come in which order.")] = 1,
    compose: Annotated[bool, typer.Option("--compose", help="In containers, with Docker Compose, instead of processes.")] = False,
    only: Annotated[str, typer.Option(help="Kinds of faults by their first words, with commas: kill,wipe.", show_default=False)] = "",
    feed: Annotated[str | None, typer.Option(help="Prices; default: made-up ones that move a lot.", show_default=False)] = None,
    directory: Annotated[Path | None, typer.Option("--dir", help="Keep the data in this new folder.", show_default=False)] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Break a Holdfast of its own while it trades, and show how each invariant and each recovery fared. Exit code 0, or 1."""
    given = ["--minutes", str(minutes), "--seed", str(seed)]
    given += ["--compose"] * compose + ["--json"] * as_json + (["--only", only] if only else [])
    given += (["--feed", feed] if feed else []) + (["--dir", str(directory)] if directory else [])
    sys.stdout.flush()
    os.execv(sys.executable, (sys.executable, "-m", "proving.drill", *given))  # noqa: S606 - signals reach it
