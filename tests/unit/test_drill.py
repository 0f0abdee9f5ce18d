"""What the drill believes: its judge notices every broken promise, its watch knows armed from unarmed, its menu is fair."""

import json
import os
import subprocess
import sys
import time
from itertools import islice, permutations

import pytest
from fakeredis import FakeRedis

from holdfast.contracts import streams
from proving.drill.beats import NEEDED, Beat, Beats
from proving.drill.faults import ORDERED, Menu
from proving.drill.judge import Journal, log_of
from proving.drill.orders import Ends
from proving.drill.places import Disk, Networks
from proving.drill.processes import SKEW
from proving.drill.report import INVARIANTS, Report, Struck, Tally, percentile
from proving.drill.world import Unavailable, told

BOOK = "main/paper/BTC/USDT"
POSITION = {
    "position_id": "p-1",
    "book_id": BOOK,
    "account": "main",
    "symbol": "BTC/USDT",
    "side": "long",
    "quantity": "2",
}
POSITION |= {"stop_loss": "90", "take_profit": "110"}
ENTRY = {
    "order_id": "o-1",
    "intent_id": "i-1",
    "book_id": BOOK,
    "role": "entry",
    "side": "buy",
    "quantity": "2",
}
EXIT = ENTRY | {"order_id": "o-2", "intent_id": "i-2", "role": "exit", "side": "sell"}
REFUSED = {"intent_id": "x-1", "code": "max_positions", "reason": "too many"}


def found(*updates):
    """The invariants that a journal of these updates breaks."""
    tally = Tally()
    journal = Journal(tally)
    for number, update in enumerate(updates, 1):
        journal.take({"seq": number, "epoch": 1} | update)
    return set(tally.broken), tally


def test_a_journal_that_keeps_every_promise_breaks_none():
    broken, tally = found(
        {"orders": [ENTRY]}, {"positions": [POSITION], "orders": [ENTRY | {"state": "filled", "filled": "2"}]},
        {"orders": [EXIT]}, {"positions": [POSITION | {"quantity": "0"}], "orders": [EXIT | {"state": "filled", "filled": "2"}]},
        {"orders": [ENTRY | {"order_id": "o-3", "intent_id": "i-3", "side": "sell"}], "blocked": [REFUSED | {"intent_id": "i-9"}]},
        {"blocked": [REFUSED | {"code": "position_gone"}]},
    )  # fmt: skip

    assert broken == set()
    assert {"INV-1", "INV-2", "INV-5", "INV-6", "INV-7", "INV-9"} == set(tally.checks)


@pytest.mark.parametrize(
    ("number", "updates"),
    [
        ("INV-1", [{"positions": [POSITION]}, {"orders": [ENTRY | {"side": "sell"}]}]),
        ("INV-1", [{"positions": [POSITION, POSITION | {"position_id": "p-2", "side": "short"}]}]),
        ("INV-2", [{"positions": [POSITION | {"stop_loss": None}]}]),
        ("INV-2", [{"positions": [POSITION | {"take_profit": None}]}]),
        ("INV-5", [{"positions": [POSITION]}, {"orders": [EXIT | {"quantity": "3"}]}]),
        ("INV-5", [{"orders": [EXIT]}]),
        ("INV-6", [{"blocked": [REFUSED]}]),
        ("INV-6", [{"blocked": [REFUSED | {"intent_id": "drill-close-7", "code": "bus_full"}]}]),
        ("INV-7", [{"orders": [ENTRY | {"state": "unknown"}]}, {"orders": [ENTRY | {"order_id": "o-9", "intent_id": "i-9"}]}]),
        ("INV-9", [{"epoch": 2}, {"epoch": 1}]),
    ],
)  # fmt: skip
def test_the_judge_notices(number, updates):
    broken, _ = found(*updates)

    assert broken == {number}


def test_an_end_that_nobody_asked_for_is_silent_and_one_that_was_asked_for_is_not():
    text = "ledger     | ended with code 0 after 4.8 s; again in 0.1 s (restart 1)\nledger | ended with Killed after 1 s; again"
    asked, unasked = Tally(), Tally()
    log_of(text, {"ledger": 1}, asked)
    log_of(text, {}, unasked)

    assert (asked.broken.total(), unasked.broken["INV-10"]) == (0, 2)


class _Fixed(Beats):
    """Beats without a bus: what was heard is put in."""

    def __init__(self, newest, ledger=()):
        super().__init__(_Silent())
        self.stop()
        self.newest = newest
        self._ledger.extend(ledger)


class _Silent:
    def xread(self, *_, **__):
        raise OSError("no bus")


def beats(ledger=(), **changed):
    scanner = {"armed": 2, "armed_through": 50, "unarmed": [], "details": {"positions": "2"}}
    newest = {name: Beat(10_000, f"{name}-1", 50, dict(scanner)) for name in NEEDED}
    for name, (heard, body) in changed.items():
        newest[name] = Beat(heard, f"{name}-1", 50, scanner | body)
    return _Fixed(newest, ledger)


