"""Work streams: nothing is lost, nothing is acknowledged too early, and one bad entry harms only itself."""

import asyncio
from collections import Counter

import pytest

from holdfast.bus import app as bus_app
from holdfast.bus import housekeeping
from holdfast.contracts.streams import CONTROL, DEAD_LETTER, INTENT_RESULT, LEDGER
from holdfast.contracts.wire import Ack
from holdfast.domain.invariants import InvariantViolation
from holdfast.runtime.faults import EXIT_TERMINAL, EXIT_UNAVAILABLE, Terminal, Transient
from tests.contract._bus import Bus, ends, running, settings_for
from tests.contract._echo import Echo, answer, order, service
from tests.contract._wait import wait_until


async def answered(bus: Bus) -> list[str]:
    return [message.intent_id for message in await bus.of(INTENT_RESULT)]


async def test_backlog_published_before_the_first_start_is_processed(bus, bus_url, tmp_path):
    """The group is created at 0: what came before anybody read is read."""
    for number in range(25):
        await bus.add(CONTROL, order(number))
    echo = Echo()

    async with running(service(bus_url, tmp_path, echo, batch=10)):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the backlog")

    assert echo.seen == [f"c-{number}" for number in range(25)]
    assert max(map(len, echo.batches)) <= 10
    assert await answered(bus) == echo.seen


async def test_entries_are_acknowledged_in_the_transaction_that_publishes_their_outputs(
    bus, bus_url, tmp_path, monkeypatch
):
    """Until the outputs are out, the entry is pending; afterwards it is not."""
    app = service(bus_url, tmp_path, Echo())
    release = asyncio.Event()

    async def hold_back() -> None:
        publish = app.publisher.publish

        async def later(outputs, acks=()):
            if acks:
                await release.wait()
            await publish(outputs, acks)

        monkeypatch.setattr(app.publisher, "publish", later)

    app.on_start(hold_back)
    await bus.add(CONTROL, order(1))
    async with running(app):
        await wait_until(lambda: bus.pending(CONTROL, LEDGER), "the delivery")
        assert await answered(bus) == []
        release.set()
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the acknowledgement")
        assert await answered(bus) == ["c-1"]


async def test_own_pending_entries_are_processed_first_after_a_restart(bus, bus_url, tmp_path):
    """FastStream reads only what is new; what an earlier life had taken is drained before."""
    echo = Echo()
    app = service(bus_url, tmp_path, echo, batch=3)
    await bus.redis.xgroup_create(CONTROL.name, LEDGER, id="0", mkstream=True)
    for number in range(7):
        await bus.add(CONTROL, order(number))
    await bus.redis.xreadgroup(LEDGER, f"{LEDGER}-0", {CONTROL.name: ">"}, count=5)

    async with running(app):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "old and new entries")

    assert echo.seen == [f"c-{number}" for number in range(7)]


async def test_entries_of_a_consumer_that_is_gone_are_claimed(bus, bus_url, tmp_path, monkeypatch):
    """... after claim_idle_ms, and only what the other one never finished."""
    monkeypatch.setattr(housekeeping, "CLAIM_EVERY_S", 0.1)
    echo = Echo()
    await bus.redis.xgroup_create(CONTROL.name, LEDGER, id="0", mkstream=True)
    ids = [await bus.add(CONTROL, order(number)) for number in range(4)]
    await bus.redis.xreadgroup(LEDGER, "ledger-gone", {CONTROL.name: ">"}, count=4)
    await bus.redis.xack(CONTROL.name, LEDGER, ids[0])

    async with running(service(bus_url, tmp_path, echo)):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the claimed entries")

    assert echo.seen == ["c-1", "c-2", "c-3"]


