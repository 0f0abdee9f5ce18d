"""Hypothesis on every target: bytes at random, and real documents with something wrong in them."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.contracts.base import MAX_BODY_BYTES
from tests.contract._golden import BY_NAME as GOLDEN
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [message.body() for message in GOLDEN.values()] + [
    b'{"id":"mine-1","symbol":"BTCUSDT","side":"buy","quantity":"0.01","take_profit":"5%","stop_loss":"2%","ttl_s":"3600"}',
    b"ts_ms,open,high,low,close\n1700000000000,1,2,0.5,1.5\n1700000060000,1.5,2,1,1\n",
    b"timestamp,price\n2024-01-01T00:00:00Z,100\n2024-01-01T00:00:01Z,101\n",
    b'[bus]\nbatch = 5\n[producers.mine]\nsymbols = ["BTC/USDT"]\nmax_notional = 10.5\n[limits]\nmax_positions = 3\n',
    b"HOLDFAST_BUS_BATCH=5\nDRY_RUN=1\n",
    b'{"positions":[{"symbol":"BTC/USDT","side":"LONG","qty":0.1,"entry_price":100.5}]}',
    b'{"seq":1,"updated_at":"2024-01-01T00:00:00Z","entries":[{"symbol":"BTC/USDT","qty":0.1}],"positions":[]}',
    b"replay:a.csv?symbol=BTC/USDT&speed=600,b.csv", b"synthetic?seed=1&symbols=BTC/USDT,ETH/USDT", b"ccxt:kraken?symbols=BTC/USDT",
    b"BTC/USDT:USDT", b"BTCUSDT", b"1.50", b"-0.000", b"mine.1 " + b"ab" * 32,
]  # fmt: skip
NASTY = [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"1e-400", b"0.1", b"-1", b"9" * 5000, b'"NaN"', b'"1e400"', b"null", b"[]", b"{}", b'""',
         b"true", b"\xff\xfe", b"\x00", b"[" * 3000, b'{"a":' * 3000, "٣".encode(), "\u202e".encode(), b"'", b'"', b"\\u0000", b"=", b"\n", b"%", b"../"]  # fmt: skip
VALUE = re.compile(rb'"[^"]*"|-?\d+(?:\.\d+)?|true|false|null|\n')


@st.composite
def damaged(draw) -> bytes:
    """A real document in which some values are replaced, or bytes cut, doubled or turned."""
    data = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(0, 3))):
        places = [match.span() for match in VALUE.finditer(data)] or [(0, len(data))]
        start, end = draw(st.sampled_from(places))
        data = data[:start] + draw(st.sampled_from(NASTY) | st.binary(max_size=12)) + data[end:]
    if data and draw(st.booleans()):
        at = draw(st.integers(0, len(data) - 1))
        data = draw(
            st.sampled_from(
                [
                    data[:at],
                    data[at:],
                    data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :],
                    data + data,
                ]
            )
        )
    return data


anything = (
    damaged()
    | st.binary(max_size=300)
    | st.sampled_from(NASTY + TEXTS)
    | st.text(max_size=60).map(str.encode)
)


@pytest.mark.parametrize("name", sorted(TARGETS))
@given(data=anything)
@example(data=b"")
@example(data=b'{"a":' + b"9" * 5000 + b"}")
@example(data=b'{"a":NaN,"positions":[{"qty":Infinity}],"entries":[]}')
@example(data=b"[" * 100_000)
@example(data=b'{"a":' * 100_000)
@example(data=b" " * (MAX_BODY_BYTES + 1))
@example(data="٣".encode())
@settings(max_examples=60)
def test_a_decoder_answers_with_what_it_promises(name, data):
    TARGETS[name](data)
    assert isinstance(data, bytes)


def test_every_module_that_reads_from_outside_has_its_target():
    """A new parser of bytes or texts from outside belongs into the targets."""
    text = (ROOT / "tests/fuzz/targets.py").read_text(encoding="utf-8")
    for reader in ("decode(", ".parse(", "update_of", "snapshot_of", "parse_amount", "parse_sum", "canonical(", "spec.parse", "load(", "recorded.check",
                   "read_rows", "load_positions_state", "parse_keys", "read_secret", "Gate("):  # fmt: skip
        assert reader in text, reader
