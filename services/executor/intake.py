"""From entries of the two intent streams to proposals: `order.reserve` with an order, a cancel, or a refusal.

Everything is answered, what cannot be read included: the ledger records each intent's end and tells its sender. The
client order id and the proposal's id derive from the intent, so a redelivery proposes the same again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Action, Code, Leg, ResultStatus, Role, Scope, Side, TradingState
from holdfast.contracts.messages import CancelRequest, OrderIntent, OrderRequest, OrderReserve, Refusal
from holdfast.contracts.rows import book_id
from holdfast.contracts.streams import ORDER_RESERVE
from holdfast.contracts.wire import Entry, Out, Outgoing, digest, intent_digest
from holdfast.domain.inflight import InFlight
from holdfast.domain.instruments import canonical
from holdfast.domain.matching import notional
from holdfast.domain.one_side import opens
from holdfast.domain.precheck import (
    Book,
    Terms,
    entry_leg,
    exit_leg,
    out_of_time,
    propose_entry,
    propose_exit,
    refused,
)
from holdfast.domain.sizing import Means
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.venues.port import Rules, Venue
from services.executor.desk import Asked, Batch, Desk
from services.executor.gate import Gate, id_given
from services.executor.live_limits import LiveLimits
from services.executor.prices import Prices
from services.executor.proposals import Proposal, malformed, quantity_of, rules_of, why_unknown
from services.executor.waiting import WaitingRoom
from services.executor.way_out import WayOut

PAPER = "paper"
_STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCE_ONLY: 1, TradingState.HALTED: 2}
Objection = tuple[Code, str] | None


def passes_freely(entry: Entry) -> bool:
    """Whether an entry may only shrink or cancel something: it never waits behind entries (INV-6)."""
    intent = entry.message
    return isinstance(intent, OrderIntent) and (intent.reduces or intent.action is Action.CANCEL)


def unreadable_intent(entry: Entry) -> tuple[str, str]:
    """Intent id and digest of an entry that is no intent: the id its sender gave it, where that can be read."""
    derived = "i-" + digest(entry.stream.name, entry.entry_id, entry.body)
    return id_given(entry.body) or derived, digest(entry.body)


class Intake:
    """See the module. `objection` says why an account's venue takes no entries, `book_objection` the same of a book."""

    def __init__(
        self,
        *,
        terms: Terms,
        clock: Clock,
        view: LedgerView,
        venues: Mapping[tuple[str, str], Venue],
        inflight: InFlight,
        desk: Desk,
        prices: Prices,
        incarnation: str,
        closed: Mapping[tuple[str, str], str],
        objection: Callable[[tuple[str, str], str], Objection],
        bus_objection: Callable[[], Objection],
        was_sent: Callable[[str], bool],
        gate: Gate,
        live: LiveLimits,
        means: Means,
        way_out: WayOut,
    ) -> None:
        self._terms, self._clock, self._view, self._venues = terms, clock, view, venues
        self._real_terms = replace(terms, spot_short=False)
        self._inflight, self._desk, self._prices, self._incarnation = inflight, desk, prices, incarnation
        self._objection, self._bus_objection, self._was_sent = objection, bus_objection, was_sent
        self._gate, self._live, self._means, self._closed, self._way_out = gate, live, means, closed, way_out
        self.epochs: dict[str, int] = {}
        """Account -> this incarnation's epoch, above all that came before."""
        self._room = WaitingRoom(closed, live)

    def take(self, entries: Sequence[Entry], batch: Batch | None) -> list[Outgoing]:
        """Proposals for *entries*; *batch* is what they count against, None for what passes freely."""
        return [out for entry in entries if (out := self._take(entry, batch)) is not None]

    def release(self) -> list[Outgoing]:
        """Proposals for what waited and need not wait any longer."""
        found = (self._take(entry, None, since) for entry, since in self._room.leave())
        return [out for out in found if out is not None]

    def _take(self, entry: Entry, batch: Batch | None, since: int | None = None) -> Out | None:
        """None when it waits (*since*: it has been waiting), or is on its way already: then the entry waits for the same answer."""
        intent = entry.message if isinstance(entry.message, OrderIntent) else None
        now = self._clock.monotonic_ms()
        came = now if since is None else since
        if intent is not None and self._room.must_wait(intent, came, now):
            self._room.enter(entry, came)
            return None
        intent_id, content = (
            unreadable_intent(entry) if intent is None else (intent.id, intent_digest(intent))
        )
        pending = self._desk.also(entry, intent_id)
        if pending is not None:
            if pending.reserve.intent_digest == content:
                return None
            reused = refused(
                Code.INTENT_ID_REUSED, "this intent id is on its way with other content", ResultStatus.INVALID
            )
            return Out(ORDER_RESERVE, self._answer(intent_id, content, intent, Proposal("?", refusal=reused)))
        if intent is None:
            proposal = Proposal("?", refusal=malformed(entry.error, entry.body))
        else:
            proposal = self._within_limits(entry.producer, self._propose(intent))
        reserve = self._answer(intent_id, content, intent, proposal)
        if reserve.order is not None:
            self._claim(reserve, reserve.order)
        out = self._desk.open(entry, reserve, self._clock.monotonic_ms(), batch)
        if intent is None or reserve.order is None or not self._may_wait(intent, reserve.order):
            return out
        self._desk.wait_for_place(intent_id, partial(self._again, intent, content))
        return None if self._must_wait(intent) else out

    def _may_wait(self, intent: OrderIntent, order: OrderRequest) -> bool:
        """Whether the ledger may want something to end before it answers."""
        return intent.replaces is not None or self._way_out.may_wait((intent.account, intent.exchange), order)

    def _must_wait(self, intent: OrderIntent) -> bool:
        """Whether it is too early to propose it: what it replaces is on its way itself, or how much is free is being read."""
        if intent.replaces is not None:
            return intent.replaces in self._desk.pending
        symbol = self._desk.pending[intent.id].reserve.symbol
        return self._way_out.must_look((intent.account, intent.exchange), symbol)

    def _again(self, intent: OrderIntent, content: str) -> OrderReserve | None:
        """The proposal of what waits for an order to end, as it would be now: the price has moved on, and so has time."""
        if self._must_wait(intent):
            return None
        pending = self._desk.pending[intent.id].reserve
        before = pending.order
        if before is None:
            return pending  # refused already; the ledger has only to record it
        proposal = self._propose(intent)
        refusal = proposal.refusal
        if refusal is not None and refusal.status is ResultStatus.BLOCKED and self._lives(intent, proposal):
            return None  # what blocks it now may be over when its turn comes
        reserve = self._answer(intent.id, content, intent, proposal)
        asked = self._desk.asked.get(before.order_id)
        if reserve.order is not None and asked is not None:
            asked.deadline = self._clock.monotonic_ms() + self._terms.send_within_ms
        else:
            self._desk.asked.pop(before.order_id, None)
            self._inflight.withdraw(before.order_id)
        return reserve

    def _lives(self, intent: OrderIntent, proposal: Proposal) -> bool:
        """Whether the entry that *intent* replaces has not ended."""
        book = book_id(intent.account, intent.exchange, proposal.symbol, proposal.leg)
        return any(row.intent_id == intent.replaces for row in self._view.live_orders(book))

    def _within_limits(self, producer: str, proposal: Proposal) -> Proposal:
        """*proposal*, or why its producer may not have it."""
        if not producer or proposal.refusal is not None:
            return proposal
        found = self._gate.objection(producer, proposal.symbol, proposal.order)
        return proposal if found is None else Proposal(proposal.symbol, proposal.leg, refusal=found)

    def _claim(self, reserve: OrderReserve, order: OrderRequest) -> None:
        """The order may be sent once the ledger shows it; until then it stands in the way of what opposes it."""
        order_id = order.order_id
        if order_id in self._view.orders or self._was_sent(order_id):
            return
        self._desk.asked[order_id] = Asked(
            reserve.intent_id, self._clock.monotonic_ms() + self._terms.send_within_ms
        )
        if order.role is Role.ENTRY and order.side is not None and order.quantity is not None:
            book = book_id(reserve.account, reserve.exchange, reserve.symbol, reserve.leg)
            price = order.price or order.reference_price
            value = (
                notional(order.kind, order.quantity, price, order.contract_size)
                if price is not None
                else order.quantity
            )
            self._inflight.propose(order_id, book, reserve.account, opens(order.side), value, reserve.at)

    # -- one intent ----------------------------------------------------------------------------------------------------------

    def _propose(self, intent: OrderIntent) -> Proposal:
        now = self._clock.wall_ms()
        named = intent.symbol or "?"
        key = (intent.account, intent.exchange)
        venue, closed = self._venues.get(key), self._closed.get(key)
        if closed is not None:
            why = f"{'/'.join(key)} is not ready yet: {closed}"
            is_cancel = intent.action is Action.CANCEL
            return (
                self._cancel(intent)
                if is_cancel
                else Proposal(named, refusal=refused(Code.VENUE_UNREADABLE, why))
            )
        if venue is None:
            known = ", ".join(sorted("/".join(key) for key in self._venues))
            reason = f"no executor serves {intent.account}/{intent.exchange}; this one serves {known}"
            return Proposal(named, refusal=refused(Code.UNKNOWN_ACCOUNT, reason, ResultStatus.INVALID))
        late = out_of_time(intent, now)
        if late is not None:
            return Proposal(named, refusal=late)
        if intent.action is Action.CANCEL:
            return self._cancel(intent)
        rules = venue.rules(named)
        if intent.reduces:
            return self._exit(intent, rules or self._rules_of_position(intent), now)
        if rules is None:
            return Proposal(
                named, refusal=refused(Code.UNKNOWN_SYMBOL, why_unknown(named), ResultStatus.INVALID)
            )
        return self._entry(intent, rules, now)

    def _entry(self, intent: OrderIntent, rules: Rules, now: int) -> Proposal:
        side = intent.side or Side.BUY  # the contract demands one to open
        leg = entry_leg(self._terms, rules.symbol, side)
        book = self._book(intent.account, intent.exchange, rules.symbol, leg)
        if (
            intent.replaces is not None and book.unknown
        ):  # it may be the one whose place is taken; the ledger knows
            book = replace(book, unknown=False)
        found = self._objection((intent.account, intent.exchange), book.book_id) or self._bus_objection()
        if found is not None:
            return Proposal(rules.symbol, leg, refusal=refused(*found))
        quote = self._prices.get(rules.symbol)
        exposure, means = self._inflight.exposure, self._means
        if rules.taker_fee_pct is not None:
            means = replace(means, fee_pct=rules.taker_fee_pct)
        terms = self._terms if intent.exchange == PAPER else self._real_terms
        order = propose_entry(intent, rules, book, quote, exposure, terms, now, means)
        if isinstance(order, OrderRequest):
            found = self._live.objection(intent.account, rules.symbol, order)
            order = order if found is None else refused(*found)
        return Proposal.of(rules.symbol, leg, order)

    def _exit(self, intent: OrderIntent, rules: Rules | None, now: int) -> Proposal:
        if rules is None:
            named = intent.symbol or "?"
            return Proposal(
                named, refusal=refused(Code.UNKNOWN_SYMBOL, why_unknown(named), ResultStatus.INVALID)
            )
        legs = {
            leg: self._view.position(book_id(intent.account, intent.exchange, rules.symbol, leg))
            for leg in Leg
        }
        named_position = self._view.positions.get(intent.position_id or "")
        leg: Leg | Refusal
        if named_position is not None and named_position.symbol == rules.symbol:
            leg = named_position.leg
        else:
            leg = exit_leg(
                self._terms, rules.symbol, intent, legs[Leg.LONG] is not None, legs[Leg.SHORT] is not None
            )
        if isinstance(leg, Refusal):
            return Proposal(rules.symbol, refusal=leg)
        quote = self._prices.get(rules.symbol)
        order = propose_exit(intent, rules, leg, legs[leg], quote, self._terms, now)
        if isinstance(order, OrderRequest):
            order = self._way_out.fitted((intent.account, intent.exchange), order, rules, legs[leg])
        return Proposal.of(rules.symbol, leg, order)

    def _cancel(self, intent: OrderIntent) -> Proposal:
        """Never blocked: what there is to cancel, the ledger knows."""
        row = self._view.orders.get(intent.order_id or "")
        cancel = CancelRequest(order_id=intent.order_id)
        if row is not None:
            return Proposal(row.symbol, row.leg, cancel=cancel)
        symbol = "?"
        if intent.symbol is not None:
            try:
                symbol = canonical(intent.symbol)
            except ContractViolation as error:
                if intent.order_id is None:
                    return Proposal(
                        intent.symbol, refusal=refused(Code.UNKNOWN_SYMBOL, str(error), ResultStatus.INVALID)
                    )
        leg = Leg.NET
        if intent.side is not None and self._terms.hedges(symbol):
            leg = entry_leg(self._terms, symbol, intent.side)
        return Proposal(symbol, leg, cancel=cancel)

    def _book(self, account: str, exchange: str, symbol: str, leg: Leg) -> Book:
        key = book_id(account, exchange, symbol, leg)
        view, inflight = self._view, self._inflight
        position = view.position(key)
        return Book(
            key,
            account,
            view.books.get(key),
            position,
            inflight.held(key, position),
            inflight.is_unknown(key),
            self._trading(account, key),
        )

    def _trading(self, account: str, book: str) -> TradingState:
        """The strictest of the states set for all, for the account, for the book."""
        control = self._view.control
        if not control:
            return TradingState.ACTIVE
        keys = ((Scope.ALL.value, ""), (Scope.ACCOUNT.value, account), (Scope.BOOK.value, book))
        states = [control[key].state for key in keys if key in control]
        return max(states, key=_STRICTNESS.__getitem__, default=TradingState.ACTIVE)

    def _rules_of_position(self, intent: OrderIntent) -> Rules | None:
        """An open position can be closed under its own name, even where that name means nothing to the settings any more."""
        position = self._view.positions.get(intent.position_id or "")
        if position is None:
            position = self._view.position(book_id(intent.account, intent.exchange, intent.symbol or "?"))
        return None if position is None else rules_of(position)

    # -- the proposal -----------------------------------------------------------------------------------------------------------

    def epoch(self, account: str) -> int:
        """The epoch of this incarnation for *account*; of one that it does not serve, that of whoever does."""
        return self.epochs.get(account) or self._view.executors.get(account, 0)

    def _answer(
        self, intent_id: str, content: str, intent: OrderIntent | None, proposal: Proposal
    ) -> OrderReserve:
        account = intent.account if intent is not None else "main"
        return OrderReserve.trusted(
            id="r-" + digest(intent_id, self._incarnation, content),
            cause_id=intent_id,
            correlation_id=(intent.correlation_id if intent is not None else None) or intent_id,
            at=self._clock.wall_ms(),
            intent_id=intent_id,
            intent_digest=content,
            account=account,
            exchange=intent.exchange if intent is not None else "paper",
            symbol=proposal.symbol,
            leg=proposal.leg,
            strategy=intent.strategy if intent is not None else None,
            incarnation=self._incarnation,
            epoch=self.epoch(account),
            order=proposal.order,
            cancel=proposal.cancel,
            refusal=proposal.refusal,
            attempted_side=intent.side if intent is not None else None,
            attempted_quantity=quantity_of(intent, proposal),
        )
