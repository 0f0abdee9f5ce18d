"""The client that blocks: for a script, a loop, a notebook. One may be shared by threads."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar, Unpack

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from holdfast.client import ledger_rows
from holdfast.client.arguments import Amount, Entry, Exit
from holdfast.client.core import PATIENCE_S, Asked, Call, Core, Event, Pause, Steps, Tail
from holdfast.client.place import find
from holdfast.client.wishes import checked_name, same_symbol
from holdfast.contracts.base import Message
from holdfast.contracts.messages import IntentResult, Tick, Trade
from holdfast.contracts.rows import PositionRow
from holdfast.contracts.streams import INTENT_RESULT, LEDGER_TRADE, MARKET_TICK, Stream
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.ids import SystemIds

T = TypeVar("T")
M = TypeVar("M", bound=Message)
SOCKET_TIMEOUT_S = 10.0


class Handle:
    """One intent. Made by `Client.buy` and its like, or by `Client.handle` for an intent that was sent before."""

    def __init__(self, client: "Client", asked: Asked) -> None:
        self._client, self._asked = client, asked

    @property
    def id(self) -> str:
        """The intent's id, the same after a restart where it was made of a key."""
        return self._asked.intent_id

    @property
    def latest(self) -> IntentResult | None:
        """The last answer that `wait` has seen."""
        return self._asked.latest

    def wait(self, timeout: float = 30.0, *, accepted: bool = False) -> IntentResult:
        """The intent's end: filled, partly_filled, blocked, invalid, expired, rejected, canceled, duplicate, noted.

        With *accepted*, the answer that it stands (a limit order rests) is enough. Raises NotConfirmed after *timeout* seconds, and
        Unreachable when the bus is still gone by then. What nobody answers is sent again meanwhile, under its id.
        """
        return self._client.run(self._client.core.wait(self._asked, timeout, accepted=accepted))

    def events(self) -> Iterator[Event]:
        """The way there: answers, the order as it changes, fills; ends with the intent's end."""
        while True:
            found, is_over = self._client.run(self._client.core.events(self._asked))
            yield from found
            if is_over:
                return


class Following(Generic[M]):
    """Messages as they come, without end until `stop`. `last_id` is the place: give it as `since=` after a restart."""

    def __init__(self, client: "Client", tail: Tail) -> None:
        self._client, self._tail, self._stopped = client, tail, threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def last_id(self) -> str:
        """Id of the last entry that was read; empty before the first read."""
        return self._tail.last_id

    def __iter__(self) -> Iterator[M]:
        while not self._stopped.is_set():
            yield from self._client.run(self._tail.read())  # type: ignore[misc]  # the stream has one kind of message

    def stop(self) -> None:
        """End the iteration, within a second."""
        self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)

    def call(self, callback: Callable[[M], object]) -> Self:
        """Give every message to *callback*, in a thread of its own."""

        def work() -> None:
            for message in self:
                callback(message)

        self._client.run(self._tail.place())
        self._thread = threading.Thread(target=work, name="holdfast-client", daemon=True)
        self._thread.start()
        return self


