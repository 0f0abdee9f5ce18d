"""One fresh look at everything: the ledger as of now, newest prices, newest heartbeats, and the light that follows.

This reads the bus itself, not the state files: a file can be old, and says what its writer believed.
"""

from dataclasses import dataclass, field
from typing import Any

from holdfast.bus.client import Client, Unreachable
from holdfast.contracts.codes import Role
from holdfast.contracts.messages import Heartbeat, LedgerUpdated, Tick
from holdfast.contracts.rows import OrderRow
from holdfast.contracts.streams import HEARTBEAT, LEDGER_UPDATED, MARKET_TICK
from holdfast.contracts.wire import Entry, entry_time_ms
from holdfast.domain.light import Light, LightInputs, Limits, light
from holdfast.domain.valuation import Mark, Marks
from holdfast.domain.view import LedgerView
from holdfast.domain.watch import FORGET_MS, Seen, Services, watched
from holdfast.runtime.settings import Settings

FEW_TICKS, ALL_TICKS = 2_000, 50_000
"""Ticks read back at first, and when a price of an open position is not among them."""

LATELY_MS = 10_000
"""Longer than the grace for arming and the age of a heartbeat together: what is older must be armed by now."""


def limits_of(settings: Settings) -> Limits:
    """How old things may be, as the settings say."""
    return Limits(
        max_tick_age_ms=int(settings.state.max_tick_age_s * 1000),
        max_heartbeat_age_ms=int(settings.state.max_heartbeat_age_s * 1000),
        exit_alarm_ms=int(settings.scanner.alarm_after_s * 1000),
    )


@dataclass(slots=True)
class Look:
    """What was found. `trouble`: why the ledger is not known; then the view is empty."""

    now_ms: int
    view: LedgerView = field(default_factory=LedgerView)
    changes: dict[str, Seen] = field(default_factory=dict)
    """When each open position last changed, as far as that matters."""
    marks: dict[str, Mark] = field(default_factory=dict)
    ticks: dict[str, Tick] = field(default_factory=dict)
    """The newest tick of each symbol: it carries market time."""
    services: Services = field(default_factory=Services)
    heard_since_ms: int = 0
    trouble: str | None = None

    def light(self, limits: Limits) -> Light:
        """The light as of this look."""
        view = self.view
        return light(
            LightInputs(
                now_ms=self.now_ms, started_ms=self.heard_since_ms, limits=limits, beats=self.services.beats, view_seq=view.seq,
                positions=watched(view.positions.values(), self.changes, self.marks, view.seq, self.now_ms) if view.is_loaded else None,
                books=list(view.books.values()), quarantine=list(view.quarantine.values()), unknown_orders=view.unknown_orders(),
                untrusted=[self.trouble] if self.trouble is not None else [],
            )
        )  # fmt: skip

    def service_rows(self, limits: Limits) -> list[dict[str, Any]]:
        """One row per service, required ones that were never heard included."""
        return self.services.table(self.services.beats, self.now_ms, limits)


async def look(client: Client, *, prices: bool = True, services: bool = True) -> Look:
    """Look at everything once."""
    seen = Look(client.clock.wall_ms())
    try:
        await client.ledger(seen.view)
        seen.changes = await _last_changes(client, seen.view)
    except Unreachable as error:
        seen.view, seen.trouble = LedgerView(), str(error)
    if prices:
        await _read_ticks(client, seen)
    if services:
        await _read_heartbeats(client, seen)
    seen.now_ms = client.clock.wall_ms()
    return seen


async def _last_changes(client: Client, view: LedgerView) -> dict[str, Seen]:
    """When each open position last changed. What did not change lately counts as changed at the end of "lately"."""
    now, recent, edge = client.clock.wall_ms(), dict[str, tuple[int, int]](), (view.seq, 0)
    async for entry in client.backwards(LEDGER_UPDATED):
        update = entry.message
        if isinstance(update, LedgerUpdated) and update.seq <= view.seq:
            edge = (update.seq, update.at)
            if now - update.at > LATELY_MS:
                break
            for row in update.positions:
                recent.setdefault(row.position_id, edge)
            edge = (update.seq - 1, update.at)
    exits = sorted(
        (order for order in view.orders.values() if order.role is Role.EXIT), key=_reserved_at, reverse=True
    )
    started = {order.position_id: order.reserved_at for order in exits}
    out = {}
    for row in view.positions.values():
        seq, at = recent.get(row.position_id, edge)
        since = started.get(row.position_id, at) if row.exit_attempts else None
        out[row.position_id] = Seen(row.version, seq, at, since)
    return out


def _reserved_at(order: OrderRow) -> int:
    return order.reserved_at


async def _read_ticks(client: Client, seen: Look) -> None:
    entries = await client.newest(MARKET_TICK, FEW_TICKS)
    known = {entry.message.symbol for entry in entries if isinstance(entry.message, Tick)}
    if len(entries) == FEW_TICKS and {row.symbol for row in seen.view.positions.values()} - known:
        entries = await client.newest(MARKET_TICK, ALL_TICKS)
    marks = Marks(client.settings.scanner.bad_print_pct)
    for entry in reversed(entries):
        if isinstance(entry.message, Tick):
            seen.ticks[entry.message.symbol] = entry.message
            marks.take(entry.message, _heard(entry, client))
    seen.marks = marks.by_symbol


async def _read_heartbeats(client: Client, seen: Look) -> None:
    since = client.clock.wall_ms() - FORGET_MS
    entries = []
    async for entry in client.backwards(HEARTBEAT):
        if entry_time_ms(entry.entry_id) < since:
            break
        entries.append(entry)
    seen.heard_since_ms = since
    for entry in reversed(entries):
        if isinstance(entry.message, Heartbeat):
            seen.services.hear(entry.message, _heard(entry, client))


def _heard(entry: Entry, client: Client) -> int:
    return min(client.clock.wall_ms(), entry_time_ms(entry.entry_id))
