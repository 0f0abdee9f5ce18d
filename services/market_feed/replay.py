"""Replay: recorded files on one timeline, played at a speed, from where an earlier life of this feed stopped.

The cursor is a count: how many quotes of the timeline are on the bus. It stands in `feed/replay.json` (see `record`) with
the run it belongs to. The same specification over the same files goes on in that run; anything else is a new run.
A kill repeats at most the batch that was on its way, a power cut at most a second: the same ids at the same market times,
which consumers know as old, because within a run market time never runs back.

At the end the feed stays: it sends nothing more and says so, and a restart finds it finished. `loop=yes` begins again
instead, in a new run, at the first quote.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime

from holdfast.contracts.wire import digest
from holdfast.domain.candles import Quote
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import EXIT_CONFIG, EXIT_TERMINAL, Terminal
from services.market_feed.pace import Pace
from services.market_feed.record import Record
from services.market_feed.recorded import BadRecording, Recording, check, timeline
from services.market_feed.source import BATCH_MAX, Batch
from services.market_feed.spec import ReplaySpec

log = logging.getLogger("holdfast.feed")

SAVE_EVERY_MS = 1000


class ReplaySource:
    """See the module. *new_run* gives the id of a new run."""

    name, live = "replay", False

    def __init__(self, spec: ReplaySpec, record: Record, clock: Clock, new_run: Callable[[], str]) -> None:
        self._spec, self._record, self._clock, self._new_run = spec, record, clock, new_run
        self._recordings: list[Recording] = []
        self._identity = ""
        self._run, self._cursor, self._total = "", 0, 0
        self._market_at = 0
        self._saved_at = clock.monotonic_ms()

    async def open(self) -> None:
        """Check the files and find the place to go on. Raises Terminal when a file or the record cannot be used."""
        try:
            self._recordings = [await asyncio.to_thread(check, file) for file in self._spec.files]
        except BadRecording as error:
            raise Terminal(str(error), EXIT_CONFIG) from error
        self._total = sum(recording.ticks for recording in self._recordings)
        self._identity = digest(repr(self._spec), *(recording.digest for recording in self._recordings))
        saved = self._record.load()
        if saved is None or saved.get("identity") != self._identity:
            self._begin()
            return
        try:
            self._run, cursor = str(saved["run"]), int(saved["cursor"])
        except (KeyError, ValueError, TypeError) as error:
            raise Terminal(
                f"{self._record.path}: not a replay's record ({error!r}); remove it to start a new run"
            ) from error
        self._cursor = min(max(cursor, self._record.marked(self._run)), self._total)
        log.info("replay goes on at %d of %d, run %s", self._cursor, self._total, self._run)

    def _begin(self) -> None:
        self._run, self._cursor = self._new_run(), 0
        self._save()
        log.info("replay of %d ticks begins, run %s", self._total, self._run)

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """All that is left, each quote when it is due. Raises Terminal when a file changes under the replay."""
        while True:
            try:
                async for batch in self._play(timeline(self._recordings, self._cursor)):
                    yield batch
            except BadRecording as error:
                raise Terminal(f"{error} (it changed while it was played)", EXIT_TERMINAL) from error
            self._save()
            if not self._spec.loop:
                log.info("replay finished: %d ticks, run %s", self._cursor, self._run)
                return
            self._begin()

    async def _play(self, quotes: Iterator[Quote]) -> AsyncGenerator[Batch, None]:
        pace = Pace(self._clock, self._spec.speed)
        batch: list[Quote] = []
        for quote in quotes:
            if len(batch) >= BATCH_MAX or (batch and pace.wait_ms(quote.at)):
                yield Batch(self._run, self._cursor, batch)
                batch = []
                await self._clock.sleep(0)
            if pace.wait_ms(quote.at):
                await pace.until(quote.at)
            batch.append(quote)
        if batch:
            yield Batch(self._run, self._cursor, batch)

    def published(self, batch: Batch) -> None:
        """The cursor moves when a batch is on the bus, never before: nothing is left out, at worst a batch is repeated."""
        self._cursor = batch.index + len(batch.quotes)
        self._market_at = batch.quotes[-1].at
        self._record.mark(self._run, self._cursor)
        if self._clock.monotonic_ms() - self._saved_at >= SAVE_EVERY_MS:
            self._save()

    def _save(self) -> None:
        self._record.save(
            {"identity": self._identity, "run": self._run, "cursor": self._cursor, "of": self._total}
        )
        self._saved_at = self._clock.monotonic_ms()

    async def close(self) -> None:
        if self._run:
            self._save()
        self._record.close()

    def details(self) -> dict[str, str]:
        finished = self._cursor >= self._total > 0 and not self._spec.loop
        details = {
            "state": "replay finished" if finished else "playing",
            "progress": f"{self._cursor} of {self._total}",
        }
        if self._market_at:
            details["market_time"] = datetime.fromtimestamp(self._market_at / 1000, UTC).isoformat(
                timespec="seconds"
            )
        return details

    def warnings(self) -> list[str]:
        return [self._record.trouble] if self._record.trouble else []
