"""What commands that talk to the bus share: one event loop per command, one error line when nothing answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from holdfast.cli.common import FAILED, fail, settings_of

if TYPE_CHECKING:
    from holdfast.bus.client import Client

T = TypeVar("T")


def on_bus(
    directory: Path | None,
    config: Path | None,
    work: "Callable[[Client], Awaitable[T]]",
    *,
    code: int = FAILED,
) -> T:
    """The result of *work* with a client of this installation's bus; when there is none, one line and exit code *code*."""
    from holdfast.bus.client import Unreachable, reach

    settings = settings_of(directory, config)
    logging.getLogger("holdfast").addHandler(logging.NullHandler())  # a command says what matters itself

    async def run() -> T:
        async with reach(settings) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except Unreachable as error:
        fail(str(error), code)
    except KeyboardInterrupt:
        fail("interrupted", 130)
