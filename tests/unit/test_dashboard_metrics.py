"""/metrics is the catalogue, the page, the board and the alert rules name nothing else; what is packed is what was vendored."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from holdfast.contracts.metrics import METRICS, page
from services.dashboard.events import Hub
from services.dashboard.metrics import exposition
from services.dashboard.web import static_files
from tests.unit._dashboard import Hand
from tests.unit._state import position, update
from tests.unit.test_dashboard_screen import order

ROOT = Path(__file__).resolve().parents[2]
NAMES = {metric.name for metric in METRICS}


async def families():
    hand = await Hand().well(position())
    await hand.update(update(11, orders=[order(state="filled", filled=1, changed_at=1_700_000_000_250)]))
    text = exposition(hand.watcher, Hub(hand.screen, hand.clock, 100, 3)).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


async def test_the_catalogue_is_closed():
    found = await families()

    assert set(found) == NAMES
    assert {name: found[name].type for name in NAMES} == {metric.name: metric.kind for metric in METRICS}


async def test_values_are_what_the_screen_says():
    found = await families()

    assert found["holdfast_light"].samples[0].value == 0
    assert found["holdfast_positions_armed"].samples[0].value == 1
    assert {sample.labels["service"]: sample.value for sample in found["holdfast_service_up"].samples}[
        "ledger"
    ] == 1
    buckets = {sample.labels["le"]: sample.value for sample in found["holdfast_order_duration_seconds"].samples if sample.labels.get("role") == "entry" and "le" in sample.labels}  # fmt: skip
    assert (buckets["0.1"], buckets["0.25"], buckets["+Inf"]) == (0, 1, 1)


async def test_before_anything_is_known_it_is_red_and_no_nav_is_made_up():
    hand = Hand()
    text = exposition(hand.watcher, Hub(hand.screen, hand.clock, 100, 3)).decode()

    assert "holdfast_light 2.0" in text
    assert "\nholdfast_nav 0" not in text


def test_the_page_is_the_catalogue():
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def names_in(text: str) -> set[str]:
    return {
        re.sub(r"_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\bholdfast_[a-z_]+\b", text)
    }


@pytest.mark.parametrize("name", ["observe/prometheus/alerts.yml", "observe/grafana/boards/holdfast.json"])
def test_rules_and_board_ask_only_for_what_there_is(name):
    text = (ROOT / name).read_text(encoding="utf-8")

    assert names_in(text)
    assert names_in(text) <= NAMES


def test_the_observing_files_are_well_formed():
    rules = yaml.safe_load((ROOT / "observe/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    config = yaml.safe_load((ROOT / "observe/prometheus/prometheus.yml").read_text())
    board = json.loads((ROOT / "observe/grafana/boards/holdfast.json").read_text())
    source = yaml.safe_load((ROOT / "observe/grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ][0]

    assert all({"alert", "expr", "for", "labels", "annotations"} == set(rule) for rule in rules)
    assert all(rule["expr"].count("(") == rule["expr"].count(")") for rule in rules)
    assert config["rule_files"] == ["alerts.yml"]
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}


def test_what_is_vendored_is_what_was_published():
    for folder in ("services/dashboard/static/vendor", "tests/browser/vendor"):
        sums = (ROOT / folder / "SHA256SUMS").read_text().splitlines()[1:]
        named = {line.split()[1]: line.split()[0] for line in sums}
        files = {path.name for path in (ROOT / folder).iterdir()} - {"SHA256SUMS"}
        assert set(named) == files
        for name, expected in named.items():
            assert hashlib.sha256((ROOT / folder / name).read_bytes()).hexdigest() == expected


def test_everything_that_a_page_asks_for_is_packed_and_comes_from_here():
    asked = set()
    for path in (ROOT / "services/dashboard/templates").iterdir():
        text = path.read_text(encoding="utf-8")
        asked |= set(re.findall(r'(?:src|href)="/static/([^"{]+)"', text))
        assert not re.search(r'(src|href)="(https?:)?//', text)
    assert asked <= set(static_files())
    assert {"favicon-good.svg", "favicon-warn.svg", "favicon-bad.svg"} <= set(static_files())
