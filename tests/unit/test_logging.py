"""Logs: one shape for our lines and those of libraries, and no password in any of them."""

import json
import logging

import pytest
import structlog

from holdfast.runtime.logging import configure, logger
from holdfast.runtime.settings import LogSettings


@pytest.fixture
def written(capsys):
    """What was written so far; logging of the test session is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_our_lines_and_those_of_libraries_look_the_same(written):
    configure("ledger", LogSettings(level="info"))
    logger().info("committed", seq=7)
    logging.getLogger("some.library").warning("slow: %s ms", 3, extra={"shard": 1})
    logger().debug("not shown")
    ours, theirs = lines(written())
    assert (ours["event"], ours["seq"], ours["service"], ours["level"]) == ("committed", 7, "ledger", "info")
    assert (theirs["event"], theirs["shard"], theirs["service"], theirs["level"]) == (
        "slow: 3 ms",
        1,
        "ledger",
        "warning",
    )
    assert ours["timestamp"]


def test_no_password_of_an_address_is_written_anywhere(written):
    configure("ledger", LogSettings())
    url = "redis://me:canary@host:1/0"
    logger().info(f"connecting to {url}", url=url, nested={"list": [url, (url,)]}, error=ValueError(url))
    logging.getLogger("library").error("cannot reach %s", url)
    try:
        raise ConnectionError(url)
    except ConnectionError:
        logger().exception("failed")
    text = written()
    assert "canary" not in text
    assert text.count("redis://me:***@host:1/0") >= 6


def test_the_console_has_the_line_in_plain_words(written):
    configure("executor", LogSettings(format="console"))
    logger().warning("late", seconds=3)
    text = written()
    assert "late" in text
    assert "seconds=3" in text
    assert "\x1b" not in text


def test_chatty_libraries_are_heard_from_warnings_on(written):
    configure("ledger", LogSettings(level="info"))
    logging.getLogger("faststream.access.redis").setLevel("INFO")
    logging.getLogger("faststream.access.redis").info("subscriber started")
    logging.getLogger("faststream").warning("lost")
    assert [line["event"] for line in lines(written())] == ["lost"]
