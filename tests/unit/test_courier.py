"""Calls are really made: to an HTTP server that the test runs, through Apprise."""

import logging

import pytest

from holdfast.notify.courier import Apprise
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from tests.unit._hook import webhook


@pytest.fixture
def hook():
    with webhook() as server:
        yield server


async def test_a_text_arrives(hook):
    assert await Apprise([hook.url], "alerts.urls").deliver("a title", "a text", critical=True) == []
    assert [(got["title"], got["message"], got["type"]) for got in hook.got] == [
        ("a title", "a text", "failure")
    ]


async def test_one_address_that_fails_holds_nobody_up_and_is_named_without_its_secret(hook):
    dead = "json://ann:s3cret@127.0.0.1:9/token-s3cret?key=s3cret"
    failures = await Apprise([dead, hook.url], "alerts.urls").deliver("t", "b", critical=False)
    assert len(hook.got) == 1
    assert len(failures) == 1
    assert "127.0.0.1:9" in failures[0]
    assert "ann:s3cret" not in failures[0]
    assert "key=s3cret" not in failures[0]


async def test_a_refusal_is_a_failure(hook):
    hook.answer = 500
    (failure,) = await Apprise([hook.url], "alerts.urls").deliver("t", "b", critical=False)
    assert "500" in failure


@pytest.mark.parametrize("url", ["nonsense", "no-such-service://x", ""])
def test_an_address_that_is_none_is_refused_before_anything_starts(url):
    with pytest.raises(Terminal, match=r"alerts\.urls\[0\] is no address") as refused:
        Apprise([url], "alerts.urls")
    assert refused.value.code == EXIT_CONFIG


async def test_no_handler_stays_behind(hook):
    before = list(logging.getLogger("apprise").handlers)
    await Apprise([hook.url], "alerts.urls").deliver("t", "b", critical=False)
    assert logging.getLogger("apprise").handlers == before
