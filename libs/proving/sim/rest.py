"""Quiescence: faults are off, everything goes on for a bounded virtual time, prices sweep through every stop. Then all must agree.

Asked at rest: the auditor's whole comparison (venue = ledger), each intent that an executor took on has exactly one end, each
wish was answered, every open position is armed, no stop is crossed, the state files parse and say what the ledger says, every
service runs.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.contracts.messages import row_json
from holdfast.contracts.rows import OrderRow, PositionRow

if TYPE_CHECKING:
    from proving.sim.world import World

SETTLE_S, SWEEP_S, BOUND_S = 90.0, 4.0, 30.0
"""Longest time to come to rest after the faults; of each sweep of prices; longest from a crossed stop to a closed position."""
SWEEP_PCT = 0.7
"""Per tick and symbol, more than three ticks a second: about 10 % each way."""
LOOK_EVERY_S = 2.0
NOT_AN_END = frozenset({"accepted", "unknown"})


async def come_to_rest(world: "World") -> None:
    """See the module. Raises Violated."""
    await _until_quiet(world, SETTLE_S)
    for direction in (-1, 2):
        world.market.drift_pct = SWEEP_PCT * direction
        await _pass(world, SWEEP_S)
        world.market.drift_pct = world.market.volatility = 0.0
        await _until_quiet(world, BOUND_S)
    for number, text in _complaints(world):
        world.inspector.report(number, text)
    world.inspector.at_rest()
    world.inspector.raise_found()


async def _until_quiet(world: "World", limit_s: float) -> None:
    """Until there is nothing to complain of, and has not been for a while; or the time is over."""
    end, quiet = world.loop.time() + limit_s, 0
    while world.loop.time() < end and quiet < 2:
        await _pass(world, LOOK_EVERY_S)
        quiet = 0 if _complaints(world) else quiet + 1


async def _pass(world: "World", seconds: float) -> None:
    end = world.loop.time() + seconds
    while world.loop.time() < end:
        await asyncio.sleep(0.5)
        world.inspector.raise_found()


def _complaints(world: "World") -> list[tuple[str, str]]:
    """What is not as it must be at rest."""
    inspector = world.inspector
    found = [
        ("INV-10", f"{name} does not run: {world.ends.why.get(name)}")
        for name in world.services
        if not world.lives(name)
    ]
    answers = inspector.answers()
    found += [
        (
            "INV-4",
            f"intent {intent_id} was taken on and has no end: {answers.get(intent_id, {}).get('status')}",
        )
        for intent_id in sorted(inspector.taken)
        if answers.get(intent_id, {}).get("status", "unknown") in NOT_AN_END
    ]
    found += [("INV-4", f"wish {intent_id} was never answered") for intent_id in world.producer.unanswered()]
    if not inspector.is_armed():
        beat = inspector.beats.get("exit_scanner", {})
        told = {key: beat.get(key) for key in ("armed", "armed_through", "unarmed", "unreadable")}
        found.append(
            ("INV-2", f"not armed: {told}; {len(inspector.positions())} positions, ledger at {inspector.seq}")
        )
    found += inspector.watch.leftovers() + world.producer.outlived() + world.producer.contradicted
    return found + _crossed(world) + _files(world) + _views(world)


def _crossed(world: "World") -> list[tuple[str, str]]:
    found = []
    for row in world.inspector.positions():
        bid, ask = (float(price) for price in world.market.quote(row["symbol"]))
        is_long, stop, profit = row["side"] == "long", float(row["stop_loss"]), row.get("take_profit")
        if bid <= stop if is_long else ask >= stop:
            found.append(("INV-6", f"{row['position_id']} is open at {bid}/{ask}, beyond its stop {stop}"))
        if profit is not None and (bid >= float(profit) if is_long else ask <= float(profit)):
            found.append(
                ("INV-6", f"{row['position_id']} is open at {bid}/{ask}, beyond its profit {profit}")
            )
    return found


def _files(world: "World") -> list[tuple[str, str]]:
    """The state files parse, are of this sequence, hold the same positions as the ledger, and the light is green."""
    folder, found = world.settings.state_directory(), []
    documents: dict[str, Any] = {}
    for name in ("positions_state", "positions_ledger", "kpis_v7", "status"):
        try:
            documents[name] = json.loads((folder / f"{name}.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            found.append(("INV-8", f"{name}.json cannot be read: {error}"))
    seq = world.inspector.seq
    for name, document in documents.items():
        if document["seq"] != seq:
            found.append(("INV-8", f"{name}.json is of {document['seq']}, the ledger at {seq}"))
    light = documents.get("status", {})
    if light.get("status") != "consistent":
        found.append(("INV-10", f"the light is {light.get('status')}: {light.get('reasons')}"))
    entries = documents.get("positions_ledger", {}).get("entries", [])
    held = sorted(row["position_id"] for row in world.inspector.positions())
    if sorted(entry["position_id"] for entry in entries) != held:
        found.append(("INV-8", f"positions_ledger.json has {len(entries)} positions, the ledger {len(held)}"))
    return found


def _views(world: "World") -> list[tuple[str, str]]:
    """INV-8: every service's view is the ledger, as far as it looks at it."""
    found = []
    positions = {row["position_id"]: row for row in world.inspector.positions()}
    orders = {row["order_id"]: row for row in world.inspector.live_orders()}
    for name, process in sorted(world.processes.items()):
        view = process.app.view if process.app is not None else None
        if view is None:
            continue
        if view.seq != world.inspector.seq:
            found.append(
                ("INV-8", f"the view of {name} is at {view.seq}, the ledger at {world.inspector.seq}")
            )
        if _rows(view.positions) != positions:
            found.append(("INV-8", f"the view of {name} has other positions than the ledger"))
        if any(orders.get(key) != row for key, row in _rows(view.orders).items()):
            found.append(("INV-8", f"the view of {name} has other orders than the ledger"))
    return found


def _rows(rows: Mapping[str, PositionRow | OrderRow]) -> dict[str, Any]:
    return {key: json.loads(row_json(row)) for key, row in rows.items()}
