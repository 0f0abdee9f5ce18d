"""All state files: required keys, whole at every moment, readable by everybody, `seq` never back, one writer."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from holdfast import state
from holdfast.runtime.files import WriteFailed, remove_leftovers
from holdfast.runtime.locks import AlreadyHeld
from tests.unit._state import BTC, ETH, D, Rig, one_loop, position, tick, update

STATE_FILES = {
    "positions_state": ["updated_at", "positions", "seq"],
    "positions_ledger": ["updated_at", "entries", "tp_sl_levels", "metadata", "seq"],
    "kpis_v7": ["updated_at", "portfolio", "per_symbol", "seq"],
    "status": [
        "updated_at",
        "status",
        "symbol",
        "sentence",
        "reasons",
        "open_positions",
        "armed",
        "exit_code",
        "services",
        "blocked",
        "seq",
    ],
}
MANIFEST = Path(__file__).parents[2] / "v7_manifest.json"


async def many_loops(directory, count, positions=6):
    """A publisher that writes *count* times while prices, positions and heartbeats change."""
    rig = await one_loop(
        directory, *(position(f"p{number}", symbol=f"C{number}/USDT") for number in range(positions))
    )
    for number in range(count):
        rig.clock.now += 1_000
        await rig.ticks(
            *(tick(f"C{other}/USDT", str(100 + number % 9), at=rig.clock.now) for other in range(positions))
        )
        await rig.update(
            update(
                rig.view.seq + 1,
                at=rig.clock.now,
                positions=[
                    position(
                        f"p{number % positions}", symbol=f"C{number % positions}/USDT", version=number + 2
                    )
                ],
            )
        )
        await rig.beats()
        await rig.loop(0)
    return rig


@pytest.mark.parametrize("name", STATE_FILES)
async def test_every_state_file_has_its_required_keys(tmp_path, name):
    await one_loop(tmp_path, position())
    data = json.loads((tmp_path / f"{name}.json").read_text())
    assert [key for key in STATE_FILES[name] if key not in data] == []


def test_the_manifest_lists_exactly_these_files():
    listed = json.loads(MANIFEST.read_text())["state_files"]
    assert listed == {name: f"logs/state/{name}.json" for name in STATE_FILES}
    assert sorted(Path(path).name for path in listed.values()) == sorted(state.STATE_FILES)


async def test_every_state_file_is_readable_by_everybody_and_nothing_else_lies_about(tmp_path):
    await many_loops(tmp_path, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(state.STATE_FILES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o644}


READ_FOR_EVER = """
import json, pathlib, sys
folder, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
last, counts, wrong = dict.fromkeys(names, -1), dict.fromkeys(names, 0), []
print("reading", flush=True)
while not (folder / "done").exists():
    for name in names:
        try:
            seq = json.loads((folder / name).read_bytes())["seq"]
            if seq < last[name]:
                wrong.append(f"{name}: {seq} after {last[name]}")
            last[name], counts[name] = seq, counts[name] + 1
        except (OSError, ValueError, KeyError) as error:
            wrong.append(f"{name}: {error!r}")
print(json.dumps([min(counts.values()), wrong]))
"""


async def test_readers_never_see_part_of_a_file_nor_an_older_one(tmp_path):
    """Two hundred writes, while another process reads all four files as fast as it can: a thread would only read while we wait."""
    await one_loop(tmp_path, position())
    reader = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [sys.executable, "-c", READ_FOR_EVER, str(tmp_path), *state.STATE_FILES], stdout=subprocess.PIPE
    )
    assert reader.stdout.readline() == b"reading\n"
    try:
        await many_loops(tmp_path, 200)
    finally:
        (tmp_path / "done").touch()
        told, _ = reader.communicate(timeout=20)
    fewest, wrong = json.loads(told)
    assert wrong == []
    assert fewest > 10
    assert state.load_positions_state(tmp_path)["seq"] == 210


async def test_the_three_files_of_one_moment_carry_the_same_sequence_and_store(tmp_path):
    await many_loops(tmp_path, 3)
    heads = [
        (data["seq"], data["store_id"])
        for data in (
            state.load_positions_state(tmp_path),
            state.load_positions_ledger_state(tmp_path),
            state.load_kpis_v7_state(tmp_path),
            state.load_status(tmp_path),
        )
    ]
    assert set(heads) == {(13, "store-1")}


WRITE_FOR_EVER = """
import itertools, os, sys
from holdfast.state import write_positions_state
rows = [{"symbol": f"C{n}/USDT", "side": "LONG", "qty": 1, "entry_price": 2, "mark_price": 3, "realized_pnl": 0} for n in range(2000)]
for _ in sys.stdin:
    child = os.fork()
    if child:
        print("writer", child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)
        continue
    for n in itertools.count():
        write_positions_state(rows, sys.argv[1])
        print("written", flush=True)
