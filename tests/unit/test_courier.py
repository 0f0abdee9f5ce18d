"""Calls are really made: to an HTTP server that the test runs, through Apprise."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holdfast.notify.courier import Apprise
from holdfast.runtime.faults import EXIT_CONFIG, Terminal


class Hook(BaseHTTPRequestHandler):
    """A webhook that keeps what it is sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_) -> None:
        """The test's own output is enough."""


@pytest.fixture
def hook():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.answer = [], 200
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url_of(server, path: str = "hook") -> str:
    return f"json://127.0.0.1:{server.server_port}/{path}"


async def test_a_text_arrives(hook):
    assert await Apprise([url_of(hook)], "alerts.urls").deliver("a title", "a text", critical=True) == []
    assert [(got["title"], got["message"], got["type"]) for got in hook.got] == [
        ("a title", "a text", "failure")
    ]


async def test_one_address_that_fails_holds_nobody_up_and_is_named_without_its_secret(hook):
    dead = "json://ann:s3cret@127.0.0.1:9/token-s3cret?key=s3cret"
    failures = await Apprise([dead, url_of(hook)], "alerts.urls").deliver("t", "b", critical=False)
    assert len(hook.got) == 1
    assert len(failures) == 1
    assert "127.0.0.1:9" in failures[0]
    assert "ann:s3cret" not in failures[0]
    assert "key=s3cret" not in failures[0]


async def test_a_refusal_is_a_failure(hook):
    hook.answer = 500
    (failure,) = await Apprise([url_of(hook)], "alerts.urls").deliver("t", "b", critical=False)
    assert "500" in failure


@pytest.mark.parametrize("url", ["nonsense", "no-such-service://x", ""])
def test_an_address_that_is_none_is_refused_before_anything_starts(url):
    with pytest.raises(Terminal, match=r"alerts\.urls\[0\] is no address") as refused:
        Apprise([url], "alerts.urls")
    assert refused.value.code == EXIT_CONFIG


async def test_no_handler_stays_behind(hook):
    before = list(logging.getLogger("apprise").handlers)
    await Apprise([url_of(hook)], "alerts.urls").deliver("t", "b", critical=False)
    assert logging.getLogger("apprise").handlers == before
