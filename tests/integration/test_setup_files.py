"""The files of the setup agree with the code and with each other."""

import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from holdfast.bus.health_file import HealthFile
from holdfast.cli.licences import rows
from holdfast.cli.settings_cli import example_text
from holdfast.contracts.messages import Heartbeat
from holdfast.contracts.streams import DEMO, SERVICES
from holdfast.runtime.configuration import ELSEWHERE, keys, load, variable_of, variables
from holdfast.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^ ;\\]+)", re.MULTILINE)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    return {
        match["name"].lower().replace("_", "-"): match["version"] for match in PINNED.finditer(text_of(name))
    }


def test_env_example_is_what_the_code_says():
    assert text_of(".env.example") == example_text(), "run `make docs`"


def test_env_example_names_every_setting_and_its_default(tmp_path):
    stated = dict(
        line.removeprefix("# ").partition("=")[::2]
        for line in text_of(".env.example").splitlines()
        if re.match(r"# HOLDFAST_\w+=", line)
    )
    assert set(stated) == {variable_of(key) for key in keys() if variable_of(key) in variables()} | {
        "HOLDFAST_DEMO",
        "HOLDFAST_BUS_MEM_LIMIT",
    }
    (tmp_path / ".env").write_text("\n".join(f"{name}='{value}'" for name, value in stated.items()))
    assert load(env={}, dotenv=tmp_path / ".env") == Settings()


def test_env_example_as_it_stands_changes_nothing():
    assert load(env={}, dotenv=ROOT / ".env.example") == Settings()


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("requirements*.lock")))
def test_locks_are_hashed_and_name_no_host(name):
    text = text_of(name)
    assert "://" not in text
    assert "--index-url" not in text
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert blocks
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_locks_hold_what_the_project_asks_for_and_agree():
    project = tomllib.loads(text_of("pyproject.toml"))
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")

    def named(requirement: str) -> str:
        return re.split(r"[\[<>=;~! ]", requirement)[0].lower().replace("_", "-")

    wanted = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["services"]
    assert {named(one) for one in wanted} <= set(runtime)
    assert {named(one) for one in project["dependency-groups"]["dev"] if isinstance(one, str)} <= set(dev)
    assert {
        name: (version, dev[name])
        for name, version in runtime.items()
        if name in dev and dev[name] != version
    } == {}
    assert set(runtime) <= set(dev)


def test_make_explains_every_target():
    made = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    phony = re.search(r"^\.PHONY: (.*)$", text_of("Makefile"), re.MULTILINE)
    assert phony
    assert {line.split()[1] for line in made.splitlines()} == set(phony[1].split())


def test_continuous_integration_calls_the_test_command():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    assert path.read_text().rstrip().endswith("exec make test")


def test_the_image_is_small_in_rights_and_names_no_host():
    text = text_of("Dockerfile")
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:3.13-slim"}
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert "--require-hashes" in text
    assert "://" not in text


HEALTH = "/tmp/health"