async def test_a_poisoned_batch_harms_only_the_poison(bus, bus_url, tmp_path):
    """The batch is taken apart: every other entry is handled once, the poison goes to dead.letter and is acknowledged."""
    done: Counter[str] = Counter()

    async def handler(entries):
        names = [entry.message.id for entry in entries]
        if "c-5" in names:
            raise ValueError("no c-5 please")
        done.update(names)
        return [answer(entry) for entry in entries]

    for number in range(10):
        await bus.add(CONTROL, order(number))
    async with running(service(bus_url, tmp_path, handler)):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the batch")
        await bus.add(CONTROL, order(10))
        await wait_until(lambda: done["c-10"], "the entry behind it")

    assert done == Counter({f"c-{number}": 1 for number in range(11) if number != 5})
    (letter,) = await bus.of(DEAD_LETTER)
    assert (letter.stream, letter.deliveries, letter.error) == ("control", 3, "ValueError: no c-5 please")
    assert letter.payload == order(5).body().decode()


async def test_a_failure_that_passes_is_no_poison(bus, bus_url, tmp_path):
    """An entry that fails alone twice and then works was never dead."""
    attempts = 0

    async def handler(entries):
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ValueError("not yet")
        return [answer(entry) for entry in entries]

    await bus.add(CONTROL, order(1))
    async with running(service(bus_url, tmp_path, handler)):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the third attempt")

    assert await answered(bus) == ["c-1"]
    assert await bus.of(DEAD_LETTER) == []


MALFORMED = (
    {"body": "{not json"},
    {"body": '{"id":"c-1","at":1,"state":"active","by":"x","colour":"red"}'},
    {"body": '{"id":"c-1","at":1,"state":"asleep","by":"x"}'},
    {"body": "[]"},
    {"text": "no body at all"},
    {"body": b"\xff\xfe"},
)


@pytest.mark.parametrize("fields", MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed_entries_are_dead_lettered_and_the_next_is_processed(bus, bus_url, tmp_path, fields):
    """They cannot become better, so they are not tried again."""
    bad = await bus.add_raw(CONTROL, **fields)
    await bus.add(CONTROL, order(2))
    echo = Echo()
    async with running(service(bus_url, tmp_path, echo)):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "both entries")

    assert echo.seen == ["c-2"]
    (letter,) = await bus.of(DEAD_LETTER)
    assert (letter.entry_id, letter.service, letter.deliveries) == (bad, LEDGER, 1)
    assert letter.error
    assert not letter.truncated


async def test_a_huge_entry_is_dead_lettered_cut_short(real_url, tmp_path):
    """On the real server only: fakeredis drops a connection whose reply does not fit its socket's buffer."""
    bus = Bus(real_url)
    await bus.add_raw(CONTROL, body='{"by":"' + "x" * 1_000_000 + '"}')
    await bus.add(CONTROL, order(2))
    echo = Echo()
    async with running(service(real_url, tmp_path, echo)):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "both entries")
    (letter,) = await bus.of(DEAD_LETTER)
    await bus.close()

    assert echo.seen == ["c-2"]
    assert letter.truncated
    assert len(letter.payload) == 150_000
    assert "65536" in letter.error


async def test_a_handler_that_asks_for_them_is_given_malformed_entries(bus, bus_url, tmp_path):
    """The executor answers what cannot be read; it must see it."""
    bad = await bus.add_raw(CONTROL, body="{")
    echo = Echo()
    async with running(service(bus_url, tmp_path, echo, malformed="handler")):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the entry")

    assert echo.seen == [bad]
    assert await bus.of(DEAD_LETTER) == []


async def test_handlers_that_acknowledge_themselves_decide_when(bus, bus_url, tmp_path):
    """Nothing is acknowledged by returning; an Ack returned later, by whatever handler, does it."""
    waiting: list[str] = []

    async def handler(entries):
        waiting.extend(entry.entry_id for entry in entries)
        return [answer(entry) for entry in entries]

    async def later():
        return [Ack(CONTROL, waiting.pop())] if allowed and waiting else []

    allowed = False
    await bus.add(CONTROL, order(1))
    app = service(bus_url, tmp_path, handler, acks="handler")
    app.every(0.05, later)
    async with running(app):
        await wait_until(lambda: answered(bus), "the answer")
        assert await bus.pending(CONTROL, LEDGER) == 1
        allowed = True
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the acknowledgement")


