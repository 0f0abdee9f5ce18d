"""What commands that talk to the bus share: one event loop per command, one error line when nothing answers."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.cli.common import FAILED, fail, settings_of
from holdfast.contracts.streams import CLI

if TYPE_CHECKING:
    from holdfast.bus.client import Client

T = TypeVar("T")
INTERRUPTED = 130


def on_bus(
    directory: Path | None,
    config: Path | None,
    work: "Callable[[Client], Awaitable[T]]",
    *,
    code: int = FAILED,
    who: str | None = None,
) -> T:
    """The result of *work* with a client of this installation's bus; when there is none, one line and exit code *code*.

    Where the bus has users, *who* is the one to be; a person's commands are `cli`.
    """
    from holdfast.bus.client import Unreachable, reach

    settings = settings_of(directory, config)

    async def run() -> T:
        async with reach(settings, who=who or CLI) as client:
            return await work(client)

    try:
        return in_loop(run())
    except Unreachable as error:
        fail(str(error), code)


def in_loop(work: Coroutine[Any, Any, T]) -> T:
    """The result of *work* in an event loop of its own; Ctrl-C ends the command with code 130, and no trace."""
    from holdfast.bus.tasks import cancel_all

    logging.getLogger("holdfast").addHandler(logging.NullHandler())  # a command says what matters itself

    async def run() -> T:
        task, stop = asyncio.ensure_future(work), asyncio.Event()
        with suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        waiting = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            was_done = task.done()
            await cancel_all([task, waiting])
        if not was_done:
            fail("interrupted", INTERRUPTED)
        return task.result()

    return asyncio.run(run())
