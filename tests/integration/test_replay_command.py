"""`holdfast replay` as a person types it: the examples of the documentation, errors with their line, the report."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from replay.__main__ import app

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "replay"
CANDLES, SIGNALS, POLICY = EXAMPLES / "btcusdt_1m.csv", EXAMPLES / "signals.csv", EXAMPLES / "policy.toml"
FIELDS = [
    "symbol", "side", "opened_ms", "closed_ms", "entry_price", "exit_price", "exit_reason", "profit_ratio", "quantity", "fees", "profit",
]  # fmt: skip


def replay(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "holdfast.cli.main", "replay", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=55, check=False)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example as JSON and as a report, twice."""
    page = tmp_path_factory.mktemp("report") / "report.html"
    runs = [
        replay("--candles", CANDLES, "--signals", SIGNALS, "--policy", POLICY, "--json", "--html", page)
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    return runs, page.read_text()


def test_trades_are_json_lines_and_a_summary_follows(example):
    (run, _), _ = example
    *trades, last = [json.loads(line) for line in run.stdout.splitlines()]
    assert trades
    assert all(list(trade) == FIELDS for trade in trades)
    assert last["summary"]["trades"] == len(trades)
    assert "effective policy:" in run.stderr, "it is printed beside the lines, not among them"


def test_two_runs_are_the_same_byte_for_byte(example):
    (first, second), _ = example
    assert first.stdout == second.stdout


class _Addresses(HTMLParser):
    """Whatever a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.found += [value or "" for name, value in attrs if name in {"src", "href", "data", "xlink:href"}]


def test_the_report_loads_nothing_and_shows_everything(example):
    _, page = example
    seen = _Addresses()
    seen.feed(page)
    assert (seen.found, seen.scripts) == ([], 0)
    assert not re.search(r"https?://|@import|url\(", page)
    for title in ("Equity", "Drawdown", "Trades on BTC/USDT", "Exit reasons", "Effective policy"):
        assert f"<h2>{title}</h2>" in page
    assert page.count("<svg") == 4


def test_names_from_files_are_escaped(tmp_path):
    evil = tmp_path / "<img src=x onerror=alert(1)>.csv"
    evil.write_text(CANDLES.read_text())
    page = tmp_path / "report.html"
    run = replay("--candles", evil, "--symbol", "BTC/USDT", "--signals", SIGNALS, "--html", page)
    assert run.returncode == 0, run.stderr
    assert "<img" not in page.read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;.csv" in page.read_text()


def test_a_person_sees_the_policy_the_trades_and_the_figures():
    run = replay("--candles", CANDLES, "--signals", SIGNALS)
    assert run.returncode == 0, run.stderr
    for text in ("effective policy:", "stop_loss_pct = 10", "exit reason", "win_rate", "force_exit"):
        assert text in run.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--signals", SIGNALS], "give either --candles or --ticks, or --journal"),
        (["--candles", CANDLES, "--ticks", CANDLES, "--signals", SIGNALS], "give either --candles or --ticks"),
        (["--candles", CANDLES], "--signals is missing"),
        (["--candles", "none.csv", "--symbol", "BTC/USDT", "--signals", SIGNALS], "none.csv: cannot be read"),
        (["--ticks", CANDLES, "--signals", SIGNALS], "it holds candles; give it with --candles"),
        (["--candles", CANDLES, "--symbol", "ETH/USDT", "--signals", SIGNALS], "column symbol: there are no prices of BTC/USDT, only of ETH/USDT"),
        (["--candles", CANDLES, "--candles", CANDLES, "--signals", SIGNALS], "BTC/USDT is told of by another file already"),
        (["--candles", CANDLES, "--signals", SIGNALS, "--fee", "-1"], "--fee -1: a percent from 0 to below 100"),
        (["--candles", CANDLES, "--signals", SIGNALS, "--capital", "much"], "--capital much: "),
        (["--candles", CANDLES, "--signals", SIGNALS, "--leverage", "0"], "--leverage 0: must be greater than zero"),
    ],
)  # fmt: skip
def test_what_cannot_be_played_is_said_before_anything_is(arguments, complaint):
    run = CliRunner().invoke(app, list(map(str, arguments)))
    assert (run.exit_code, run.stdout) == (2, "")
    assert complaint in run.stderr
    assert "Traceback" not in run.stderr


def test_a_bad_candle_is_named_with_line_and_column(tmp_path):
    bad = tmp_path / "btcusdt.csv"
    bad.write_text("ts_ms,open,high,low,close\n1704067200000,1,2,1,1\n1704067260000,1,x,1,1\n")
    run = replay("--candles", bad, "--signals", SIGNALS)
    assert run.returncode == 2
    assert 'btcusdt.csv, line 3, column high: "x" is not a decimal number' in run.stderr


def test_a_bad_policy_is_named_with_line_and_key(tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text('[exits]\nstop_loss_pct = "-1"\n')
    run = replay("--candles", CANDLES, "--signals", SIGNALS, "--policy", policy)
    assert run.returncode == 78
    assert "policy.toml, line 2: exits.stop_loss_pct" in run.stderr


def test_its_help_is_its_own():
    run = replay("--help")
    assert run.returncode == 0
    assert "--soft-signals" in run.stdout