async def test_a_full_store_is_waited_for_and_never_held_against_a_message(bus, bus_url, tmp_path):
    """Transient more often than max_deliveries: the entry is handled in the end, and nothing is dead."""
    attempts = 0

    async def handler(entries):
        nonlocal attempts
        attempts += 1
        if attempts <= 5:
            raise Transient("disk full")
        return [answer(entry) for entry in entries]

    await bus.add(CONTROL, order(1))
    async with running(service(bus_url, tmp_path, handler, bus={"max_deliveries": 2})):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the sixth attempt")

    assert attempts == 6
    assert await answered(bus) == ["c-1"]
    assert await bus.of(DEAD_LETTER) == []


async def _fails_with(error: Exception, bus: Bus, url: str, directory) -> tuple[int, int]:
    """Exit code of a service whose handler raises *error*, and how often the handler was called."""
    calls = 0

    async def handler(entries):
        nonlocal calls
        calls += 1
        raise error

    await bus.add(CONTROL, order(1))
    await bus.add(CONTROL, order(2))
    code = await ends(service(url, directory, handler, batch=1, bus={"store_patience_s": 1.0}))
    return code, calls


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Terminal("fenced", 73), 73),
        (InvariantViolation("INV-1", "both sides"), EXIT_TERMINAL),
        (Transient("disk full for good"), EXIT_UNAVAILABLE),
    ],
    ids=["terminal", "invariant", "transient for too long"],
)
async def test_a_service_that_cannot_keep_its_promise_stops_with_a_code(bus, bus_url, tmp_path, error, code):
    """INV-10. What it was working on stays pending; nothing behind it is touched, nothing is dead-lettered."""
    ended, calls = await _fails_with(error, bus, bus_url, tmp_path)

    assert ended == code
    assert calls == 1 or isinstance(error, Transient)
    assert await bus.pending(CONTROL, LEDGER) >= 1
    assert await bus.of(DEAD_LETTER) == []
    echo = Echo()
    async with running(service(bus_url, tmp_path, echo)):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the next life")
    assert echo.seen == ["c-1", "c-2"]


async def test_a_dead_letter_that_cannot_be_written_stops_the_service(bus, bus_url, tmp_path):
    """An error on the way to dead.letter must not leave the entry pending, unread and unmentioned."""

    async def told(entry):
        raise RuntimeError("no book to dispute")

    await bus.add_raw(CONTROL, body="{")
    code = await ends(service(bus_url, tmp_path, Echo(), on_dead=told))

    assert code == EXIT_TERMINAL
    assert await bus.pending(CONTROL, LEDGER) == 1


async def test_entries_trimmed_away_while_pending_are_told(bus, bus_url, tmp_path):
    """Their content is lost; that is said, not swallowed."""
    await bus.redis.xgroup_create(CONTROL.name, LEDGER, id="0", mkstream=True)
    lost = await bus.add(CONTROL, order(1))
    await bus.redis.xreadgroup(LEDGER, f"{LEDGER}-0", {CONTROL.name: ">"}, count=5)
    await bus.redis.xtrim(CONTROL.name, maxlen=0, approximate=False)
    echo = Echo()
    async with running(service(bus_url, tmp_path, echo)):
        await wait_until(lambda: bus.of(DEAD_LETTER), "a dead letter")
        await bus.add(CONTROL, order(2))
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the next entry")

    assert echo.seen == ["c-2"]
    (letter,) = await bus.of(DEAD_LETTER)
    assert letter.entry_id == lost
    assert "content is lost" in letter.error


async def test_a_prefix_goes_before_every_name(bus_url, tmp_path):
    """Two installations can share one server."""
    bus = Bus(bus_url, "one:")
    await bus.add(CONTROL, order(1))
    echo = Echo()
    async with running(service(bus_url, tmp_path, echo, bus={"prefix": "one:"})):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the entry")
    names = await bus.names()
    await bus.close()

    assert echo.seen == ["c-1"]
    assert names
    assert all(name.startswith("one:") for name in names)


