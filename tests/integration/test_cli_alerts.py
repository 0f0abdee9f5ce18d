"""`alerts`: the service beside the others, and the commands of somebody who was called."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from holdfast.contracts.streams import ALERT, DEAD_LETTER, FILL
from holdfast.runtime.alert_settings import AlertSettings
from services.alerts.app import build as build_alerts
from tests.integration._cli import settings_of

pytestmark = pytest.mark.redis


@pytest.fixture
def calling(desk) -> Iterator[None]:
    """The alerts service beside the others, quick to call and to forgive."""
    desk.redis.delete(ALERT.name)
    quick = AlertSettings(yellow_after_s=0, red_after_s=0, calm_s=0.5)
    one = build_alerts(settings_of(desk.directory, desk.url).model_copy(update={"alerts": quick}))
    thread = threading.Thread(target=lambda: asyncio.run(one.serve()), daemon=True)
    thread.start()
    desk.wait(lambda: any(row["service"] == "alerts" and row["alive"] for row in desk.rows("status")))
    yield
    one.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_an_alert_is_listed_acknowledged_and_recovers(desk, calling):
    desk.redis.xadd(FILL.name, {"body": '{"id": "f-alert", "quantity": "many"}'})
    desk.wait(lambda: any(row["event"] == "dead_letter" for row in desk.rows("alerts", "list")))
    key = next(row["key"] for row in desk.rows("alerts", "list") if row["event"] == "dead_letter")
    assert desk.ok("alerts", "ack", key) == f"acknowledged {key}\n"
    (row,) = [row for row in desk.rows("alerts", "list") if row["key"] == key]
    assert (row["state"], row["by"][:4]) == ("acknowledged", "cli:")
    states = [row["state"] for row in desk.rows("alerts", "list", "--all") if row["key"] == key]
    assert states == ["acknowledged", "raised"]
    desk.redis.delete(DEAD_LETTER.name)


def test_an_alert_that_is_not_open_cannot_be_acknowledged(desk, calling):
    result = desk.run("alerts", "ack", "drawdown")
    assert (result.exit_code, "no open alert drawdown" in result.stderr) == (1, True)
