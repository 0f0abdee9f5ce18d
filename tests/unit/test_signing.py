"""Signatures: what is signed, what a difference of one byte does, and key files."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.signing import Key, parse_keys

KEY = Key("mine.1", bytes(range(32)))
BODY = b'{"id":"mine:1","at":1700000000000,"symbol":"BTC/USDT","side":"buy","quantity":"1"}'


def test_a_signature_is_hmac_over_scheme_stream_key_and_body():
    """Written out once more from the standard library: whoever signs in another language has only the documentation."""
    text = b"holdfast:intent:1\norder.intent.mine\nmine.1\n" + BODY
    assert KEY.sign("order.intent.mine", BODY) == hmac.new(KEY.secret, text, hashlib.sha256).hexdigest()


def test_a_signature_is_good_for_its_own_entry_alone():
    signature = KEY.sign("s", BODY).encode()
    assert KEY.signed("s", BODY, signature)
    assert not KEY.signed("t", BODY, signature)
    assert not KEY.signed("s", BODY + b" ", signature)
    assert not KEY.signed("s", BODY, signature.upper())
    assert not KEY.signed("s", BODY, b"")
    assert not Key("mine.2", KEY.secret).signed("s", BODY, signature)
    assert not Key("mine.1", bytes(32)).signed("s", BODY, signature)


names = st.text("abcxyz.{}:_-", min_size=1, max_size=8)


@given(names, names, st.binary(max_size=40), names, names, st.binary(max_size=40))
def test_no_two_entries_have_one_signature(stream, key_id, body, stream2, key_id2, body2):
    """The parts cannot be shifted into each other: the first three lines hold no line break."""
    first, second = Key(key_id, KEY.secret).sign(stream, body), Key(key_id2, KEY.secret).sign(stream2, body2)
    assert (first == second) == ((stream, key_id, body) == (stream2, key_id2, body2))


@given(st.integers(0, 8 * len(BODY) - 1))
def test_one_bit_of_the_body_is_enough(bit):
    changed = bytearray(BODY)
    changed[bit // 8] ^= 1 << bit % 8
    assert not KEY.signed("s", bytes(changed), KEY.sign("s", BODY).encode())


@given(st.binary(max_size=100))
def test_any_bytes_may_stand_where_a_signature_should(signature):
    assert not KEY.signed("s", BODY, signature)


def test_a_key_file_holds_keys_line_by_line_and_the_first_signs():
    other = Key("mine.2", bytes(32))
    assert parse_keys(f"# ours\n{other.line()}\n\n  {KEY.line()}  \n") == [other, KEY]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "mine.1",
        "mine.1 abc",
        f"mi ne {'0' * 64}",
        f"mine.1 {'g' * 64}",
        f"mine.1:{'0' * 64}",
    ],
)
def test_a_damaged_key_file_is_refused_without_a_word_of_it(text):
    with pytest.raises(ValueError) as error:
        parse_keys(text)
    assert "line 1 is not" in str(error.value) or "no key" in str(error.value)
    assert "mine" not in str(error.value)


def test_a_key_never_shows_its_secret():
    assert KEY.secret.hex() not in repr(KEY) + str(KEY) + f"{[KEY]}"


@given(st.text(max_size=200))
def test_any_text_is_keys_or_a_value_error(text):
    try:
        assert parse_keys(text)
    except ValueError:
        return
