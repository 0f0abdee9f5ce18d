"""`holdfast audit`: the independent auditor, run as a program of its own because the product never imports its proofs."""

import subprocess
import sys

import typer

from holdfast.cli.common import Config, Dir, fail, settings_of
from holdfast.cli.show import Json


def register(app: typer.Typer) -> None:
    app.command("audit")(audit)


def audit(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Compare ledger and venue with an arithmetic of its own; changes nothing. Exit code 0 all holds, 1 not at rest, 2 broken."""
    settings = settings_of(directory, config)
    if settings.ledger.url:
        fail("the auditor reads SQLite; for a store in PostgreSQL there is `holdfast ledger verify`", 2)
    command = [sys.executable, "-m", "proving.audit", str(settings.dir), *(["--json"] if as_json else [])]
    raise typer.Exit(subprocess.run(command, check=False).returncode)
