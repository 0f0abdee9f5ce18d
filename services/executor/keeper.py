"""Keeps each position's stop at its venue: proposes what `domain.protecting` says is to be done, as any order is proposed.

A stop comes two hops after the fill, whether or not the scanner lives. Nothing is kept here that matters: what rests, the
ledger's rows say, and those are what the venue was seen to hold. An intent's id derives from the position, from how many
stops it has had, and from what is asked; so the same is proposed again after any restart, and the ledger records it once.

On spot a stop locks the coins that an exit would sell. There it gives way first and is placed anew afterwards, and while an exit may be
waiting for the coins none is placed.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from holdfast.contracts.codes import Code, OrderState, OrderType, ResultStatus, Role
from holdfast.contracts.messages import CancelRequest, LedgerUpdated, OrderRequest, OrderReserve, Refusal
from holdfast.contracts.money import ZERO, round_down
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.contracts.wire import Outgoing, digest
from holdfast.domain.exits import STOPS, thresholds_version
from holdfast.domain.invariants import exit_side
from holdfast.domain.precheck import least_quantity, order_id_of
from holdfast.domain.protecting import Do, Locking, ProtectTerms, Step, limit_of, next_step, resting
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.venues.port import Rules, Venue
from services.executor.desk import Desk, patience_ms
from services.executor.way_out import WayOut

AGAIN_MS = 500
"""After a stop that was refused, or taken away by somebody; twice as long after each further one, at most a minute."""
MISSING_MS = 10_000
"""A position that should have a stop at the venue, and has had none for so long, is told."""
_AS_ASKED = frozenset({Code.REPLACED, Code.POSITION_GONE, Code.DISPLACED})


@dataclass(slots=True)
class _Care:
    """What is remembered of one position."""

    intent_id: str = ""
    """What was proposed for it last."""
    times: int = 0
    """How often in a row that came to nothing."""
    not_before: int = 0
    """Monotonic ms."""
    refused_there: bool = False
    """The venue has refused the last stop, because the price is there."""
    missing_since: int | None = None
    """Monotonic ms since which no stop of it is proven to rest."""
    cut: bool = False
    """On spot: its last stop was smaller for want of free coins."""
    why: str = ""


class Keeper:
    """See the module. *terms*: of every live account; None where no stop is to rest at the venue."""

    def __init__(
        self,
        *,
        terms: Mapping[str, ProtectTerms | None],
        clock: Clock,
        view: LedgerView,
        venues: Mapping[tuple[str, str], Venue],
        desk: Desk,
        way_out: WayOut,
        epoch: Callable[[str], int],
        incarnation: str,
        triggered: Mapping[str, int],
    ) -> None:
        self._terms, self._clock, self._view, self._venues = terms, clock, view, venues
        self._desk, self._way_out, self._epoch, self._incarnation = desk, way_out, epoch, incarnation
        self._triggered = triggered
        self._cares: dict[str, _Care] = {}
        """By position id: every open position of a live account."""

    # -- what the ledger shows --------------------------------------------------------------------------------------------

    def load(self) -> None:
        """The view was loaded afresh."""
        known, self._cares = self._cares, {}
        for position in self._view.positions.values():
            if position.account in self._terms:
                self._cares[position.position_id] = known.get(position.position_id) or _Care()

    def hear(self, update: LedgerUpdated) -> None:
        """What became of positions, of their stops, and of what was proposed."""
        if not self._terms:
            return
        for position in update.positions:
            if not position.is_open:
                self._cares.pop(position.position_id, None)
            elif position.account in self._terms:
                self._cares.setdefault(position.position_id, _Care())
        for row in update.orders:
            if row.role is Role.PROTECT and row.position_id is not None:
                self._hear_stop(row.position_id, row)
            elif row.role is Role.EXIT and row.filled and not row.is_live:
                self._hear_progress(self._cares.get(row.position_id or ""))
        for intent in update.intents:
            refused = intent.is_final and intent.order_id is None
            if refused and intent.status is not ResultStatus.CANCELED:
                for care in self._cares.values():
                    if care.intent_id == intent.intent_id:
                        self._back_off(care)

    def _hear_stop(self, position_id: str, row: OrderRow) -> None:
        care = self._cares.get(position_id)
        if care is None:
            return
        if row.state is OrderState.OPEN and row.intent_id == care.intent_id:
            care.times, care.refused_there = 0, False
        elif not row.is_live and not row.filled and row.code not in _AS_ASKED:
            care.refused_there = row.code is Code.WOULD_TRIGGER
            if not care.refused_there:
                self._back_off(care)

    def _hear_progress(self, care: _Care | None) -> None:
        """An exit has sold as much as there were buyers for: the next one need not wait for long."""
        if care is not None:
            care.times, care.not_before = 0, min(care.not_before, self._clock.monotonic_ms() + AGAIN_MS)

    def _back_off(self, care: _Care) -> None:
        care.times += 1
        care.not_before = self._clock.monotonic_ms() + patience_ms(AGAIN_MS, care.times)

    # -- what is to be done -------------------------------------------------------------------------------------------------

    def run(self) -> list[Outgoing]:
        """Proposals for every position of a live account that has not what it should have."""
        mono = self._clock.monotonic_ms()
        closing = self._desk.closing()
        outputs: list[Outgoing] = []
        for position_id, care in self._cares.items():
            position = self._view.positions.get(position_id)
            venue = None if position is None else self._venues.get((position.account, position.exchange))
            rules = None if venue is None or position is None else venue.rules(position.symbol)
            if position is not None and rules is not None:
                outputs += self._look_after(position, care, rules, mono, closing)
        return outputs

    def _look_after(
        self, position: PositionRow, care: _Care, rules: Rules, mono: int, closing: Collection[str]
    ) -> list[Outgoing]:
        terms, book = self._terms[position.account], self._view.books.get(position.book_id)
        stops = self._view.live_orders(position.book_id, Role.PROTECT)
        since = [self._triggered[row.order_id] for row in stops if row.order_id in self._triggered]
        locking = self._way_out.locking(position, exit_waits=position.book_id in closing, cut=care.cut)
        step = next_step(
            position, book, stops, terms, rules, self._clock.wall_ms(),
            triggered_at=min(since, default=None), refused_there=care.refused_there, locking=locking,
        )  # fmt: skip
        rests = terms is None or resting(stops, position) is not None
        care.missing_since = None if rests else mono if care.missing_since is None else care.missing_since
        care.why = step.why
        if step.do is Do.NOTHING or care.intent_id in self._desk.pending or mono < care.not_before:
            return []
        reserve = self._proposal(position, step, terms, rules, care, locking)
        care.intent_id = reserve.intent_id
        if step.do in {Do.EXIT, Do.CANCEL}:
            self._back_off(care)  # until it has had time to work
        if locking is not None and step.do is Do.PLACE and step.quantity is not None:
            whole = replace(locking, room=None, cut=False).fits(position.quantity, ())
            care.cut = step.quantity < round_down(whole, rules.quantity_step)
        out = self._desk.propose(reserve, mono)
        if locking is not None and reserve.order is not None and reserve.order.role is Role.EXIT:
            self._desk.wait_for_place(reserve.intent_id, partial(self._again, reserve, rules))
        return [out]

    def _again(self, reserve: OrderReserve, rules: Rules) -> OrderReserve | None:
        """An exit of ours, on spot, as it would be now: it may have waited for the stop to end, and that may have filled."""
        key, order = (reserve.account, reserve.exchange), reserve.order
        if order is None or self._way_out.must_look(key, reserve.symbol):
            return None
        asked = self._desk.asked.get(order.order_id)
        if asked is not None:
            asked.deadline = self._clock.monotonic_ms() + self._desk.send_within_ms
        order = order.evolve(quantity=None, send_by=self._clock.wall_ms() + self._desk.send_within_ms)
        now = reserve.evolve(order=order, epoch=self._epoch(reserve.account))
        found = self._fitted(now, rules, self._view.positions.get(order.position_id or ""))
        if found.order is None:
            self._desk.asked.pop(order.order_id, None)
        return found

    def _fitted(self, reserve: OrderReserve, rules: Rules, position: PositionRow | None) -> OrderReserve:
        """*reserve* of an exit, as the venue takes it; dust is refused."""
        assert reserve.order is not None
        found = self._way_out.fitted((reserve.account, reserve.exchange), reserve.order, rules, position)
        if isinstance(found, Refusal):
            return reserve.evolve(order=None, refusal=found)
        return reserve.evolve(order=found)

    def _proposal(
        self, position: PositionRow, step: Step, terms: ProtectTerms | None, rules: Rules, care: _Care, locking: Locking | None,
    ) -> OrderReserve:  # fmt: skip
        old = step.stop.intent_id if step.stop is not None else ""
        said = (
            step.do.value, position.position_id, str(position.protects), str(position.exit_attempts),
            str(step.price), str(step.quantity), old, str(care.times),
        )  # fmt: skip
        intent_id = "v-" + digest(*said)
        order, cancel = None, None
        if step.do in {Do.CANCEL, Do.GIVE_WAY} and step.stop is not None:
            code = Code.REPLACED if step.do is Do.GIVE_WAY else Code.ON_REQUEST
            cancel = CancelRequest(order_id=step.stop.order_id, code=code)
        elif step.do is Do.EXIT:
            order = self._exit(position, step, rules, intent_id)
        elif terms is not None:
            order = self._stop(position, step, terms, rules, intent_id, locking)
        now = self._clock.wall_ms()
        reserve = OrderReserve(
            id="r-" + digest(intent_id, self._incarnation), cause_id=position.position_id,
            correlation_id=position.correlation_id or position.position_id, at=now, intent_id=intent_id, intent_digest=digest(*said),
            account=position.account, exchange=position.exchange, symbol=position.symbol, leg=position.leg, strategy=position.strategy,
            incarnation=self._incarnation, epoch=self._epoch(position.account), order=order, cancel=cancel,
        )  # fmt: skip
        return self._fitted(reserve, rules, position) if step.do is Do.EXIT else reserve

    def _stop(
        self, position: PositionRow, step: Step, terms: ProtectTerms, rules: Rules, intent_id: str, locking: Locking | None,
    ) -> OrderRequest:  # fmt: skip
        price = None
        if terms.type is OrderType.LIMIT and step.price is not None:
            price = limit_of(position, step.price, terms.limit_pct, rules.price_step)
        least = ZERO if locking is None or step.price is None else least_quantity(rules, step.price)
        return OrderRequest(
            order_id=order_id_of(position.account, intent_id, position.leg), kind=position.kind, contract_size=position.contract_size,
            settle=position.settle, role=Role.PROTECT, side=exit_side(position.side), type=terms.type, price=price,
            quantity=step.quantity, quantity_step=rules.quantity_step, min_quantity=least, stop_price=step.price, position_id=position.position_id,
            position_version=position.version, replaces=step.stop.intent_id if step.stop is not None else None,
            thresholds=thresholds_version(position), send_by=self._clock.wall_ms() + self._desk.send_within_ms,
        )  # fmt: skip

    def _exit(self, position: PositionRow, step: Step, rules: Rules, intent_id: str) -> OrderRequest:
        """What the scanner would send for the same stop-loss; the ledger lets only one of the two take what is held."""
        return OrderRequest(
            order_id=order_id_of(position.account, intent_id, position.leg), kind=position.kind, contract_size=position.contract_size,
            settle=position.settle, role=Role.EXIT, side=exit_side(position.side), quantity_step=rules.quantity_step,
            position_id=position.position_id, position_version=position.version, reason=position.closing or STOPS[position.stop_by],
            attempt=position.exit_attempts + 1, trigger_price=step.price, trigger_at=self._clock.wall_ms(),
            trigger_level=position.stop_loss, thresholds=thresholds_version(position),
            send_by=self._clock.wall_ms() + self._desk.send_within_ms,
        )  # fmt: skip

    # -- what is told --------------------------------------------------------------------------------------------------------

    def warnings(self) -> Iterable[str]:
        """Positions that should have a stop at the venue, and have had none for too long."""
        mono = self._clock.monotonic_ms()
        for position_id, care in self._cares.items():
            since, position = care.missing_since, self._view.positions.get(position_id)
            if since is not None and position is not None and mono - since >= MISSING_MS:
                yield (
                    f"{position.symbol} {position.side.value} ({position.account}/{position.exchange}): no stop rests at the venue"
                    f" for {(mono - since) // 1000} s: {care.why}"
                )
