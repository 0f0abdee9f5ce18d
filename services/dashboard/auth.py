"""Who may do what: logins, the checks before every request, the headers of every answer.

Reading is open only to this very machine: the peer is loopback, it asked for a loopback name, and no proxy says that it
speaks for somebody else. Everything else needs a login. A write needs the role `operate` and proof that it was this page
that sent it: the Origin of the address bar, and the CSRF token that only this page can read. A program that sends its token
as `Authorization: Bearer` proves itself by that, because no browser adds such a header by itself.

Names under which the page may be called are a list, so that a stranger's name that resolves to this machine (DNS
rebinding) finds nobody.
"""

import asyncio
import ipaddress
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.runtime.clock import Clock
from holdfast.runtime.front_door import OPERATE, Tokens, fingerprint, random_text, same
from holdfast.runtime.settings import DashboardSettings

log = logging.getLogger("holdfast.dashboard")

COOKIE = "holdfast_session"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_BODY = 65_536
MOST_SESSIONS = 200
FAILURES_PER_ADDRESS, FAILURES_IN_ALL, WINDOW_MS = 5, 30, 60_000
"""Wrong tokens allowed in one minute."""
BEARER_KEPT_MS = 300_000
FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
OPEN_PATHS = ("/login", "/static/", "/health")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "same-origin", "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks. `role` None: nobody that we know."""

    role: str | None
    name: str
    csrf: str = ""
    is_local: bool = False
    by_cookie: bool = False

    @property
    def may_read(self) -> bool:
        return self.role is not None or self.is_local

    @property
    def may_operate(self) -> bool:
        return self.role == OPERATE


@dataclass(slots=True)
class Session:
    role: str
    name: str
    csrf: str
    token: str
    """Fingerprint of the hash of the token that opened it."""
    ends_ms: int


class Throttled(Exception):  # noqa: N818 - reads as what is the case
    """Too many wrong tokens; try again in a minute."""


class Throttle:
    """Counts failures in a window, by address and in all. Bounded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: deque[tuple[int, str]] = deque(maxlen=1000)

    def check(self, address: str) -> None:
        """Raises Throttled."""
        now = self._clock.monotonic_ms()
        while self._failures and now - self._failures[0][0] > WINDOW_MS:
            self._failures.popleft()
        mine = sum(1 for _, other in self._failures if other == address)
        if mine >= FAILURES_PER_ADDRESS or len(self._failures) >= FAILURES_IN_ALL:
            raise Throttled

    def failed(self, address: str) -> None:
        self._failures.append((self._clock.monotonic_ms(), address))


class Door:
    """Tokens become logins here; requests become people."""

    def __init__(
        self,
        tokens: Tokens,
        settings: DashboardSettings,
        clock: Clock,
        random: Callable[[], str] = random_text,
    ) -> None:
        self.tokens, self._settings, self._clock, self._random = tokens, settings, clock, random
        self._sessions: dict[str, Session] = {}
        self._bearers: dict[str, tuple[str, str, int]] = {}
        self.throttle = Throttle(clock)
        self._hashing = asyncio.Semaphore(1)
        self.hosts = LOOPBACK_NAMES | {name.lower() for name in settings.hosts}
        self.scheme = "https" if settings.behind_tls else "http"

    async def log_in(self, token: str, name: str, address: str) -> tuple[str, Session] | None:
        """A fresh session's name and the session; None for a wrong token. Raises Throttled."""
        role = await self._role_of(token, address)
        if role is None:
            return None
        key = self._random()
        ends = self._clock.wall_ms() + int(self._settings.session_h * 3_600_000)
        session = Session(role, name, self._random(), fingerprint(self.tokens.hashes()[role]), ends)
        while len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[key] = session
        return key, session

    def log_out(self, key: str) -> None:
        self._sessions.pop(key, None)

    async def _role_of(self, token: str, address: str) -> str | None:
        async with self._hashing:  # one at a time: a hash costs 64 MB
            self.throttle.check(address)
            role = await asyncio.to_thread(self.tokens.role_of, token)
            if role is None:
                self.throttle.failed(address)
                log.warning("a wrong token from %s", address)
            return role

    def session(self, key: str) -> Session | None:
        """The session of that name, if it has not ended and its token still counts."""
        session = self._sessions.get(key)
        if session is None:
            return None
        hashed = self.tokens.hashes().get(session.role, "")
        if session.ends_ms <= self._clock.wall_ms() or fingerprint(hashed) != session.token:
            del self._sessions[key]
            return None
        return session

    async def who(self, headers: Headers, address: str, cookies: Mapping[str, str]) -> Who:
        """Who sent a request with these *headers*. Raises Throttled."""
        local = is_loopback(address) and host_of(headers) in LOOPBACK_NAMES
        local = local and not any(name in headers for name in FORWARDING)
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            role = await self._bearer(token.strip(), address)
            return Who(role, f"api:{role}" if role else "", is_local=False)
        session = self.session(cookies.get(COOKIE, ""))
        if session is None:
            return Who(None, "", is_local=local)
        name = f"dashboard:{session.role}" + (f":{session.name}" if session.name else "")
        return Who(session.role, name, session.csrf, local, by_cookie=True)

    async def _bearer(self, token: str, address: str) -> str | None:
        """As `_role_of`, remembered for a while: a hash at every request would be a way to keep us busy."""
        now, key = self._clock.monotonic_ms(), blake2b(token.encode(), digest_size=16).hexdigest()
        known = self._bearers.get(key)
        if known is not None and now < known[2]:
            role = known[0]
            if fingerprint(self.tokens.hashes().get(role, "")) == known[1]:
                return role
        found = await self._role_of(token, address)
        if found is not None:
            if len(self._bearers) >= MOST_SESSIONS:
                self._bearers.clear()
            self._bearers[key] = (found, fingerprint(self.tokens.hashes()[found]), now + BEARER_KEPT_MS)
        return found

    def forged(self, headers: Headers, who: Who, path: str) -> str | None:
        """Why a write was not sent by our own page, or by somebody who holds a token; None when it was."""
        if not who.by_cookie and "authorization" in headers and who.role is not None:
            return None
        if headers.get("origin") != f"{self.scheme}://{headers.get('host', '')}":
            return "the Origin is not this page"
        if path == "/login":
            return None
        if not who.csrf or not same(headers.get("x-csrf-token", ""), who.csrf):
            return "the CSRF token is missing or wrong; load the page again" if who.role else None
        return None


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def host_of(headers: Headers) -> str:
    """The name in the Host header, without port; empty for one that is malformed."""
    host = headers.get("host", "").lower()
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        return name if bracket and (not rest or (rest[0] == ":" and rest[1:].isdigit())) else ""
    name, _, port = host.partition(":")
    return name if not port or port.isdigit() else ""


