"""Real money takes two settings and limits set by hand; whatever is wrong is said by its name, before anything is sent."""

import subprocess
import sys
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.cli.orders import _at
from holdfast.cli.up import banner
from holdfast.contracts.codes import Kind, OrderType
from holdfast.domain.protecting import Protect
from holdfast.runtime.configuration import ConfigurationError, load
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.live_settings import capital_of, check_switch, live_accounts, patience_of, secrets_of
from holdfast.venues.dead_man import switches_of
from holdfast.venues.live import open_live, preflight
from holdfast.venues.protect import protects, terms_of
from tests.venue._stage import KEY, SECRET, HandClock, venue

CANARY = "canary-of-the-secret"
GOOD = {
    "mode": '"live"', "exchange": '"binanceusdm"', "symbols": '["BTC/USDT"]', "max_notional": '"5000"', "daily_loss": '"200"',
    "key_file": "KEY", "secret_file": "SECRET",
}  # fmt: skip


def written(tmp_path, *, top="", url="", more="", **changes):
    """holdfast.toml of one live account, with *changes* to what would be right (None: left out); and its key files."""
    for name, text in (("KEY", KEY), ("SECRET", SECRET)):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
    keys = {name: value for name, value in (GOOD | changes).items() if value is not None}
    lines = [
        f"{name} = {value if value not in ('KEY', 'SECRET') else repr(str(tmp_path / value))}"
        for name, value in keys.items()
    ]
    if url:
        lines.append(f'url = "{url}"')
    path = tmp_path / "holdfast.toml"
    path.write_text("\n".join([top, "[account.main]", *lines, more]))
    return path


def settings(tmp_path, env=None, **changes):
    given = {"HOLDFAST_LIVE": "yes"} if env is None else env
    return load(config=written(tmp_path, **changes), env=given, dotenv=tmp_path / "none")


def test_with_both_settings_and_limits_an_account_is_live_and_the_banner_says_so(tmp_path):
    found = settings(tmp_path)
    assert list(live_accounts(found)) == ["main"]
    assert "LIVE, real money: main at binanceusdm" in banner(found, "redis://x", "")[0]
    assert "PAPER, no real money" in banner(load(env={}, dotenv=tmp_path / "none"), "redis://x", "")[0]


def test_dry_run_is_paper_whatever_else_is_set(tmp_path):
    found = settings(tmp_path, {"HOLDFAST_LIVE": "yes", "DRY_RUN": "1"})
    assert live_accounts(found) == {}
    assert "PAPER" in banner(found, "redis://x", "")[0]


WRONG = {
    "live, line 1": {"top": "live = true"},
    "accounts does not list": {"top": 'accounts = ["other"]'},
    "exchange: name the exchange": {"exchange": None},
    "symbols: list": {"symbols": None},
    "max_notional: set": {"max_notional": None},
    "daily_loss: set": {"daily_loss": None},
    "key_file: name": {"key_file": None},
    "secret_file: name": {"secret_file": None},
    "max_notional": {"max_notional": '"-1"'},
    "leverage": {"leverage": "500"},
    "url": {"url": "http://example.com"},
    "protect": {"protect": '"sometimes"'},
    "protect_step_pct": {"protect_step_pct": '"0"'},
    "escalate_after_s": {"escalate_after_s": "0"},
    "adopt: SOL/USDT not among": {"adopt": '["SOL/USDT"]'},
    "adopt, flatten: BTC/USDT cannot": {"adopt": '["BTC/USDT"]', "flatten": '["BTCUSDT"]'},
    'protect = "both": on paper': {"mode": '"paper"', "protect": '"both"'},
    "dead_man_s": {"dead_man_s": "5"},
    "dead_man_s = 60: on paper": {"mode": '"paper"', "dead_man_s": "60"},
}


