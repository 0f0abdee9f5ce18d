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


LIVE, SIMULATED = services_of("docker-compose.live.yml"), services_of("examples/live/venue-sim.yml")
TOOLS = {"reconcile"}
NEW = pytest.mark.parametrize(
    "container", [LIVE["reconcile"], SIMULATED["venue-sim"]], ids=["reconcile", "venue-sim"]
)


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
    assert [text for text in container.get("volumes", []) if not text.endswith(":ro")] == []


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
    assert tomllib.loads(path.read_text())["account"]["main"]["key_file"].startswith("/secrets/executor/")
    assert live_accounts(load(config=path, env={})) == {}, "without HOLDFAST_LIVE nothing is live"