@dataclass(slots=True)
class _Reply:
    """Wraps `send`: adds the headers, and notes that an answer has begun."""

    send: Send
    path: str
    started: bool = field(default=False)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if "cache-control" not in headers:
                headers["cache-control"] = "no-cache" if self.path.startswith("/static/") else "no-store"
        await self.send(message)


class Guard:
    """Stands before every request: name, person, forgery, size. See the module."""

    def __init__(self, app: ASGIApp, door: Door, *, open_metrics: bool) -> None:
        self._app, self._door, self._open_metrics = app, door, open_metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers, path = Headers(scope=scope), str(scope["path"])
        reply = _Reply(send, path)
        refusal = await self._refusal(scope, headers, path)
        if refusal is not None:
            await refusal(scope, receive, reply)
            return
        await self._app(scope, _limited(receive), reply)

    async def _refusal(self, scope: Scope, headers: Headers, path: str) -> Response | None:
        """The answer that ends it here; None when it may go on. Puts who asks into the scope."""
        if host_of(headers) not in self._door.hosts:
            return _problem(421, "this name is not on the list of names for this page (dashboard.hosts)")
        address = (scope.get("client") or ("", 0))[0]
        try:
            who = await self._door.who(headers, address, cookies_of(headers))
        except Throttled:
            return _too_many()
        scope.setdefault("state", {})["who"] = who
        if int(headers.get("content-length", "0") or "0") > MAX_BODY:
            return _problem(413, f"at most {MAX_BODY} bytes are read")
        is_open = path.startswith(OPEN_PATHS) or (path == "/metrics" and self._open_metrics)
        if scope["method"] in {"GET", "HEAD"}:
            if is_open or who.may_read:
                return None
            wants_page = "text/html" in headers.get("accept", "")
            return RedirectResponse("/login", 303) if wants_page else _problem(401, "log in, or send a token")
        if (why := self._door.forged(headers, who, path)) is not None:
            log.warning("a write to %s from %s was refused: %s", path, address, why)
            return _problem(403, why)
        if path != "/login" and not who.may_operate and path != "/logout":
            text = "this needs the role operate" if who.role else "log in with the operate token first"
            return _problem(403 if who.role else 401, text)
        return None


def _limited(receive: Receive) -> Receive:
    """*receive* that ends a body which is longer than it said, or than anybody needs."""
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        return {"type": "http.disconnect"} if read > MAX_BODY else message

    return limited


def cookies_of(headers: Headers) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs if name}


def _problem(status: int, text: str) -> Response:
    return JSONResponse({"detail": text}, status)


def _too_many() -> Response:
    return JSONResponse(
        {"detail": "too many wrong tokens; try again in a minute"}, 429, {"retry-after": "60"}
    )


def who_of(scope: Mapping[str, Any]) -> Who:
    who = scope["state"]["who"]
    assert isinstance(who, Who)
    return who
