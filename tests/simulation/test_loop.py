"""Time is virtual, order is asyncio's, a paused process waits, a dead one is silent."""

import asyncio
from contextlib import closing
from contextvars import Context

import pytest

from proving.sim.dice import Dice, Faults
from proving.sim.loop import SimLoop, Stalled
from proving.sim.process import Dead, Locks, Points, Process
from proving.sim.trace import Trace


class Stage:
    """A loop with processes on it."""

    def __init__(self, kinds=frozenset()):
        self.loop = SimLoop(lambda: 0.001)
        self.dice = Dice(1)
        self.faults = Faults(self.dice, kinds=kinds)
        self.trace, self.points = Trace(), Points()

    def close(self):
        self.loop.close()

    def process(self, name="ledger", number=1):
        return Process(
            name,
            number,
            loop=self.loop,
            dice=self.dice,
            faults=self.faults,
            trace=self.trace,
            points=self.points,
        )

    def start(self, process, coroutine):
        task = process.run(coroutine)
        process.tasks.append(task)
        return task

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)


@pytest.fixture
def stage():
    with closing(Stage()) as made:
        yield made


def test_an_hour_passes_at_once(stage):
    stage.run(asyncio.sleep(3600))
    assert stage.loop.time() == 3600


def test_callbacks_run_in_the_order_in_which_they_were_asked_for(stage):
    seen = []
    for number in range(5):
        stage.loop.call_soon(seen.append, number)
    stage.loop.call_later(2, seen.append, "late")
    stage.loop.call_later(1, seen.append, "early")
    stage.run(asyncio.sleep(3))
    assert seen == [0, 1, 2, 3, 4, "early", "late"]


def test_waiting_for_what_cannot_come_is_said(stage):
    with pytest.raises(Stalled):
        stage.run(stage.loop.create_future())


def test_work_of_a_thread_is_done_at_once_and_known_later(stage):
    async def main():
        return await stage.loop.run_in_executor(None, lambda: 42), stage.loop.time()

    assert stage.run(main()) == (42, 0.001)


async def count(seen):
    while True:
        seen.append(len(seen))
        await asyncio.sleep(1)


def test_a_paused_process_does_nothing_and_then_goes_on(stage):
    process, seen = stage.process(), []
    stage.start(process, count(seen))
    stage.run(asyncio.sleep(2.5))
    process.pause()
    stage.run(asyncio.sleep(10))
    assert seen == [0, 1, 2]
    process.resume()
    stage.run(asyncio.sleep(1.5))
    assert seen == [0, 1, 2, 3, 4]


def test_a_dead_process_has_no_last_words(stage):
    process, said = stage.process(), []

    async def live():
        try:
            await asyncio.sleep(100)
        finally:
            said.append("unwinding")
            process.cross("bus", "xadd", "before")
            said.append("published")

    stage.start(process, live())
    stage.run(asyncio.sleep(1))
    stage.loop.call_soon(process.kill, "test", context=Context())
    stage.run(asyncio.sleep(200))
    assert said == ["unwinding"], "whatever it calls while it unwinds raises"


def test_no_handler_of_exceptions_survives_death(stage):
    process = stage.process()
    process.kill("test")
    with pytest.raises(Dead):
        process.check()
    assert not issubclass(Dead, Exception)
    stage.run(asyncio.sleep(0))


def test_what_a_dead_process_held_is_free(stage):
    locks, first, second, closed = Locks(), stage.process(), stage.process(number=2), []
    locks.take("x", first, "ledger")
    first.owns(lambda: closed.append(True))
    with pytest.raises(Exception, match="held by"):
        locks.take("x", second, "ledger")
    first.kill("test")
    assert locks.take("x", second, "ledger") in second.held
    assert closed == [True]
    stage.run(asyncio.sleep(0))


def test_a_kill_at_a_point_is_counted_and_ends_the_process():
    with closing(Stage(frozenset({"process.crash"}))) as stage:
        process = stage.process()
        stage.faults.rates["process.crash"] = 1.0
        with pytest.raises(Dead):
            process.cross("store", "commit", "after")
        assert process.is_dead
        assert stage.points.killed == {"ledger.store.commit.after": 1}
        assert stage.faults.counts == {"process.crash": 1}
        stage.run(asyncio.sleep(0))
