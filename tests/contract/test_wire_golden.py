"""The wire, byte for byte: a message written by an older Holdfast, or by another language, means the same today."""

import re

import orjson
import pytest

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.streams import BY_NAME as STREAMS_BY_NAME
from holdfast.contracts.streams import FILL, ORDER_INTENT, STREAMS
from holdfast.contracts.wire import decode, fields_of
from tests.contract._golden import BY_NAME, FOLDER, T0, file_of

ENTRY_ID = f"{T0}-0"
NAMES = sorted(BY_NAME)
ONE_OF = {
    "OrderReserve": {"cancel", "refusal"},
    "OrderIntent": {"quote_amount", "nav_pct", "risk_pct", "fraction", "replaces"},
    "ExitThresholds": {"mode"},
}
"""What cannot stand beside what the file's message says."""
MODELS = {stream.message.__name__: stream for stream in STREAMS}


def test_every_message_of_the_table_has_its_file_and_no_other():
    assert {path.stem for path in FOLDER.glob("*")} == set(MODELS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_on_the_wire_are_those_of_the_file(name):
    assert BY_NAME[name].body() + b"\n" == file_of(name).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_read_as_the_message(name):
    """By everybody, through the one place that reads entries; and writing it again gives the same bytes."""
    fields = {b"id": b"m-1", b"body": file_of(name).read_bytes().rstrip(b"\n")}
    entry = decode(MODELS[name], ENTRY_ID, fields)

    assert entry.error is None
    assert entry.message == BY_NAME[name]
    assert entry.message.body() == fields[b"body"]


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_the_message_stands_in_its_file(name):
    """So that no field can change its meaning unseen. (A reservation names one of order, cancel and refusal, an intent one size.)"""
    document = orjson.loads(file_of(name).read_bytes())
    missing = set(type(BY_NAME[name]).model_fields) - set(document)

    assert missing == ONE_OF.get(name, set())


def _amounts(value):
    """Every number in *value* that is not whole."""
    if isinstance(value, dict):
        return [found for item in value.values() for found in _amounts(item)]
    if isinstance(value, list):
        return [found for item in value for found in _amounts(item)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize("name", NAMES)
def test_no_amount_is_a_json_number(name):
    assert _amounts(orjson.loads(file_of(name).read_bytes())) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_field_is_refused_by_name(name):
    document = orjson.loads(file_of(name).read_bytes()) | {"colour": "red"}
    entry = decode(MODELS[name], ENTRY_ID, {b"body": orjson.dumps(document)})

    assert entry.message is None
    assert (entry.error.field, entry.error.text) == ("colour", "no such field")


@pytest.mark.parametrize(
    "token", ["1.5", "NaN", '"NaN"', '"Infinity"', '"1e400"', '"-1"', '"1,5"', '""', "[]", "true", "1e5"]
)
@pytest.mark.parametrize(
    ("name", "field"), [("Fill", "quantity"), ("OrderIntent", "quantity"), ("OrderStatus", "filled_quantity")]
)
def test_what_is_no_amount_is_refused_by_the_fields_name(name, field, token):
    """No float, no NaN, no infinity, nothing negative, no text that is none. (A bare NaN is no JSON at all.)"""
    body = re.sub(rf'"{field}":"[^"]*"', f'"{field}":{token}', file_of(name).read_text())
    assert f'"{field}":{token}' in body
    entry = decode(MODELS[name], ENTRY_ID, {b"body": body.encode()})

    assert entry.message is None
    assert entry.error.field == ("body" if token == "NaN" and name == "OrderIntent" else field)


def test_a_hand_typed_intent_is_completed_from_its_entry():
    """id: a hash of stream, entry id and body. at: the time in the entry id. Expiry: at + 60 s, as it opens something."""
    body = b'{"symbol":"BTC/USDT","side":"buy","quantity":"0.01"}'
    first, again = (decode(ORDER_INTENT, ENTRY_ID, {b"body": body}).message for _ in range(2))
    other = decode(ORDER_INTENT, f"{T0}-1", {b"body": body}).message

    assert first == again
    assert first.id != other.id
    assert first.id.startswith("i-")
    assert (first.at, first.expires_at, first.correlation_id) == (T0, T0 + 60_000, first.id)


def test_a_hand_typed_close_never_expires():
    body = b'{"action":"close","symbol":"BTC/USDT"}'
    assert decode(ORDER_INTENT, ENTRY_ID, {b"body": body}).message.expires_at is None


def test_entries_read_well():
    """Plain fields, the body last: what redis-cli shows is what there is."""
    fields = fields_of(BY_NAME["Fill"])
    assert list(fields) == ["id", "body"]
    assert orjson.loads(fields["body"])["price"] == "43000.5"


@pytest.mark.parametrize("fields", [{}, {b"data": b"{}"}, {b"body": b""}], ids=repr)
def test_an_entry_without_a_body_says_what_it_has(fields):
    entry = decode(FILL, ENTRY_ID, fields)

    assert entry.message is None
    assert isinstance(entry.error, ContractViolation)
    assert 'no field "body"' in str(entry.error)


def test_streams_are_known_by_name():
    assert decode("fill", ENTRY_ID, {b"body": file_of("Fill").read_bytes()}).stream is STREAMS_BY_NAME["fill"]
