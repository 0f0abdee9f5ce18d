"""`fold`, and `ledger verify|republish`: tools beside the running ledger. None of them can write to its store."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import FAILED, Config, Dir, fail, settings_of
from holdfast.cli.show import Column, Json, console, plain, print_json, table

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.runtime.settings import Settings
    from holdfast.store.verify import Check

Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
_CHECKS = (
    Column("", "passed", lambda passed: "✓" if passed else "✗"), Column("check", "check"), Column("looked at", "count", "{:,}".format, right=True),
    Column("failures", "failures", right=True), Column("what it means", "what"),
)  # fmt: skip

ledger = typer.Typer(
    name="ledger", help="Look after the store: verify, back up, restore, rebuild.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    app.command("fold")(fold)
    ledger.command("verify")(verify)
    ledger.command("republish")(republish)
    app.add_typer(ledger)


def fold(
    file: Annotated[str, typer.Argument(help="Fills as JSON lines; - reads standard input.")],
) -> None:
    """Fills through the ledger's own arithmetic: after each line, how that line's symbol stands."""
    from holdfast.contracts.base import ContractViolation
    from holdfast.domain.fold import fold_lines

    try:
        for answer in fold_lines(_lines(file)):
            print(answer)
    except ContractViolation as error:
        sys.stdout.flush()
        fail(str(error))
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")


def _lines(file: str) -> Iterator[str]:
    if file == "-":
        yield from sys.stdin
        return
    with Path(file).open(encoding="utf-8", errors="replace") as lines:
        yield from lines


def verify(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Check the whole store: chain, tables, every fill folded again, every trade explained. Exit code 0, or 1."""
    from holdfast.store.reading import StoreMissing, open_reader
    from holdfast.store.verify import verify as run

    settings = settings_of(directory, config)
    try:
        with open_reader(settings.ledger.url, settings.dir) as store:
            checks = run(store, None if as_json or not sys.stderr.isatty() else _progress)
    except StoreMissing as error:
        fail(str(error))
    if as_json:
        print_json([check.as_row() for check in checks])
    else:
        _show(checks)
    if not all(check.passed for check in checks):
        raise typer.Exit(FAILED)


def _progress(updates: int) -> None:
    print(f"\r{updates:,} updates read", end="", file=sys.stderr, flush=True)


def _show(checks: "list[Check]") -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    console().print(table([check.as_row() for check in checks], _CHECKS))
    for check in checks:
        for problem in check.problems:
            print(f"  {check.check}: {plain(problem)}")
        if check.failures > len(check.problems):
            print(f"  {check.check}: and {check.failures - len(check.problems)} more")
    broken = [check.check for check in checks if not check.passed]
    print(f"broken: {', '.join(broken)}" if broken else "the ledger is whole")


def republish(yes: Yes = False, directory: Dir = None, config: Config = None) -> None:
    """For a bus that is ahead of this store, or of another store: replace what it says of the ledger by a fresh snapshot."""
    settings = settings_of(directory, config)
    lock = ledger_lock(settings, "holdfast ledger republish")
    try:
        if not yes:
            print(
                "The streams ledger.updated and ledger.snapshot will be removed from the bus. The store is not touched, and no"
            )
            print(
                "work is lost: at its next start the ledger publishes a snapshot, and every service starts again from it."
            )
            if not sys.stdin.isatty():
                fail("nothing was removed; say --yes if that is what you want", 2)
            if not typer.confirm("Remove them?"):
                fail("nothing was removed")
        removed = on_bus(directory, config, _remove)
    finally:
        lock.release()
    print(f"removed {removed}. Start the ledger: `holdfast up`, or `holdfast run ledger`")


async def _remove(client: "Client") -> str:
    from holdfast.contracts.streams import LEDGER_SNAPSHOT, LEDGER_UPDATED

    told = [
        f"{stream.name} ({await client.forget(stream):,} entries)"
        for stream in (LEDGER_UPDATED, LEDGER_SNAPSHOT)
    ]
    return " and ".join(told)


def ledger_lock(settings: "Settings", who: str) -> Any:
    """The ledger's own lock, so that none can start meanwhile. Ends the command when one runs."""
    from holdfast.runtime.locks import AlreadyHeld, hold
    from holdfast.store.opening import lock_of, sqlite_path

    try:
        return hold(lock_of(sqlite_path(settings.dir)), who)
    except AlreadyHeld as held:
        fail(f"stop the ledger first: {held}")
