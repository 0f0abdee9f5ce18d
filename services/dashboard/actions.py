"""What the buttons do: every wish is a message on the bus, like the command line's, and the ledger's answer is awaited.

Asking again after "no answer" is safe where the answer names an id: the ledger knows it. What makes things safer (halt,
close, tighter exits) needs one click; what loosens or cannot be taken back needs a word typed by hand, and the server, not
only the page, insists on it. Everything is written to the audit trail, refused or not.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from holdfast.bus.client import Client
from holdfast.contracts.alarms import Alert, AlertAck
from holdfast.contracts.base import ContractViolation, Message
from holdfast.contracts.codes import AlertState, ResultStatus, Scope, TradingState
from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.contracts.messages import Control, IntentResult, LedgerUpdated, OrderIntent
from holdfast.contracts.money import canonical
from holdfast.contracts.streams import (
    ALERT,
    ALERT_ACK,
    CONTROL,
    EXIT_ADJUST,
    FILL,
    INTENT_RESULT,
    LEDGER_UPDATED,
    ORDER_INTENT_EXIT,
)
from holdfast.contracts.wire import Out
from holdfast.domain.policy import apply_adjust
from holdfast.domain.settle import taken_in
from holdfast.domain.wishes import closing, flatten
from holdfast.runtime.bounded_log import BoundedLog
from holdfast.runtime.settings import Settings
from services.dashboard.service import Watcher

log = logging.getLogger("holdfast.dashboard")

_GOOD = {ResultStatus.ACCEPTED, ResultStatus.FILLED, ResultStatus.PARTLY_FILLED, ResultStatus.CANCELED}
_GONE = {"position_gone", "nothing_to_close", "no_such_order"}
"""Of a flatten: closed already is what was wanted."""
MOST_AT_ONCE = 4
Why = Field("", max_length=500, description="Kept with it, for whoever asks later.")
Level = Field(
    None, max_length=70, description='A price, a percent of the entry price ("5%"), or "off" (take-profit).'
)
Word = Field("", max_length=60, description="A word typed by hand, where one is asked for.")


class Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ControlWish(Wish):
    state: TradingState
    scope: Scope = Scope.ALL
    target: str = Field("", max_length=200, description="The account or the book; empty for all.")
    why: str = Why
    confirm: str = Field("", max_length=60, description='To resume: "resume".')


class CloseWish(Wish):
    position_id: str = Field(min_length=1, max_length=128)


class FlattenWish(Wish):
    account: str | None = Field(None, max_length=64)
    confirm: str = Field("", max_length=60, description='"flatten".')


class CancelWish(Wish):
    order_id: str = Field(min_length=1, max_length=128)


class ExitsWish(Wish):
    position_id: str = Field(min_length=1, max_length=128)
    take_profit: str | None = Level
    stop_loss: str | None = Level
    ttl_s: str | None = Field(
        None, max_length=20, description="Longest hold since the first fill, in market seconds."
    )
    confirm: str = Field("", max_length=60, description="To loosen: the symbol.")
    why: str = Why


class QuarantineWish(Wish):
    quarantine_id: str = Field(min_length=1, max_length=128)
    then: Literal["adopt", "flatten"]
    confirm: str = Field("", max_length=60, description="The symbol.")


class RequeueWish(Wish):
    entry_id: str = Field(pattern=r"^[0-9]{1,20}-[0-9]{1,20}$", description="Of the entry on dead.letter.")


class AckWish(Wish):
    key: str = Field(min_length=1, max_length=128, description="The alert's key, as /api/alerts shows it.")


class Outcome(BaseModel):
    """What the ledger answered."""

    status: Literal["done", "refused", "invalid", "no_answer", "busy"]
    text: str
    id: str = ""
    parts: list[str] = []


HTTP = {"done": 200, "refused": 409, "invalid": 422, "no_answer": 504, "busy": 503}


@dataclass(slots=True)
class _Answers:
    """The newest answer to each of several intents."""

    ids: frozenset[str]
    results: dict[str, IntentResult] = field(default_factory=dict)

    def take(self, message: Message) -> bool:
        if isinstance(message, IntentResult) and message.intent_id in self.ids:
            self.results[message.intent_id] = message
        return all(
            (known := self.results.get(key)) is not None and known.status is not ResultStatus.ACCEPTED
            for key in self.ids
        )


class Desk:
    """Carries wishes to the bus and answers back. *audit* keeps who wished what, and what came of it."""

    def __init__(self, client: Client, watcher: Watcher, settings: Settings, audit: BoundedLog) -> None:
        self._client, self._watcher, self._settings, self._audit = client, watcher, settings, audit
        self._free = asyncio.Semaphore(MOST_AT_ONCE)
        self._wait_s = settings.dashboard.answer_s
        self.requeued: dict[str, str] = {}

    async def do(self, wish: Wish, by: str) -> Outcome:
        """Carry out *wish* for *by*, and note it."""
        if self._free.locked():
            outcome = Outcome(
                status="busy", text="several wishes are being carried out; try again in a moment"
            )
        else:
            async with self._free:
                try:
                    outcome = await self._HANDLERS[type(wish)](self, wish, by)
                except ContractViolation as error:
                    outcome = Outcome(status="invalid", text=str(error))
                except ValidationError as error:
                    outcome = Outcome(status="invalid", text=str(ContractViolation.of(error)))
        self.note(by, type(wish).__name__, wish.model_dump(mode="json"), outcome.status, outcome.text)
        return outcome

    def note(self, by: str, what: str, asked: dict[str, Any], status: str, text: str) -> None:
        """One line of the audit trail; a disk that does not take it is told about, and stops nobody from acting."""
        line = {
            "at_ms": self._client.clock.wall_ms(),
            "by": by,
            "what": what,
            "asked": asked,
            "status": status,
            "answer": text,
        }
        log.info("audit: %s by %s: %s (%s)", what, by, status, text)
        try:
            self._audit.write(line)
        except OSError as error:
            log.warning("the audit trail cannot be written: %s", error)

    # -- trading state ----------------------------------------------------------------------------------------------------

    async def _control(self, wish: ControlWish, by: str) -> Outcome:
        if wish.state is TradingState.ACTIVE and wish.confirm != "resume":
            return _asks_for("resume", "to allow entries again")
        message = Control(
            id=self._client.ids.new(), at=self._client.clock.wall_ms(), state=wish.state, scope=wish.scope, target=wish.target, by=by, why=wish.why,
        )  # fmt: skip

        def recorded(answer: Message) -> bool:
            return isinstance(answer, LedgerUpdated) and answer.cause_id == message.id

        if not await self._client.ask([Out(CONTROL, message)], LEDGER_UPDATED, recorded, self._wait_s):
            return _silence(message.id)
        where = f"{wish.scope.value} {wish.target}".strip()
        return Outcome(
            status="done", text=f"{wish.state.value}: {where}, recorded by the ledger", id=message.id
        )

    # -- closing ------------------------------------------------------------------------------------------------------------

    async def _close(self, wish: CloseWish, by: str) -> Outcome:  # noqa: ARG002 - who wished it is in the audit trail
        row = self._watcher.view.positions.get(wish.position_id)
        if row is None:
            return Outcome(status="refused", text="that position is not open any more")
        named = {"symbol": row.symbol, "account": row.account, "exchange": row.exchange}
        document = {"action": "close", "reason": "close", "position_id": row.position_id, **named}
        return await self._intents([(self._client.ids.new(), document)], "")

    async def _flatten(self, wish: FlattenWish, by: str) -> Outcome:  # noqa: ARG002
        if wish.confirm != "flatten":
            return _asks_for("flatten", "to close every position at market")
        base = self._client.ids.new()
        wishes = list(flatten(self._watcher.view, wish.account, base))
        if not wishes:
            return Outcome(status="done", text="nothing to do: no open positions, no resting entries")
        return await self._intents(wishes, base)

    async def _cancel(self, wish: CancelWish, by: str) -> Outcome:  # noqa: ARG002
        row = self._watcher.view.orders.get(wish.order_id)
        if row is None:
            return Outcome(status="refused", text="that order is not live any more")
        named = {"symbol": row.symbol, "account": row.account, "exchange": row.exchange}
        document = {"action": "cancel", "order_id": row.order_id, **named}
        return await self._intents([(self._client.ids.new(), document)], "")

    async def _intents(self, wishes: Sequence[tuple[str, dict[str, Any]]], base: str) -> Outcome:
        """Publish intents on the express lane and wait until each has an end."""
        now = self._client.clock.wall_ms()
        made = [
            OrderIntent.model_validate({"id": key, "at": now, "correlation_id": key, **document})
            for key, document in wishes
        ]
        answers = _Answers(frozenset(one.id for one in made))
        outs = [Out(ORDER_INTENT_EXIT, one) for one in made]
        await self._client.ask(outs, INTENT_RESULT, answers.take, self._wait_s)
        parts = [_told(one, answers.results.get(one.id)) for one in made]
        missing = [one for one in made if one.id not in answers.results]
        if missing:
            return _silence(base or missing[0].id).model_copy(update={"parts": parts})
        refused = [result for result in answers.results.values() if not _is_good(result, bool(base))]
        text = parts[0] if len(parts) == 1 else f"{len(parts) - len(refused)} of {len(parts)} done"
        return Outcome(status="refused" if refused else "done", text=text, id=base or made[0].id, parts=parts)

    # -- exits --------------------------------------------------------------------------------------------------------------

    async def _exits(self, wish: ExitsWish, by: str) -> Outcome:
        row = self._watcher.view.positions.get(wish.position_id)
        if row is None:
            return Outcome(status="refused", text="that position is not open any more")
        message = ExitAdjust(
            id=self._client.ids.new(), at=self._client.clock.wall_ms(), position_id=row.position_id,
            take_profit=wish.take_profit or None, stop_loss=wish.stop_loss or None, ttl_s=wish.ttl_s or None,
            by=by, why=wish.why or "from the dashboard",
        )  # fmt: skip
        if message.take_profit is None and message.stop_loss is None and message.ttl_s is None:
            return Outcome(
                status="invalid", text="nothing to change: no stop-loss, take-profit or longest hold given"
            )
        loosens = [
            note
            for note in apply_adjust(row, message)[1]
            if "would loosen" in note or "would end later" in note
        ]
        if loosens and wish.confirm != row.symbol:
            return _asks_for(row.symbol, f"because this loosens an exit ({'; '.join(loosens)})")
        message = message.evolve(insist=wish.confirm == row.symbol)
        answers: list[IntentResult] = []

        def take(answer: Message) -> bool:
            if isinstance(answer, IntentResult) and answer.intent_id == message.id:
                answers.append(answer)
            return bool(answers)

        if not await self._client.ask([Out(EXIT_ADJUST, message)], INTENT_RESULT, take, self._wait_s):
            return _silence(message.id)
        answer = answers[0]
        if answer.status is not ResultStatus.ACCEPTED:
            return Outcome(status="refused", text=answer.reason or "refused", id=message.id)
        note = f" ({answer.reason})" if answer.reason else ""
        return Outcome(status="done", text=f"exits of {row.symbol} changed{note}", id=message.id)

    # -- quarantine -----------------------------------------------------------------------------------------------------------

    async def _quarantine(self, wish: QuarantineWish, by: str) -> Outcome:  # noqa: ARG002
        row = self._watcher.view.quarantine.get(wish.quarantine_id)
        if row is None:
            return Outcome(status="refused", text="that is not in quarantine any more")
        if wish.confirm != row.symbol:
            return _asks_for(row.symbol, "because it becomes a position of Holdfast's")
        fill = taken_in(row, self._client.clock.wall_ms())
        changed: list[LedgerUpdated] = []

        def take(answer: Message) -> bool:
            if isinstance(answer, LedgerUpdated) and answer.cause_id == fill.id:
                changed.append(answer)
            return bool(changed)

        if not await self._client.ask([Out(FILL, fill)], LEDGER_UPDATED, take, self._wait_s):
            return _silence(fill.id)
        text = f"{row.symbol} adopted, with exits"
        opened = [one for one in changed[0].positions if one.is_open]
        if wish.then == "flatten" and opened:
            closed = await self._intents([closing(opened[0], self._client.ids.new())], "")
            return closed.model_copy(update={"text": f"{text}; {closed.text}"})
        return Outcome(status="done", text=text, id=fill.id)

    # -- alerts -----------------------------------------------------------------------------------------------------------------

    async def _ack(self, wish: AckWish, by: str) -> Outcome:
        known = self._watcher.alarms.get(wish.key)
        if known is None:
            return Outcome(status="refused", text="that alert is not open any more")
        if known.state is AlertState.ACKNOWLEDGED:
            return Outcome(status="done", text=f"seen already, by {known.by}")
        message = AlertAck(id=self._client.ids.new(), at=self._client.clock.wall_ms(), key=wish.key, by=by)

        def take(answer: Message) -> bool:
            if not isinstance(answer, Alert) or answer.key != wish.key:
                return False
            return answer.state in {AlertState.ACKNOWLEDGED, AlertState.RECOVERED}

        if not await self._client.ask([Out(ALERT_ACK, message)], ALERT, take, self._wait_s):
            text = "no answer from the alerts service; is it running? Repeating it is safe"
            return Outcome(status="no_answer", text=text, id=message.id)
        return Outcome(status="done", text="no reminders until it has recovered", id=message.id)

    # -- dead letters ---------------------------------------------------------------------------------------------------------

    async def _requeue(self, wish: RequeueWish, by: str) -> Outcome:  # noqa: ARG002
        letter = self._watcher.dead.get(wish.entry_id)
        if letter is None:
            return Outcome(status="refused", text="that dead letter is not among the last ones")
        if wish.entry_id in self.requeued:
            return Outcome(
                status="refused", text=f"it was put back already, as {self.requeued[wish.entry_id]}"
            )
        entry_id = await asyncio.wait_for(self._client.requeue(letter), self._wait_s)
        self.requeued[wish.entry_id] = entry_id
        return Outcome(status="done", text=f"put back onto {letter.stream} as entry {entry_id}", id=entry_id)

    _HANDLERS: dict[type[Wish], Callable[..., Awaitable[Outcome]]] = {  # noqa: RUF012 - a table, never changed
        ControlWish: _control, CloseWish: _close, FlattenWish: _flatten, CancelWish: _cancel, ExitsWish: _exits,
        QuarantineWish: _quarantine, RequeueWish: _requeue, AckWish: _ack,
    }  # fmt: skip


def _silence(key: str) -> Outcome:
    text = "no answer from the ledger in time. It may still happen: look again before you repeat it"
    return Outcome(status="no_answer", text=text, id=key)


def _asks_for(word: str, why: str) -> Outcome:
    return Outcome(status="invalid", text=f"type {word} {why}")


def _is_good(result: IntentResult, is_flatten: bool) -> bool:
    if result.status in _GOOD:
        return True
    return is_flatten and result.code is not None and result.code.value in _GONE


def _told(wish: OrderIntent, result: IntentResult | None) -> str:
    what = f"{wish.action.value} {wish.symbol or wish.order_id}"
    if result is None:
        return f"{what}: no answer yet"
    if result.average_price is not None:
        filled = f"{canonical(result.filled_quantity)} at {canonical(result.average_price)}"
        return f"{what}: {result.status.value} {filled}"
    code = f" {result.code.value}" if result.code is not None else ""
    return f"{what}: {result.status.value}{code}" + (f": {result.reason}" if result.reason else "")
