"""`/events`: shared beats, differences to who keeps up, the whole to who does not, and no place that is held for ever."""

import asyncio

import orjson
import pytest

from services.dashboard import events
from services.dashboard.events import EventStream, Hub
from services.dashboard.screen import Screen
from tests.unit._dashboard import Hand
from tests.unit._state import T0, HandClock, position, tick


class Cells:
    """A screen with one cell that counts how often it was looked at."""

    def __init__(self):
        self.looks = 0

    def __call__(self):
        self.looks += 1
        return Screen({"n": str(self.looks), "same": "x"}, {})


class Pace(HandClock):
    """Sleeps until the test lets it go."""

    def __init__(self):
        super().__init__()
        self.go = asyncio.Event()

    async def sleep(self, seconds):
        self.now += int(seconds * 1000)
        await self.go.wait()
        self.go.clear()


def told(data: bytes):
    return orjson.loads(data.removeprefix(b"data: "))


@pytest.fixture
async def hub():
    look, clock = Cells(), Pace()
    one = Hub(look, clock, 100, 2)
    one.look, one.clock = look, clock
    running = asyncio.create_task(one.run())
    yield one
    await one.stop()
    clock.go.set()
    await asyncio.wait_for(running, 5)


async def test_nothing_is_made_while_nobody_looks(hub):
    await asyncio.sleep(0)

    assert hub.look.looks == 0


async def test_the_first_beat_is_whole_and_the_next_only_what_changed(hub):
    hub.enter()
    number, first = await hub.next(0)
    hub.clock.go.set()
    after, second = await hub.next(number)

    assert (number, told(first)["whole"], told(first)["cells"]) == (1, True, {"n": "1", "same": "x"})
    assert (after, told(second)) == (2, {"n": 2, "now": told(second)["now"], "cells": {"n": "2"}})


async def test_who_was_too_slow_gets_the_whole_screen_and_costs_no_queue(hub):
    hub.enter()
    seen, _ = await hub.next(0)
    for beat in range(1, 6):
        hub.clock.go.set()
        await hub.next(beat)

    number, data = await hub.next(seen)

    assert number == 6
    assert told(data)["whole"] is True


async def test_all_pages_share_the_bytes(hub):
    hub.enter()
    hub.enter()

    one, other = await asyncio.gather(hub.next(0), hub.next(0))

    assert one[1] is other[1]
    assert hub.look.looks == 1


async def serve(hub, send, gone):
    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    hub.enter()
    await asyncio.wait_for(EventStream(hub)({"type": "http"}, receive, send), 10)


async def test_a_page_that_leaves_gives_its_place_back(hub):
    gone, sent = asyncio.Event(), []

    async def send(message):
        sent.append(message)
        if len(sent) == 3:
            gone.set()

    await serve(hub, send, gone)

    assert hub.clients == 0
    assert dict(sent[0]["headers"])[b"content-type"].startswith(b"text/event-stream")
    assert sent[1]["body"] == b"retry: 1000\n\n"
    assert told(sent[2]["body"])["n"] == 1


async def test_attack_flood_a_page_that_takes_nothing_is_let_go(hub, monkeypatch):
    monkeypatch.setattr(events, "STUCK_S", 0.05)
    stuck = asyncio.Event()

    async def send(message):
        if message["type"] == "http.response.body":
            await stuck.wait()

    await serve(hub, send, asyncio.Event())

    assert hub.clients == 0


async def test_a_login_that_ended_does_not_go_on_reading(hub, monkeypatch):
    monkeypatch.setattr(events, "LONGEST_S", 0.0)
    sent = []

    async def send(message):
        sent.append(message)

    await serve(hub, send, asyncio.Event())

    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_what_goes_out_is_what_the_screen_shows():
    hand = await Hand().well(position())
    hub = Hub(hand.screen, hand.clock, 100, 2)
    hub.enter()
    hub._make()
    await hand.ticks(tick("BTC/USDT", "110", at=T0 + 1))
    hub._make()

    _, data = await hub.next(1)

    assert told(data)["lists"]["positions"]["rows"]["p1"]["mark"] == "110"