async def test_a_bus_that_never_answers_ends_the_service(tmp_path):
    """Exit code 69 after the bounded wait, not a process that hangs."""
    settings = settings_for("redis://127.0.0.1:1/0", tmp_path, bus={"store_patience_s": 1.0})
    assert await ends(bus_app.ServiceApp(LEDGER, settings)) == EXIT_UNAVAILABLE


async def test_a_start_that_meets_a_passing_fault_is_tried_again(bus_url, tmp_path):
    """The ledger compares itself with the bus while it starts; one lost answer ended it (simulator, seed 11)."""
    app, tries = bus_app.ServiceApp(LEDGER, settings_for(bus_url, tmp_path)), []

    async def start():
        tries.append(len(tries))
        if len(tries) == 1:
            raise Transient("bus: Timeout reading from server")
        app.stop()

    app.on_start(start)
    assert await ends(app) == 0
    assert tries == [0, 1]


async def test_an_abandoned_entry_that_was_trimmed_away_is_told(bus, bus_url, tmp_path, monkeypatch):
    """Redis drops such an entry from the pending list when it is claimed, without a word; we say what was lost."""
    monkeypatch.setattr(housekeeping, "CLAIM_EVERY_S", 0.1)
    await bus.redis.xgroup_create(CONTROL.name, LEDGER, id="0", mkstream=True)
    lost = await bus.add(CONTROL, order(1))
    await bus.add(CONTROL, order(2))
    await bus.redis.xreadgroup(LEDGER, "ledger-gone", {CONTROL.name: ">"}, count=5)
    await bus.redis.xdel(CONTROL.name, lost)
    echo = Echo()
    async with running(service(bus_url, tmp_path, echo)):
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the claim")
        await wait_until(lambda: bus.of(DEAD_LETTER), "a dead letter")
    (letter,) = await bus.of(DEAD_LETTER)

    assert echo.seen == ["c-2"]
    assert letter.entry_id == lost
    assert "content is lost" in letter.error


async def test_entries_in_a_reply_that_was_lost_are_found(bus, bus_url, tmp_path, monkeypatch):
    """The server has given them to us, the connection broke: FastStream reads only what is new. We look what we hold."""
    monkeypatch.setattr(housekeeping, "CLAIM_EVERY_S", 0.1)
    echo = Echo()
    async with running(service(bus_url, tmp_path, echo)):
        await bus.add(CONTROL, order(0))
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the service to be at work")
        pipe = bus.redis.pipeline(transaction=True)
        pipe.xadd(CONTROL.name, {"body": order(1).body()})
        pipe.xreadgroup(LEDGER, f"{LEDGER}-0", {CONTROL.name: ">"}, count=10)
        await pipe.execute()
        await bus.add(CONTROL, order(2))
        await wait_until(lambda: len(echo.seen) == 3, "all three")
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the acknowledgements")

    assert sorted(echo.seen) == ["c-0", "c-1", "c-2"]


@pytest.mark.parametrize("acks", ["bus", "handler"])
async def test_an_entry_in_hand_is_not_given_twice(bus, bus_url, tmp_path, monkeypatch, acks):
    """A slow handler, or one that acknowledges late, keeps what it has: looking for stranded entries finds none."""
    monkeypatch.setattr(housekeeping, "CLAIM_EVERY_S", 0.05)
    echo, release = Echo(), asyncio.Event()

    async def slow(entries):
        outputs = await echo(entries)
        await release.wait()
        return outputs + [Ack(CONTROL, entry.entry_id) for entry in entries]

    await bus.add(CONTROL, order(1))
    async with running(service(bus_url, tmp_path, slow, acks=acks)):
        await wait_until(lambda: echo.seen, "the handler")
        await asyncio.sleep(1.4)
        release.set()
        await wait_until(lambda: bus.finished(CONTROL, LEDGER), "the acknowledgement")

    assert echo.seen == ["c-1"]
