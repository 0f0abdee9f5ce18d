"""`exits reseed`: a new policy for positions that are open; `models`: whose predictions were right, and whose are not used."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.asking import on_bus
from holdfast.cli.common import NOT_CONFIRMED, Config, Dir, fail, settings_of
from holdfast.cli.show import Column, Json, console, print_json, print_rows, table

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.contracts.exit_messages import ExitAdjust
    from holdfast.contracts.rows import PositionRow
    from holdfast.domain.exit_policy import PolicyTable
    from holdfast.domain.model_scores import Scores

exits = typer.Typer(help="Exits of open positions.", no_args_is_help=True)


@exits.callback()
def _group() -> None:
    """Exits of open positions."""


@exits.command()
def reseed(
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without, only show what would change.")] = False,
    insist: Annotated[bool, typer.Option("--insist", help="Loosen, too: take the policy as it is. A trailed stop stays where it is.")] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the ledger.")] = 10,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show what the configured exit policy would change of open positions, tighter only; --apply asks the ledger to do it."""
    from holdfast.runtime.exit_settings import policy_table

    policies = policy_table(settings_of(directory, config))

    async def work(client: "Client") -> tuple[list[dict[str, Any]], int]:
        return await _reseed(client, policies, wait, apply=apply, insist=insist)

    rows, missing = on_bus(directory, config, work)
    print_rows(
        rows, _CHANGES, as_json=as_json, empty="nothing to change: no open position, or all have it already"
    )
    if missing:
        fail(f"{missing} of {len(rows)} changes are not confirmed; repeating this is safe", NOT_CONFIRMED)
    if rows and not apply and not as_json:
        print("nothing was changed; --apply does it")


_CHANGES = (
    Column("symbol", "symbol"), Column("side", "side"), Column("stop-loss", "stop_loss"), Column("becomes", "new_stop_loss"),
    Column("take-profit", "take_profit"), Column("becomes", "new_take_profit"), Column("terms", "terms_change"), Column("kept", "notes"),
    Column("account", "account"), Column("position_id", "position_id"),
)  # fmt: skip


async def _reseed(
    client: "Client", policies: "PolicyTable", wait: float, *, apply: bool, insist: bool
) -> tuple[list[dict[str, Any]], int]:
    """What changes, row by row, and how many changes the ledger has not confirmed."""
    from holdfast.contracts.messages import LedgerUpdated
    from holdfast.contracts.streams import EXIT_ADJUST, LEDGER_UPDATED
    from holdfast.contracts.wire import Out
    from holdfast.domain.policy import apply_adjust
    from holdfast.domain.view import LedgerView

    view = LedgerView()
    await client.ledger(view)
    rows, wishes = [], []
    for row in view.positions.values():
        wish = wanted(row, policies, client.ids.new(), client.clock.wall_ms(), insist=insist)
        changed, notes = apply_adjust(row, wish)
        if changed is not row:
            rows.append(_change(row, changed, notes))
            wishes.append(wish)
    if not apply or not wishes:
        return rows, 0
    open_ids = {wish.id for wish in wishes}

    def heard(message: Any) -> bool:
        if isinstance(message, LedgerUpdated) and message.cause_id is not None:
            open_ids.discard(message.cause_id)
        return not open_ids

    await client.ask([Out(EXIT_ADJUST, wish) for wish in wishes], LEDGER_UPDATED, heard, wait)
    return rows, len(open_ids)


def wanted(row: "PositionRow", policies: "PolicyTable", key: str, at: int, *, insist: bool) -> "ExitAdjust":
    """The policy's exits for an open position, as an adjustment. Levels that somebody named for it stay: only seeds change."""
    from getpass import getuser

    from holdfast.contracts.exit_messages import ExitAdjust
    from holdfast.domain.exit_policy import policy_for
    from holdfast.domain.liquidation import guard_price
    from holdfast.domain.policy import seed_exits

    policy, _ = policy_for(policies.of(row.account, row.symbol), row.kind, None)
    seeded = {note.partition(":")[0] for note in row.seeded}
    guard = guard_price(row.kind, row.side, row.entry_price, policy.terms)
    seeds = seed_exits(
        side=row.side,
        entry_price=row.entry_price,
        take_profit=None,
        stop_loss=None,
        policy=policy,
        guard=guard,
    )
    return ExitAdjust(
        id=key, at=at, position_id=row.position_id, by=f"cli:{getuser()}", why="exits reseed", insist=insist,
        stop_loss=seeds.stop_loss_spec if "stop_loss" in seeded and (not insist or row.stop_by == "set") else None,
        take_profit=seeds.take_profit_spec if "take_profit" in seeded else None,
        ttl_s=policy.max_hold_s, terms=str(policy.terms),
    )  # fmt: skip


