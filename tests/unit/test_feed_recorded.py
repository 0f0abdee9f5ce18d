"""Files of candles, trades and quotes, told apart by their header; what cannot be played is named with file and line."""

import csv
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.candles import Quote
from services.market_feed.recorded import BadRecording, check, timeline
from services.market_feed.spec import ReplayFile

D = Decimal
T0 = 1_600_000_000_000


def write(path: Path, *lines: str) -> ReplayFile:
    path.write_text("\n".join(lines) + "\n")
    return ReplayFile(path, "BTC/USDT", D(0))


def read(file: ReplayFile) -> list[tuple[int, Decimal]]:
    return [(quote.at, quote.last) for quote in timeline([check(file)])]


def test_candles_in_ms(tmp_path):
    file = write(
        tmp_path / "a.csv",
        "ts_ms,open,high,low,close,volume",
        f"{T0},10,15,8,12,99",
        f"{T0 + 60_000},12,13,9,10,99",
    )
    assert [
        (T0, D(10)),
        (T0 + 20_000, D(8)),
        (T0 + 40_000, D(15)),
        (T0 + 59_999, D(12)),
        (T0 + 60_000, D(12)),
        (T0 + 80_000, D(13)),
        (T0 + 100_000, D(9)),
        (T0 + 119_999, D(10)),
    ] == read(file)
    assert (check(file).ticks, check(file).interval_ms) == (8, 60_000)


def test_candles_with_written_out_times_are_utc(tmp_path):
    file = write(
        tmp_path / "a.csv",
        "timestamp,open,high,low,close,volume",
        "2021-12-31 23:01:00.000000,46319.0,46385.0,46319.0,46377.0,1.5",
    )
    assert read(file)[0][0] == 1_640_991_660_000
    file = write(tmp_path / "b.csv", "timestamp,price", "2021-12-31T23:01:00.250+01:00,1")
    assert read(file)[0][0] == 1_640_988_060_250


def test_trades_of_both_shapes(tmp_path):
    one = write(
        tmp_path / "a.csv",
        "ts_ms,trade_id,price,quantity,buyer_maker",
        f"{T0},5,39432.48,0.000263,True",
        "",
        f"{T0},6,39439.44,1,False",
    )
    two = write(
        tmp_path / "b.csv", "timestamp,id,side,price,amount,cost", f"{T0},1,sell,0.00141342,23.0,0.03250866"
    )
    assert [(T0, D("39432.48")), (T0, D("39439.44"))] == read(one)
    assert [(T0, D("0.00141342"))] == read(two)


def test_quotes_keep_their_bid_and_ask(tmp_path):
    file = write(
        tmp_path / "a.csv",
        "\ufeffts_ms, Bid,bid_size,Ask,ask_size",
        f"{T0},39432.99,0.0031,39433.63,0.066851",
    )
    assert [Quote("BTC/USDT", T0, D("39432.99"), D("39433.63"), D("39433.31"))] == list(
        timeline([check(file)])
    )


def test_trades_get_the_spread_that_was_asked_for(tmp_path):
    file = write(tmp_path / "a.csv", "ts_ms,price", f"{T0},100")
    (quote,) = timeline([check(ReplayFile(file.path, "X/Y", D(1)))])
    assert (D("99.5"), D("100.5"), D(100)) == (quote.bid, quote.ask, quote.last)


def test_a_bad_print_is_played_as_it_was_recorded(tmp_path):
    """Whether a price can be true is for those who act upon it."""
    assert [(T0, D(0)), (T0, D(-1))] == read(write(tmp_path / "a.csv", "ts_ms,price", f"{T0},0", f"{T0},-1"))


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["ts_ms,funding_rate", "1,2"], r"a\.csv: its columns are ts_ms, funding_rate; a replay needs"),
        (["open,high,low,close", "1,1,1,1"], "ts_ms or timestamp"),
        ([""], "its columns are none"),
        (["ts_ms,price"], "nothing below it"),
        (["ts_ms,price", f"{T0},1", f"{T0 - 1},1"], "line 3: it is older"),
        (["ts_ms,price", f"{T0},x"], 'line 2, column price: "x" is not a decimal number'),
        (["ts_ms,price", f"{T0},nan"], "line 2, column price: .*NaN"),
        (["ts_ms,price", f"{T0},1", f"{T0}"], "line 3: columns are missing"),
        (["ts_ms,price", f"{T0 // 1000},1"], "are these seconds"),
        (["ts_ms,price", f"{T0}000,1"], "microseconds"),
        (["ts_ms,price", f"{T0},1", "soon,1"], 'line 3: "soon" is no time in ms'),
        (["timestamp,price", "soon,1"], "neither ms since 1970 nor a date"),
        (["ts_ms,open,high,low,close", f"{T0},10,9,8,10"], "line 2: high 9 lies below"),
    ],
)
def test_what_cannot_be_played_is_named(tmp_path, lines, complaint):
    with pytest.raises(BadRecording, match=complaint):
        check(write(tmp_path / "a.csv", *lines))


def test_a_missing_file_and_a_file_that_is_no_text(tmp_path):
    with pytest.raises(BadRecording, match="No such file"):
        check(ReplayFile(tmp_path / "nowhere.csv", "BTC/USDT"))
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(BadRecording, match="cannot be read"):
        check(ReplayFile(tmp_path / "x.csv", "BTC/USDT"))
    (tmp_path / "y.csv").write_bytes(f"ts_ms,price\n{T0},1\n".encode() + b"\xff\xfe\n")
    with pytest.raises(BadRecording, match=r"y\.csv.*cannot be read"):
        check(ReplayFile(tmp_path / "y.csv", "BTC/USDT"))


def test_several_files_are_one_timeline_in_the_order_they_were_named(tmp_path):
    one = write(tmp_path / "a.csv", "ts_ms,price", f"{T0},1", f"{T0 + 5},2")
    two = ReplayFile(
        write(tmp_path / "b.csv", "ts_ms,price", f"{T0},3", f"{T0 + 2},4").path, "ETH/USDT", D(0)
    )
    recordings = [check(one), check(two)]
    assert [("BTC/USDT", D(1)), ("ETH/USDT", D(3)), ("ETH/USDT", D(4)), ("BTC/USDT", D(2))] == [
        (quote.symbol, quote.last) for quote in timeline(recordings)
    ]
    assert [D(4), D(2)] == [quote.last for quote in timeline(recordings, skip=2)]


_PRICES = st.tuples(*[st.integers(1, 1000)] * 4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from([1, 1000, 30_000, 60_000, 60_000, 400_000]), _PRICES),
            min_size=1,
            max_size=12,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_market_time_never_runs_back_and_every_extreme_is_played_once(files):
    """Whatever the distances of candles, over several files: all four prices of each, once, in the order of time."""
    with TemporaryDirectory() as folder:
        recordings, expected = [], []
        for number, rows in enumerate(files):
            path, at = Path(folder) / f"{number}.csv", T0
            with path.open("w", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["ts_ms", "open", "high", "low", "close"])
                for gap, prices in rows:
                    at += gap
                    low, one, two, high = sorted(prices)
                    writer.writerow([at, two, high, low, one])
                    expected += [(f"S{number}/USDT", price) for price in (low, one, two, high)]
            recordings.append(check(ReplayFile(path, f"S{number}/USDT", D(0))))
        played = list(timeline(recordings))
    moments = [quote.at for quote in played]
    assert sorted(moments) == moments
    assert sorted(expected) == sorted((quote.symbol, quote.last) for quote in played)
    assert len(played) == sum(recording.ticks for recording in recordings)
