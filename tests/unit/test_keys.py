"""Keys and passwords: made once, readable by their owner alone, refused otherwise; and the executor's door, which reads them."""

import stat
from pathlib import Path

import orjson
import pytest

from holdfast.contracts.base import MAX_BODY_BYTES, ContractViolation, Unauthentic
from holdfast.contracts.codes import Code
from holdfast.contracts.signing import Key
from holdfast.contracts.streams import CLI, DEMO, EXIT_SCANNER, ORDER_INTENT, ORDER_INTENT_EXIT, intent_stream
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.keys import (
    ensure_keys,
    ensure_passwords,
    folder_of,
    new_key,
    own_key,
    signing_key,
    verifying_file,
    verifying_keys,
)
from holdfast.runtime.secret_files import SecretRefused, read_secret, without_secrets, write_secret
from holdfast.runtime.settings import Settings
from services.executor.gate import Gate
from tests.unit._executor import FakeClock

ENTRY = "1700000000000-0"
MINE, OTHER = intent_stream("mine"), intent_stream("other")


def settings(tmp_path: Path, **bus) -> Settings:
    return Settings.model_validate(
        {"dir": tmp_path, "bus": bus, "producers": {"mine": {"symbols": ["BTCUSDT"]}, "other": {}}}
    )


@pytest.fixture
def made(tmp_path) -> Settings:
    """An installation with all its keys."""
    one = settings(tmp_path)
    ensure_keys(one)
    for name in one.producers:
        new_key(one, name)
    return one


def modes(folder: Path) -> set[str]:
    return {f"{stat.S_IMODE(path.stat().st_mode):o}" for path in folder.rglob("*") if path.is_file()}


# -- files ----------------------------------------------------------------------------------------------------------


def test_keys_and_passwords_are_readable_by_their_owner_alone(made, tmp_path):
    ensure_passwords(made, ["ledger", "viewer"])
    assert modes(tmp_path / "keys") == {"600"}


def test_what_is_there_is_never_made_anew(made):
    before, password = own_key(made, CLI), ensure_passwords(made, [CLI])
    assert ensure_keys(made) == []
    assert (own_key(made, CLI), ensure_passwords(made, [CLI])) == (before, password)


def test_a_second_key_needs_to_be_asked_for_and_the_first_goes_on_verifying(made):
    first = own_key(made, "mine")
    with pytest.raises(SecretRefused, match="--rotate"):
        new_key(made, "mine")
    second = new_key(made, "mine", rotate=True)
    assert own_key(made, "mine") == second
    assert {first.key_id, second.key_id} <= verifying_keys(made).keys()


@pytest.mark.parametrize(
    "name", ["exit", "ledger", "admin", "Mine", "1x", "", "a" * 33, "a.b", "../x", "default"]
)
def test_a_name_that_is_somebody_elses_or_a_path_is_refused(tmp_path, name):
    with pytest.raises(SecretRefused, match="no name for a producer"):
        new_key(settings(tmp_path), name)
    with pytest.raises(ValueError, match="no name for a producer"):
        Settings.model_validate({"producers": {name: {}}})
    assert list(tmp_path.rglob("*.key")) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602])
def test_a_secret_that_others_may_use_is_refused_by_name_and_mode(tmp_path, mode):
    path = tmp_path / "secret"
    write_secret(path, "canary-of-a-secret")
    path.chmod(mode)
    with pytest.raises(SecretRefused) as error:
        read_secret(path)
    assert str(path) in str(error.value)
    assert f"{mode:04o}" in str(error.value)
    assert "canary" not in str(error.value)


def test_a_secret_that_is_missing_empty_or_no_text_is_refused(tmp_path):
    path = tmp_path / "secret"
    with pytest.raises(SecretRefused, match="cannot be read"):
        read_secret(path)
    for content in (b"", b" \n", b"\xff\xfe"):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(SecretRefused, match=r"empty|no text"):
            read_secret(path)


def test_of_two_that_make_a_secret_at_once_one_wins(tmp_path):
    path = tmp_path / "secret"
    assert [write_secret(path, text) for text in ("first-secret", "second-secret")] == [True, False]
    assert read_secret(path) == "first-secret"
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


def test_a_secret_that_was_read_is_cut_out_of_any_text(tmp_path):
    write_secret(tmp_path / "secret", "canary-5f3a")
    assert without_secrets("before canary-5f3a after") == "before *** after"


