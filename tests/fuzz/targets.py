"""Every place where bytes from outside become something: what it may answer, and what it must never take.

A target is a function of bytes. It may raise what its documentation says and nothing else; what it accepts is looked at: no NaN, no
infinity, no float where an amount stands, nothing larger than its limit. The suite and the atheris harness run the same targets.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from holdfast.contracts.base import MAX_BODY_BYTES, ContractViolation, Message, Unauthentic
from holdfast.contracts.messages import LedgerSnapshot, LedgerUpdated
from holdfast.contracts.money import MAX_DIGITS, canonical, parse_amount, parse_sum
from holdfast.contracts.signing import parse_keys
from holdfast.contracts.streams import ORDER_INTENT, STREAMS, intent_stream
from holdfast.contracts.trusted import snapshot_of, update_of
from holdfast.contracts.wire import decode, describe
from holdfast.domain import instruments
from holdfast.domain.moving_in import read_rows
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.configuration import ConfigurationError, load
from holdfast.runtime.secret_files import SecretRefused, read_secret
from holdfast.runtime.settings import Settings
from holdfast.state import (
    KPIS_V7,
    POSITIONS_LEDGER,
    POSITIONS_STATE,
    STATUS,
    StateUnreadable,
    get_ledger_entries,
    load_kpis_v7_state,
    load_positions_ledger_state,
    load_positions_state,
    load_status,
)
from services.executor.gate import Gate
from services.market_feed import recorded, spec

Target = Callable[[bytes], None]
ENTRY_ID = "1735689600000-0"
TARGETS: dict[str, Target] = {}


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


def check_numbers(value: Any) -> None:
    """No float, NaN or infinity anywhere in what was accepted."""
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, dict):
        for key, one in value.items():
            check_numbers(key)
            check_numbers(one)
    elif isinstance(value, list | tuple):
        for one in value:
            check_numbers(one)
    assert not isinstance(value, float), value
    assert not isinstance(value, Decimal) or value.is_finite(), value


@contextmanager
def file_of(data: bytes, name: str = "file") -> Iterator[Path]:
    """*data* in a file of a folder of its own, readable by its owner."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.touch(0o600)
        path.write_bytes(data)
        yield path


# -- the bus --------------------------------------------------------------------------------------------------------


@target
def entries(data: bytes) -> None:
    """An entry of any stream becomes a message or an error, never an exception; what a message says, it says again."""
    for stream in STREAMS:
        entry = decode(stream, ENTRY_ID, {b"body": data})
        describe(entry)
        assert (entry.message is None) != (entry.error is None)
        if entry.message is not None:
            check_numbers(entry.message)
            again = decode(stream, ENTRY_ID, {b"body": entry.message.body()})
            assert again.message == entry.message, entry.message


@target
def messages(data: bytes) -> None:
    for message in {stream.message for stream in STREAMS}:
        with suppress(ContractViolation):
            found: Message = message.parse(data)
            assert len(data) <= MAX_BODY_BYTES
            check_numbers(found)


@target
def what_the_ledger_wrote(data: bytes) -> None:
    """Followers read these without validating every field: what is no JSON of that shape is a ValidationError."""
    for read, model in ((update_of, LedgerUpdated), (snapshot_of, LedgerSnapshot)):
        with suppress(ValidationError):
            found = read(data)
            assert type(found) is model
            check_numbers(found)


@target
def fields(data: bytes) -> None:
    """The executor's door, where nothing about an entry is known: any fields of any bytes."""
    parts = data.split(b"\x00")
    given = dict(zip((b"key", b"sig", b"body", b"id", b"kind"), parts, strict=False))
    for stream in (ORDER_INTENT, intent_stream("mine")):
        entry = _GATE.decode(stream, ENTRY_ID, given)
        assert entry.producer == ""
        if stream is not ORDER_INTENT:
            assert isinstance(entry.error, Unauthentic)


_GATE = Gate(Settings.model_validate({"dir": "/nonexistent", "producers": {"mine": {}}}), SystemClock())


# -- texts ----------------------------------------------------------------------------------------------------------


@target
def amounts(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for parse in (parse_amount, parse_sum):
        with suppress(ValueError):
            amount = parse(text)
            assert amount.is_finite()
            assert parse(canonical(amount)) == amount
    with suppress(ValueError):
        assert len(canonical(parse_amount(text))) <= max(MAX_DIGITS, len(text))


@target
def symbols(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(ContractViolation):
        name = instruments.canonical(text)
        assert instruments.canonical(name) == name, "a name's one name is its own"
    with suppress(ContractViolation):
        instruments.resolve(text)


@target
def feeds(data: bytes) -> None:
    with suppress(spec.BadSpec):
        spec.parse(data.decode("utf-8", "replace"))


@target
def keys(data: bytes) -> None:
    with suppress(ValueError):
        assert all(len(key.secret) == 32 for key in parse_keys(data.decode("utf-8", "replace")))


# -- files ----------------------------------------------------------------------------------------------------------


@target
def secrets(data: bytes) -> None:
    with file_of(data) as path, suppress(SecretRefused):
        assert read_secret(path, is_hidden=False)


@target
def configuration(data: bytes) -> None:
    with file_of(data, "holdfast.toml") as path:
        with suppress(ConfigurationError):
            load(config=path, env={}, dotenv=path.parent / "none")
        with suppress(ConfigurationError):
            load(env={}, dotenv=path)


@target
def recordings(data: bytes) -> None:
    with file_of(data, "BTCUSDT.csv") as path, suppress(recorded.BadRecording):
        recording = recorded.check(spec.ReplayFile(path, "BTC/USDT", Decimal(0)))
        for quote in recorded.timeline([recording]):
            assert quote.bid.is_finite()
            assert quote.ask.is_finite()


@target
def adoptions(data: bytes) -> None:
    with suppress(ContractViolation):
        for row in read_rows(data.decode("utf-8", "replace")):
            check_numbers(row)


@target
def state_files(data: bytes) -> None:
    loaders = {
        POSITIONS_STATE: load_positions_state,
        POSITIONS_LEDGER: load_positions_ledger_state,
        KPIS_V7: load_kpis_v7_state,
        STATUS: load_status,
    }
    for name, read in loaders.items():
        with file_of(data, name) as path, suppress(StateUnreadable):
            found = read(path.parent)
            assert isinstance(found, dict)
            assert "NaN" not in repr(found).replace("'NaN'", ""), "NaN is no JSON"
    with file_of(data, POSITIONS_LEDGER) as path, suppress(StateUnreadable):
        assert isinstance(get_ledger_entries(path.parent), list)