"""
"""A writer for each line that is asked for: what it needs is imported once."""


def test_a_writer_killed_in_the_middle_leaves_a_whole_file(tmp_path):
    """Killed at twenty different moments; what it may leave is a temporary file that nobody takes for a state."""
    sequence = 0
    parent = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with parent:
        for number in range(20):
            parent.stdin.write(b"\n")
            parent.stdin.flush()
            lines = []
            while lines.count([b"written"]) < 1 + number % 3 or len(lines) < 2 + number % 3:
                lines.append(parent.stdout.readline().split())
                assert lines[-1], "the writer has ended"
            (writer,) = (int(line[1]) for line in lines if line[0] == b"writer")
            os.kill(writer, signal.SIGKILL)
            while parent.stdout.readline() != b"gone\n":
                pass
            data = state.load_positions_state(tmp_path)
            assert len(data["positions"]) == 2000
            assert data["seq"] > sequence
            sequence = data["seq"]
        parent.stdin.close()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["positions_state.json"]


async def test_leftovers_of_a_killed_writer_are_not_state(tmp_path):
    await one_loop(tmp_path, position())
    (tmp_path / ".positions_state.json.1.abc.tmp").write_text('{"positions": [')
    assert len(state.load_positions_state(tmp_path)["positions"]) == 1


def full_disk(monkeypatch):
    def write(_handle, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)


async def test_a_full_disk_is_a_clear_error_and_the_last_good_file_stays(tmp_path, monkeypatch):
    await one_loop(tmp_path, position())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    full_disk(monkeypatch)
    for write in (
        lambda: state.write_positions_state([], tmp_path),
        lambda: state.write_kpis_v7_state({"portfolio": {"nav": 1, "dd_pct": 0}, "per_symbol": {}}, tmp_path),
    ):
        with pytest.raises(
            WriteFailed,
            match=r"cannot write .*\.json: the disk is full; what stood there before is untouched",
        ):
            write()
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


READ_ONLY = """
import os, sys
from holdfast.state import write_positions_state
if os.getuid() == 0:
    os.setuid(65534)
try:
    write_positions_state([], sys.argv[1])
except OSError as error:
    print(error)
    sys.exit(9)
"""


@pytest.fixture
def open_folder():
    """A folder that other users can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name) / "state"


def in_another_process(program, folder):
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_a_read_only_directory_is_a_clear_error_and_the_last_good_file_stays(open_folder):
    """As another user where this one may write everywhere."""
    state.write_positions_state([], open_folder)
    before = (open_folder / state.POSITIONS_STATE).read_bytes()
    open_folder.chmod(0o555)
    with in_another_process(READ_ONLY, open_folder) as writer:
        told, trouble = writer.communicate()
    open_folder.chmod(0o755)
    assert writer.returncode == 9, trouble
    assert "positions_state.json: the folder does not allow it; what stood there before is untouched" in told
    assert (open_folder / state.POSITIONS_STATE).read_bytes() == before


HOLD = """
import sys
from holdfast.state import StateFiles
files = StateFiles(sys.argv[1])
files.take("state_publisher")
print("held", flush=True)
sys.stdin.read()
"""