def test_a_service_that_must_sign_does_not_start_without_its_key(tmp_path):
    assert signing_key(settings(tmp_path), EXIT_SCANNER) is None
    with pytest.raises(Terminal, match="exit_scanner has no key") as error:
        signing_key(settings(tmp_path, require_signed=True), EXIT_SCANNER)
    assert error.value.code == EXIT_CONFIG
    assert signing_key(settings(tmp_path, require_signed=True), "state_publisher") is None


# -- the door -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def gate(made) -> Gate:
    return await opened(made)


async def opened(one: Settings) -> Gate:
    gate = Gate(one, FakeClock())
    await gate.open()
    return gate


def intent(**fields: object) -> bytes:
    return orjson.dumps(
        {"id": "mine:1", "at": 1_700_000_000_000, "symbol": "BTC/USDT", "side": "buy", "quantity": "1"}
        | fields
    )


def fields(body: bytes, key: Key | None = None, stream=MINE, **beside: bytes) -> dict[bytes, bytes]:
    signed = (
        {} if key is None else {b"key": key.key_id.encode(), b"sig": key.sign(stream.name, body).encode()}
    )
    return {b"body": body} | signed | {name.encode(): value for name, value in beside.items()}


def verdict(gate: Gate, stream, raw) -> Code | str:
    """Whose the entry is, or why it is nobody's."""
    entry = gate.decode(stream, ENTRY, raw)
    return entry.error.code if isinstance(entry.error, Unauthentic) else entry.producer


async def test_a_producers_intent_on_its_own_stream_is_its(gate, made):
    entry = gate.decode(MINE, ENTRY, fields(intent(), own_key(made, "mine")))
    assert (entry.producer, entry.error, entry.message.id) == ("mine", None, "mine:1")


@pytest.mark.parametrize(("signer", "stream", "expected"), [
    (CLI, ORDER_INTENT, CLI), (DEMO, ORDER_INTENT, DEMO), (CLI, ORDER_INTENT_EXIT, CLI), (EXIT_SCANNER, ORDER_INTENT_EXIT, EXIT_SCANNER),
    (EXIT_SCANNER, ORDER_INTENT, Code.WRONG_STREAM), (DEMO, ORDER_INTENT_EXIT, Code.WRONG_STREAM), ("mine", ORDER_INTENT, Code.WRONG_STREAM),
    ("mine", ORDER_INTENT_EXIT, Code.WRONG_STREAM), ("other", MINE, Code.WRONG_STREAM), (CLI, MINE, Code.WRONG_STREAM),
])  # fmt: skip
async def test_each_signer_has_its_streams(gate, made, signer, stream, expected):
    body = intent(id=f"{signer}:1") if signer in made.producers else intent(id="x1")
    assert verdict(gate, stream, fields(body, own_key(made, signer), stream)) == expected


async def test_what_is_forged_in_any_part_is_nobodys(gate, made):
    key, body = own_key(made, "mine"), intent()
    good = fields(body, key)
    assert verdict(gate, MINE, good | {b"body": intent(quantity="2")}) is Code.BAD_SIGNATURE
    assert verdict(gate, MINE, good | {b"body": body + b" "}) is Code.BAD_SIGNATURE
    assert verdict(gate, MINE, good | {b"sig": b"0" * 64}) is Code.BAD_SIGNATURE
    assert verdict(gate, MINE, good | {b"sig": b""}) is Code.BAD_SIGNATURE
    assert verdict(gate, MINE, good | {b"key": b"nobody.1"}) is Code.UNKNOWN_KEY
    assert verdict(gate, MINE, good | {b"key": b"\xff\x00"}) is Code.UNKNOWN_KEY
    assert verdict(gate, MINE, good | {b"key": own_key(made, "other").key_id.encode()}) is Code.BAD_SIGNATURE
    assert verdict(gate, MINE, {b"body": body}) is Code.UNSIGNED
    assert verdict(gate, OTHER, good) is Code.BAD_SIGNATURE, "replayed on another stream"
    assert verdict(gate, ORDER_INTENT, good) is Code.BAD_SIGNATURE


