"""`audit`, `sim`, `drill`: the proofs, started as programs of their own, because the product never imports what proves it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.common import Config, Dir, fail, settings_of
from holdfast.cli.show import Json
from holdfast.runtime.supervisor import import_roots


def register(app: typer.Typer) -> None:
    app.command("audit")(audit)
    app.command("sim")(sim)
    app.command("drill")(drill)


def audit(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Compare ledger and venue with an arithmetic of its own; changes nothing. Exit code 0 all holds, 1 not at rest, 2 broken."""
    settings = settings_of(directory, config)
    if settings.ledger.url:
        fail("the auditor reads SQLite; for a store in PostgreSQL there is `holdfast ledger verify`", 2)
    raise typer.Exit(start("proving.audit", [str(settings.dir), *(["--json"] if as_json else [])]))


def sim(
    seeds: Annotated[int, typer.Option(min=1, help="How many worlds.")] = 20,
    first: Annotated[int, typer.Option(min=0, help="The first seed.")] = 1,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of each world before it comes to rest.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Run this one alone.", show_default=False)] = None,
    trace: Annotated[bool, typer.Option("--trace", help="With --seed: print every step.")] = False,
    only: Annotated[
        str | None,
        typer.Option(
            help="With --seed: let only these faults happen (keys, comma between).", show_default=False
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--for", min=0, help="Begin no seed after so many seconds.", show_default=False),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Worlds at once; default: one a processor.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Figures for programs.")] = False,
    planted: Annotated[
        bool, typer.Option("--planted", help="Hunt the planted bugs, each in up to --seeds worlds.")
    ] = False,
    designs: Annotated[
        bool,
        typer.Option("--designs", help="The designs of the incidents, and Holdfast, in the same worlds."),
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="With --planted or --designs: keep the figures for the docs.")
    ] = False,
) -> None:
    """Run the real services through seeded worlds of faults, in virtual time; exit code 1 when anything was violated."""
    if planted or designs:
        raise typer.Exit(
            _compare("proving.planted" if planted else "proving.designs", seeds, first, jobs, write=write)
        )
    given = {"steps": steps, "seed": seed, "only": only, "for": seconds, "jobs": jobs}
    arguments = ["--seeds", str(seeds), "--first", str(first)]
    for name, value in given.items():
        arguments += [] if value is None else [f"--{name}", str(value)]
    arguments += ["--trace"] if trace else []
    arguments += ["--json"] if as_json else []
    raise typer.Exit(start("proving.sim", arguments))


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


def _compare(module: str, seeds: int, first: int, jobs: int | None, *, write: bool) -> int:
    """The planted bugs, or the designs; their exit code."""
    arguments = ["--seeds", str(seeds), "--first", str(first), "--jobs", str(jobs or os.cpu_count() or 1)]
    return start(module, arguments + (["--write"] if write else []))


def start(module: str, arguments: list[str]) -> int:
    """Run a module of the proofs with *arguments* in this terminal; its exit code."""
    roots = os.pathsep.join([*import_roots(), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], env={**os.environ, "PYTHONPATH": roots}, check=False
    ).returncode
