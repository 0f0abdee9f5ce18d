"""A canary is planted wherever a secret may stand, and looked for wherever it must not be."""

import io
import json
import logging
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.contracts.streams import SERVICES
from holdfast.runtime.bus_address import complete
from holdfast.runtime.configuration import ConfigurationError, explain, load
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.logging import configure
from holdfast.runtime.secret_files import write_secret
from holdfast.runtime.settings import LogSettings, Settings
from holdfast.runtime.supervisor import service_programs
from services.ledger.app import build as build_ledger

CANARY = "canary-7d1f-do-not-show"
GONE = "redis://bus-user:{}@127.0.0.1:1/0".format


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder of its own, and no settings of this machine's."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def secret(tmp_path) -> Path:
    path = tmp_path / "run" / "secrets" / "password"
    write_secret(path, CANARY)
    return path


def run(*words: str, **env: str) -> str:
    """Everything that a command says, exceptions included."""
    result = CliRunner().invoke(app, list(words), env=env)
    return f"{result.output}{result.stderr}{result.exception!r}"


# -- where secrets come from ----------------------------------------------------------------------------------------


def test_a_setting_can_be_given_as_a_file(secret, tmp_path):
    settings = load(env={"HOLDFAST_BUS_PASSWORD_FILE": str(secret), "HOLDFAST_BUS_USER": "me"})
    assert settings.bus.password.get_secret_value() == CANARY
    assert complete("redis://h:1/0", settings, "ledger") == f"redis://me:{CANARY}@h:1/0"
    write_secret(tmp_path / "url", f"postgresql://u:{CANARY}@h/db")
    assert load(env={"HOLDFAST_LEDGER_URL_FILE": str(tmp_path / "url")}).ledger.url.startswith(
        "postgresql://u:"
    )
    write_secret(tmp_path / "bus", GONE(CANARY))
    assert load(env={"HOLDFAST_REDIS_URL_FILE": str(tmp_path / "bus")}).bus.url == GONE(CANARY)


def test_where_a_value_comes_from_names_its_variable_and_not_the_value(secret):
    rows = {
        key: (value, source)
        for key, value, source in explain(env={"HOLDFAST_BUS_PASSWORD_FILE": str(secret)})
    }
    value, source = rows["bus.password"]
    assert source == "environment: HOLDFAST_BUS_PASSWORD_FILE"
    assert CANARY not in f"{value}{value!r}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused_by_name_and_mode(secret, mode):
    secret.chmod(mode)
    with pytest.raises(ConfigurationError) as error:
        load(env={"HOLDFAST_BUS_PASSWORD_FILE": str(secret)})
    assert "HOLDFAST_BUS_PASSWORD_FILE" in str(error.value)
    assert f"{secret} has mode {mode:04o}" in str(error.value)
    assert CANARY not in str(error.value)


def test_a_file_that_is_not_there_is_no_empty_password(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(env={"HOLDFAST_BUS_PASSWORD_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(
    "line", [f'password = "{CANARY}"', f'url = "{GONE(CANARY)}"', f'url = "rediss://h/0?password={CANARY}"']
)
def test_no_secret_may_stand_in_the_configuration_file(line):
    Path("holdfast.toml").write_text(f"[bus]\n{line}\n")
    with pytest.raises(ConfigurationError, match="does not belong into this file") as error:
        load(env={})
    assert CANARY not in str(error.value)


def test_a_service_without_its_password_says_whose_is_missing(tmp_path):
    settings = Settings.model_validate(
        {"dir": tmp_path, "bus": {"url": "redis://127.0.0.1:1/0", "acl": True}}
    )
    with pytest.raises(Terminal, match=r"ledger has no password it may use: .*ledger/bus.password") as error:
        complete(settings.bus.url, settings, "ledger")
    assert error.value.code == EXIT_CONFIG


# -- where they must not be -----------------------------------------------------------------------------------------

ENVIRONMENTS = {
    "in an address": {"HOLDFAST_REDIS_URL": GONE(CANARY), "HOLDFAST_LEDGER_URL": f"postgresql://u:{CANARY}@127.0.0.1:1/db"},
    "as a password": {"HOLDFAST_REDIS_URL": "redis://127.0.0.1:1/0", "HOLDFAST_BUS_PASSWORD": CANARY, "HOLDFAST_BUS_USER": "u"},
    "in a query": {"HOLDFAST_REDIS_URL": f"redis://127.0.0.1:1/0?password={CANARY}", "HOLDFAST_LEDGER_URL": f"postgresql://h/db?password={CANARY}"},
    "in a wrong address": {"HOLDFAST_REDIS_URL": f"nonsense://u:{CANARY}@h/0"},
    "in a wrong setting": {"HOLDFAST_BUS_BATCH": f"redis://u:{CANARY}@h/0"},
    "in an unknown setting": {"HOLDFAST_BUS_PASWORD": CANARY},
}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "config",
        "config --json",
        "status",
        "check",
        "positions",
        "intent buy BTC/USDT 1 --wait 0.2",
        "acl",
        "health ledger",
        "ledger verify",
    ],
)
@pytest.mark.parametrize("how", ENVIRONMENTS)
def test_no_command_shows_a_secret(command, how, tmp_path):
    said = run(*command.split(), "--dir", str(tmp_path / "var"), **ENVIRONMENTS[how])
    assert len(said) > 10
    assert CANARY not in said


@pytest.mark.parametrize("how", ["in an address", "as a password", "in a query"])
def test_no_log_of_a_service_shows_a_secret(how, tmp_path, monkeypatch):
    """Through the real logging, of a ledger that waits for its bus, gives up, and says why."""
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    bus = {name: value for name, value in ENVIRONMENTS[how].items() if name != "HOLDFAST_LEDGER_URL"}
    settings = load(env={**bus, "HOLDFAST_DIR": str(tmp_path), "HOLDFAST_BUS_STORE_PATIENCE_S": "1"})
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure("ledger", LogSettings(format="json", level="debug"))
    try:
        assert build_ledger(settings).run() != 0
        logging.getLogger("redis").error("AUTH u %s failed", CANARY, extra={"url": GONE(CANARY)})
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    assert any(line["level"] == "critical" for line in lines)
    assert CANARY not in said.getvalue()


def test_no_secret_is_in_what_settings_print_or_dump(secret):
    settings = load(env={"HOLDFAST_BUS_PASSWORD_FILE": str(secret)})
    assert CANARY not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_password_from_a_file_goes_into_no_childs_environment(secret, tmp_path, monkeypatch):
    write_secret(tmp_path / "url", GONE(CANARY))
    monkeypatch.setenv("HOLDFAST_REDIS_URL_FILE", str(tmp_path / "url"))
    settings = load()
    for program in service_programs(settings, SERVICES, settings.bus.url):
        assert CANARY not in str(program)
        assert program.env["HOLDFAST_REDIS_URL_FILE"] == str(tmp_path / "url")
