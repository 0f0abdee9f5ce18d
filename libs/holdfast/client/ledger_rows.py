"""Open positions and closed trades as the bus tells them: the newest whole snapshot, and every update behind it."""

from typing import Any

from holdfast.client.core import PAGE, Call, Core, Pause, Steps, text
from holdfast.client.troubles import Forbidden, Unreachable
from holdfast.contracts.messages import LedgerSnapshot, SnapshotRequest, Trade
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.streams import LEDGER_SNAPSHOT, LEDGER_TRADE, LEDGER_UPDATED, SNAPSHOT_REQUEST
from holdfast.contracts.trusted import Tables, snapshot_of, update_of
from holdfast.contracts.wire import decode, fields_of

_POSITIONS = Tables("positions")
LOOK_AGAIN_S = 0.2
ASK_AFTER_S = 1.0


def positions(core: Core, seconds: float) -> Steps[list[PositionRow]]:
    """Every open position of the installation, oldest first. Raises Unreachable where no ledger has told within *seconds*."""
    deadline, ask_at = core.deadline(seconds), core.deadline(ASK_AFTER_S)
    while True:
        found = yield from _now(core, deadline)
        if found is not None:
            return sorted(found.values(), key=lambda row: (row.opened_at, row.position_id))
        now = core.clock.monotonic_ms()
        if now >= deadline:
            raise Unreachable(
                "the ledger has left no usable snapshot on the bus. Is it running? See `holdfast status`"
            )
        if now >= ask_at:
            ask_at = core.deadline(ASK_AFTER_S)
            yield from _ask(core, deadline)
        yield Pause(LOOK_AGAIN_S)


def _ask(core: Core, deadline: int) -> Steps[None]:
    wish = SnapshotRequest(id=core.ids.new(), at=core.clock.wall_ms(), by=core.place.name, why="client")
    try:
        yield from core.call(Call("xadd", (core.stream(SNAPSHOT_REQUEST), fields_of(wish))), deadline)
    except Forbidden:  # then it comes when it comes: at the ledger's start, and every half minute
        return


def _now(core: Core, deadline: int) -> Steps[dict[str, PositionRow] | None]:
    """By id; None while snapshot and updates do not fit together."""
    parts = yield from _newest_whole(core, deadline)
    if parts is None:
        return None
    found = {row.position_id: row for part in parts for row in part.positions if row.is_open}
    seq, store = parts[0].seq, parts[0].store_id
    while True:
        command = Call("xrange", (core.stream(LEDGER_UPDATED),), {"min": f"({seq}-0", "count": PAGE})
        rows = yield from core.call(command, deadline)
        for _, fields in rows:
            update = update_of(fields[b"body"], _POSITIONS)
            if update.seq != seq + 1 or update.store_id != store:
                return None
            seq = update.seq
            for row in update.positions:
                found[row.position_id] = row
                if not row.is_open:
                    del found[row.position_id]
        if len(rows) < PAGE:
            return found


def _newest_whole(core: Core, deadline: int) -> Steps[list[LedgerSnapshot] | None]:
    last, found = "+", dict[int, LedgerSnapshot]()
    wanted = ""
    while True:
        command = Call("xrevrange", (core.stream(LEDGER_SNAPSHOT),), {"max": last, "count": 50})
        rows: list[Any] = yield from core.call(command, deadline)
        for _, fields in rows:
            part = snapshot_of(fields[b"body"])
            if part.snapshot_id != wanted:
                wanted, found = (part.snapshot_id, {}) if part.part == part.parts else ("", {})
            if wanted:
                found[part.part] = part
                if len(found) == part.parts:
                    return [found[number] for number in range(1, part.parts + 1)]
        if len(rows) < 50:
            return None
        last = f"({text(rows[-1][0])}"


def trades(core: Core, count: int, strategy: str | None) -> Steps[list[Trade]]:
    """The newest *count* closed positions that the bus holds, newest first; only those of *strategy* where it is named."""
    found: list[Trade] = []
    last, deadline = "+", core.deadline(None)
    while len(found) < count:
        command = Call("xrevrange", (core.stream(LEDGER_TRADE),), {"max": last, "count": PAGE})
        rows = yield from core.call(command, deadline)
        for entry_id, fields in rows:
            message = decode(LEDGER_TRADE, text(entry_id), fields or {}).message
            if isinstance(message, Trade) and strategy in {None, message.strategy}:
                found.append(message)
        if len(rows) < PAGE:
            break
        last = f"({text(rows[-1][0])}"
    return found[:count]
