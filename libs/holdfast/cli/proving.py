"""`sim`: the proofs, started as processes of their own, because they stand above everything they prove."""

import os
import subprocess
import sys
from typing import Annotated

import typer

from holdfast.runtime.supervisor import import_roots


def register(app: typer.Typer) -> None:
    app.command("sim")(sim)


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
) -> None:
    """Run the real services through seeded worlds of faults, in virtual time; exit code 1 when anything was violated."""
    given = {"steps": steps, "seed": seed, "only": only, "for": seconds, "jobs": jobs}
    arguments = ["--seeds", str(seeds), "--first", str(first)]
    for name, value in given.items():
        arguments += [] if value is None else [f"--{name}", str(value)]
    arguments += ["--trace"] if trace else []
    arguments += ["--json"] if as_json else []
    raise typer.Exit(start("proving.sim", arguments))


def start(module: str, arguments: list[str]) -> int:
    """Run a module of the proofs with *arguments* in this terminal; its exit code."""
    roots = os.pathsep.join([*import_roots(), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], env={**os.environ, "PYTHONPATH": roots}, check=False
    ).returncode
