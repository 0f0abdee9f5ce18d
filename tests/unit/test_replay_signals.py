"""The signals file: read whole, and whatever is wrong in it named with line and column."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.signals import Action, BadSignals, Signal, read_signals, sort_out

D = Decimal

T0 = 1_700_000_000_000
HEAD = "ts_ms,symbol,action,quantity,confidence"


def write(folder, *lines):
    path = folder / "signals.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_signals_are_read_by_time_with_their_lines(tmp_path):
    path = write(
        tmp_path,
        "\ufeffaction, ts_ms ,symbol,quantity",
        f"exit_long,{T0 + 1},BTCUSDT,",
        "",
        f"Enter_Long,{T0},BTC/USDT, 0.50",
    )
    assert read_signals(path) == [
        Signal(T0, "BTC/USDT", Action.ENTER_LONG, D("0.50"), None, 4),
        Signal(T0 + 1, "BTC/USDT", Action.EXIT_LONG, None, None, 2),
    ]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "it is empty; a header is expected: ts_ms,symbol,action,quantity,confidence"),
        (["ts_ms,symbol"], "line 1: the column action is missing"),
        (["ts_ms,symbol,action,size"], "line 1, column 4: 'size' is no column of a signals file"),
        (["ts_ms,symbol,action,symbol"], "line 1, column 4: symbol stands there twice"),
        ([HEAD, f"{T0},BTC/USDT,enter"], "line 2, column action: 'enter' is none of enter_long, enter_short"),
        ([HEAD, "2022-01-01,BTC/USDT,enter_long"], "line 2, column ts_ms: '2022-01-01' is no time in ms"),
        ([HEAD, "1700000000,BTC/USDT,enter_long"], "line 2, column ts_ms: .* are these seconds"),
        ([HEAD, f"{T0},?,enter_long"], "line 2, column symbol: "),
        ([HEAD, f"{T0},BTC/USDT,enter_long,many"], 'line 2, column quantity: "many" is not a decimal number'),
        ([HEAD, f"{T0},BTC/USDT,enter_long,0"], "line 2, column quantity: must be greater than zero"),
        ([HEAD, f"{T0},BTC/USDT,enter_long,nan"], "line 2, column quantity: "),
        ([HEAD, f"{T0},BTC/USDT,enter_long,,1.5"], "line 2, column confidence: 1.5 is not between 0 and 1"),
        ([HEAD, f"{T0},BTC/USDT,enter_long,1,1,1"], "line 2: 6 columns, the header has 5"),
        ([HEAD, f"{T0},BTC/USDT"], "line 2, column action: '' is none of"),
        (
            [HEAD, f"{T0},BTC/USDT,exit_long", "", f"{T0},BTCUSDT,exit_long"],
            "line 4, column action: exit_long of BTC/USDT at 1700000000000 stands on line 2 already",
        ),
        ([HEAD, f'{T0},"BTC/USDT'], "line 2: unexpected end of data"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path, lines, complaint):
    with pytest.raises(BadSignals, match=complaint) as caught:
        read_signals(write(tmp_path, *lines) if lines else _empty(tmp_path))
    assert "signals.csv" in str(caught.value)


def _empty(folder):
    path = folder / "signals.csv"
    path.write_text("")
    return path


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadSignals, match=r"none\.csv: cannot be read: No such file"):
        read_signals(tmp_path / "none.csv")


@given(st.binary(max_size=300))
def test_whatever_bytes_there_are_they_are_complained_of(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("signals") / "s.csv"
    path.write_bytes(content)
    with pytest.raises(BadSignals) as caught:
        read_signals(path)  # no three hundred random bytes spell a header
    assert str(path) in str(caught.value)


def _of(*actions: str) -> list[Signal]:
    return [Signal(T0 + n, "BTC/USDT", Action(action), line=n) for n, action in enumerate(actions, 2)]


@pytest.mark.parametrize(
    ("actions", "entry", "exits"),
    [
        (["enter_long"], 2, []),
        (["enter_long", "enter_short"], None, []),
        (["enter_long", "exit_long"], None, [3]),
        (["enter_long", "exit_short"], 2, [3]),
        (["enter_long", "exit_long", "exit_short"], None, [3, 4]),
        (["exit_long", "exit_short"], None, [2, 3]),
        (["enter_long", "enter_long"], 3, []),
    ],
)
def test_signals_of_one_moment_are_sorted_out(actions, entry, exits):
    signals = _of(*actions)
    chosen = sort_out(signals)
    assert (chosen.entry.line if chosen.entry else None, [one.line for one in chosen.exits]) == (entry, exits)
    told = [*chosen.exits, *([chosen.entry] if chosen.entry else []), *(one for one, _ in chosen.ignored)]
    assert sorted(one.line for one in told) == [one.line for one in signals], "each is told of once"
