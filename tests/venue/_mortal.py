"""Executors as processes that die at a step: `python -m tests.venue._mortal SETTINGS.json`.

Reads lines from standard input. `live` forks an executor that lives until it is killed; `die STEP WISH` forks one that ends itself
by SIGKILL behind that step of docs/order-life.md, in the life of the order of that wish. Each is answered with `pid N`, and with
`gone N SIGNAL` once it has ended. Forking saves the time of the imports, and nothing else: each is a process of its own.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.bus.connection import Publisher
from holdfast.contracts.codes import OrderState
from holdfast.contracts.messages import Fill, OrderReserve, OrderStatus
from holdfast.runtime.settings import Settings
from holdfast.venues.ccxt_venue import CcxtVenue
from services.executor.app import build
from services.executor.owed import Owed
from services.executor.service import Executor

BY_ITSELF = (1, 2, 3, 4, 7, 8, 9, 10, 11)
"""Steps at which the process knows where it is. Behind 5 and 6 it is the venue that knows; whoever runs the venue kills."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


class Doom:
    """Patches that end this process behind *step* of the order of *wish*, whose intents are WISH.1, WISH.2, …"""

    def __init__(self, step: int, wish: str) -> None:
        self.step, self.wish, self.order = step, wish, ""

    def is_ours(self, intent: str | None) -> bool:
        return (intent or "").partition(".")[0] == self.wish

    def is_proposal(self, said: Any) -> bool:
        return isinstance(said, OrderReserve) and said.order is not None and self.is_ours(said.intent_id)

    def patch(self) -> None:
        getattr(self, f"_step_{self.step}", lambda: None)()
        self._note_order()

    def _note_order(self) -> None:
        """Learn the client order id from the proposal."""
        publish = Publisher.publish

        async def noting(publisher: Any, outputs: Any, acks: Any = ()) -> None:
            for out in outputs:
                said = getattr(out, "message", None)
                if self.is_proposal(said):
                    self.order = said.order.order_id
            await publish(publisher, outputs, acks)

        Publisher.publish = noting  # type: ignore[method-assign]

    def _step_1(self) -> None:
        for name in ("on_entries", "on_exits"):
            handle = getattr(Executor, name)

            async def reading(executor: Any, batch: Any, handle: Any = handle) -> Any:
                if any(self.is_ours(getattr(entry.message, "id", None)) for entry in batch):
                    die()
                return await handle(executor, batch)

            setattr(Executor, name, reading)

    def _once_published(self, is_it: Callable[[Any], bool]) -> None:
        publish = Publisher.publish

        async def publishing(publisher: Any, outputs: Any, acks: Any = ()) -> None:
            await publish(publisher, outputs, acks)
            if any(is_it(getattr(out, "message", None)) for out in outputs):
                die()

        Publisher.publish = publishing  # type: ignore[method-assign]

    def _step_2(self) -> None:
        self._once_published(self.is_proposal)

    def _step_8(self) -> None:
        self._once_published(lambda said: isinstance(said, OrderStatus) and said.order_id == self.order)

    def _step_10(self) -> None:
        self._once_published(lambda said: isinstance(said, Fill) and said.order_id == self.order)

    def _once_shown(self, is_it: Callable[[Any], bool]) -> None:
        handle = Executor.on_updates

        async def hearing(executor: Any, updates: Any) -> Any:
            if any(is_it(update) for update in updates):
                die()
            return await handle(executor, updates)

        Executor.on_updates = hearing  # type: ignore[method-assign]

    def _step_3(self) -> None:
        def is_reserved(update: Any) -> bool:
            return any(
                self.is_ours(row.intent_id) and row.state is OrderState.RESERVED for row in update.orders
            )

        self._once_shown(is_reserved)

    def _step_11(self) -> None:
        self._once_shown(lambda update: any(fill.order_id == self.order for fill in update.fills))

    def _around_the_send(self, *, behind: bool) -> None:
        create = CcxtVenue._create

        async def sending(venue: Any, row: Any, *more: Any) -> Any:
            is_it = self.is_ours(row.intent_id)
            if is_it and not behind:
                die()
            outcome = await create(venue, row, *more)
            if is_it:
                die()
            return outcome

        CcxtVenue._create = sending  # type: ignore[method-assign]

    def _step_4(self) -> None:
        self._around_the_send(behind=False)

    def _step_7(self) -> None:
        self._around_the_send(behind=True)

    def _step_9(self) -> None:
        owe = Owed.owe

        def owing(owed: Any, fill: Any, *more: Any, **named: Any) -> Any:
            if fill.order_id == self.order:
                die()
            return owe(owed, fill, *more, **named)

        Owed.owe = owing  # type: ignore[method-assign]


def live(settings: Settings, doom: Doom | None) -> None:
    if doom is not None:
        doom.patch()
    os._exit(asyncio.run(build(settings).serve()))


def main(path: str) -> None:
    settings = Settings.model_validate_json(Path(path).read_bytes())
    for line in sys.stdin:
        verb, *rest = line.split()
        pid = os.fork()
        if pid == 0:
            live(settings, Doom(int(rest[0]), rest[1]) if verb == "die" else None)
        _say(f"pid {pid}")
        threading.Thread(target=_wait, args=(pid,), daemon=True).start()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _wait(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    _say(f"gone {pid} {-os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main(sys.argv[1])
