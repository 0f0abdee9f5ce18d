"""What the simulator sees at the seams, and a disk that was never told to sync."""

import sqlite3
from types import SimpleNamespace

import orjson
import pytest

from holdfast.contracts.streams import DEAD_LETTER, FILL, ORDER_INTENT, ORDER_RESERVE
from proving.sim.dice import Dice
from proving.sim.disk import LazyDisk, is_lazy
from proving.sim.groups import GroupServer
from proving.sim.watch import Watch

FILLED = {
    "id": "f-1",
    "trade_id": "p1",
    "order_id": "h1",
    "account": "main",
    "exchange": "paper",
    "symbol": "BTC/USDT",
}
KEY = ("p1", "h1", "main", "paper", "BTC/USDT")


class Seam:
    """A watch, what it has reported, and a ledger's store with the tables that it asks."""

    def __init__(self) -> None:
        self.ledger = sqlite3.connect(":memory:")
        self.ledger.executescript(
            "CREATE TABLE fills (trade_id, order_id, account, exchange, symbol); CREATE TABLE intents (intent_id);"
            "CREATE TABLE inbox (message_id); CREATE TABLE executors (account, epoch);"
        )
        self.told: list[str] = []
        self.server = GroupServer(lambda: 1_000)
        self.watch = Watch(
            self.ledger, self.server, lambda number, text: self.told.append(f"{number} {text}")
        )

    def append(self, stream, entry_id=(1, 0), /, **document):
        self.watch.hear(stream.name.encode(), entry_id, {b"body": orjson.dumps(document)})

    def acknowledged(self, stream, entry_id=(1, 0), group=b"ledger"):
        self.watch.acknowledged(stream.name.encode(), group, entry_id)


@pytest.fixture
def seam():
    made = Seam()
    yield made
    made.ledger.close()


def order(order_id="h1", send_by=10):
    return SimpleNamespace(order_id=order_id, send_by=send_by, book_id="main/paper/BTC/USDT")


def test_an_order_is_sent_once_and_in_time(seam):
    seam.watch.sending([order()], 10)
    assert seam.told == []
    seam.watch.sending([order()], 10)
    seam.watch.sending([order("h2")], 12)
    assert [text[:5] for text in seam.told] == ["INV-4", "INV-7"]


def test_an_intent_is_proposed_under_one_order_id(seam):
    proposal = {"intent_id": "w1", "account": "main", "at": 1}
    for _ in range(2):
        seam.append(ORDER_RESERVE, **proposal, order={"order_id": "h1", "role": "exit"})
    assert seam.told == []
    seam.append(ORDER_RESERVE, **proposal, order={"order_id": "h2", "role": "exit"})
    assert "INV-4 intent w1 was proposed as order h1, now as h2" in seam.told


def test_what_is_acknowledged_is_committed(seam):
    seam.append(FILL, **FILLED)
    seam.ledger.execute("INSERT INTO fills VALUES (?, ?, ?, ?, ?)", KEY)
    seam.acknowledged(FILL)
    assert seam.told == []
    seam.ledger.execute("DELETE FROM fills")
    seam.acknowledged(FILL)
    assert seam.told == ["INV-8 fill 1-0 is acknowledged, and not committed"]


def test_a_reservation_of_a_replaced_executor_may_be_passed_over(seam):
    seam.append(ORDER_RESERVE, intent_id="w1", account="main", epoch=1, at=1)
    seam.ledger.execute("INSERT INTO executors VALUES ('main', 2)")
    seam.acknowledged(ORDER_RESERVE)
    assert seam.told == []


def test_a_dead_letter_that_could_have_been_used_is_told(seam):
    seam.append(FILL, **FILLED)
    letter = {"stream": "fill", "entry_id": "1-0", "error": "no"}
    seam.append(DEAD_LETTER, (2, 0), **letter, payload=orjson.dumps(FILLED | {"trade_id": "p2"}).decode())
    seam.append(DEAD_LETTER, (3, 0), **letter, payload="")
    assert seam.told == []
    seam.append(DEAD_LETTER, (4, 0), **letter, payload=orjson.dumps(FILLED).decode())
    assert seam.told == ["INV-4 fill 1-0 is a dead letter: no"]
    seam.acknowledged(FILL)
    assert len(seam.told) == 1, "what is kept as a dead letter may be acknowledged"


def test_at_rest_nothing_is_left_over(seam):
    name = ORDER_INTENT.name.encode()
    seam.server.append(name, {b"body": b"{}"})
    assert [number for number, _ in seam.watch.leftovers()] == ["INV-4"]
    (entry_id,) = seam.server.keys[name].ids
    seam.acknowledged(ORDER_INTENT, entry_id, b"executor")
    assert seam.watch.leftovers() == []


@pytest.mark.parametrize("synchronous", ["OFF", "FULL"])
def test_a_disk_that_is_not_told_to_sync_loses_what_came_last(tmp_path, synchronous):
    connection = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("CREATE TABLE t (n)")
    assert is_lazy(connection) is (synchronous == "OFF")
    disk = LazyDisk(connection, Dice(1))
    connection.execute("INSERT INTO t VALUES (1)")
    disk.lose_power()
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    connection.close()
