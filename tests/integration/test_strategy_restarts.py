"""A strategy is killed a hundred times while it trades: no result is lost, no order is doubled."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress

import pytest

from holdfast.client import Client
from holdfast.contracts.streams import LEDGER_UPDATED
from holdfast.contracts.trusted import update_of
from tests.architecture._tree import ROOT
from tests.integration._cli import Desk

pytestmark = pytest.mark.redis
LIVES, TRADES = 100, 30


def orders_of(desk: Desk) -> dict[str, set[str]]:
    """Intent -> orders that the ledger ever recorded for it."""
    found: dict[str, set[str]] = {}
    for _, fields in desk.redis.xrange(LEDGER_UPDATED.name):
        for row in update_of(fields[b"body"]).orders:
            found.setdefault(row.intent_id, set()).add(row.order_id)
    return found


def test_killed_a_hundred_times_it_loses_no_result_and_doubles_no_order(desk, tmp_path):
    file, chance = tmp_path / "results", random.Random(7)
    file.touch()
    words = [sys.executable, "-m", "tests.integration._strategy", desk.url, str(file), str(TRADES)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as nursery:

        def born() -> int:
            nursery.stdin.write("live\n")
            nursery.stdin.flush()
            return int(nursery.stdout.readline())

        killed_alive = 0
        for _ in range(LIVES):
            pid = born()
            pause(chance.uniform(0.002, 0.08))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed_alive += 1
        before_the_last = len(file.read_text().splitlines())
        born()
        desk.wait(lambda: len(file.read_text().splitlines()) == 2 * TRADES, 60)
        nursery.stdin.close()
    results = [json.loads(line) for line in file.read_text().splitlines()]
    wanted = [f"mortal:{word}-{number}" for number in range(TRADES) for word in ("buy", "close")]
    assert killed_alive > LIVES // 2, "most lives ended in the middle"
    assert before_the_last > 0, "some of them traded"
    assert [one["id"] for one in results] == wanted
    assert Counter(one["status"] for one in results) == {"filled": 2 * TRADES}
    orders = orders_of(desk)
    assert {key: len(orders[key]) for key in wanted} == dict.fromkeys(wanted, 1)
    assert {one["id"]: {one["order"]} for one in results} == {key: orders[key] for key in wanted}
    with Client(desk.url, name="mortal") as client:
        assert len(client.trades(1000, strategy="mortal")) == TRADES
        assert client.positions() == []


def pause(seconds: float) -> None:
    """How long a life lasts."""
    import time

    time.sleep(seconds)
