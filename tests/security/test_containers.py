"""The containers of docker-compose.yml: what each may do, reach and read. Read from the file, service by service."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.contracts.streams import CLI, DEMO, HOOKS, SERVICES
from holdfast.runtime.keys import OWN_FOLDER

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
EVERY = pytest.mark.parametrize("name", sorted(CONTAINERS))
OF_HOLDFAST = (*SERVICES, DEMO)
OBSERVERS = {"prometheus": "65534:65534", "grafana": "472:0"}
"""Only with the profile `observe`; each as the user of its own image."""


def mounts(name: str) -> dict[str, tuple[str, str]]:
    """Place in the container -> (volume, mode)."""
    found = {}
    for text in CONTAINERS[name].get("volumes", []):
        volume, place, *mode = text.split(":")
        found[place] = (volume, mode[0] if mode else "rw")
    return found


def test_these_are_all_containers():
    assert set(CONTAINERS) == {*OF_HOLDFAST, *OBSERVERS, "redis", "secrets"}
    assert {name for name in CONTAINERS if CONTAINERS[name].get("profiles")} == set(OBSERVERS)


@EVERY
def test_no_container_runs_as_root_or_can_become_more_than_it_is(name):
    container = CONTAINERS[name]
    assert container["user"] == OBSERVERS.get(name, "10001:10001")
    assert container["cap_drop"] == ["ALL"]
    assert "cap_add" not in container
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "devices", "pid", "ipc", "userns_mode"} & set(container)


@EVERY
def test_every_container_is_read_only_and_bounded(name):
    container = CONTAINERS[name]
    assert container["read_only"] is True
    assert container["pids_limit"] <= 200
    assert re.fullmatch(r"\d+g|\$\{HOLDFAST_BUS_MEM_LIMIT:-\d+g\}", container["mem_limit"])
    assert container["logging"]["options"]["max-size"] == "10m"


def test_only_pages_are_published_and_on_loopback_alone():
    ports = {name: container["ports"] for name, container in CONTAINERS.items() if "ports" in container}
    assert ports == {"dashboard": ["127.0.0.1:8480:8480"], "grafana": ["127.0.0.1:3000:3000"]}
    assert not any("expose" in container for container in CONTAINERS.values())


def test_the_bus_can_be_reached_from_inside_alone():
    assert COMPOSE["networks"]["bus"] == {"internal": True}
    outside = {name for name in CONTAINERS if "outside" in CONTAINERS[name].get("networks", [])}
    assert outside == {"market_feed", "alerts"}, (
        "prices come from there, calls go there; nobody else has a way out"
    )
    assert CONTAINERS["redis"]["networks"] == ["bus"]
    assert CONTAINERS["secrets"]["network_mode"] == "none"


def test_the_bus_knows_only_its_users():
    command = CONTAINERS["redis"]["command"]
    assert command[command.index("--aclfile") + 1] == "/secrets/bus/users.acl"
    assert command[command.index("--protected-mode") + 1] == "yes"
    for name in OF_HOLDFAST:
        environment = CONTAINERS[name]["environment"]
        assert environment["HOLDFAST_BUS_ACL"] == "true"
        assert environment["HOLDFAST_BUS_REQUIRE_SIGNED"] == "true"


@pytest.mark.parametrize("name", OF_HOLDFAST)
def test_each_service_sees_its_own_secrets_and_no_others(name):
    places = {place for place in mounts(name) if place.startswith("/secrets")}
    also = {"/secrets/cli"} if name == "ledger" else set()  # commands run beside the ledger
    assert places == {f"/secrets/{name}"} | also
    assert {mounts(name)[place][1] for place in places} == {"ro"}


def test_the_first_step_can_write_every_folder_of_secrets_and_only_it():
    folders = {f"/secrets/{name}" for name in (*OWN_FOLDER, "bus", "others")}
    assert folders <= set(mounts("secrets"))
    assert set(OWN_FOLDER) == {*OF_HOLDFAST, HOOKS, CLI}, (
        "hooks has no container, because its hooks are in a file of the host's"
    )
    made = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert [folder for folder in folders if folder.lstrip("/") not in made] == [], (
        "a volume takes its owner from the image's folder"
    )


def test_everybody_waits_for_the_secrets():
    for name in (*OF_HOLDFAST, "redis"):
        assert CONTAINERS[name]["depends_on"]["secrets"] == {"condition": "service_completed_successfully"}


@EVERY
def test_no_secret_stands_in_the_file(name):
    stated = {**CONTAINERS[name].get("environment", {})}
    assert [key for key in stated if re.search("PASSWORD|SECRET|TOKEN", key)] == []
    assert not re.search(r"://[^/\s]*:[^/\s]*@", str(CONTAINERS[name]))


@EVERY
def test_the_docker_socket_and_the_hosts_files_stay_outside(name):
    """Observers read their own configuration, which is in this repository, and nothing else."""
    outside = [text for text in CONTAINERS[name].get("volumes", []) if text.startswith(("/", ".", "~"))]
    ours = [text for text in outside if text.startswith((f"./observe/{name}/", f"./observe/{name}:"))]
    assert all(text.endswith(":ro") for text in ours)
    assert [text for text in outside if text not in ours] == []
    assert not ours or name in OBSERVERS


def test_the_container_of_hooks_is_as_bounded_and_reads_its_own_secrets_and_the_hosts_file_alone():
    file = yaml.safe_load((ROOT / "docker-compose.hooks.yml").read_text(encoding="utf-8"))
    assert set(file["services"]) == {HOOKS, "secrets"}
    hooks, model = file["services"][HOOKS], CONTAINERS["alerts"]
    same = (
        "user",
        "read_only",
        "cap_drop",
        "security_opt",
        "init",
        "restart",
        "mem_limit",
        "pids_limit",
        "logging",
        "image",
    )
    assert {key: hooks[key] for key in same} == {key: model[key] for key in same}
    assert hooks["ports"] == ["127.0.0.1:8490:8490"]
    assert (hooks["networks"], hooks["depends_on"]) == (["bus", "page"], model["depends_on"])
    ours = "${HOLDFAST_TOML:-./holdfast.toml}:/app/holdfast.toml:ro"
    assert hooks["volumes"] == [ours, "hooks-secrets:/secrets/hooks:ro"]
    assert file["services"]["secrets"] == {"volumes": [ours]}
    for key in ("HOLDFAST_BUS_ACL", "HOLDFAST_BUS_REQUIRE_SIGNED", "HOLDFAST_BUS_KEYS", "HOLDFAST_REDIS_URL"):
        assert hooks["environment"][key] == model["environment"][key]