class Client:
    """See the package. *name* is the strategy's: its ids begin with it, its trades carry it, its keys are found under it.

    *url*, *directory*, *key_file*, *prefix*: see `holdfast.client.place`; all may be left out beside a running `holdfast up`. Nothing is
    reached before the first use. Raises Unreachable when nothing says where the bus is.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str = "strategy",
        directory: str | Path | None = None,
        key_file: str | Path | None = None,
        prefix: str | None = None,
    ) -> None:
        place, clock = find(url, directory, checked_name(name), key_file, prefix), SystemClock()
        self.core = Core(place, clock, SystemIds(clock))
        self._redis = Redis.from_url(
            place.url,
            protocol=2,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=2.0,
            retry=Retry(NoBackoff(), 0),
        )

    def run(self, steps: Steps[T]) -> T:
        """Carry out what *steps* want, one after the other; what they return."""
        answer: object = None
        error: Exception | None = None
        while True:
            try:
                step = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answer = error = None
            try:
                answer = self._carry_out(step)
            except Exception as raised:  # noqa: BLE001 - whoever asked for it decides
                error = raised

    def _carry_out(self, step: Call | Pause) -> object:
        if isinstance(step, Pause):
            return threading.Event().wait(step.seconds)
        return getattr(self._redis, step.name)(*step.args, **step.kwargs)

    # -- wishes -------------------------------------------------------------------------------------------------------

    def buy(
        self, symbol: str, quantity: Amount | None = None, *, key: str | None = None, id: str | None = None,  # noqa: A002
        expires_in_s: float | None = None, **more: Unpack[Entry],
    ) -> Handle:  # fmt: skip
        """Wish to buy. Returns when the wish is on the bus. Raises WrongIntent, Unreachable, Forbidden."""
        return self._open("buy", symbol, quantity, key, id, expires_in_s, dict(more))

    def sell(
        self, symbol: str, quantity: Amount | None = None, *, key: str | None = None, id: str | None = None,  # noqa: A002
        expires_in_s: float | None = None, **more: Unpack[Entry],
    ) -> Handle:  # fmt: skip
        """Wish to sell something that is not held: a short. What is held is sold by `close`."""
        return self._open("sell", symbol, quantity, key, id, expires_in_s, dict(more))

    def _open(
        self,
        side: str,
        symbol: str,
        quantity: Amount | None,
        key: str | None,
        given: str | None,
        expires_in_s: float | None,
        more: dict[str, object],
    ) -> Handle:
        fields = {"side": side, "symbol": symbol, "quantity": quantity, **more}
        return Handle(self, self.run(self.core.send(self.core.wish(fields, key, given, expires_in_s))))

    def close(
        self, symbol: str, *, key: str | None = None, id: str | None = None, **more: Unpack[Exit]  # noqa: A002
    ) -> Handle:  # fmt: skip
        """Close what is held, all of it or a part. Never stopped by a halt or a limit; never opens anything."""
        fields = {
            "action": "close",
            "symbol": symbol,
            "reason": "signal" if more.get("soft") else "close",
            **more,
        }
        return Handle(self, self.run(self.core.send(self.core.wish(fields, key, id, None))))

    def cancel(
        self, symbol: str | None = None, *, order: str | None = None, key: str | None = None, id: str | None = None,  # noqa: A002
        account: str | None = None, exchange: str | None = None,
    ) -> Handle:  # fmt: skip
        """Cancel one *order* (by its id, or its intent's), or every resting entry of a *symbol*."""
        fields = {
            "action": "cancel",
            "symbol": symbol,
            "order_id": order,
            "account": account,
            "exchange": exchange,
        }
        return Handle(self, self.run(self.core.send(self.core.wish(fields, key, id, None))))

    def handle(self, intent_id: str) -> Handle:
        """An intent that was sent before, by whomever. Its answer is found as long as the bus holds it (the newest 100,000); for one
        that is older, send the same wish with the same key or id again: the ledger repeats what it has recorded.
        """
        return Handle(self, Asked(intent_id))

    def predict(
        self, symbol: str, direction: str, confidence: Amount, *, model: str | None = None, valid_s: float = 300.0
    ) -> str:  # fmt: skip
        """Tell a model's view: *direction* long, short or hold, *confidence* from "0" to "1". Exits listen to it; nothing is opened."""
        fields = {
            "symbol": symbol,
            "direction": direction,
            "confidence": confidence,
            "model": model or self.core.place.name,
        }
        return self.run(self.core.predict(valid_s, fields))

    # -- looking ------------------------------------------------------------------------------------------------------

    def positions(self, timeout: float = PATIENCE_S) -> list[PositionRow]:
        """Every open position with its exits, oldest first. Raises Unreachable where no ledger tells."""
        return self.run(ledger_rows.positions(self.core, timeout))

    def trades(self, count: int = 100, *, strategy: str | None = None) -> list[Trade]:
        """The newest closed positions, newest first."""
        return self.run(ledger_rows.trades(self.core, count, strategy))

    def ticks(self, symbol: str, *, since: str | None = None) -> Following[Tick]:
        """Prices of *symbol* as they come: `for tick in client.ticks("BTC/USDT"): ...`."""
        return self._tail(MARKET_TICK, since, lambda tick: same_symbol(tick.symbol, symbol))

    def on_result(
        self,
        callback: Callable[[IntentResult], object],
        *,
        since: str | None = None,
        everybodys: bool = False,
    ) -> Following[IntentResult]:
        """Call *callback* with every answer to an intent of ours (its id begins with our name), or of *everybody*."""
        mine = f"{self.core.place.name}:"
        following: Following[IntentResult] = self._tail(
            INTENT_RESULT, since, lambda result: everybodys or result.intent_id.startswith(mine)
        )
        return following.call(callback)

    def on_trade(self, callback: Callable[[Trade], object], *, since: str | None = None) -> Following[Trade]:
        """Call *callback* with every position that closes, whoever opened it (`trade.strategy` says)."""
        following: Following[Trade] = self._tail(LEDGER_TRADE, since, lambda _: True)
        return following.call(callback)

    def _tail(self, stream: Stream, since: str | None, keep: Callable[[M], bool]) -> Following[M]:
        return Following(self, Tail(self.core, stream, since, keep))

    def shut(self) -> None:
        """Give the connections back."""
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()
