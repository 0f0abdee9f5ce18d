"""A webhook on loopback that keeps what it is sent: calls in tests are really made."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_) -> None:
        """The test's own output is enough."""


class Server(ThreadingHTTPServer):
    """`got`: the bodies that came; `answer`: the status it answers with."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.got: list[dict] = []
        self.answer = 200

    @property
    def url(self) -> str:
        """Its address, as Apprise writes it."""
        return f"json://127.0.0.1:{self.server_port}/hook"


@contextmanager
def webhook() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