async def test_unsigned_intents_are_taken_on_the_shared_streams_until_signatures_are_required(made, gate):
    raw = fields(intent(id="x"))
    strict = await opened(
        made.model_copy(update={"bus": made.bus.model_copy(update={"require_signed": True})})
    )
    for stream in (ORDER_INTENT, ORDER_INTENT_EXIT):
        assert verdict(gate, stream, raw) == ""
        assert verdict(gate, stream, raw | {b"key": b"nobody.1", b"sig": b"0"}) == "", (
            "worth as much as unsigned"
        )
        assert verdict(strict, stream, raw) is Code.UNSIGNED
        assert verdict(strict, stream, raw | {b"key": b"nobody.1", b"sig": b"0"}) is Code.UNKNOWN_KEY


@pytest.mark.parametrize(("signer", "stream", "intent_id"), [
    ("mine", MINE, "other:1"), ("mine", MINE, "x1"), ("mine", MINE, "mine-1"), (None, ORDER_INTENT, "mine:1"), (CLI, ORDER_INTENT, "mine:1"),
    (EXIT_SCANNER, ORDER_INTENT_EXIT, "other:7"),
])  # fmt: skip
async def test_nobody_can_use_up_anothers_ids(gate, made, signer, stream, intent_id):
    key = own_key(made, signer) if signer else None
    assert verdict(gate, stream, fields(intent(id=intent_id), key, stream)) is Code.FOREIGN_ID
    malformed = intent(id=intent_id, colour="red")
    assert verdict(gate, stream, fields(malformed, key, stream)) is Code.FOREIGN_ID


@pytest.mark.parametrize("lost", ["id", "at"])
async def test_a_signed_intent_carries_its_own_id_and_time(gate, made, lost):
    """Or whoever has seen it could send it again tomorrow, as of tomorrow."""
    document = {name: value for name, value in orjson.loads(intent()).items() if name != lost}
    entry = gate.decode(MINE, ENTRY, fields(orjson.dumps(document), own_key(made, "mine")))
    assert isinstance(entry.error, ContractViolation)
    assert not isinstance(entry.error, Unauthentic), "it is its producer's, so it is answered"
    assert entry.error.field == lost


async def test_nothing_is_parsed_before_the_signature_holds(gate, made, monkeypatch):
    monkeypatch.setattr("services.executor.gate.decode", lambda *_, **__: pytest.fail("parsed"))
    bad = fields(b"{" * 100, own_key(made, "mine"), sig=b"0" * 64)
    assert verdict(gate, MINE, bad) is Code.BAD_SIGNATURE
    large = b" " * (MAX_BODY_BYTES + 1)
    assert verdict(gate, MINE, fields(large, own_key(made, "mine"))) is Code.BAD_SIGNATURE


async def test_a_new_key_is_known_without_a_restart(gate, made):
    key = new_key(made, "mine", rotate=True)
    assert verdict(gate, MINE, fields(intent(), key)) == "mine"


async def test_key_files_are_not_read_for_every_forged_entry(gate, made, monkeypatch):
    reads = []
    monkeypatch.setattr("services.executor.gate.verifying_keys", lambda _: reads.append(1) or {})
    for _ in range(100):
        verdict(gate, MINE, fields(intent(), Key("nobody.1", bytes(32))))
    assert len(reads) == 1


async def test_a_key_file_that_goes_bad_while_running_leaves_the_old_keys_in_force(gate, made):
    verifying_file(made, "other").chmod(0o644)
    assert verdict(gate, MINE, fields(intent(), Key("nobody.1", bytes(32)))) is Code.UNKNOWN_KEY
    assert verdict(gate, MINE, fields(intent(), own_key(made, "mine"))) == "mine"


async def test_the_executor_does_not_start_without_a_producers_key(made, tmp_path):
    verifying_file(made, "mine").unlink()
    with pytest.raises(Terminal, match="no key for mine"):
        await opened(made)
    new_key(settings(tmp_path), "mine", rotate=True)
    verifying_file(made, "mine").chmod(0o640)
    with pytest.raises(Terminal, match="0640"):
        await opened(made)


async def test_two_producers_cannot_share_a_key(made):
    path = verifying_file(made, "other")
    path.write_text(read_secret(verifying_file(made, "mine")))
    with pytest.raises(Terminal, match=r"is mine's already"):
        await opened(made)


def test_a_service_finds_its_own_folder_and_a_producer_one_of_the_others(made):
    keys = made.keys_directory()
    assert folder_of(made, CLI) == keys / "cli"
    assert folder_of(made, "mine") == keys / "others" / "mine"
