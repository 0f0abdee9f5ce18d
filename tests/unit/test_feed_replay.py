"""A replay plays at its speed, goes on in the same run after any end, and says when it has finished."""

import shutil
from contextlib import suppress
from decimal import Decimal
from itertools import count

import orjson
import pytest

from holdfast.runtime.faults import EXIT_CONFIG, EXIT_TERMINAL, Terminal
from services.market_feed.record import Record
from services.market_feed.replay import ReplaySource
from services.market_feed.service import MarketFeed
from services.market_feed.spec import parse
from tests.unit._feed import Enough, FakeClock, Sink

T0 = 1_600_000_000_000


@pytest.fixture
def prices(tmp_path):
    """Ten trades, a second of market time apart, at prices 1 to 10."""
    path = tmp_path / "btcusdt.csv"
    path.write_text("ts_ms,price\n" + "".join(f"{T0 + n * 1000},{n + 1}\n" for n in range(10)))
    return path


class Life:
    """One life of a replay over *path*: a process, as far as it matters here."""

    numbers = count(1)

    def __init__(self, path, options="speed=10", most=None, clock=None) -> None:
        self.clock = clock or FakeClock()
        self.record = Record(path.parent / "feed", "replay")
        self.source = ReplaySource(
            parse(f"replay:{path}?{options}"), self.record, self.clock, lambda: f"run{next(self.numbers)}"
        )
        self.feed = MarketFeed(self.source)
        self.sink = Sink(self.clock, most)

    async def play(self) -> list[int]:
        """Prices published until the end, or until the sink had enough."""
        await self.source.open()
        with suppress(Enough):  # the process ends between publishing and remembering it
            await self.feed.pump(self.sink)
        return [int(tick.last) for tick in self.sink.ticks]

    def kill(self) -> None:
        """End without a word; descriptors close, nothing is saved."""
        self.record.close()

    @property
    def run(self) -> str:
        return self.sink.ticks[0].run


async def test_it_plays_at_its_speed(prices):
    life = Life(prices)
    assert list(range(1, 11)) == await life.play()
    assert [life.sink.moments[0] + 100 * n for n in range(10)] == life.sink.moments
    assert [T0 + n * 1000 for n in range(10)] == [tick.at for tick in life.sink.ticks]
    await life.source.close()


async def test_what_is_due_within_20_ms_leaves_together(prices):
    life = Life(prices, "speed=200")
    await life.play()
    assert len(life.sink.batches) < 10
    assert max(abs(moment - life.sink.moments[0] - 5 * n) for n, moment in enumerate(life.sink.moments)) <= 20
    life.kill()


async def test_max_takes_no_time_and_limits_a_batch(tmp_path):
    path = tmp_path / "btcusdt.csv"
    path.write_text("ts_ms,price\n" + "".join(f"{T0 + n * 1000},1\n" for n in range(1200)))
    life = Life(path, "speed=max")
    before = life.clock.monotonic
    await life.play()
    assert life.sink.batches == [500, 500, 200]
    assert before == life.clock.monotonic
    life.kill()


async def test_time_lost_is_not_made_up_in_a_rush(prices):
    """Publishing is held up for 5 s: what follows keeps its distance of 100 ms."""
    life = Life(prices)
    seen = life.sink

    async def publish(outputs):
        await seen(outputs)
        if len(seen.ticks) == 3:
            life.clock.move(5000)

    await life.source.open()
    await life.feed.pump(publish)
    later = seen.moments[3:]
    assert [later[0] + 100 * n for n in range(7)] == later
    life.kill()


async def test_a_stopped_replay_goes_on_in_its_run(prices):
    first = Life(prices, most=4)
    assert await first.play() == [1, 2, 3, 4]
    first.source.published(next_batch(first))
    await first.source.close()
    second = Life(prices)
    assert list(range(5, 11)) == await second.play()
    assert first.run == second.run
    ids = [tick.id for life in (first, second) for tick in life.sink.ticks]
    assert [f"{first.run}:{n}" for n in range(10)] == ids
    second.kill()


def next_batch(life):
    """The batch that the sink took last, as the source gave it."""
    from services.market_feed.source import Batch

    size = life.sink.batches[-1]
    ticks = life.sink.ticks[-size:]
    return Batch(life.run, int(ticks[0].id.rpartition(":")[2]), ticks)


async def test_a_killed_replay_repeats_no_more_than_the_batch_that_was_on_its_way(prices):
    """Killed after a batch is on the bus and before that was noted: the same ids, at the same market times."""
    first = Life(prices, most=4)
    await first.play()
    first.kill()
    second = Life(prices)
    assert list(range(4, 11)) == await second.play()
    assert (first.sink.ticks[-1].id, first.sink.ticks[-1].at) == (
        second.sink.ticks[0].id,
        second.sink.ticks[0].at,
    )
    second.kill()


