"""A service that dies again and again, at every point where dying hurts, and is started again by this process.

`python -m tests.contract._crash_worker URL DIRECTORY SEED`: forks lives of a service that reads `control`, writes each
entry once into SQLite (its inbox), and answers it. At three points a life may end by `_exit`, with no goodbye: before the
effect, between effect and publication, after publication. Now and then the handler raises. A life that finds nothing more
to do for half a second ends well, and so does this process.
"""

import asyncio
import os
import random
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast.bus.app import ServiceApp
from holdfast.bus.connection import Publisher
from holdfast.contracts.wire import Entry, Outgoing
from tests.contract._echo import answer, service

QUIET_S = 0.5
CHANCE = 0.1


class Doomed:
    """The handler, and the publisher's patch."""

    def __init__(self, store: Path, rng: random.Random) -> None:
        self.rng, self.worked = rng, False
        self.store = sqlite3.connect(store, isolation_level=None)
        self.store.execute("CREATE TABLE IF NOT EXISTS inbox (id TEXT PRIMARY KEY)")

    def maybe_die(self) -> None:
        if self.rng.random() < CHANCE:
            os._exit(9)

    async def __call__(self, entries: Sequence[Entry]) -> list[Outgoing]:
        self.worked = True
        self.maybe_die()
        if self.rng.random() < CHANCE:
            raise ValueError("a bad day")
        self.store.execute("BEGIN IMMEDIATE")
        for entry in entries:
            assert entry.message is not None
            self.store.execute("INSERT OR IGNORE INTO inbox VALUES (?)", (entry.message.id,))
        self.store.execute("COMMIT")
        self.maybe_die()
        return [answer(entry) for entry in entries]


def patch(doomed: Doomed) -> None:
    publish = Publisher.publish

    async def deadly(self, outputs, acks=()):  # type: ignore[no-untyped-def]
        await publish(self, outputs, acks)
        if acks:
            doomed.maybe_die()

    Publisher.publish = deadly  # type: ignore[method-assign]


async def live(app: ServiceApp, doomed: Doomed) -> int:
    async def quiet() -> None:
        while True:
            doomed.worked = False
            await asyncio.sleep(QUIET_S)
            if not doomed.worked:
                app.stop()
                return

    watch = asyncio.create_task(quiet())
    code = await app.serve()
    watch.cancel()
    return code


def main(url: str, directory: str, seed: str) -> int:
    rng, lives = random.Random(int(seed)), 0
    while True:
        lives += 1
        life = rng.randrange(1 << 30)
        child = os.fork()
        if child == 0:
            doomed = Doomed(Path(directory) / "inbox.db", random.Random(life))
            patch(doomed)
            app = service(url, Path(directory), doomed, batch=4, bus={"max_deliveries": 50})
            os._exit(asyncio.run(live(app, doomed)))
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == 0:
            return lives


if __name__ == "__main__":
    sys.stdout.write(f"{main(*sys.argv[1:4])}\n")
