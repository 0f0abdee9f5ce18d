"""The first planted bugs, each with a scenario of its own (`tests/planted`): one for every invariant, and some asked for by name.

Each restores what a naive design does: it judges without what is in flight, trusts an answer, forgets, dedupes by the wrong key.
"""

from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from holdfast.bus import follow, work
from holdfast.contracts.codes import Code, OrderState, TradingState
from holdfast.contracts.messages import Fill, OrderReserve
from holdfast.contracts.wire import Out
from holdfast.domain import ledger_state, policy, position, precheck, reserve, reserve_exit, view
from holdfast.domain.ledger_state import LedgerState
from holdfast.domain.one_side import Verdict
from holdfast.domain.reservation import Refused, book_of, order_row
from holdfast.store import opening, store
from holdfast.venues.port import Outcome, OutcomeKind
from proving.planted.bug import Bug, Patch, original
from services.executor import dispatch, guard, owed
from services.executor import service as executor
from services.executor.desk import Asked
from services.ledger import service as ledger

# -- invariants -----------------------------------------------------------------------------------------------------------


def both_sides_allowed(patch: Patch) -> None:
    def allow(**_: Any) -> Verdict:
        return Verdict(allowed=True)

    patch.setattr(reserve, "judge", allow)
    patch.setattr(precheck, "judge", allow)


def exits_not_seeded(patch: Patch) -> None:
    seed = policy.seed_exits

    def bare(**named: Any) -> policy.Exits:
        return seed(**named)._replace(take_profit=None, take_profit_spec="off")

    patch.setattr(position, "seed_exits", bare)
    patch.setattr(ledger_state, "check_book", lambda *_: None)


def order_first_record_later(patch: Patch) -> None:
    take_entries = executor.Executor.on_entries

    async def place_and_then_save(self: executor.Executor, batch: Any) -> Any:
        outputs = await take_entries(self, batch)
        for out in outputs:
            request = out.message if isinstance(out, Out) else None
            if isinstance(request, OrderReserve) and request.order is not None:
                await self._venues[request.account, request.exchange].submit(
                    [_row(request)], now_ms=request.at
                )
        return outputs

    patch.setattr(executor.Executor, "on_entries", place_and_then_save)


def _row(request: OrderReserve) -> Any:
    order = request.order
    assert order is not None
    assert order.side is not None
    book = book_of(LedgerState(), request)
    return order_row(request, order, book, order.side, order.quantity or Decimal(0), request.at)


def no_memory_of_fills(patch: Patch) -> None:
    look_up = store.Store.look_up

    def forgetful(self: store.Store, **named: Any) -> Any:
        return look_up(self, **(named | {"fills": ()}))

    patch.setattr(store.Store, "look_up", forgetful)


def exits_counted_alone(patch: Patch) -> None:
    patch.setattr(reserve_exit, "working_exits", lambda _: Decimal(0))


def halt_stops_everything(patch: Patch) -> None:
    decide = original(reserve, "reserve_exit")

    def judged_like_entries(state: Any, request: Any, *rest: Any) -> Any:
        if reserve.trading_state(state, request.account, "") is TradingState.HALTED:
            return Refused(Code.HALTED, "trading is halted")
        return decide(state, request, *rest)

    patch.setattr(reserve, "reserve_exit", judged_like_entries)


def no_answer_is_a_rejection(patch: Patch) -> None:
    judge = dispatch.Dispatcher._outcome

    def rejected(self: dispatch.Dispatcher, row: Any, outcome: Outcome | None) -> Any:
        if outcome is None or outcome.kind is OutcomeKind.UNKNOWN:
            outcome = Outcome(row.order_id, OutcomeKind.REJECTED, reason="exception")
        return judge(self, row, outcome)

    patch.setattr(dispatch.Dispatcher, "_outcome", rejected)


def unreadable_is_flat(patch: Patch) -> None:
    patch.setattr(guard.Guard, "objection", lambda *_: None)


def gaps_are_passed_over(patch: Patch) -> None:
    patch.setattr(view.LedgerView, "follows", lambda self, seq, _: seq > self.seq)


def no_lock(patch: Patch) -> None:
    hold = original(opening, "hold")

    def alone(path: Path, who: str) -> Any:
        return hold(path.with_name(f"{who}.lock"), who)

    patch.setattr(opening, "hold", alone)