async def test_after_a_power_cut_it_goes_on_from_what_was_saved_last(prices):
    """The mark is gone, the fsynced file is a second old: earlier, never later."""
    first = Life(prices, "speed=0.9", most=6)
    await first.play()
    first.kill()
    first.record._mark_path.unlink()
    played = await Life(prices, "speed=0.9").play()
    assert played[-1] == 10
    assert 1 < played[0] <= 6
    assert list(range(played[0], 11)) == played


@pytest.mark.parametrize(
    "torn", [b"", b"run", b"other                                    00000000000000000009\n"]
)
async def test_a_mark_that_says_nothing_is_not_believed(prices, torn):
    first = Life(prices, most=4)
    await first.play()
    await first.source.close()
    first.record._mark_path.write_bytes(torn)
    assert (await Life(prices).play())[:2] == [4, 5]


async def test_the_end_is_said_and_a_restart_finds_it_finished(prices, caplog):
    life = Life(prices)
    caplog.set_level("INFO")
    await life.play()
    assert "replay finished: 10 ticks" in caplog.text
    details = life.feed.heartbeat()["details"]
    assert (
        details["state"], details["progress"], details["market_time"],
    ) == ("replay finished", "10 of 10", "2020-09-13T12:26:49+00:00")  # fmt: skip
    await life.source.close()
    again = Life(prices)
    assert await again.play() == []
    assert again.feed.heartbeat()["details"]["state"] == "replay finished"


async def test_a_loop_begins_again_in_a_new_run(prices):
    life = Life(prices, "speed=max&loop=yes", most=25)
    assert [*range(1, 11), *range(1, 11), *range(1, 11)] == await life.play()
    runs = [tick.run for tick in life.sink.ticks]
    assert len(set(runs)) == 3
    assert [runs[0]] * 10 + [runs[10]] * 10 == runs[:20]
    assert len({tick.id for tick in life.sink.ticks}) == 30
    life.kill()


async def test_another_specification_or_another_content_is_a_new_run(prices):
    first = Life(prices, most=4)
    await first.play()
    await first.source.close()
    faster = Life(prices, "speed=20", most=4)
    assert await faster.play() == [1, 2, 3, 4]
    assert first.run != faster.run
    await faster.source.close()
    prices.write_text(prices.read_text() + f"{T0 + 99_000},11\n")
    changed = Life(prices, "speed=20", most=2)
    assert await changed.play() == [1, 2]
    assert faster.run != changed.run
    changed.kill()


async def test_a_file_that_cannot_be_played_stops_the_service(tmp_path):
    with pytest.raises(Terminal, match=r"nowhere\.csv: cannot be read: No such file") as raised:
        await Life(tmp_path / "nowhere.csv", "symbol=BTC/USDT").source.open()
    assert raised.value.code == EXIT_CONFIG


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"identity": "IDENTITY"}', '{"identity": "IDENTITY", "run": "r", "cursor": "x"}']
)
async def test_a_record_that_cannot_be_read_is_not_a_new_start(prices, text):
    life = Life(prices, most=1)
    await life.play()
    await life.source.close()
    identity = orjson.loads(life.record.path.read_bytes())["identity"]
    life.record.path.write_text(text.replace("IDENTITY", identity))
    with pytest.raises(Terminal, match="remove it to start a new run") as raised:
        await Life(prices).source.open()
    assert raised.value.code == EXIT_TERMINAL


async def test_a_file_that_changes_under_the_replay_stops_it(prices):
    life = Life(prices)
    await life.source.open()
    prices.write_text("ts_ms,price\n1,2\n")
    with pytest.raises(Terminal, match="changed while it was played"):
        await life.feed.pump(life.sink)


async def test_a_disk_that_takes_nothing_is_told_and_prices_go_on(prices, tmp_path):
    life = Life(prices)
    await life.source.open()
    shutil.rmtree(tmp_path / "feed")
    (tmp_path / "feed").write_text("a file where the folder should be")
    await life.feed.pump(life.sink)
    assert len(life.sink.ticks) == 10
    assert "replay.json cannot be saved" in life.feed.heartbeat()["warnings"][0]


async def test_the_record_is_saved_about_once_a_second(prices):
    life = Life(prices, "speed=1", most=5)
    life.clock.monotonic = 0
    saves = []
    save = life.record.save
    life.record.save = lambda document: (saves.append(life.clock.monotonic), save(document))
    await life.play()
    assert saves[-4:] == [0, 1000, 2000, 3000]
    assert Decimal(1) == life.sink.ticks[0].last
    life.kill()
