"""A blocked read, as the server keeps it: whose it is, and how it is served once there is something."""

import asyncio
from collections.abc import Callable
from typing import Any

from proving.sim.process import Process


class Waiter:
    """A blocked read."""

    __slots__ = ("future", "of_group", "process", "serve")

    def __init__(
        self,
        process: Process,
        serve: Callable[[], list[Any]],
        future: "asyncio.Future[list[Any] | Exception]",
        *,
        of_group: bool,
    ) -> None:
        self.process, self.serve, self.future, self.of_group = process, serve, future, of_group
