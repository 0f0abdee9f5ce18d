"""Bad input to running services: each piece gets a clear answer that names the field, nothing is lost, good intents work on.

One bus, one ledger, one executor, for all of it: what is thrown at them together must be answered one by one.
"""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from holdfast.contracts.base import MAX_BODY_BYTES
from holdfast.contracts.messages import IntentResult
from holdfast.contracts.streams import (
    CONTROL,
    DEAD_LETTER,
    EXECUTOR,
    EXIT_ADJUST,
    FILL,
    LEDGER,
    ORDER_BLOCKED,
    ORDER_INTENT,
    ORDER_RESERVE,
    ORDER_STATUS,
    SNAPSHOT_REQUEST,
)
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.embedded_bus import embedded
from holdfast.runtime.faults import EXIT_CONFIG, EXIT_UNAVAILABLE
from tests.contract._bus import Bus
from tests.contract._pipeline import Pipeline
from tests.contract._wait import wait_until

pytestmark = pytest.mark.redis
NOW = SystemClock().wall_ms()


def intent(**fields: object) -> bytes:
    return orjson.dumps({"symbol": "BTC/USDT:USDT", "side": "buy", "quantity": "0.01"} | fields)


def raw(quantity: str) -> bytes:
    """An intent whose quantity is this piece of JSON."""
    return b'{"id":"ID","symbol":"BTC/USDT:USDT","side":"buy","quantity":%b}' % quantity.encode()


# What is sent (its id is put in for ID), how it is answered, with which code, and a word of the reason.
INTENTS: dict[str, tuple[bytes, str, str, str]] = {
    "not JSON": (b'{"symbol": "BTC', "invalid", "malformed", "body: not JSON"),
    "a list": (b'["buy"]', "invalid", "malformed", "body: a JSON object is expected"),
    "no text": (b"\xff\xfe\x00", "invalid", "malformed", "body: not JSON"),
    "deep": (b"[" * 50_000, "invalid", "malformed", "body: not JSON"),
    "unknown field": (intent(id="ID", colour="red"), "invalid", "malformed", "colour: no such field"),
    "float": (raw("0.01"), "invalid", "malformed", "quantity"),
    "exponent": (raw("1e-2"), "invalid", "malformed", "quantity"),
    "negative": (raw('"-0.01"'), "invalid", "malformed", "quantity"),
    "zero": (raw('"0"'), "invalid", "malformed", "quantity"),
    "NaN": (raw('"NaN"'), "invalid", "malformed", "quantity"),
    "bare NaN": (raw("NaN"), "invalid", "malformed", "body: not JSON"),
    "infinite": (raw('"Infinity"'), "invalid", "malformed", "quantity"),
    "too many digits": (raw('"0.' + "1" * 200 + '"'), "invalid", "malformed", "quantity"),
    "comma": (raw('"0,01"'), "invalid", "malformed", "quantity"),
    "true": (raw("true"), "invalid", "malformed", "quantity"),
    "no quantity": (raw("null"), "invalid", "malformed", "quantity is required to open"),
    "unknown side": (intent(id="ID", side="up"), "invalid", "malformed", "side"),
    "unknown symbol": (intent(id="ID", symbol="ELEPHANT"), "invalid", "unknown_symbol", "ELEPHANT"),
    "no symbol": (intent(id="ID", symbol=None), "invalid", "malformed", "symbol is required"),
    "long symbol": (intent(id="ID", symbol="X" * 41), "invalid", "malformed", "symbol"),
    "unknown account": (intent(id="ID", account="nobody"), "invalid", "unknown_account", "nobody/paper"),
    "stop-loss off": (intent(id="ID", stop_loss="off"), "invalid", "malformed", "stop_loss cannot be off"),
    "stop-loss above": (intent(id="ID", stop_loss="110"), "invalid", "bad_exits", "stop_loss 110"),
    "exit in words": (intent(id="ID", take_profit="a lot"), "invalid", "malformed", "take_profit"),
    "limit without price": (intent(id="ID", type="limit"), "invalid", "malformed", "price is required"),
    "expired": (intent(id="ID", expires_at=NOW - 1), "expired", "expired", "expired"),
    "old": (intent(id="ID", at=NOW - 120_000), "expired", "expired", "expired"),
    "of tomorrow": (intent(id="ID", at=NOW + 86_400_000), "invalid", "from_the_future", "in the future"),
    "id with spaces": (intent(id="my intent"), "invalid", "malformed", "id"),
    "huge": (intent(id="ID", strategy="x" * 1_000_000), "invalid", "too_large", str(MAX_BODY_BYTES)),
    "nothing to close": (intent(id="ID", action="close"), "blocked", "nothing_to_close", "nothing is open"),
}
WITHOUT_ID = {"not JSON", "a list", "no text", "deep", "bare NaN", "id with spaces", "huge"}
"""Of these the sender's id cannot be read: they are answered under one derived from the entry."""


