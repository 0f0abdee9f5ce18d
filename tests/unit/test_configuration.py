"""Configuration: sources in order, provenance, and a clear complaint for every mistake."""

from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.thresholds import Bound
from holdfast.runtime.configuration import (
    ConfigurationError,
    explain,
    keys,
    load,
    redact,
    variable_of,
    variables,
)
from holdfast.runtime.learner_settings import learning_rules
from holdfast.runtime.settings import Settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "holdfast.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def complaint(**sources) -> str:
    with pytest.raises(ConfigurationError) as error:
        load(**{"env": {}, **sources})
    return str(error.value)


def sources(**given) -> dict[str, str]:
    return {key: source for key, _, source in explain(**{"env": {}, **given}) if source != "default"}


def test_nothing_given_is_the_defaults():
    assert load(env={}) == Settings()
    assert sources() == {}


def test_a_later_source_goes_over_an_earlier_one():
    write("[bus]\nbatch = 1\n")
    assert load(env={}).bus.batch == 1
    write("HOLDFAST_BUS_BATCH=2\n", ".env")
    assert load(env={}).bus.batch == 2
    env = {"HOLDFAST_BUS_BATCH": "3"}
    assert load(env=env).bus.batch == 3
    assert load(env=env, overrides={"bus.batch": 4, "feed.spec": None}).bus.batch == 4


def test_each_value_names_where_it_comes_from():
    write("dry_run = true\n\n[bus]\nbatch = 1\nblock_ms = 50\n")
    write("# comment\nexport HOLDFAST_BUS_BLOCK_MS='60'\n", ".env")
    assert sources(env={"HOLDFAST_DIR": "/x"}, overrides={"feed.spec": "synthetic"}) == {
        "dry_run": "holdfast.toml, line 1",
        "bus.batch": "holdfast.toml, line 4",
        "bus.block_ms": ".env, line 2: HOLDFAST_BUS_BLOCK_MS",
        "dir": "environment: HOLDFAST_DIR",
        "feed.spec": "command line",
    }


def test_the_file_is_named_by_argument_then_by_variable_then_found_here():
    write("[bus]\nbatch = 1\n")
    write("[bus]\nbatch = 2\n", "two.toml")
    write("[bus]\nbatch = 3\n", "three.toml")
    assert load(env={}).bus.batch == 1
    assert load(env={"HOLDFAST_CONFIG": "two.toml"}).bus.batch == 2
    assert load(config=Path("three.toml"), env={"HOLDFAST_CONFIG": "two.toml"}).bus.batch == 3
    assert "four.toml: cannot be read" in complaint(config=Path("four.toml"))


def test_aliases_and_lists():
    env = {
        "HOLDFAST_REDIS_URL": "redis://h/0",
        "HOLDFAST_STATE_DIR": "s",
        "QT_ALLOW_HEDGING": "1",
        "HOLDFAST_ACCOUNTS": "a, b,",
    }
    found = load(env=env)
    assert (found.bus.url, found.state.directory, found.hedging.allow, found.accounts) == (
        "redis://h/0",
        "s",
        True,
        ["a", "b"],
    )


def test_an_alias_that_disagrees_with_its_setting_is_refused():
    assert "different values" in complaint(
        env={"HOLDFAST_REDIS_URL": "redis://a", "HOLDFAST_BUS_URL": "redis://b"}
    )
    assert (
        load(env={"HOLDFAST_REDIS_URL": "redis://a", "HOLDFAST_BUS_URL": "redis://a"}).bus.url == "redis://a"
    )


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_dry_run_wins_over_everything(where):
    write("dry_run = false\n")
    if where == ".env":
        write("DRY_RUN=1\n", ".env")
    env = {"HOLDFAST_DRY_RUN": "0"} | ({"DRY_RUN": "1"} if where == "environment" else {})
    assert load(env=env, overrides={"dry_run": False}).dry_run is True