@pytest.mark.parametrize("named", WRONG)
def test_a_configuration_that_is_wrong_says_which_setting(tmp_path, named):
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path, **WRONG[named])
    assert named in str(caught.value)


def test_on_the_command_line_the_exchange_of_a_live_account_goes_without_saying(tmp_path, monkeypatch):
    path = written(tmp_path)
    monkeypatch.delenv("DRY_RUN", raising=False)
    assert _at("main", None, tmp_path, path) == "binanceusdm"
    assert _at("main", "kraken", tmp_path, path) == "kraken"
    assert _at("other", None, tmp_path, path) == "paper"
    monkeypatch.setenv("DRY_RUN", "1")
    assert _at("main", None, tmp_path, path) == "paper"


def test_one_of_the_two_settings_without_the_other_starts_nothing(tmp_path):
    only_file = settings(tmp_path, {})
    assert live_accounts(only_file) == {}, "commands that do not trade work without the variable"
    with pytest.raises(Terminal, match="HOLDFAST_LIVE is not yes"):
        check_switch(only_file)
    with pytest.raises(Terminal, match="HOLDFAST_LIVE is set, but no account"):
        check_switch(load(env={"HOLDFAST_LIVE": "yes"}, dotenv=tmp_path / "none"))
    check_switch(settings(tmp_path, {"DRY_RUN": "1"}))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"exchange": '"nowhere"'}, r"\[account.main\] exchange: 'nowhere' is not an exchange"),
        ({"exchange": '"bybit"'}, r"exchange: Bybit cannot look up an order.*unsafe_venue"),
        ({"exchange": '"okx"'}, r"exchange: OKX has never been tried.*unsafe_venue"),
        ({"exchange": '"kraken"', "leverage": "2"}, r"leverage: kraken is spot"),
        (
            {"exchange": '"kraken"', "adopt": '["BTC/USDT"]'},
            r"adopt: kraken is spot, where the coins of others",
        ),
        (
            {"exchange": '"binance"', "symbols": '["BTC/USDT", "ETH/BTC"]'},
            r"symbols: BTC would be held as a position and paid with",
        ),
        (
            {"exchange": '"okx"', "unsafe_venue": "true", "protect": '"both"'},
            r'protect = "both": no stop of a position can rest at okx yet, only at binanceusdm, binance, kraken; take "scanner"',
        ),
        (
            {"exchange": '"binance"', "dead_man_s": "60"},
            r"dead_man_s = 60: no dead man's switch of binance is used here, only those of binanceusdm, kraken; take 0",
        ),
        ({"key_file": '"/nowhere/key"'}, r"key_file: .*cannot be read"),
    ],
)
def test_an_account_that_cannot_trade_is_refused_before_anything_starts(tmp_path, changes, named):
    with pytest.raises(Terminal, match=named) as caught:
        preflight(settings(tmp_path, **changes))
    assert caught.value.code == EXIT_CONFIG


@pytest.mark.parametrize(
    ("changes", "who", "patience"),
    [
        ({}, Protect.BOTH, (0, 5000)),
        ({"protect": '"scanner"'}, Protect.SCANNER, (0, 0)),
        ({"protect": '"venue"', "escalate_after_s": "7"}, Protect.VENUE, (7000, 7000)),
        ({"exchange": '"kraken"'}, Protect.VENUE, (0, 5000)),
        ({"exchange": '"kraken"', "protect": '"both"'}, Protect.BOTH, (0, 0)),
        ({"exchange": '"okx"', "unsafe_venue": "true"}, Protect.SCANNER, (0, 5000)),
    ],
)
def test_who_watches_the_stop_loss(tmp_path, changes, who, patience):
    """*patience*: the scanner's, on futures and on spot; it counts only where a stop is proven to rest."""
    found = settings(tmp_path, **changes)
    assert protects(found.account["main"]) is who
    given = patience_of(found)
    assert (given.get(("main", Kind.LINEAR), 0), given.get(("main", Kind.SPOT), 0)) == patience
    assert (terms_of(found)["main"] is None) is (who is Protect.SCANNER)