async def play(bus: Bus, directory: Path) -> dict[str, IntentResult]:
    """Send all of it at once, in the middle of good intents; the answers by name."""
    async with Pipeline(bus, directory, LEDGER, EXECUTOR, paper={"market": "linear"}) as pipeline:
        await pipeline.tick("100")
        await wait_until(pipeline.priced, "the executor to have a price")
        await pipeline.intent(id="good-before", symbol="ETH/USDT", side="buy", quantity="1", stop_loss="1")
        before = {result.intent_id for result in await bus.of_results()}
        for number, (body, *_) in enumerate(INTENTS.values()):
            await bus.add_raw(ORDER_INTENT, body=body.replace(b"ID", f"bad-{number}".encode()))
        await pipeline.intent(id="good", symbol="BTC/USDT", side="buy", quantity="0.5")
        await wait_until(pipeline.orders, "the good order")
        await pipeline.tick("100")
        await wait_until(pipeline.positions, "the good position")
        await wait_until(lambda: bus.finished(ORDER_INTENT, EXECUTOR), "every intent to be answered")
        answers = [result for result in await bus.of_results() if result.intent_id not in before]
        known = {result.intent_id: result for result in answers}
        derived = iter([result for result in answers if result.intent_id.startswith("i-")])
        found = {
            name: next(derived) if name in WITHOUT_ID else known[f"bad-{number}"]
            for number, name in enumerate(INTENTS)
        }
        return found | {"good": known["good"], "count": await bus.of(DEAD_LETTER)}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, IntentResult]:
    directory = tmp_path_factory.mktemp("bad")

    async def run(url: str) -> dict[str, IntentResult]:
        bus = Bus(url)
        try:
            return await play(bus, directory)
        finally:
            await bus.close()

    with embedded(directory / "bus") as url:
        return asyncio.run(run(url))


@pytest.mark.parametrize("name", INTENTS)
def test_a_bad_intent_is_answered_with_its_field(answers, name):
    _, status, code, word = INTENTS[name]
    result = answers[name]

    assert (result.status, result.code) == (status, code), result.reason
    assert word in (result.reason or "")
    assert result.order_id is None


def test_a_good_intent_among_them_is_filled(answers):
    assert answers["good"].status == "filled"
    assert answers["good"].filled_quantity == 0.5


def test_no_intent_is_a_dead_letter(answers):
    """Intents are answered, all of them; dead letters are for entries that nobody can be told about."""
    assert answers["count"] == []


@pytest.fixture
async def bus(tmp_path):
    with embedded(tmp_path / "bus") as url:
        outside = Bus(url)
        yield outside
        await outside.close()


OF_THE_LEDGER = {
    ORDER_RESERVE: (b'{"id":"x","at":1,"intent_id":"i"}', "intent_digest"),
    FILL: (b'{"id":"x","at":1,"account":"main","exchange":"paper","symbol":"BTC/USDT","quantity":1.5}', "trade_id"),
    ORDER_STATUS: (b'{"id":"x","at":1,"order_id":"o","account":"main","exchange":"paper","status":"lost"}', "status"),
    EXIT_ADJUST: (b'{"id":"x","at":1,"position_id":"p","stop_loss":"-5%","by":"a","why":"b"}', "stop_loss"),
    CONTROL: (b'{"id":"x","at":1,"state":"asleep","by":"a"}', "state"),
    SNAPSHOT_REQUEST: (b'{"id":"x","at":1,"by":"a b"}', "by"),
}  # fmt: skip


