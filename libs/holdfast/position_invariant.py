"""A guard for any trading bot: never long and short in one symbol at once. Usable alone, without the rest of Holdfast.

    from holdfast.position_invariant import PositionInvariantViolation, get_position_invariant_enforcer

    enforcer = get_position_invariant_enforcer()
    try:
        enforcer.enforce_before_order("BTCUSDT", "sell", 0.001, current_positions={"BTC/USDT": 0.002})
    except PositionInvariantViolation as error:
        print(error)   # BTCUSDT: Cannot open SHORT: existing LONG position of 0.002

The rule itself is `domain.one_side`, the same that the executor and the ledger use. This file reads what callers have:
sides in four words, amounts as int, float, Decimal or text, and symbols under any of their names.

Three things it does differently from what one would write first. A close says `reduce_only=True` and is judged as a
close. What cannot be read blocks: `None` or NaN is not flat, so let your reader of positions raise, or hand on `None`,
but never `{}`. And it can only judge what it is told: orders that are on their way belong in `in_flight`, or two
signals at once both see a flat book (the ledger of Holdfast closes that race for good).
"""

import logging
import os
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from threading import Lock
from typing import Any, Final

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Code, PositionSide
from holdfast.contracts.money import ZERO, canonical, sub
from holdfast.domain.one_side import Held, Verdict, judge, parse_side, unreadable
from holdfast.reported import (
    Names,
    Unreadable,
    fold_cached,
    order_quantity,
    shown,
    shown_text,
    sides,
    symbol_key,
)
from holdfast.runtime.clock import Clock, SystemClock

HEDGING_VARIABLE = "QT_ALLOW_HEDGING"
KEPT_BLOCKED_ORDERS = 1000
"""Most blocked orders that are remembered; the count goes on."""

_NOTHING: Final[Mapping[str, object]] = {}
_MAX_NAMES = 50_000
_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
_NO = frozenset({"", "0", "false", "f", "no", "n", "off"})
_logger = logging.getLogger(__name__)


