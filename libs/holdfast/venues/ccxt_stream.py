"""The user's websocket of an account, for speed alone: an event says *which* order to ask about now, and nothing else is believed.

So it may be late, doubled, out of order or silent for ever, and nothing is lost: what it would have said is read by REST a few
seconds later. After each failure it connects anew, with a new listen key, and everything is asked about once: events that came
meanwhile come to nobody.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from holdfast.runtime.clock import Clock
from holdfast.venues.outcomes import described

log = logging.getLogger("holdfast.venue")
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 60.0


class UserStream:
    """*moved* is called with the client order id of every order that an event names, *connected* after each connection."""

    def __init__(
        self,
        client: Any,
        errors: tuple[type[Exception], ...],
        clock: Clock,
        *,
        moved: Callable[[str], None],
        connected: Callable[[], None],
    ) -> None:
        self._client, self._errors, self._clock = client, errors, clock
        self._moved, self._connected = moved, connected
        self._task: asyncio.Task[None] | None = None
        self.trouble: str | None = "not connected yet"
        """Why nothing is heard; None while it works."""

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff = FIRST_BACKOFF_S
        while True:
            try:
                await self._client.authenticate()
                self._connected()
                while True:
                    orders = await self._client.watch_orders()
                    self.trouble, backoff = None, FIRST_BACKOFF_S
                    for order in orders:
                        self._moved(str(order.get("clientOrderId")))
            except self._errors as error:
                self.trouble = described(error)
                log.info("the user's stream: %s; again in %.0f s", self.trouble, backoff)
            self._forget_key()
            await self._clock.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF_S)

    def _forget_key(self) -> None:
        """Ccxt would go on with a listen key that has expired."""
        for kept in self._client.options.values():
            if isinstance(kept, dict) and "listenKey" in kept:
                kept["listenKey"], kept["lastAuthenticatedTime"] = None, 0