async def test_the_ledger_names_the_field_on_dead_letter_and_works_on(bus, tmp_path):
    """Of every stream that it reads; and a fill that cannot be read lets no entry on its book, until a person has looked."""
    async with Pipeline(bus, tmp_path, LEDGER, EXECUTOR) as pipeline:
        for stream, (body, _) in OF_THE_LEDGER.items():
            await bus.add_raw(stream, body=body)
        letters = await wait_until(lambda: _dead(bus, len(OF_THE_LEDGER)), "all dead letters")
        assert {letter.stream: letter.error.partition(":")[0] for letter in letters} == {
            stream.name: field for stream, (_, field) in OF_THE_LEDGER.items()
        }
        await pipeline.tick("100")
        await wait_until(pipeline.priced, "the executor to have a price")
        await pipeline.intent(id="late", symbol="BTC/USDT:USDT", side="buy", quantity="1")
        result = await pipeline.answer("late")
        (blocked,) = await bus.of(ORDER_BLOCKED)

    assert (result.status, result.code, blocked.code) == ("blocked", "book_disputed", "book_disputed")
    assert "fill" in blocked.reason


async def _dead(bus: Bus, count: int) -> list:
    letters = await bus.of(DEAD_LETTER)
    return letters if len(letters) >= count else []


async def test_a_replayed_stream_is_answered_from_the_record(bus, tmp_path):
    """The same entries again: no order, no fill more, each answered as before; another wish under an old id is not taken."""
    async with Pipeline(bus, tmp_path, LEDGER, EXECUTOR) as pipeline:
        await pipeline.tick("100")
        await wait_until(pipeline.priced, "the executor to have a price")
        for name in ("one", "two", "one", "two"):
            await bus.add_raw(ORDER_INTENT, body=intent(id=name))
        await wait_until(lambda: bus.finished(ORDER_INTENT, EXECUTOR), "all to be answered")
        await pipeline.tick("100")
        await pipeline.answer("two")
        for name in ("one", "two"):
            await bus.add_raw(ORDER_INTENT, body=intent(id=name))
        await bus.add_raw(ORDER_INTENT, body=intent(id="one", quantity="7"))
        await wait_until(lambda: bus.finished(ORDER_INTENT, EXECUTOR), "all to be answered again")
        results = await bus.of_results()
        (position,) = await pipeline.positions()
        fills = await bus.of(FILL)

    assert (str(position.quantity), len(fills)) == ("0.02", 2)
    assert [r.status for r in results if r.intent_id == "two"][-1] == "filled"
    assert [(r.status, r.code) for r in results if r.intent_id == "one"][-1] == (
        "duplicate",
        "intent_id_reused",
    )


# -- processes --------------------------------------------------------------------------------------------------------


def run(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` in *directory*, with nothing of our environment that configures Holdfast."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=directory, capture_output=True, text=True, timeout=30, check=False,
        env=kept | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
    )  # fmt: skip


def test_a_port_in_use_ends_up_with_a_sentence(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        ended = run(
            tmp_path, "-m", "holdfast.cli.main", "up", "--dir", "var", "--for", "1", HOLDFAST_BUS_PORT=port
        )

    assert ended.returncode not in {0, 1}
    assert f"port {port} (bus.port) is in use by another program" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unreadable_dotenv_stops_a_service_before_it_does_anything(tmp_path):
    (tmp_path / ".env").mkdir()
    ended = run(tmp_path, "-m", "services.ledger")

    assert ended.returncode == EXIT_CONFIG
    assert ".env: cannot be read" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "var").exists()


def test_a_state_directory_that_cannot_be_used_stops_the_publisher(tmp_path, bus):
    (tmp_path / "state").write_text("a file, not a folder")
    ended = run(
        tmp_path,
        "-m",
        "services.state_publisher",
        HOLDFAST_REDIS_URL=bus.url,
        HOLDFAST_STATE_DIR=str(tmp_path / "state"),
    )

    assert ended.returncode == EXIT_UNAVAILABLE
    assert f"the state directory {tmp_path / 'state'} cannot be used" in ended.stdout + ended.stderr
