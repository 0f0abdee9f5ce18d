"""The client for asyncio: the same operations, awaited."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar, Unpack

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

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


class AsyncHandle:
    """One intent; see `blocking.Handle`."""

    def __init__(self, client: "AsyncClient", asked: Asked) -> None:
        self._client, self._asked = client, asked

    @property
    def id(self) -> str:
        return self._asked.intent_id

    @property
    def latest(self) -> IntentResult | None:
        return self._asked.latest

    async def wait(self, timeout: float = 30.0, *, accepted: bool = False) -> IntentResult:  # noqa: ASYNC109 - it is resent meanwhile
        """The intent's end, or with *accepted* that it stands. Raises NotConfirmed, Unreachable."""
        return await self._client.run(self._client.core.wait(self._asked, timeout, accepted=accepted))

    async def events(self) -> AsyncIterator[Event]:
        """Answers, the order as it changes, fills; ends with the intent's end."""
        while True:
            found, is_over = await self._client.run(self._client.core.events(self._asked))
            for event in found:
                yield event
            if is_over:
                return


class AsyncFollowing(Generic[M]):
    """Messages as they come. `last_id` is the place: give it as `since=` after a restart."""

    def __init__(self, client: "AsyncClient", tail: Tail) -> None:
        self._client, self._tail = client, tail
        self._task: asyncio.Task[None] | None = None

    @property
    def last_id(self) -> str:
        return self._tail.last_id

    async def __aiter__(self) -> AsyncIterator[M]:
        while True:
            for message in await self._client.run(self._tail.read()):
                yield message  # type: ignore[misc]  # the stream has one kind of message

    async def stop(self) -> None:
        """End the calling of a callback."""
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.05)

    async def call(self, callback: Callable[[M], object]) -> Self:
        """Give every message to *callback*, which may be a coroutine function, in a task of its own."""

        async def work() -> None:
            async for message in self:
                answer = callback(message)
                if inspect.isawaitable(answer):
                    await answer

        await self._client.run(self._tail.place())
        self._task = asyncio.create_task(work(), name="holdfast-client")
        return self