def verdict(path: Path) -> int:
    """What the containers' health check says of the file at *path*: 0 is healthy."""
    kind, script = yaml.safe_load(text_of("docker-compose.yml"))["services"]["ledger"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    script = script.replace("$$", "$").replace(HEALTH, str(path))
    return subprocess.run(["sh", "-c", script], check=False, capture_output=True).returncode


def beat(at_s: float, waited_ms: int) -> Heartbeat:
    return Heartbeat(
        id="b", at=int(at_s * 1000), service="ledger", instance="0", incarnation="i", started_at=1, oldest_pending_ms=waited_ms
    )  # fmt: skip


@pytest.mark.parametrize(
    ("age_s", "waited_ms", "healthy"), [(0, 0, True), (8, 60_000, True), (12, 0, False), (0, 60_001, False)]
)
def test_a_container_is_healthy_while_the_bus_takes_its_heartbeats_and_nothing_waits_long(
    tmp_path, age_s, waited_ms, healthy
):
    HealthFile(str(tmp_path / "health")).note(beat(time.time() - age_s, waited_ms))
    assert (verdict(tmp_path / "health") == 0) is healthy


def test_a_container_without_a_heartbeat_is_not_healthy(tmp_path):
    assert verdict(tmp_path / "missing") != 0
    (tmp_path / "empty").write_text("")
    assert verdict(tmp_path / "empty") != 0


def test_a_health_file_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    health_file = HealthFile(str(tmp_path / "file" / "health"))
    for _ in range(3):
        health_file.note(beat(1, 0))
    assert [record.getMessage()[:11] for record in caplog.records] == ["health_file"]
    HealthFile("").note(beat(1, 0))


def test_compose_runs_every_service_with_a_health_check_and_ports_on_loopback_only():
    text = text_of("docker-compose.yml")
    services = yaml.safe_load(text)["services"]
    for service in (*SERVICES, DEMO):
        assert services[service]["command"] == ["holdfast", "run", service]
        assert services[service]["healthcheck"] == services["ledger"]["healthcheck"]
        assert services[service]["environment"]["HOLDFAST_HEALTH_FILE"] == HEALTH
    assert set(re.findall(r"^ +ports: (.*)$", text, re.MULTILINE)) == {
        '["127.0.0.1:8480:8480"]',
        '["127.0.0.1:3000:3000"]',
    }
    assert not re.search(r"^name:", text, re.MULTILINE), "Compose 1.29 refuses a name at the top"
    assert set(re.findall(r"^ +image: (\S+)", text, re.MULTILINE)) == {
        "redis:8",
        "holdfast:local",
        "prom/prometheus:v3.5.0",
        "grafana/grafana:12.1.0",
    }
    for needed in (
        'user: "10001:10001"',
        "read_only: true",
        "cap_drop: [ALL]",
        "no-new-privileges:true",
        "restart: always",
        "init: true",
        "stop_grace_period",
    ):
        assert needed in text
    assert re.findall(r"[a-z]+://", text) == ["redis://"]


def test_compose_keeps_the_bus_durable_and_never_evicting():
    text = " ".join(text_of("docker-compose.yml").split())
    for needed in (
        '--appendonly, "yes"',
        "--appendfsync, always",
        '--no-appendfsync-on-rewrite, "no"',
        '--save, ""',
        "--maxmemory-policy, noeviction",
    ):
        assert needed in text


def test_compose_sets_only_variables_that_exist():
    named = set(re.findall(r"HOLDFAST_[A-Z_]+", text_of("docker-compose.yml")))
    assert named <= set(variables()) | ELSEWHERE


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_compose_is_readable_by_the_old_version():
    subprocess.run(["docker-compose", "config", "-q"], cwd=ROOT, check=True, capture_output=True)


def test_the_image_gets_only_what_it_needs():
    allowed = {
        line.removeprefix("!") for line in text_of(".dockerignore").splitlines() if line.startswith("!")
    }
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", text_of("Dockerfile"), re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert copied == allowed


def test_every_licence_of_what_is_installed_is_listed_and_lets_us():
    """The page is what the packages say; one that is not installed on this machine keeps the line it had."""
    lock, listed = text_of("requirements-exchange.lock"), text_of("docs/licences.md")
    lines = {
        line.split(" | ")[0].removeprefix("| "): line for line in listed.splitlines() if line.startswith("| ")
    }
    wanted = rows(lock)
    assert set(lines) - {"package"} == set(wanted), "run `make docs`"
    assert {name: row for name, row in wanted.items() if " | - | " not in row and lines[name] != row} == {}, (
        "run `make docs`"
    )
    unknown = [
        name for name, line in lines.items() if name != "package" and not LET_US.search(line.split(" | ")[2])
    ]
    assert [name for name in unknown if " | - | " not in lines[name]] == []


LET_US = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Python-2.0|MPL-2.0|Mozilla Public License 2.0|Unlicense|0BSD",
    re.IGNORECASE,
)
"""Licences that oblige nobody who runs or changes Holdfast to anything but to keep their notice (MPL: per file)."""


def test_the_licence_is_whole():
    assert "Apache License" in text_of("LICENSE")
    assert "END OF TERMS AND CONDITIONS" in text_of("LICENSE")
