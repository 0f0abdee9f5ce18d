"""`holdfast replay --journal`: a recorded ledger, folded anew, agrees with itself; a forged one does not."""

import asyncio
import sqlite3

import orjson
import pytest

from holdfast.contracts.streams import ORDER_INTENT, ORDER_INTENT_EXIT
from holdfast.runtime.settings import Settings
from holdfast.store.journal import export
from holdfast.store.reading import SqliteReader
from replay.journal import BadJournal, compare
from replay.machine import Machine
from replay.orders import Sizing, close_of, entry_of, forced_close, tick_of
from replay.signals import Action, Signal
from tests.unit._replay import BTC, T0, D, kinds_for_linear


@pytest.fixture
def store(tmp_path):
    """The folder of a ledger that has traded: an add, a partial exit, a close, a position left open."""
    asyncio.run(_traded(tmp_path))
    return tmp_path


async def _traded(folder):
    sizing = Sizing(D(100))
    settings = Settings.model_validate({"dir": folder, **kinds_for_linear()})
    async with Machine(settings, folder, lambda _: None) as machine:

        async def tick(number: int, price: str) -> None:
            await machine.tick(tick_of(number, T0 + number, BTC, D(price), D(price), D(price)))

        await tick(1, "100")
        for line, action in ((1, "enter_long"), (2, "enter_long"), (3, "exit_long"), (4, "enter_long")):
            at = T0 + line * 10
            signal = Signal(at, BTC, Action(action), D(1) if line != 3 else D("0.5"), line=line)
            position = machine.position(BTC)
            if signal.action.enters:
                await machine.send(ORDER_INTENT, entry_of(signal, at, D(100), sizing), at)
            else:
                assert position is not None
                await machine.send(ORDER_INTENT_EXIT, close_of(signal, position, at, soft=False), at)
            await tick(line * 10 + 1, str(100 + line))
        position = machine.position(BTC)
        assert position is not None
        await machine.send(ORDER_INTENT_EXIT, forced_close(position, T0 + 50), T0 + 50)
        await tick(51, "107")
        last = Signal(T0 + 60, BTC, Action.ENTER_SHORT, D(2), line=6)
        await machine.send(ORDER_INTENT, entry_of(last, T0 + 60, D(100), sizing), T0 + 60)
        await tick(61, "106")


def lines_of(store):
    with sqlite3.connect(store / "ledger" / "ledger.db") as connection:
        return list(connection.execute("SELECT seq, hash, body FROM updates ORDER BY seq"))


def test_a_store_folds_without_differences(store):
    found = compare(str(store))
    assert (found.fills, found.trades, found.positions_open, found.differences) == (6, 1, 1, [])
    assert found.updates == len(lines_of(store))
    assert compare(str(store / "ledger" / "ledger.db")) == found


def test_json_lines_fold_as_well_alone_or_with_what_stands_beside_them(store, tmp_path):
    plain, wrapped = tmp_path / "plain.jsonl", tmp_path / "wrapped.jsonl"
    plain.write_text("\n".join(body for _, _, body in lines_of(store)))
    wrapped.write_bytes(
        b"\n".join(
            orjson.dumps({"seq": seq, "hash": hashed, "body": body}) for seq, hashed, body in lines_of(store)
        )
    )
    assert compare(str(plain)) == compare(str(wrapped)) == compare(str(store))


def test_an_exported_journal_folds_as_well_and_a_shortened_one_is_noticed(store, tmp_path):
    exported, shortened = tmp_path / "exported.jsonl", tmp_path / "shortened.jsonl"
    with SqliteReader(store / "ledger" / "ledger.db") as reader:
        export(reader, exported)
    assert compare(str(exported)) == compare(str(store))
    shortened.write_bytes(b"\n".join(exported.read_bytes().splitlines()[:-1]))
    assert "its head promises updates up to" in compare(str(shortened)).differences[0]


def test_a_forged_amount_is_a_difference(store, tmp_path):
    forged = tmp_path / "forged.jsonl"
    lines = [body for _, _, body in lines_of(store)]
    at = next(number for number, body in enumerate(lines) if '"trades":[' in body)
    document = orjson.loads(lines[at])
    document["trades"][0]["realized_pnl"] = "1000000"
    lines[at] = orjson.dumps(document).decode()
    forged.write_text("\n".join(lines))
    found = compare(str(forged))
    assert len(found.differences) == 1
    assert "realized_pnl" in found.differences[0]


def test_a_forged_body_breaks_its_hash(store, tmp_path):
    forged = tmp_path / "forged.jsonl"
    lines = [{"seq": seq, "hash": hashed, "body": body} for seq, hashed, body in lines_of(store)]
    lines[0]["body"] = lines[0]["body"].replace('"why"', '"Why"') + " "
    forged.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    assert "its hash is" in compare(str(forged)).differences[0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("nonsense", "line 1: not JSON"),
        ("[1]", "line 1: a JSON object is expected"),
        ("{}", "line 1: no update of a ledger"),
        (
            '{"seq":2,"kind":"filled"}',
            "line 1: update 2 follows 0; a journal is whole from its first update on",
        ),
        ('{"seq":1,"kind":"filled","fills":[{}]}', "line 1: a fill in it cannot be read"),
    ],
)
def test_what_is_no_journal_is_told(tmp_path, content, complaint):
    path = tmp_path / "j.jsonl"
    path.write_text(content)
    with pytest.raises(BadJournal, match=complaint):
        compare(str(path))


def test_a_place_without_a_journal_is_told(tmp_path):
    with pytest.raises(BadJournal, match="no store at"):
        compare(str(tmp_path))
    with pytest.raises(BadJournal, match="cannot be read"):
        compare(str(tmp_path / "none.jsonl"))