def test_dry_run_switched_off_is_an_ordinary_value():
    assert load(env={"DRY_RUN": "0"}).dry_run is False
    assert load(env={"DRY_RUN": "0", "HOLDFAST_DRY_RUN": "1"}).dry_run is True


def test_an_empty_variable_is_not_set():
    assert load(env={"HOLDFAST_BUS_PORT": "", "HOLDFAST_FEED_SPEC": "", "DRY_RUN": ""}) == Settings()


def test_unknown_keys_name_line_and_suggestion():
    write("[exits]\n# the stop\nstop_los_pct = 3\n")
    assert (
        complaint()
        == "holdfast.toml: unknown key stop_los_pct in [exits], line 3; did you mean stop_loss_pct?"
    )


def test_unknown_section_and_misplaced_key_and_scalar_for_section():
    write('retry_after_s = 1\n[exitz]\na = 1\n[[bus]]\nx = "1"\n')
    text = complaint()
    assert "unknown key retry_after_s, line 1; it belongs into [scanner]" in text
    assert "unknown section [exitz], line 2; did you mean exits?" in text
    assert "bus, line 4: this is a section" in text


def test_unknown_variables_are_refused_with_a_suggestion_and_others_ignored():
    assert (
        complaint(env={"HOLDFAST_BUS_PROT": "1"})
        == "environment: HOLDFAST_BUS_PROT: no such setting; did you mean HOLDFAST_BUS_PORT?"
    )
    write("COMPOSE_PROJECT_NAME=x\nHOLDFAST_DEMO=1\nHOLDFAST_EXITS_STOP_LOSS=3\n", ".env")
    assert (
        complaint()
        == ".env, line 3: HOLDFAST_EXITS_STOP_LOSS: no such setting; did you mean HOLDFAST_EXITS_STOP_LOSS_PCT?"
    )


def test_a_wrong_type_names_place_value_and_expectation():
    write("[bus]\nport = 'soon'\n")
    text = complaint(env={"HOLDFAST_EXITS_MAX_HOLD_S": "-1"})
    assert "holdfast.toml, line 2: bus.port = 'soon': input should be a valid integer" in text
    assert (
        "environment: HOLDFAST_EXITS_MAX_HOLD_S: exits.max_hold_s = '-1': must be greater than zero, or input should be 'off'"
        in text
    )
    assert "in market seconds" in text


def test_overrides_must_be_settings():
    assert "no such setting: bus.prot" in complaint(overrides={"bus.prot": 1})


def test_numbers_with_a_point_lose_no_digits_in_the_file():
    write("[paper]\nfee_pct = 0.123456789012345678901234567890\n[scanner]\nretry_after_s = 0.5\n")
    found = load(env={})
    assert found.paper.fee_pct == Decimal("0.123456789012345678901234567890")
    assert found.scanner.retry_after_s == 0.5


@pytest.mark.parametrize("value", ["nan", "inf", "-1.0"])
def test_amounts_that_are_none_are_refused(value):
    write(f"[paper]\nfee_pct = {value}\n")
    assert "paper.fee_pct" in complaint()


def test_instruments_are_tables_of_the_file():
    write('[instruments."BTC/USDT"]\nkind = "linear"\nprice_step = 0.1\n')
    assert load(env={}).instruments["BTC/USDT"].price_step == Decimal("0.1")
    write('[instruments."BTC/USDT"]\nkint = "linear"\n')
    assert "holdfast.toml, line 2: instruments (BTC/USDT.kint)" in complaint()


def test_an_address_with_a_password_is_refused_in_the_file_and_hidden_elsewhere():
    write('[bus]\nurl = "redis://:secret@host:1/0"\n')
    text = complaint()
    assert (
        "put it into a file of its own, named by HOLDFAST_BUS_URL_FILE, or into the environment, as HOLDFAST_BUS_URL"
        in text
    )
    assert "secret" not in text
    write("")
    env = {"HOLDFAST_REDIS_URL": "redis://me:secret@host:1/0"}
    assert load(env=env).bus.url == env["HOLDFAST_REDIS_URL"]
    assert {key: value for key, value, _ in explain(env=env)}["bus.url"] == "redis://me:***@host:1/0"


