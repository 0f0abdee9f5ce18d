"""What `docker-compose.live.yml` and the rehearsal at a simulated exchange add to the containers: as little as trading needs."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.contracts.streams import DEMO, SERVICES
from holdfast.runtime.configuration import load
from holdfast.runtime.live_settings import live_accounts
from services.market_feed.spec import CcxtSpec, parse

ROOT = Path(__file__).resolve().parents[2]


def services_of(name: str) -> dict[str, dict[str, Any]]:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["services"]


BASE, LIVE = services_of("docker-compose.yml"), services_of("docker-compose.live.yml")
SIMULATED, APART = services_of("examples/live/venue-sim.yml"), services_of("examples/live/apart.yml")
APART_SIMULATED = services_of("examples/live/apart-sim.yml")
OURS = "executor-second"
TOOLS = {"reconcile"}
NEW = pytest.mark.parametrize(
    "container",
    [LIVE["reconcile"], SIMULATED["venue-sim"], APART_SIMULATED["venue-sim-second"], APART["reconcile-second"], APART[OURS]],
    ids=["reconcile", "venue-sim", "venue-sim-second", "reconcile-second", OURS],
)  # fmt: skip


def mounts(container: dict[str, Any]) -> dict[str, str]:
    """Place in the container -> what is there, and how: `volume:ro`, `volume`."""
    parts = (text.replace(":-", "=").split(":") for text in container["volumes"])
    return {place: ":".join([volume, *mode]) for volume, place, *mode in parts}


def test_every_service_reads_the_same_file_and_it_cannot_be_written():
    assert set(LIVE) == {*SERVICES, "secrets", DEMO} | TOOLS
    for name in set(LIVE) - {DEMO}:
        assert "${HOLDFAST_TOML:-./holdfast.toml}:/app/holdfast.toml:ro" in LIVE[name]["volumes"]
    assert LIVE[DEMO] == {"scale": 0}


def test_the_second_switch_stays_in_the_hand_of_whoever_starts_it():
    for name in set(LIVE) - {DEMO}:
        assert LIVE[name]["environment"]["HOLDFAST_LIVE"] == "${HOLDFAST_LIVE:-no}"


def test_of_the_services_the_executor_alone_gets_a_way_out():
    added = {name for name, one in LIVE.items() if "outside" in one.get("networks", [])}
    assert added == {"executor"} | TOOLS
    assert all(LIVE[name]["profiles"] == ["tools"] for name in TOOLS)


@NEW
def test_what_is_new_is_as_bounded_as_the_others(container):
    assert container["user"] == "10001:10001"
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["pids_limit"] <= 200
    assert "ports" not in container
    writable = [text for text in container.get("volumes", []) if not text.endswith(":ro")]
    assert writable == (["executor-second:/data"] if container is APART[OURS] else [])


def test_the_simulated_exchange_is_in_a_network_that_leads_nowhere():
    file = yaml.safe_load((ROOT / "examples/live/venue-sim.yml").read_text(encoding="utf-8"))
    assert file["networks"] == {"exchange": {"internal": True}}
    assert SIMULATED["venue-sim"]["networks"] == ["exchange"]


def test_the_rehearsal_is_a_live_configuration_that_goes_to_the_simulated_exchange_alone():
    path = ROOT / "examples/live/holdfast.toml"
    settings = load(config=path, env={"HOLDFAST_LIVE": "yes"})
    account = live_accounts(settings)["main"]
    feed = parse(settings.feed.spec)
    assert isinstance(feed, CcxtSpec)
    assert {account.url, feed.url} == {"http://venue-sim:8490"}
    assert tomllib.loads(path.read_text())["account"]["main"]["key_file"].startswith("/secrets/exchange/")
    assert live_accounts(load(config=path, env={})) == {}, "without HOLDFAST_LIVE nothing is live"


# -- an account that is apart -------------------------------------------------------------------------------------------------


def test_the_executor_of_an_account_that_is_apart_is_bounded_started_and_asked_like_the_other():
    bounds = (
        "image", "user", "command", "init", "read_only", "tmpfs", "cap_drop", "security_opt", "pids_limit", "mem_limit", "logging",
        "restart", "stop_grace_period", "env_file", "depends_on", "healthcheck",
    )  # fmt: skip
    assert {key: APART[OURS][key] for key in bounds} == {key: BASE["executor"][key] for key in bounds}
    assert APART[OURS]["networks"] == LIVE["executor"]["networks"]
    theirs = BASE["executor"]["environment"] | LIVE["executor"]["environment"]
    assert APART[OURS]["environment"] == theirs | {"HOLDFAST_EXECUTOR_ACCOUNT": "second"}


def test_it_knows_its_own_exchange_keys_alone_and_nobody_else_knows_them():
    theirs = mounts(BASE["executor"]) | mounts(LIVE["executor"])
    assert theirs["/secrets/exchange"] == "exchange-secrets:ro"
    assert mounts(APART[OURS]) == theirs | {
        "/data": "executor-second",
        "/secrets/exchange": "exchange-second:ro",
    }
    every = [*BASE.values(), *LIVE.values(), *SIMULATED.values(), *APART.values(), *APART_SIMULATED.values()]
    having = [one for one in every if "exchange-second" in str(one.get("volumes"))]
    assert having == [APART[OURS], APART["keys-second"], APART["reconcile-second"]]
    keys = APART["keys-second"]
    assert (keys["network_mode"], keys["profiles"], keys["command"][-1]) == ("none", ["tools"], "second")
    assert set(mounts(keys)) == {"/app/holdfast.toml", "/secrets/exchange"}


def test_what_the_bus_needs_lies_elsewhere_than_the_keys_of_an_exchange():
    """Or whoever shares the one would read the other."""
    places = {place for one in (LIVE["executor"], APART[OURS]) for place in mounts(one)}
    assert "/secrets/exchange" in places
    path = ROOT / "examples/live/apart.toml"
    sections = tomllib.loads(path.read_text())["account"]
    files = [one[key] for one in sections.values() for key in ("key_file", "secret_file")]
    assert all(file.startswith("/secrets/exchange/") for file in files)
    assert "secrets/exchange" in (ROOT / "Dockerfile").read_text(), (
        "a volume takes its owner from the image's folder"
    )


def test_every_service_is_given_the_same_accounts_apart_and_each_account_has_one_executor_and_one_comparison():
    """`apart` stands in the one file that all of them read; what serves an account that is apart says so."""
    path = ROOT / "examples/live/apart.toml"
    settings = load(config=path, env={"HOLDFAST_LIVE": "yes"})
    assert settings.executor.apart == ["second"]
    for one in (*(LIVE[name] for name in SERVICES), APART[OURS]):
        assert mounts(one)["/app/holdfast.toml"] == "${HOLDFAST_TOML=./holdfast.toml}:ro"
        assert not any("APART" in key for key in one["environment"])
    given = [
        load(config=path, env={"HOLDFAST_LIVE": "yes", **one}) for one in ({}, {"HOLDFAST_EXECUTOR_ACCOUNT": "second"})
    ]  # fmt: skip
    assert [one.served() for one in given] == [["main"], ["second"]]
    compared = [APART[name]["command"][2:] for name in ("reconcile", "reconcile-second")]
    assert compared == [["--account", "main"], ["--account", "second"]]


def test_its_rehearsal_goes_to_simulated_exchanges_alone():
    settings = load(config=ROOT / "examples/live/apart.toml", env={"HOLDFAST_LIVE": "yes"})
    urls = {name: account.url for name, account in live_accounts(settings).items()}
    assert urls == {"main": "http://venue-sim:8490", "second": "http://venue-sim-second:8490"}
    assert APART_SIMULATED["venue-sim-second"] == SIMULATED["venue-sim"]
    networks = [APART_SIMULATED[name]["networks"] for name in (OURS, "reconcile-second")]
    assert networks == [["bus", "exchange"]] * 2