def test_other_bots_cannot_write_beside_the_publisher(tmp_path):
    with in_another_process(HOLD, tmp_path) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyHeld, match=f"is held by state_publisher \\(process {holder.pid} on "):
            state.write_positions_state([], tmp_path)
        holder.kill()
    state.write_positions_state([], tmp_path)
    assert state.load_positions_state(tmp_path)["positions"] == []


async def test_the_publisher_itself_writes_while_it_holds_the_lock(tmp_path):
    rig = Rig(tmp_path)
    rig.files.take("state_publisher")
    await rig.load(positions=[position()])
    await rig.loop()
    assert len(state.load_positions_state(tmp_path)["positions"]) == 1
    rig.files.release()


def test_seq_counts_up_by_itself_and_an_older_one_is_refused(tmp_path):
    for expected in (1, 2, 3):
        state.write_positions_state([], tmp_path)
        assert state.load_positions_state(tmp_path)["seq"] == expected
    state.write_positions_state([], tmp_path, header={"seq": 9, "store_id": "s"})
    with pytest.raises(state.OlderState, match="seq 8 is older than 9"):
        state.write_positions_state([], tmp_path, header={"seq": 8, "store_id": "s"})
    state.write_positions_state([], tmp_path, header={"seq": 2, "store_id": "another"})
    state.write_positions_state([], tmp_path, header={"seq": 1, "store_id": "another"}, rewound=True)
    assert state.load_positions_state(tmp_path)["seq"] == 1


def test_a_missing_file_is_empty_and_an_unreadable_one_is_not(tmp_path):
    loaders = (
        state.load_positions_state,
        state.load_positions_ledger_state,
        state.load_kpis_v7_state,
        state.load_status,
    )
    assert [load(tmp_path) for load in loaders] == [{}, {}, {}, {}]
    assert state.get_ledger_entries(tmp_path) == []
    for name in state.STATE_FILES:
        (tmp_path / name).write_text('{"positions": [')
    for load in (*loaders, state.get_ledger_entries):
        with pytest.raises(state.StateUnreadable, match="is not JSON"):
            load(tmp_path)
    (tmp_path / state.POSITIONS_LEDGER).write_text("[]")
    with pytest.raises(state.StateUnreadable, match="no JSON object"):
        state.load_positions_ledger_state(tmp_path)
    (tmp_path / state.POSITIONS_LEDGER).write_text('{"updated_at": "x"}')
    with pytest.raises(state.StateUnreadable, match="no list of entries"):
        state.get_ledger_entries(tmp_path)
    (tmp_path / state.POSITIONS_STATE).unlink()
    (tmp_path / state.POSITIONS_STATE).mkdir()
    with pytest.raises(state.StateUnreadable, match="cannot be read"):
        state.load_positions_state(tmp_path)


def test_a_corrupt_file_is_replaced_by_the_next_good_one(tmp_path):
    (tmp_path / state.POSITIONS_STATE).write_text("{")
    state.write_positions_state([], tmp_path)
    assert state.load_positions_state(tmp_path)["positions"] == []


def test_the_directory_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "here"))
    state.write_positions_state([])
    assert (tmp_path / "here" / "positions_state.json").exists()
    monkeypatch.delenv("HOLDFAST_STATE_DIR")
    monkeypatch.chdir(tmp_path)
    state.write_kpis_v7_state({"portfolio": {"nav": 1, "dd_pct": 0}, "per_symbol": {}})
    assert (tmp_path / "logs" / "state" / "kpis_v7.json").exists()


async def test_amounts_are_numbers_with_all_their_digits(tmp_path):
    exact = "0.123456789012345678"
    await one_loop(
        tmp_path,
        position(quantity=exact, price="3.000000000000000001", symbol=ETH),
        position("p2", symbol=BTC),
    )
    row = next(
        row for row in state.load_positions_state(tmp_path, exact=True)["positions"] if row["symbol"] == ETH
    )
    assert (row["qty"], row["entry_price"]) == (D(exact), D("3.000000000000000001"))
    entry = next(entry for entry in state.get_ledger_entries(tmp_path, exact=True) if entry["symbol"] == ETH)
    assert entry["qty"] == D(exact)
    assert isinstance(state.load_positions_state(tmp_path)["positions"][0]["qty"], int | float)