@pytest.mark.parametrize(
    ("changes", "switches"),
    [
        ({}, {"main": 60_000}),
        ({"dead_man_s": "0"}, {}),
        ({"dead_man_s": "30"}, {"main": 30_000}),
        (
            {"exchange": '"kraken"'},
            {},
        ),  # it would cancel everybody's orders of the account: only where it is asked for
        ({"exchange": '"kraken"', "dead_man_s": "90"}, {"main": 90_000}),
        ({"exchange": '"binance"'}, {}),
    ],
)
def test_after_how_much_silence_the_exchange_cancels_entries(tmp_path, changes, switches):
    found = settings(tmp_path, **changes)
    preflight(found)
    assert switches_of(found) == switches


def test_how_its_stops_rest(tmp_path):
    found = settings(tmp_path, protect_order='"limit"', protect_limit_pct='"0.5"', protect_every_s="9")
    terms = terms_of(found)["main"]
    assert (terms.type, terms.limit_pct, terms.step_pct) == (OrderType.LIMIT, Decimal("0.5"), Decimal("0.1"))
    assert (terms.every_ms, terms.escalate_ms) == (9_000, 5_000)


def test_a_key_file_that_others_may_read_is_refused_and_not_shown(tmp_path):
    found = settings(tmp_path)
    (tmp_path / "SECRET").write_text(CANARY)
    (tmp_path / "SECRET").chmod(0o644)
    with pytest.raises(Terminal, match=r"secret_file: .*mode 0644.*chmod 600") as caught:
        preflight(found)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("env", "changes", "named"),
    [
        ({"HOLDFAST_LIVE": "yes"}, {"exchange": '"bybit"'}, "[account.main] exchange"),
        ({}, {}, "HOLDFAST_LIVE"),
    ],
)
def test_up_ends_with_78_and_the_settings_name(tmp_path, env, changes, named):
    path = written(tmp_path, **changes)
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", "up", "--dir", str(tmp_path / "var"), "--config", str(path)],
        env={"PYTHONPATH": "libs:.", "PATH": ""} | env, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (done.returncode, named in done.stderr) == (EXIT_CONFIG, True), done.stderr
    assert not (tmp_path / "var").exists()


# -- what only the exchange can say ---------------------------------------------------------------------------------------


@pytest.fixture
async def stage(tmp_path):
    clock = HandClock()
    async with venue(clock) as server:

        async def opened(**changes):
            return await open_live(settings(tmp_path, url=server.url, **changes), "main", clock)

        yield server, opened, clock


async def test_an_account_that_is_as_its_settings_say_is_opened(stage):
    server, opened, _ = stage
    found = await opened(leverage="3")
    try:
        assert (found.exchange, found.rules("BTCUSDT").symbol) == ("binanceusdm", "BTC/USDT")
        assert server.venue.exchange.account.leverage == {"BTCUSDT": 3}
        assert server.venue.exchange.received == []
    finally:
        await found.close()


@pytest.mark.parametrize(
    ("changes", "state", "named"),
    [
        ({"symbols": '["DOGE/USDT"]'}, {}, r"\[account.main\] symbols: binanceusdm does not trade DOGE/USDT"),
        ({}, {"skew_ms": -1_500}, r"\[account.main\] the clock of this machine"),
        ({}, {"skew_ms": 1_500}, r"\[account.main\] the clock of this machine"),
        ({}, {"can_withdraw": True}, "key_file: this key may withdraw"),
        ({}, {"hedged": True}, r"hedging.symbols: \[account.main\] .*hedge mode"),
        (
            {"more": '[hedging]\nsymbols = ["BTC/USDT"]'},
            {},
            r"hedging.symbols: \[account.main\] .*one-way mode",
        ),
        (
            {"symbols": '["BTC/USDT", "ETH/USDT"]', "more": '[hedging]\nsymbols = ["BTC/USDT"]'},
            {"hedged": True},
            r"hedging.symbols: .*only BTC/USDT are hedged",
        ),
    ],
)
async def test_an_exchange_that_is_not_as_the_settings_say_is_refused(stage, changes, state, named):
    server, opened, _ = stage
    server.venue.skew_ms = state.get("skew_ms", 0)
    account = server.venue.exchange.account
    account.hedged, account.can_withdraw = state.get("hedged", False), state.get("can_withdraw", False)
    with pytest.raises(Terminal, match=named) as caught:
        await opened(**changes)
    assert caught.value.code == EXIT_CONFIG
    assert server.venue.exchange.received == []


