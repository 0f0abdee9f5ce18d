"""`import freqtrade`: a holdfast.toml out of a freqtrade configuration, and its open trades ready to be adopted."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.common import fail

importing = typer.Typer(name="import", help="Move in from another bot.", no_args_is_help=True)
SQLITE = b"SQLite format 3\0"


def register(app: typer.Typer) -> None:
    importing.command("freqtrade")(freqtrade)
    app.add_typer(importing)


def freqtrade(
    file: Annotated[Path, typer.Argument(metavar="CONFIG.json", help="Its configuration; comments in it are fine.")],
    database: Annotated[Path | None, typer.Option("--db", help="Its database; else the one that db_url names, or tradesv3*.sqlite beside it.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("holdfast.toml"),
    force: Annotated[bool, typer.Option("--force", help="Write over it.")] = False,
) -> None:  # fmt: skip
    """Write holdfast.toml from a freqtrade configuration and say every difference. Nothing of freqtrade's is changed."""
    from holdfast.contracts.base import ContractViolation
    from holdfast.domain.freqtrade import exact, moved, read_config

    try:
        config = read_config(file.read_text(encoding="utf-8"))
        place = database or _database(file, config)
        trades = open_trades(place) if place is not None else []
        to = moved(config, [exact(trade["leverage"]) for trade in trades if trade.get("leverage")])
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read: {error}")
    except ContractViolation as error:
        fail(f"{error}; nothing was written")
    if out.exists() and not force:
        fail(f"{out} is there already; --force writes over it, --out names another. Nothing was written")
    out.write_text(to.toml(file.name), encoding="utf-8")
    _check(out)
    print(f"wrote {out}. What is different:\n")
    for key, text in to.differences:
        print(f"  {key}: {text}")
    print()
    if place is None:
        print("no database of freqtrade was found; --db names one")
    elif not trades:
        print(f"{place}: no open trades")
    else:
        print(
            f"{place}: {len(trades)} open trades. Stop freqtrade, start Holdfast, then: holdfast adopt {place}"
        )


def _database(file: Path, config: Mapping[str, Any]) -> Path | None:
    url = str(config.get("db_url") or "")
    names = [url.removeprefix("sqlite:///")] if url.startswith("sqlite:///") else []
    names += (
        ["tradesv3.dryrun.sqlite", "tradesv3.sqlite"] if config.get("dry_run", True) else ["tradesv3.sqlite"]
    )
    for name in names:
        for folder in (file.parent, file.parent.parent):
            if name and (folder / name).is_file():
                return folder / name
    return None


def _check(out: Path) -> None:
    """What was written must be a configuration; if not, that is a fault of ours, and said before anybody relies on it."""
    from holdfast.runtime.configuration import ConfigurationError, load

    try:
        load(config=out, env={}, dotenv=out.parent / "no.env")
    except ConfigurationError as error:
        fail(f"{out} was written, and needs your hand:\n{error}")


def is_database(file: Path) -> bool:
    with file.open("rb") as start:
        return start.read(len(SQLITE)) == SQLITE


def open_trades(file: Path) -> list[dict[str, Any]]:
    """The open trades of freqtrade's database, which is only read. Raises ContractViolation."""
    from holdfast.contracts.base import ContractViolation
    from holdfast.domain.freqtrade import COLUMNS, NEEDED

    try:
        with closing(sqlite3.connect(f"file:{file.resolve()}?mode=ro", uri=True)) as connection:
            have = {row[1] for row in connection.execute("PRAGMA table_info(trades)")}
            if have < NEEDED:
                raise ContractViolation("file", f"{file} has no table of trades as freqtrade keeps it")
            names = [name for name in COLUMNS if name in have]
            query = f"SELECT {', '.join(names)} FROM trades WHERE is_open = 1 ORDER BY id"  # noqa: S608 - our own names
            trades = [dict(zip(names, row, strict=True)) for row in connection.execute(query)]
            resting = _resting(connection)
    except sqlite3.Error as error:
        raise ContractViolation("file", f"{file} cannot be read: {error}") from None
    if resting:
        raise ContractViolation(
            "orders",
            f"orders of trades {', '.join(map(str, resting))} are still open at the exchange; cancel them first, stops too",
        )
    return trades


def _resting(connection: sqlite3.Connection) -> list[int]:
    """Open trades with orders at the exchange: what these still fill, nobody here would know of."""
    if not connection.execute("PRAGMA table_info(orders)").fetchall():
        return []
    query = "SELECT DISTINCT t.id FROM trades t JOIN orders o ON o.ft_trade_id = t.id WHERE t.is_open = 1 AND o.ft_is_open = 1 ORDER BY 1"
    return [row[0] for row in connection.execute(query)]