def test_passwords_do_not_appear_in_complaints():
    assert "secret" not in complaint(env={"HOLDFAST_BUS_PORT": "redis://:secret@h"})


def test_a_file_that_is_no_toml_or_no_text_is_said():
    write("[bus\n")
    assert "holdfast.toml: not TOML" in complaint()
    Path("holdfast.toml").write_bytes(b"\xff\xfe")
    assert "holdfast.toml: cannot be read" in complaint()


def test_an_unreadable_dotenv_is_an_error_never_empty():
    Path(".env").mkdir()
    assert ".env: cannot be read" in complaint()
    Path(".env").rmdir()
    Path(".env").write_bytes(b"A=\xff\n")
    assert ".env: cannot be read" in complaint()
    write("A=1\nthis is 'no assignment\n", ".env")
    assert ".env, line 2: not NAME=VALUE" in complaint()


def test_every_setting_has_one_variable_and_a_description():
    own = [variable_of(key) for key in keys()]
    assert len(set(own)) == len(own)
    assert set(own) - set(variables()) == {
        "HOLDFAST_INSTRUMENTS", "HOLDFAST_PRODUCERS", "HOLDFAST_EXITS_ROI", "HOLDFAST_EXITS_SYMBOLS", "HOLDFAST_ACCOUNT", "HOLDFAST_HOOKS",
    }  # fmt: skip
    assert [key for key, field in keys().items() if not field.description and key != "instruments"] == []


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(sorted(variables())),
        st.text(max_size=8).filter(lambda text: "\0" not in text),
        max_size=3,
    )
)
def test_whatever_stands_in_the_environment_there_are_settings_or_a_complaint(env):
    with suppress(ConfigurationError):
        assert isinstance(load(env=env), Settings)


@settings(max_examples=60)
@given(
    st.text(max_size=30),
    st.text(
        alphabet=st.characters(
            blacklist_characters="@ \t\n\r\x0b\x0c", blacklist_categories=("Zs", "Cc", "Zl", "Zp")
        ),
        min_size=1,
        max_size=20,
    ),
)
def test_no_password_of_an_address_survives_redaction(before, password):
    assert redact(f"{before} redis://user:{password}@host:1/0").endswith("redis://user:***@host:1/0")


def test_bounds_of_what_is_learned_are_lists_and_a_wrong_one_names_line_and_key():
    write('[learner]\nmode = "off"\n[learner.bounds]\ntake_profit_pct = ["1", "30", "0.5"]\n')
    given = load(env={"HOLDFAST_LEARNER_BOUNDS_STOP_LOSS_PCT": "1,5,0.25"})
    assert (given.learner.mode, given.learner.bounds.take_profit_pct) == ("off", [1, 30, Decimal("0.5")])
    assert learning_rules(given.learner).bounds["stop_loss_pct"] == Bound(
        Decimal(1), Decimal(5), Decimal("0.25")
    )

    for wrong, told in (
        ('stop_loss_pct = ["5", "1", "1"]', ": low must be greater than zero, and not greater than high. Lowest, highest"),
        ('stop_loss_pct = ["1", "5", "0"]', "line 2: learner.bounds.stop_loss_pct"),
        ('stop_loss_pct = ["1", "100", "1"]', "high is at most 99"),
        ('ai_hold_confidence = ["0.5", "1.5", "0.1"]', "high is at most 1"),
        ('stop_loss_pct = ["1", "5"]', "line 2: learner.bounds.stop_loss_pct"),
        ('stop_loss = ["1", "5", "1"]', "unknown key stop_loss in [learner.bounds], line 2; did you mean stop_loss_pct?"),
    ):  # fmt: skip
        write(f"[learner.bounds]\n{wrong}\n")
        assert told in complaint()
