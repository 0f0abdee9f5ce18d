"""The API keeps to its OpenAPI description, whatever is sent (Schemathesis); and what a few answers say."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.unit._dashboard import PAGE, Front, Hand
from tests.unit._state import BTC, position

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Front:
    return Front(tmp_path_factory.mktemp("front"), asyncio.run(Hand().well(position())))


@contextmanager
def local(front: Front) -> Iterator[Any]:
    """The application as Schemathesis calls it: from this machine, under its own name, without `/events`, which never ends."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {**scope, "client": ("127.0.0.1", 1), "headers": [*headers, (b"host", b"127.0.0.1:8480")]}
        await front.app(scope, receive, send)

    yield app


@pytest.mark.timeout(120)
def test_the_api_keeps_its_description_whatever_is_sent(front):
    bearer = {"authorization": f"Bearer {front.made['operate']}"}
    with local(front) as app:
        schema = schemathesis.openapi.from_asgi("/api/openapi.json", app).exclude(path="/events")
        tried = 0
        for result in schema.get_all_operations():
            operation = result.ok()

            @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def call(case: Any) -> None:
                nonlocal tried
                tried += 1
                case.call_and_validate(headers=bearer, checks=CHECKS)

            call()

    assert tried >= 12 * 10


async def test_the_description_names_every_read_and_every_write(front):
    document = (await front.client().get("/api/openapi.json")).json()

    writes = {path for path, item in document["paths"].items() if "post" in item}
    assert writes == {
        f"/api/{name}"
        for name in ("control", "close", "flatten", "cancel", "exits", "quarantine", "alerts/ack", "requeue")
    }
    assert {"/health", "/metrics", "/events", "/api/positions", "/api/timeline/{position_id}"} <= set(
        document["paths"]
    )


async def test_amounts_are_texts_of_plain_digits(front):
    (row,) = (await front.client().get("/api/positions")).json()

    assert (row["symbol"], row["qty"], row["entry_price"], row["armed"]) == (BTC, "2", "100", True)


async def test_health_says_why_it_does_not_get_on(tmp_path):
    front = Front(tmp_path)

    reply = await front.client().get("/health")

    assert reply.status_code == 503
    assert "heartbeat" in reply.json()["status"]


async def test_a_position_that_nobody_knows_is_not_found(front):
    assert (await front.client().get("/position/p-nobody")).status_code == 404
    assert (await front.client().get("/api/timeline/p-nobody")).json() == []


async def test_the_page_is_whole_without_a_script(front):
    text = (await front.client(base=PAGE).get("/")).text

    for words in ("1/1 positions armed", BTC, "Holdfast watches it", "PAPER", 'href="/position/p1"'):
        assert words in text
