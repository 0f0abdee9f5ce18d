"""Ending tasks that read from the bus.

One `cancel` is not enough. redis-py sends through `asyncio.wait_for`, and Python 3.11's swallows a cancel that comes in the
moment in which the send has just finished: the task then goes on as if nobody had asked. So it is asked until it has ended.
"""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
AGAIN_S = 0.05


async def cancel_all(tasks: "Collection[asyncio.Task[Any]]") -> None:
    """Cancel *tasks* and return when all have ended; what they raise is theirs."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)


async def within(seconds: float, run: Coroutine[Any, Any, T]) -> T:
    """The result of *run*. Raises TimeoutError, with *run* ended, when it takes longer than *seconds*."""
    task = asyncio.ensure_future(run)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        was_done = task.done()
        await cancel_all([task])
    if not was_done:
        raise TimeoutError
    return task.result()
