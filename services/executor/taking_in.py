"""Symbols of which an account's settings say beforehand what becomes of positions that others open there.

Everything that Holdfast did not open goes to quarantine, and waits for a person. The settings can be that person's word, symbol by
symbol: `adopt` takes such a position in, with exits from policy; `flatten` takes it in and closes it at the market, but only where
nothing of ours is held on its book: what would be mixed with ours stays in quarantine.

Nothing is remembered: what is in quarantine, and which position came from there, the ledger's rows say.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from holdfast.contracts.codes import Code, ExitReason, Role
from holdfast.contracts.messages import OrderRequest, OrderReserve
from holdfast.contracts.rows import PositionRow, QuarantineRow, book_id
from holdfast.contracts.wire import Outgoing, digest
from holdfast.domain.exits import thresholds_version
from holdfast.domain.invariants import exit_side
from holdfast.domain.precheck import order_id_of
from holdfast.domain.settle import came_from_quarantine, taken_in
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.live_settings import AccountSettings
from services.executor.desk import Desk, patience_ms
from services.executor.guard import Guard, Key
from services.executor.owed import Owed

AGAIN_MS = 1_000
"""Between two attempts to close one position; twice as long after each, at most a minute."""


@dataclass(slots=True)
class _Attempt:
    intent_id: str
    not_before: int
    """Monotonic ms."""
    times: int = 1


class TakingIn:
    """See the module. *accounts*: the live ones."""

    def __init__(
        self, accounts: Mapping[str, AccountSettings], clock: Clock, view: LedgerView, guard: Guard, owed: Owed, desk: Desk, incarnation: str
    ) -> None:  # fmt: skip
        self._accounts, self._clock, self._view, self._guard = accounts, clock, view, guard
        self._owed, self._desk, self._incarnation = owed, desk, incarnation
        self._attempts: dict[str, _Attempt] = {}
        """By position id."""

    def due(self, keys: Iterable[Key], epochs: Mapping[str, int]) -> list[Outgoing]:
        """What is taken in at *keys*, and proposals to close what is to be closed."""
        outputs: list[Outgoing] = []
        for key in keys:
            one = self._accounts.get(key[0])
            if one is None or not (one.adopt or one.flatten):
                continue
            now, mono = self._clock.wall_ms(), self._clock.monotonic_ms()
            for row in self._wanted(key, one):
                outputs += self._owed.owe(taken_in(row, now), mono)
            for position in self._to_close(key, one):
                outputs += self._close(key, position, epochs.get(key[0], 0), mono)
        self._attempts = {one: kept for one, kept in self._attempts.items() if one in self._view.positions}
        return outputs

    def _wanted(self, key: Key, one: AccountSettings) -> list[QuarantineRow]:
        rows = [row for row in self._view.quarantine.values() if (row.account, row.exchange) == key]
        wanted = [
            row
            for row in rows
            if row.price is not None
            and (row.symbol in one.adopt or (row.symbol in one.flatten and not self._is_ours(key, row)))
        ]
        return sorted(wanted, key=lambda row: (row.executed_at, row.at, row.quarantine_id))

    def _is_ours(self, key: Key, row: QuarantineRow) -> bool:
        book = book_id(*key, row.symbol, row.leg)
        held = [one for one in self._view.positions.values() if one.book_id == book]
        return any(not came_from_quarantine(one) for one in held) or bool(
            self._view.live_orders(book, Role.ENTRY)
        )

    def _to_close(self, key: Key, one: AccountSettings) -> Iterator[PositionRow]:
        for position in self._view.positions.values():
            if (position.account, position.exchange) != key or position.symbol not in one.flatten:
                continue
            if came_from_quarantine(position) and not self._view.live_orders(position.book_id, Role.EXIT):
                yield position

    def objection(self, key: Key, book: str) -> tuple[Code, str] | None:
        """Why no entry may be opened on *book*: what it holds is to be closed, and ours would be closed with it."""
        one, position = self._accounts.get(key[0]), self._view.position(book)
        if (
            one is None
            or position is None
            or position.symbol not in one.flatten
            or not came_from_quarantine(position)
        ):
            return None
        return (
            Code.EXIT_IN_PROGRESS,
            f"[account.{key[0]}] flatten: what others opened on {book} is being closed",
        )

    def _close(self, key: Key, position: PositionRow, epoch: int, mono: int) -> list[Outgoing]:
        before, rules = (
            self._attempts.get(position.position_id),
            self._guard.venues[key].rules(position.symbol),
        )
        if rules is None or (
            before is not None and (before.intent_id in self._desk.pending or mono < before.not_before)
        ):
            return []
        times = 1 if before is None else before.times + 1
        said = ("flatten", position.position_id, str(position.exit_attempts), str(times))
        intent_id, now = "t-" + digest(*said), self._clock.wall_ms()
        self._attempts[position.position_id] = _Attempt(intent_id, mono + patience_ms(AGAIN_MS, times), times)
        order = OrderRequest(
            order_id=order_id_of(position.account, intent_id, position.leg), kind=position.kind, contract_size=position.contract_size,
            settle=position.settle, role=Role.EXIT, side=exit_side(position.side), quantity_step=rules.quantity_step,
            position_id=position.position_id, position_version=position.version, reason=ExitReason.FLATTEN,
            attempt=position.exit_attempts + 1, thresholds=thresholds_version(position), send_by=now + self._desk.send_within_ms,
        )  # fmt: skip
        reserve = OrderReserve(
            id="r-" + digest(intent_id, self._incarnation), cause_id=position.position_id,
            correlation_id=position.correlation_id or position.position_id, at=now, intent_id=intent_id, intent_digest=digest(*said),
            account=position.account, exchange=position.exchange, symbol=position.symbol, leg=position.leg, strategy=position.strategy,
            incarnation=self._incarnation, epoch=epoch, order=order,
        )  # fmt: skip
        return [self._desk.propose(reserve, mono)]