def no_fence(patch: Patch) -> None:
    init = store.Store.__init__

    def unfenced(self: store.Store, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        self._fence = "UPDATE store SET epoch = epoch WHERE one = 1 OR epoch = ?"

    patch.setattr(store.Store, "__init__", unfenced)


# -- asked for by name ------------------------------------------------------------------------------------------------


def reserved_means_send(patch: Patch) -> None:
    take_row = dispatch.Dispatcher.take_row

    def send_whatever_is_reserved(self: dispatch.Dispatcher, row: Any, *, fresh: bool = False) -> None:
        if row.state is OrderState.RESERVED and row.order_id not in self._sent:
            self._desk.asked[row.order_id] = Asked(row.intent_id, 10**15)
            self._ready[row.order_id] = (row.account, row.exchange)
            return
        take_row(self, row, fresh=fresh)

    patch.setattr(dispatch.Dispatcher, "take_row", send_whatever_is_reserved)


def a_group_on_a_view(patch: Patch) -> None:
    async def read_as_a_group(self: follow.Reader, *, wait: bool = True) -> Any:
        with suppress(ResponseError):
            await self._client.xgroup_create(self._name, "view", id="0", mkstream=True)
        reply: Any = await self._client.xreadgroup("view", "reader", {self._name: ">"}, count=10)
        return [(entry_id.decode(), fields) for _, batch in reply for entry_id, fields in batch]

    patch.setattr(follow.Reader, "read", read_as_a_group)


def published_is_told(patch: Patch) -> None:
    owe = owed.Owed.owe

    def publish_and_forget(self: owed.Owed, fill: Fill, mono_ms: int, **named: Any) -> Any:
        outputs = owe(self, fill, mono_ms, **named)
        self.confirm(fill.key)
        return outputs

    patch.setattr(owed.Owed, "owe", publish_and_forget)


def softer_exits_hold(patch: Patch) -> None:
    patch.setattr(reserve_exit, "displaces", lambda *_: False)


def the_batch_dies_together(patch: Patch) -> None:
    async def bury_all(self: work.Worker, entries: Any, error: Exception) -> None:
        for entry in entries:
            await self._bury(entry, str(error))

    patch.setattr(work.Worker, "_isolate", bury_all)


def the_schema_decides(patch: Patch) -> None:
    patch.setattr(policy, "_fit", lambda *_: True)
    patch.setattr(ledger_state, "check_book", lambda *_: None)


def a_trade_id_is_a_key(patch: Patch) -> None:
    patch.setattr(Fill, "key", property(lambda fill: fill.trade_id))


def an_old_store_goes_on(patch: Patch) -> None:
    heal = ledger.Ledger._heal

    def trusting(self: ledger.Ledger, newest: Any) -> Any:
        return [] if newest is not None and newest[0] > self.seq else heal(self, newest)

    patch.setattr(ledger.Ledger, "_heal", trusting)


FIRST: tuple[Bug, ...] = (
    Bug("both sides at once", "INV-1", "judge an order by the positions of a moment ago, whatever is in flight",
        both_sides_allowed),
    Bug("exits are optional", "INV-2", "record the position now, its exits when somebody names them",
        exits_not_seeded),
    Bug("order first, record later", "INV-3", "place the order, then save it (the incident of the missing database positions)",
        order_first_record_later),
    Bug("no memory of fills", "INV-4", "apply what arrives, without looking whether it came before",
        no_memory_of_fills),
    Bug("exits counted alone", "INV-5", "let every exit take the whole position, whatever other exits already take",
        exits_counted_alone),
    Bug("halt stops everything", "INV-6", "one switch for all orders, exits included",
        halt_stops_everything, steps=10_000),
    Bug("no answer is a rejection", "INV-7", "an exception while sending means that the order does not exist",
        no_answer_is_a_rejection, kinds=("venue.lost_reply", "venue.overtaken", "market.silent")),
    Bug("unreadable is flat", "INV-7", "what cannot be read is taken for empty, and entries go on",
        unreadable_is_flat, kinds=("venue.unreadable",)),
    Bug("gaps are passed over", "INV-8", "apply updates as they come, without counting",
        gaps_are_passed_over, kinds=("bus.trim_view", "process.pause"), steps=12_000),
    Bug("no lock on the store", "INV-9", "start a second ledger on the same store",
        no_lock, unseen="the locks of a simulated machine are the world's own"),
    Bug("no fence in the store", "INV-9", "a ledger that was replaced while it slept goes on writing",
        no_fence, kinds=("process.pause", "process.twin")),
    Bug("re-send after restart", "", "a reserved order that nobody has sent, as it seems, is sent",
        reserved_means_send, kinds=("process.crash",)),
    Bug("a group on a view", "", "read views like work, in a consumer group",
        a_group_on_a_view),
    Bug("a fill lost in a wipe", "", "what was published counts as told",
        published_is_told, kinds=("bus.wipe", "bus.rewind", "bus.trim", "process.pause", "store.full")),
    Bug("a stop refused because a softer exit holds the quantity", "", "first come, first served among exits",
        softer_exits_hold, kinds=("market.gap",), steps=10_000),
    Bug("a poisoned batch", "", "a batch that fails goes to dead.letter as a whole",
        the_batch_dies_together, kinds=("input.changed",)),
    Bug("a fill refused by a CHECK", "", "leave it to the schema to refuse exits that make no sense",
        the_schema_decides, unseen="exits that cross come with an adopted position, and nobody adopts in a simulated world"),
    Bug("two symbols sharing a trade id", "", "take the exchange's trade number for a key",
        a_trade_id_is_a_key),
    Bug("a store restored from a backup against a newer stream", "", "what the stream has and the store has not is old news",
        an_old_store_goes_on, unseen="nobody puts a backup back in a simulated world"),
)  # fmt: skip