class PositionInvariantViolation(Exception):  # noqa: N818 - the name that callers of the seed catch
    """The order must not be sent. `code` is stable, the text is for people; `held` is the net quantity, if it is known."""

    def __init__(
        self,
        message: str,
        code: Code | None = None,
        symbol: str = "",
        attempted_side: str = "",
        held: Decimal | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.symbol, self.attempted_side, self.held = code, symbol, attempted_side, held


class PositionInvariantEnforcer:
    """Judges orders before they are placed, and remembers those it blocked. Safe to share between threads."""

    def __init__(self, allow_hedging: bool = False, *, clock: Clock | None = None) -> None:
        self._allow_hedging = bool(allow_hedging)
        self._hedging_of: dict[str, bool] = {}
        self._clock = clock or SystemClock()
        self._lock = Lock()
        self._names = Names()
        self._blocked: deque[dict[str, Any]] = deque(maxlen=KEPT_BLOCKED_ORDERS)
        self._blocked_count = 0

    @property
    def allow_hedging(self) -> bool:
        """Whether long and short may be open at once in symbols that `set_hedging` does not name."""
        return self._allow_hedging

    def is_hedging(self, symbol: str) -> bool:
        return self._hedging_of.get(fold_cached(symbol), self._allow_hedging)

    def enforce_before_order(
        self,
        symbol: str,
        side: str,
        quantity: float | Decimal | str,
        current_positions: Mapping[str, object] | None,
        account: str = "main",
        exchange: str = "paper",
        reduce_only: bool = False,
        *,
        in_flight: Mapping[str, object] | None = _NOTHING,
    ) -> Decimal:
        """Call it before every order; it raises PositionInvariantViolation when the order must not be sent.

        *current_positions*: `{symbol: signed net quantity}` of this account at this exchange, or, where both sides are
        open, `{symbol: {"long": quantity, "short": quantity}}`. A symbol that is not there is flat. *in_flight*: the
        same for entry orders without an end. Returns the quantity to send: *quantity*, and for a reduce-only order at
        most what is held, so that a close never flips the position.
        """
        verdict, amount, held = self._decide(
            symbol, side, quantity, current_positions, reduce_only, in_flight
        )
        if verdict.allowed:
            return amount if verdict.cut_to is None else verdict.cut_to
        event = self._record(verdict, amount, symbol, side, quantity, account, exchange, reduce_only)
        net = None if held is None else sub(held.long, held.short)
        raise PositionInvariantViolation(
            f"{event['symbol']}: {verdict.reason}",
            verdict.code,
            event["symbol"],
            event["attempted_side"],
            net,
        )

    def check(
        self,
        symbol: str,
        side: str,
        quantity: float | Decimal | str,
        current_positions: Mapping[str, object] | None,
        account: str = "main",
        exchange: str = "paper",
        reduce_only: bool = False,
        *,
        in_flight: Mapping[str, object] | None = _NOTHING,
    ) -> tuple[bool, str | None]:
        """As `enforce_before_order`, answered instead of raised: (allowed, reason). A no counts as a blocked order."""
        verdict, amount, _ = self._decide(symbol, side, quantity, current_positions, reduce_only, in_flight)
        if verdict.allowed:
            return True, None
        self._record(verdict, amount, symbol, side, quantity, account, exchange, reduce_only)
        return False, verdict.reason

    def set_hedging(self, symbol: str, allowed: bool, current_positions: Mapping[str, object] | None) -> None:
        """Allow or forbid both sides at once in one symbol, whatever `allow_hedging` says.

        Forbidding is refused (PositionInvariantViolation) while both sides are open, or while that cannot be read.
        """
        if not isinstance(symbol, str) or not symbol:
            raise PositionInvariantViolation(
                "symbol: must be a text, like BTCUSDT", Code.MALFORMED, shown(symbol)
            )
        if not allowed:
            self._refuse_while_both_are_open(symbol, current_positions)
        self._hedging_of[fold_cached(symbol)] = bool(allowed)

    def get_blocked_orders_count(self) -> int:
        """Orders blocked since this enforcer exists, those no longer remembered included."""
        return self._blocked_count

    def get_blocked_orders_summary(self, limit: int = 20) -> list[dict[str, Any]]:
        """The last *limit* blocked orders, newest last: timestamp (ISO 8601, UTC), symbol, attempted_side (buy, sell),
        reason, code, account, exchange, quantity (text), reduce_only.
        """
        with self._lock:
            events = list(self._blocked)
        return [dict(event) for event in events[-limit:]] if limit > 0 else []

    def _decide(
        self,
        symbol: str,
        side: str,
        quantity: object,
        positions: Mapping[str, object] | None,
        reduce_only: bool,
        in_flight: Mapping[str, object] | None,
    ) -> tuple[Verdict, Decimal, Held | None]:
        try:
            attempted = parse_side(side)
            key = symbol_key(symbol)
            amount = order_quantity(quantity)
        except ContractViolation as error:
            return Verdict(False, Code.MALFORMED, str(error)), ZERO, None
        held: Held | None = None
        try:
            held = self._held(key, positions, in_flight)
        except Unreadable as error:
            text = unreadable(attempted, reduce_only, str(error))
            return Verdict(False, Code.POSITIONS_UNREADABLE, text), amount, None
        hedging = self._hedging_of.get(key, self._allow_hedging)
        verdict = judge(
            attempted=attempted, quantity=amount, held=held, reduce_only=reduce_only, hedging=hedging
        )
        return verdict, amount, held

    def _held(
        self, key: str, positions: Mapping[str, object] | None, in_flight: Mapping[str, object] | None
    ) -> Held:
        long, short = self._sides(key, positions, "current_positions")
        if in_flight is _NOTHING:
            return Held(long, short)
        buying, selling = self._sides(key, in_flight, "in_flight")
        entries = ((PositionSide.LONG,) if buying else ()) + ((PositionSide.SHORT,) if selling else ())
        return Held(long, short, entries)

    def _sides(
        self, key: str, positions: Mapping[str, object] | None, called: str
    ) -> tuple[Decimal, Decimal]:
        """Long and short quantity under all names of the symbol. Raises Unreadable, whatever goes wrong."""
        if not isinstance(positions, Mapping):
            raise Unreadable(f"{called} ({shown(positions)})")
        try:
            return sides(self._names_known(positions).of(key), positions)
        except Unreadable:
            raise
        except Exception as error:  # the mapping is the caller's: whatever it raises, nothing is known
            raise Unreadable(f"{called} ({shown(error)})") from error

    def _names_known(self, positions: Mapping[str, object]) -> Names:
        names = self._names
        if names.knows(positions):
            return names
        with self._lock:
            names = self._names
            if len(names.key_of) > _MAX_NAMES:
                names = self._names = Names()  # a new one, because others still read the old one
            names.learn(positions)
        return names

    def _refuse_while_both_are_open(self, symbol: str, positions: Mapping[str, object] | None) -> None:
        shown = shown_text(symbol)
        try:
            long, short = self._sides(fold_cached(symbol), positions, "current_positions")
        except Unreadable as error:
            text = (
                f"{shown}: Cannot switch hedging off: {error} could not be read, and unreadable is not flat"
            )
            raise PositionInvariantViolation(text, Code.POSITIONS_UNREADABLE, shown) from None
        if long and short:
            both = f"LONG {canonical(long)} and SHORT {canonical(short)} are open"
            text = f"{shown}: Cannot switch hedging off: {both}; close one first"
            raise PositionInvariantViolation(text, Code.OPPOSED, shown, held=sub(long, short))

    def _record(
        self,
        verdict: Verdict,
        amount: Decimal,
        symbol: object,
        side: object,
        quantity: object,
        account: str,
        exchange: str,
        reduce_only: bool,
    ) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._clock.wall_ms() / 1000, tz=UTC)
        event = {
            "timestamp": now.isoformat(timespec="milliseconds"),
            "symbol": shown_text(symbol),
            "attempted_side": _shown_side(side),
            "reason": verdict.reason,
            "code": verdict.code.value if verdict.code else None,
            "account": shown_text(account),
            "exchange": shown_text(exchange),
            "quantity": canonical(amount) if amount else shown(quantity),
            "reduce_only": bool(reduce_only),
        }
        with self._lock:
            self._blocked.append(event)
            self._blocked_count += 1
        _logger.warning(
            "order blocked: %s %s %s on %s/%s: %s",
            *(
                event[part]
                for part in ("attempted_side", "quantity", "symbol", "account", "exchange", "reason")
            ),
        )
        return event

    def _set_default(self, allow_hedging: bool) -> None:
        if allow_hedging is not self._allow_hedging:
            _logger.warning("hedging is switched %s for the whole process", "on" if allow_hedging else "off")
            self._allow_hedging = allow_hedging


