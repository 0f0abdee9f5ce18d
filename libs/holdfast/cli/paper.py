"""`paper rebuild`: make the paper venue's record what the ledger says, when the two do not belong together.

Nothing here happens by itself: a record and a ledger of different histories block entries until a person has decided
which of them is right. This is the decision for the ledger.
"""

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.common import Config, Dir, fail, settings_of

if TYPE_CHECKING:
    from holdfast.contracts.rows import PositionRow
    from holdfast.runtime.settings import Settings

paper = typer.Typer(name="paper", help="Look after the paper venue's record.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    paper.command("rebuild")(rebuild)
    app.add_typer(paper)


@paper.callback()
def options() -> None:
    """Look after the paper venue's record."""


def rebuild(
    account: Annotated[str, typer.Option("--account", help="Whose record.")] = "main",
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    directory: Dir = None,
    config: Config = None,
) -> None:
    """Take the ledger's open positions as the truth of the paper venue. The executor must be stopped; nothing is deleted."""
    from holdfast.runtime.clock import SystemClock
    from holdfast.venues.paper_record import PaperRecord

    settings = settings_of(directory, config)
    lock = _executor_lock(settings, account)
    try:
        store_id, positions, last_trade, cash = _ledger_says(settings, account)
        for row in positions:
            print(f"{row.symbol} {row.side.value} {row.quantity} at {row.entry_price}")
        print(
            f"{len(positions)} open position(s) of {account} will be what the paper venue holds; its live orders end, its history is kept."
        )
        if not yes and not (sys.stdin.isatty() and typer.confirm("Rebuild the record?")):
            fail("nothing was changed; say --yes if that is what you want", 2)
        record = PaperRecord(settings.dir / "paper" / f"{account}.db", account)
        try:
            record.rebuild_from_ledger(
                positions, store_id, now_ms=SystemClock().wall_ms(), last_trade=last_trade, opening_cash=cash
            )
        finally:
            record.close()
    finally:
        lock.release()
    print("done. Start the executor: `holdfast up`, or `holdfast run executor`")


def _executor_lock(settings: "Settings", account: str) -> Any:
    """The account's own lock, so that no executor can start meanwhile. Ends the command when one runs."""
    from holdfast.runtime.locks import AlreadyHeld, hold

    if account not in settings.accounts:
        fail(f"no account {account}; there are {', '.join(settings.accounts)}")
    try:
        return hold(settings.dir / "locks" / f"executor-{account}.lock", "holdfast paper rebuild")
    except AlreadyHeld as held:
        fail(f"stop the executor first: {held}")


def _ledger_says(
    settings: "Settings", account: str
) -> tuple[str, "list[PositionRow]", str | None, dict[str, Decimal]]:
    """Store id, open paper positions, the last paper trade it knows, and realised money by currency."""
    from holdfast.contracts.rows import PositionRow, TotalRow
    from holdfast.store.reading import StoreMissing, open_reader

    try:
        with open_reader(settings.ledger.url, settings.dir) as store:
            store_id = next(iter(store.rows("SELECT store_id FROM store")))[0]
            rows = [
                PositionRow.model_validate_json(row[0]) for row in store.rows("SELECT body FROM positions")
            ]
            totals = [TotalRow.model_validate_json(row[0]) for row in store.rows("SELECT body FROM totals")]
            trades = [
                row[1]
                for row in store.rows("SELECT account, trade_id FROM fills WHERE exchange = 'paper'")
                if row[0] == account
            ]
    except StoreMissing as error:
        fail(str(error))
    numbers = [int(name[1:]) for name in trades if name[:1] == "p" and name[1:].isdigit()]
    cash: dict[str, Decimal] = {}
    for total in totals:
        if total.account == account:
            cash[total.settle] = cash.get(total.settle, Decimal(0)) + total.realized_pnl
    mine = [row for row in rows if (row.account, row.exchange) == (account, "paper")]
    return store_id, mine, f"p{max(numbers)}" if numbers else None, cash
