"""Bugs in the ledger: its decisions, its fold, its transaction."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from holdfast.contracts.codes import Code, OrderState, ResultStatus, Role, Side, UpdateKind
from holdfast.contracts.messages import Fill, OrderReserve
from holdfast.domain import (
    exit_policy,
    ledger_state,
    orders,
    policy,
    position,
    precheck,
    reserve,
    reserve_exit,
    settle,
)
from holdfast.domain.ledger_state import Change
from holdfast.domain.position import Folded
from holdfast.domain.reservation import Refused
from holdfast.store import sqlite, store
from proving.planted.bug import Bug, Patch, original
from services.ledger import decide
from services.ledger import service as ledger


def no_fsync(patch: Patch) -> None:
    init = sqlite.SqliteDriver.__init__

    def fast(self: sqlite.SqliteDriver, *args: Any) -> None:
        init(self, *args)
        self._connection.execute("PRAGMA synchronous=OFF")

    patch.setattr(sqlite.SqliteDriver, "__init__", fast)


def unknown_frees_the_book(patch: Patch) -> None:
    judged, before = reserve._objection_of_state, precheck._of_state

    def blind(state: Any, book: Any, held: Any) -> Any:
        refused = judged(state, book, held)
        return None if refused is not None and refused.code is Code.BOOK_UNKNOWN else refused

    patch.setattr(reserve, "_objection_of_state", blind)
    patch.setattr(precheck, "_of_state", lambda book, rules: before(replace(book, unknown=False), rules))


def closes_judged_by_their_side(patch: Patch) -> None:
    decide = original(reserve, "reserve_exit")

    def judged_by_side(state: Any, request: OrderReserve, order: Any, *rest: Any) -> Any:
        held = state.position(f"{request.account}/{request.exchange}/{request.symbol}")
        if held is not None and order.position_id is None:
            return Refused(Code.OPPOSED, f"cannot open the other side: existing {held.side.value} position")
        return decide(state, request, order, *rest)

    patch.setattr(reserve, "reserve_exit", judged_by_side)


def exit_as_large_as_asked(patch: Patch) -> None:
    record = reserve_exit._record

    def uncut(
        state: Any, request: Any, order: Any, book: Any, held: Any, free: Decimal, *rest: Any, whole: bool
    ) -> None:
        record(
            state, request, order, book, held, max(free, order.quantity or held.quantity), *rest, whole=whole
        )

    patch.setattr(reserve_exit, "_record", uncut)
    patch.setattr(ledger_state, "check_book", lambda *_: None)


def an_exit_beside_the_stop(patch: Patch) -> None:
    waits = reserve_exit._first_to_end

    def for_exits(*args: Any) -> Any:
        return [row for row in waits(*args) if row.role is not Role.PROTECT]

    patch.setattr(reserve_exit, "_first_to_end", for_exits)
    patch.setattr(ledger_state, "check_book", lambda *_: None)


def a_fill_of_an_ended_order_is_late(patch: Patch) -> None:
    fold = settle.settle_fill

    def refusing(state: Any, fill: Fill, known: Any, *rest: Any) -> Change:
        if fill.order_id in known.orders:
            return Change(UpdateKind.FILLED, fill.id)
        return fold(state, fill, known, *rest)

    patch.setattr(decide, "settle_fill", refusing)


def adds_take_their_own_exits(patch: Patch) -> None:
    own = exit_policy.ExitPolicy(Decimal(3), Decimal(4))

    def as_asked(held: Any, *, entry_price: Decimal, take_profit: str | None, stop_loss: str | None) -> Any:
        return policy.seed_exits(
            side=held.side, entry_price=entry_price, take_profit=take_profit, stop_loss=stop_loss, policy=own
        )

    patch.setattr(position, "merge_exits", as_asked)


def asked_to_cancel_is_canceled(patch: Patch) -> None:
    ask = orders.to_canceling

    def at_once(order: Any, code: Code, at: int, *, displaced: bool = False) -> Any:
        return ask(order, code, at, displaced=displaced).evolve(state=OrderState.CANCELED)

    for module in (orders, settle, reserve_exit):
        patch.setattr(module, "to_canceling", at_once)


def an_end_may_change(patch: Patch) -> None:
    result = orders.result_of

    def latest(order: Any, intent: Any, at: int) -> Any:
        reopened = intent.evolve(status=ResultStatus.ACCEPTED) if intent.is_final else intent
        return result(order, reopened, at)

    patch.setattr(settle, "result_of", latest)


def memory_stays_after_a_failed_commit(patch: Patch) -> None:
    patch.setattr(ledger_state.LedgerState, "rollback", ledger_state.LedgerState.keep)


def a_lost_answer_of_the_store_is_a_failure(patch: Patch) -> None:
    patch.setattr(ledger.Ledger, "_make_sure", lambda _: [])


def amounts_are_floats(patch: Patch) -> None:
    def multiplied(kind: Any, quantity: Decimal, price: Decimal) -> Decimal:
        value = float(quantity) / float(price) if kind == "inverse" else float(quantity) * float(price)
        return Decimal(repr(value))

    patch.setattr(position, "_value", multiplied)


def rests_are_rounded_away(patch: Patch) -> None:
    take = position._take_out

    def cents(kind: Any, cost: Decimal, quantity: Decimal, held: Decimal) -> tuple[Decimal, Decimal]:
        rest, taken = take(kind, cost, quantity, held)
        return rest, taken.quantize(Decimal("0.01"))

    patch.setattr(position, "_take_out", cents)


def fees_are_for_the_exchange(patch: Patch) -> None:
    charge = position._charge
    patch.setattr(position, "_charge", lambda _, currency, settled: charge(Decimal(0), currency, settled))


def a_reduction_closes(patch: Patch) -> None:
    fold = original(settle, "apply_fill")

    def gone(held: Any, fill: Fill, opening: Any, *rest: Any, **named: Any) -> Folded:
        if held is not None and (fill.side is Side.BUY) != (held.side.value == "long"):
            fill = fill.evolve(quantity=max(fill.quantity, held.quantity))
        folded: Folded = fold(held, fill, opening, *rest, **named)
        return folded

    patch.setattr(settle, "apply_fill", gone)


def messages_have_no_memory(patch: Patch) -> None:
    look_up = store.Store.look_up

    def forgetful(self: store.Store, **named: Any) -> Any:
        return look_up(self, **(named | {"messages": (), "intents": ()}))

    patch.setattr(store.Store, "look_up", forgetful)
    patch.setattr(ledger.Ledger, "_note", lambda *_: None)


OF_LEDGER: tuple[Bug, ...] = (
    Bug("no fsync", "INV-8", "faster without: the operating system will write it soon enough", no_fsync, kinds=("process.crash",)),
    Bug("no inbox", "INV-4", "messages are not remembered, and decided upon again when they come again", messages_have_no_memory, kinds=("input.replayed", "bus.duplicate", "bus.lost_reply")),
    Bug("unknown frees the book", "INV-7", "an order without an answer holds nothing up", unknown_frees_the_book, kinds=("venue.lost_reply", "venue.lost_request", "venue.overtaken")),
    Bug("closes judged by their side", "INV-6", "a sell while long is a short, so it is blocked (the incident's own enforcer)",
        closes_judged_by_their_side),
    Bug("an exit as large as asked", "INV-5", "what is to be closed was told by whoever asked", exit_as_large_as_asked),
    Bug("an exit beside the stop", "INV-5", "a stop is no exit: what is held may be sold beside it, as on futures", an_exit_beside_the_stop,
        unseen="no stop rests at the paper venue, and a simulated world has no other"),
    Bug("a fill of an ended order is refused", "INV-4", "a canceled order cannot fill", a_fill_of_an_ended_order_is_late,
        unseen="the paper venue says with every end how much has filled, so that no fill comes as a surprise"),
    Bug("adds loosen the stop", "INV-2", "the newest intent's exits count", adds_take_their_own_exits),
    Bug("asked to cancel is canceled", "INV-7", "a cancel works", asked_to_cancel_is_canceled),
    Bug("an end may change", "INV-4", "the latest news is the answer", an_end_may_change, kinds=("venue.late", "venue.lost_reply", "process.crash")),
    Bug("memory ahead of the store", "INV-8", "what failed to commit stays in memory", memory_stays_after_a_failed_commit, kinds=("store.failing", "store.busy", "store.full")),
    Bug("an error of COMMIT is a failure", "INV-8", "an exception means that nothing was written", a_lost_answer_of_the_store_is_a_failure, kinds=("store.ambiguous",)),
    Bug("amounts are floats", "INV-8", "prices have few digits anyway", amounts_are_floats),
    Bug("shares rounded to cents", "INV-8", "the cost of what is sold, as it is shown to people", rests_are_rounded_away),
    Bug("fees forgotten", "INV-8", "profit is price times quantity", fees_are_for_the_exchange),
    Bug("any exit closes", "INV-4", "a sell while long means that the position is gone", a_reduction_closes),
)  # fmt: skip