class AsyncClient:
    """As `blocking.Client`, for asyncio."""

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

    async def run(self, steps: Steps[T]) -> T:
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
                answer = await self._carry_out(step)
            except Exception as raised:  # noqa: BLE001 - whoever asked for it decides
                error = raised

    async def _carry_out(self, step: Call | Pause) -> object:
        if isinstance(step, Pause):
            await self.core.clock.sleep(step.seconds)
            return None
        return await getattr(self._redis, step.name)(*step.args, **step.kwargs)

    # -- wishes -------------------------------------------------------------------------------------------------------

    async def buy(
        self, symbol: str, quantity: Amount | None = None, *, key: str | None = None, id: str | None = None,  # noqa: A002
        expires_in_s: float | None = None, **more: Unpack[Entry],
    ) -> AsyncHandle:  # fmt: skip
        """Wish to buy. Returns when the wish is on the bus. Raises WrongIntent, Unreachable, Forbidden."""
        return await self._open("buy", symbol, quantity, key, id, expires_in_s, dict(more))

    async def sell(
        self, symbol: str, quantity: Amount | None = None, *, key: str | None = None, id: str | None = None,  # noqa: A002
        expires_in_s: float | None = None, **more: Unpack[Entry],
    ) -> AsyncHandle:  # fmt: skip
        """Wish to sell something that is not held: a short. What is held is sold by `close`."""
        return await self._open("sell", symbol, quantity, key, id, expires_in_s, dict(more))

    async def _open(
        self,
        side: str,
        symbol: str,
        quantity: Amount | None,
        key: str | None,
        given: str | None,
        expires_in_s: float | None,
        more: dict[str, object],
    ) -> AsyncHandle:
        fields = {"side": side, "symbol": symbol, "quantity": quantity, **more}
        return AsyncHandle(
            self, await self.run(self.core.send(self.core.wish(fields, key, given, expires_in_s)))
        )

    async def close(
        self, symbol: str, *, key: str | None = None, id: str | None = None, **more: Unpack[Exit]  # noqa: A002
    ) -> AsyncHandle:  # fmt: skip
        """Close what is held, all of it or a part. Never stopped by a halt or a limit; never opens anything."""
        fields = {
            "action": "close",
            "symbol": symbol,
            "reason": "signal" if more.get("soft") else "close",
            **more,
        }
        return AsyncHandle(self, await self.run(self.core.send(self.core.wish(fields, key, id, None))))

    async def cancel(
        self, symbol: str | None = None, *, order: str | None = None, key: str | None = None, id: str | None = None,  # noqa: A002
        account: str | None = None, exchange: str | None = None,
    ) -> AsyncHandle:  # fmt: skip
        """Cancel one *order* (by its id, or its intent's), or every resting entry of a *symbol*."""
        fields = {
            "action": "cancel",
            "symbol": symbol,
            "order_id": order,
            "account": account,
            "exchange": exchange,
        }
        return AsyncHandle(self, await self.run(self.core.send(self.core.wish(fields, key, id, None))))

    def handle(self, intent_id: str) -> AsyncHandle:
        """An intent that was sent before; see `blocking.Client.handle`."""
        return AsyncHandle(self, Asked(intent_id))

    async def predict(
        self, symbol: str, direction: str, confidence: Amount, *, model: str | None = None, valid_s: float = 300.0
    ) -> str:  # fmt: skip
        """Tell a model's view: *direction* long, short or hold, *confidence* from "0" to "1"."""
        fields = {
            "symbol": symbol,
            "direction": direction,
            "confidence": confidence,
            "model": model or self.core.place.name,
        }
        return await self.run(self.core.predict(valid_s, fields))

    # -- looking ------------------------------------------------------------------------------------------------------

    async def positions(self, timeout: float = PATIENCE_S) -> list[PositionRow]:  # noqa: ASYNC109 - it is asked again meanwhile
        """Every open position with its exits, oldest first. Raises Unreachable where no ledger tells."""
        return await self.run(ledger_rows.positions(self.core, timeout))

    async def trades(self, count: int = 100, *, strategy: str | None = None) -> list[Trade]:
        """The newest closed positions, newest first."""
        return await self.run(ledger_rows.trades(self.core, count, strategy))

    def ticks(self, symbol: str, *, since: str | None = None) -> AsyncFollowing[Tick]:
        """Prices of *symbol* as they come: `async for tick in client.ticks("BTC/USDT"): ...`."""
        return self._tail(MARKET_TICK, since, lambda tick: same_symbol(tick.symbol, symbol))

    async def on_result(
        self,
        callback: Callable[[IntentResult], object],
        *,
        since: str | None = None,
        everybodys: bool = False,
    ) -> AsyncFollowing[IntentResult]:
        """Call *callback* with every answer to an intent of ours (its id begins with our name), or of *everybody*."""
        mine = f"{self.core.place.name}:"
        following: AsyncFollowing[IntentResult] = self._tail(
            INTENT_RESULT, since, lambda result: everybodys or result.intent_id.startswith(mine)
        )
        return await following.call(callback)

    async def on_trade(
        self, callback: Callable[[Trade], object], *, since: str | None = None
    ) -> AsyncFollowing[Trade]:
        """Call *callback* with every position that closes, whoever opened it (`trade.strategy` says)."""
        following: AsyncFollowing[Trade] = self._tail(LEDGER_TRADE, since, lambda _: True)
        return await following.call(callback)

    def _tail(self, stream: Stream, since: str | None, keep: Callable[[M], bool]) -> AsyncFollowing[M]:
        return AsyncFollowing(self, Tail(self.core, stream, since, keep))

    async def shut(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shut()