async def test_retries_of_ccxt_are_refused():
    from holdfast.venues.ccxt_client import _retrying

    assert list(_retrying({"maxRetriesOnFailure": 0, "order": {"x": 1}})) == []
    assert list(_retrying({"order": {"maxRetriesOnFailure": 3}})) == ["order.maxRetriesOnFailure"]


def test_the_paper_path_loads_no_exchange_library():
    code = "import sys; import services.executor.app; sys.exit('ccxt' in sys.modules or 'aiohttp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": "libs:.", "PATH": ""}, check=False, timeout=30
    )
    assert done.returncode == 0


# -- `holdfast keys exchange` ---------------------------------------------------------------------------------------------


def asked(tmp_path, typed, *more, **changes):
    path = written(tmp_path, **changes)
    return CliRunner().invoke(app, ["keys", "exchange", "main", "--config", str(path), *more], input=typed)


def test_keys_of_an_exchange_are_written_where_the_account_reads_them_and_shown_to_nobody(tmp_path):
    places = {"key_file": f"'{tmp_path}/new/key'", "secret_file": f"'{tmp_path}/new/secret'"}
    done = asked(tmp_path, f"the-key\n{CANARY}\n", **places)
    assert done.exit_code == 0, done.output
    assert CANARY not in done.output
    found = settings(tmp_path, **places).account["main"]
    assert secrets_of("main", found) == ("the-key", CANARY, "")
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()] == [0o600, 0o600]


@pytest.mark.parametrize(
    ("typed", "more", "changes", "said"),
    [
        ("a\nb\n", (), {}, "is there already; --replace overwrites it"),
        ("a\n", ("--replace",), {}, "the secret is empty"),
        ("a\nb\n", (), {"mode": '"paper"', "key_file": None, "secret_file": None}, "[account.main] key_file is not set"),
    ],
)  # fmt: skip
def test_keys_of_an_exchange_that_cannot_be_written_leave_the_old_ones(tmp_path, typed, more, changes, said):
    done = asked(tmp_path, typed, *more, **changes)
    assert (done.exit_code, said in done.output) == (1, True), done.output
    assert ((tmp_path / "KEY").read_text(), (tmp_path / "SECRET").read_text()) == (KEY, SECRET)


def test_replace_puts_new_keys_in_the_place_of_the_old_ones(tmp_path):
    assert asked(tmp_path, "a\nb\n", "--replace").exit_code == 0
    assert ((tmp_path / "KEY").read_text(), (tmp_path / "SECRET").read_text()) == ("a\n", "b\n")


def test_an_account_has_a_capital_of_its_own_or_the_ledgers_and_a_live_one_its_wallets(tmp_path):
    top = 'accounts = ["main", "second"]'
    found = capital_of(settings(tmp_path, top=top, capital='"700"', more="[ledger]\ncapital = 5000"))
    assert (found.of("main"), found.of("second"), found.unsaid) == (700, 5000, frozenset())
    found = capital_of(settings(tmp_path, top=top, more="[ledger]\ncapital = 5000"))
    assert (found.of("main"), found.of("second"), found.unsaid) == (0, 5000, {"main"})