_shared: PositionInvariantEnforcer | None = None
_shared_lock = Lock()


def get_position_invariant_enforcer(allow_hedging: bool | None = None) -> PositionInvariantEnforcer:
    """The one enforcer of this process.

    With None, the first call decides by QT_ALLOW_HEDGING in the environment (true, 1, yes; anything unclear is no), and
    later calls take it as it is. An explicit True or False always holds, for everybody who shares the enforcer; after
    an explicit False, a symbol whose both sides are open takes closes only.
    """
    global _shared  # noqa: PLW0603 - one per process is the point
    with _shared_lock:
        if _shared is None:
            _shared = PositionInvariantEnforcer(
                _from_environment() if allow_hedging is None else allow_hedging
            )
        elif allow_hedging is not None:
            _shared._set_default(bool(allow_hedging))  # noqa: SLF001 - same file
        return _shared


def reset_enforcer() -> None:
    """Forget the process's enforcer and what it blocked; the next call makes a new one. For tests."""
    global _shared  # noqa: PLW0603
    with _shared_lock:
        _shared = None


def _from_environment() -> bool:
    word = os.environ.get(HEDGING_VARIABLE, "").strip().lower()
    if word not in _YES | _NO:
        _logger.warning("%s is neither true nor false (%s): hedging stays off", HEDGING_VARIABLE, shown(word))
    return word in _YES


def _shown_side(side: object) -> str:
    try:
        return parse_side(side).value
    except ContractViolation:
        return shown_text(side)