@pytest.mark.parametrize(
    ("watched", "touched", "replaced", "why"),
    [
        (beats(), ("ledger",), {}, []),
        (beats(ledger=[(9_000, 50)]), (), {}, []),
        (beats(), ("ledger",), {"ledger": "ledger-1"}, ["ledger has no successor"]),
        (beats(ledger_=(0, {})), (), {"ledger": "ledger-0"}, []),
        (beats(executor=(6_000, {})), (), {}, ["executor is silent"]),
        (beats(executor=(9_000, {})), ("executor",), {}, ["executor is silent since the fault"]),
        (beats(executor=(10_000, {"unreadable": "the venue"})), (), {}, ["executor: the venue"]),
        (beats(exit_scanner=(10_000, {"armed": 1})), (), {}, ["armed 1 of 2"]),
        (beats(exit_scanner=(10_000, {"armed": None})), (), {}, ["armed None of 2"]),
        (beats(exit_scanner=(10_000, {"unarmed": ["p-1"]})), (), {}, ["armed 2 of 2"]),
        (beats(ledger=[(9_000, 51)]), (), {}, ["armed through 50 of 51"]),
    ],
)  # fmt: skip
def test_all_is_armed_when_nothing_is_missing(watched, touched, replaced, why):
    assert watched.missing(9_500, 10_000, touched, replaced) == why


def test_a_service_never_heard_of_is_missing():
    watched = beats()
    del watched.newest[streams.LEDGER]

    assert watched.missing(0, 10_000, (), {}) == ["ledger was never heard of"]


def test_an_intent_has_an_end_only_when_the_bus_says_so_anew():
    bus = FakeRedis(decode_responses=True)

    def says(intent, status):
        bus.xadd(streams.INTENT_RESULT.name, {"body": json.dumps({"intent_id": intent, "status": status})})

    says("i-1", "filled")
    ends = Ends(bus)
    assert ends.lacking(("i-1", "i-2", "i-3")) == ["i-1", "i-2", "i-3"], "said before it was sent again"
    says("i-1", "filled")
    says("i-2", "accepted")
    says("i-3", "unknown")
    assert ends.lacking(("i-1", "i-2", "i-3")) == ["i-2", "i-3"]
    says("i-2", "filled")
    says("i-3", "expired")
    assert ends.lacking(("i-1", "i-2", "i-3")) == []


def test_every_order_of_restarting_comes_before_any_comes_twice():
    restarts = (fault for fault in Menu(5, ("restart",)).deal())
    orders = []

    class World:
        def restart(self, names, pause_s):
            orders.append(names)

    for fault in islice(restarts, 24):
        fault.strike(World(), Tally())

    assert set(orders) == set(permutations(ORDERED))


def test_the_same_seed_deals_the_same_faults_and_another_seed_others():
    def dealt(seed):
        return [fault.kind for fault in islice(Menu(seed).deal(), 40)]

    assert dealt(1) == dealt(1)
    assert dealt(1) != dealt(2)


def test_a_clock_that_was_put_wrong_is_put_right_next():
    dealt = [fault.kind for fault in islice(Menu(3, ("skew", "wipe")).deal(), 30)]
    skewed = [number for number, kind in enumerate(dealt) if kind.startswith("skew")]

    assert skewed
    assert [dealt[number] for number in skewed[::2]] == [dealt[number + 1] for number in skewed[::2]]


def test_the_report_names_every_invariant_every_fault_and_what_was_skipped():
    report = Report(
        struck=[Struck("wipe", 1.0, 900), Struck("wipe", 2.0, 1100)], skipped={"cut": "it needs root"}
    )
    report.tally.check("INV-2", False, "p-1 is bare")
    text = report.text()

    assert [number for number in INVARIANTS if f"| {number} |" not in text] == []
    assert "| wipe | 2 | 1.10 s | 1.10 s | 1.10 s |" in text
    assert "skipped: cut: it needs root" in text
    assert "VIOLATION INV-2: p-1 is bare" in text
    assert report.document()["invariants"]["INV-2"]["violations"] == 1


@pytest.mark.parametrize(("share", "value"), [(0.5, 3), (0.99, 4), (0.0, 1)])
def test_a_percentile_is_one_of_the_values(share, value):
    assert percentile([1, 2, 3, 4], share) == value
    assert percentile([], share) is None


def test_an_old_status_file_is_never_green():
    assert told('{"updated_ms": 0, "status": "consistent"}').endswith("ms old")


@pytest.mark.parametrize(
    "make", [lambda path: Disk(path / "image", path / "disk"), lambda path: Networks("hftest")]
)
def test_without_root_a_place_is_unavailable_and_nothing_is_made(make, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(Unavailable, match="it needs root"):
        make(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_shifted_clock_shifts_the_named_service_alone(tmp_path):
    (tmp_path / "skew.json").write_text('{"executor": 3600000}')
    package = tmp_path / "services"
    for name in ("executor", "ledger"):
        (package / name).mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / name / "__init__.py").touch()
        (package / name / "__main__.py").write_text(
            "import time; print(int(time.time()), time.time_ns() // 10**9)"
        )

    def times_of(name):
        done = subprocess.run(
            [sys.executable, "-m", f"services.{name}"], capture_output=True, text=True, check=True, cwd=tmp_path,
            env={"PYTHONPATH": f"{SKEW}{os.pathsep}{tmp_path}", "DRILL_SKEW": str(tmp_path / "skew.json")},
        )  # fmt: skip
        return [int(word) - time.time() for word in done.stdout.split()]

    assert all(3590 < off < 3610 for off in times_of("executor"))
    assert all(-10 < off < 10 for off in times_of("ledger"))
