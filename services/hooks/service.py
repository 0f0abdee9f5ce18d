"""What becomes of one delivery: its answer, and the intent that it gives.

The order of the questions is the point. Size before reading, form before secret, secret before anything that costs or tells:
whoever has no secret learns whether the form was right and no more, in the same time for hooks that exist and those that do not.
Everything wrong counts against one small allowance, and is told no more once that is used up. The right secret passes all the
same: a flood of guesses, which cannot succeed against 256 bits, must not keep a genuine close away.
"""

import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Code
from holdfast.contracts.messages import OrderIntent
from holdfast.domain.hooks import MOST_BYTES, SECRET, intent_id, intent_of, read
from holdfast.domain.producers import Allowances, Producer
from holdfast.runtime.clock import Clock
from holdfast.runtime.hook_settings import HookSettings

log = logging.getLogger("holdfast.hooks")
AHEAD_MS = 60_000
"""An alert from later than this has a broken clock behind it."""
_WRONG = "\0wrong"
_NOBODY = "x" * 43
"""Compared where there is no such hook, so that this takes as long."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told."""

    status: int
    text: str
    intent: OrderIntent | None = None


@dataclass(slots=True)
class Hooks:
    """Every hook of this installation. *secrets* by hook."""

    hooks: Mapping[str, HookSettings]
    secrets: Mapping[str, str]
    clock: Clock
    most_wrong_per_minute: int
    taken: int = 0
    refused: int = 0
    _allowances: Allowances = field(default_factory=Allowances)

    def deliver(self, name: str, body: bytes) -> Answer:
        """The answer to *body*, delivered to the hook *name*."""
        answer = self._answer(name, body)
        if answer.intent is None:
            self.refused += 1
            log.warning("hook %r refused: %d %s", name[:40], answer.status, answer.text)
        else:
            self.taken += 1
        return answer

    def _answer(self, name: str, body: bytes) -> Answer:
        if len(body) > MOST_BYTES:
            return Answer(413, f"at most {MOST_BYTES} bytes")
        try:
            document = read(body)
        except ContractViolation as error:
            return self._wrong(400, str(error))
        given = document.get(SECRET)
        known = self.secrets.get(name)
        right = hmac.compare_digest((known or _NOBODY).encode(), str(given or "").encode())
        if not right or known is None:
            return self._wrong(403, "no such hook, or not its secret")
        hook = self.hooks[name]
        if not self._may(name, hook.rate_per_minute):
            return Answer(429, f"{Code.PRODUCER_RATE.value}: at most {hook.rate_per_minute} alerts a minute")
        try:
            return self._intent(name, hook, body, document)
        except ContractViolation as error:
            return Answer(422, str(error))

    def _intent(self, name: str, hook: HookSettings, body: bytes, document: dict[str, Any]) -> Answer:
        now = self.clock.wall_ms()
        alert_ms = _time_of(document.get(hook.time_field), hook.time_field)
        if alert_ms > now + AHEAD_MS:
            raise ContractViolation(hook.time_field, "lies in the future; is a clock wrong?")
        if now - alert_ms > hook.max_age_s * 1000:
            raise ContractViolation(hook.time_field, f"the alert is older than {hook.max_age_s:g} s")
        key = intent_id(name, body, alert_ms)
        wish = intent_of(
            document,
            key=key,
            template=hook.intent,
            close_when=hook.close_when,
            symbols=hook.symbols,
            now_ms=now,
        )
        return Answer(202, key, wish if wish.strategy is not None else wish.evolve(strategy=name))

    def _may(self, who: str, per_minute: Decimal) -> bool:
        """Whether one more is within the rate; a quarter of a minute's worth may come at once."""
        producer = Producer(who, rate_per_s=per_minute / 60, burst=max(Decimal(1), per_minute / 4))
        return self._allowances.take(producer, self.clock.monotonic_ms())

    def _wrong(self, status: int, text: str) -> Answer:
        if not self._may(_WRONG, Decimal(self.most_wrong_per_minute)):
            return Answer(429, "too many wrong deliveries; wait a minute")
        return Answer(status, text)

    def beat(self) -> dict[str, Any]:
        """Heartbeat fields."""
        return {
            "details": {"hooks": str(len(self.hooks)), "taken": str(self.taken), "refused": str(self.refused)}
        }


def _time_of(value: object, name: str) -> int:
    """An alert's time in ms since 1970 UTC, from ISO 8601 (UTC where it names no zone) or a number of ms or s."""
    try:
        if isinstance(value, Decimal) or (isinstance(value, str) and value.strip().isdigit()):
            number = int(value)
        else:
            moment = datetime.fromisoformat(str(value).strip())
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError, ArithmeticError):
        raise ContractViolation(name, "the alert's time, ISO 8601 or ms, is required") from None
    return number if number > 10**11 else number * 1000