def _change(row: "PositionRow", changed: "PositionRow", notes: list[str]) -> dict[str, Any]:
    before, after = row.model_dump(mode="json"), changed.model_dump(mode="json")
    old, new = set(row.terms.split()), set(changed.terms.split())
    terms = [f"-{one}" for one in sorted(old - new)] + [f"+{one}" for one in sorted(new - old)]
    kept = {
        name: before[name]
        for name in ("position_id", "account", "symbol", "side", "stop_loss", "take_profit", "terms")
    }
    return kept | {
        "new_stop_loss": after["stop_loss"], "new_take_profit": after["take_profit"], "new_terms": after["terms"],
        "terms_change": " ".join(terms) or None, "notes": notes,
    }  # fmt: skip


# -- models ---------------------------------------------------------------------------------------------------------


def models(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Who predicts, how often that was right, whether confidence means what it says, and what is not used, and why."""

    async def work(client: "Client") -> "Scores":
        return await _scores(client)

    scores = on_bus(directory, config, work)
    rows = model_rows(scores)
    if as_json:
        print_json(rows)
    elif not rows:
        print("no predictions on the bus")
    else:
        console().print(table([row | {"calibration": _bins(row["calibration"])} for row in rows], _MODELS))


_MODELS = (
    Column("model", "model"), Column("taken", "taken", right=True), Column("refused", "refused"), Column("judged", "judged", right=True),
    Column("hit rate", "hit_rate", right=True), Column("Brier", "brier", right=True), Column("said > was right (how many)", "calibration"),
)  # fmt: skip


def _bins(bins: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['confidence']} > {one['right']} ({one['count']})" for one in bins)


def model_rows(scores: "Scores") -> list[dict[str, Any]]:
    """One row per model that has said anything, in order of its name."""
    from holdfast.domain.model_scores import Score

    guard, rows = scores.guard, []
    for model in sorted({*scores.scores, *guard.refused}):
        score = scores.scores.get(model) or Score(model)
        rows.append(
            {
                "model": model, "taken": guard.taken[model], "refused": dict(guard.refused.get(model, {})), "judged": score.judged,
                "pending": scores.pending[model], "hit_rate": None if score.hit_rate is None else str(score.hit_rate),
                "brier": None if score.brier is None else str(score.brier), "calibration": score.calibration(),
            }
        )  # fmt: skip
    return rows


async def _scores(client: "Client") -> "Scores":
    """Predictions, ticks and openings that the bus keeps, in the order of their wall times."""
    from holdfast.contracts.exit_messages import Prediction
    from holdfast.contracts.messages import LedgerUpdated, Tick
    from holdfast.contracts.streams import LEDGER_UPDATED, MARKET_TICK, PREDICTION
    from holdfast.contracts.wire import entry_time_ms
    from holdfast.domain.instruments import canonical_or
    from holdfast.domain.model_scores import Scores
    from holdfast.domain.predictions import MALFORMED, UNREADABLE

    scores, events = Scores(), []
    for order, (stream, count) in enumerate(
        ((LEDGER_UPDATED, 10_000), (MARKET_TICK, 20_000), (PREDICTION, 10_000))
    ):
        for entry in reversed(await client.newest(stream, count)):
            message = entry.message
            at = message.at if isinstance(message, LedgerUpdated) else entry_time_ms(entry.entry_id)
            events.append((at, order, entry))
    for at, _, entry in sorted(events, key=lambda event: event[:2]):
        message = entry.message
        if isinstance(message, Tick) and message.bid > 0:
            scores.price(canonical_or(message.symbol), message.bid, at)
        elif isinstance(message, LedgerUpdated):
            for row in message.positions:
                if row.version == 1:
                    scores.guard.opened(row.symbol, row.side.value, row.recorded_at)
        elif isinstance(message, Prediction):
            scores.hear(message, canonical_or(message.symbol), at)
        elif entry.stream is PREDICTION:
            scores.guard.refuse(UNREADABLE, MALFORMED)
    return scores


def register(app: typer.Typer) -> None:
    app.add_typer(exits, name="exits")
    app.command()(models)
