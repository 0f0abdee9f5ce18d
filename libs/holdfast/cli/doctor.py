"""`doctor`: everything a support person would ask, answered at once: versions, clock, disk, store, bus, locks, services, keys.

A check never repairs and never waits long. Each says ok, warning or failure, what it found, and what to do about it.
Exit code 0 when nothing has failed (warnings are allowed), 1 otherwise.
"""

import os
import platform
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from holdfast import __version__
from holdfast.cli.common import FAILED, Config, Dir, settings_of
from holdfast.cli.show import Column, Json, console, print_json, table

if TYPE_CHECKING:
    from holdfast.bus.client import Client
    from holdfast.runtime.settings import Settings

OK, WARNING, FAILURE = "ok", "warning", "failure"
_SIGNS = {OK: "✓", WARNING: "!", FAILURE: "✗"}
_COLUMNS = (
    Column("", "status", _SIGNS.__getitem__), Column("check", "check"), Column("found", "found"), Column("what to do", "advice"),
)  # fmt: skip
SAFE_SQLITE = (3, 51, 3)
"""Older versions have the WAL-reset fault; one connection, as the ledger has, keeps clear of it."""
FREE_MB, FREE_SHARE = 500, 0.05
SKEW_MS = 1_000
OLDEST_BUS = (7, 0)


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    status: str
    found: str
    advice: str = ""


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Versions, clock, disk, store, bus, locks, services, keys: what a support person would ask. Exit code 1 when a check fails."""
    settings = settings_of(directory, config)
    findings = [
        *_here(settings),
        *_store(settings),
        *_locks(settings),
        *_on_the_bus(settings),
        *_accounts(settings),
    ]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        console().print(table([asdict(finding) for finding in findings], _COLUMNS))
    if any(finding.status == FAILURE for finding in findings):
        raise typer.Exit(FAILED)


# -- this machine -----------------------------------------------------------------------------------------------------------


def _here(settings: "Settings") -> Iterator[Finding]:
    yield Finding("holdfast", OK, f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    sqlite = sqlite3.sqlite_version_info
    yield Finding(
        "SQLite", OK if sqlite >= SAFE_SQLITE else WARNING, sqlite3.sqlite_version,
        "" if sqlite >= SAFE_SQLITE else "fine as long as only the ledger opens its store; 3.51.3 is safe for others too",
    )  # fmt: skip
    yield _disk(settings.dir)
    yield _writable("data directory", settings.dir)
    yield _writable("state directory", settings.state_directory())
    yield _environment_file(Path(".env"))


def _nearest(path: Path) -> Path:
    """*path*, or the closest folder above it that is there."""
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path


def _disk(path: Path) -> Finding:
    usage = shutil.disk_usage(_nearest(path))
    free_mb, share = usage.free // 1_000_000, usage.free / usage.total
    low = free_mb < FREE_MB or share < FREE_SHARE
    found = f"{free_mb:,} MB free of {usage.total // 1_000_000:,} ({share:.0%})"
    return Finding(
        "disk", WARNING if low else OK, found, "make room: a full disk stops entries" if low else ""
    )


def _writable(check: str, path: Path) -> Finding:
    place = _nearest(path)
    if os.access(place, os.W_OK):
        there = "" if place == path.resolve() else " (will be made)"
        return Finding(check, OK, f"{path.resolve()}{there}")
    return Finding(
        check, FAILURE, f"{place} cannot be written", "give this user the right to write there, or set --dir"
    )


def _environment_file(path: Path) -> Finding:
    if not path.exists():
        return Finding(".env", OK, "none; defaults and the environment count")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        return Finding(
            ".env", WARNING, f"readable by others (mode {mode:o})", "chmod 600 .env, if it holds secrets"
        )
    return Finding(".env", OK, f"mode {mode:o}")


# -- the store --------------------------------------------------------------------------------------------------------------


def _store(settings: "Settings") -> Iterator[Finding]:
    from holdfast.runtime.clock import SystemClock
    from holdfast.store.reading import StoreMissing, open_reader
    from holdfast.store.verify import verify

    clock = SystemClock()
    started = clock.monotonic_ms()
    try:
        with open_reader(settings.ledger.url, settings.dir) as store:
            checks = verify(store)
    except StoreMissing as error:
        yield Finding("store", OK, f"none yet: {error}")
        return
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it is the finding
        yield Finding("store", FAILURE, f"{type(error).__name__}: {error}", "docs/troubleshooting.md")
        return
    failed = [check for check in checks if not check.passed]
    found = f"{len(checks)} checks in {(clock.monotonic_ms() - started) / 1000:.1f} s"
    if failed:
        found += ": " + ", ".join(f"{check.check} fails" for check in failed)
    yield Finding(
        "store", FAILURE if failed else OK, found, "`holdfast ledger verify` says more" if failed else ""
    )


def _locks(settings: "Settings") -> Iterator[Finding]:
    """Locks die with their process, so a held one has a living holder; what is said is who."""
    from holdfast.runtime.locks import holder_of

    held = []
    for path in sorted(settings.dir.rglob("*.lock")):
        found = holder_of(path)
        if found is not None:
            held.append(f"{path.relative_to(settings.dir)}: {found.holder or 'a process without a name'}")
    yield Finding("locks", OK, "; ".join(held) or "none held")


# -- the bus ----------------------------------------------------------------------------------------------------------------


def _on_the_bus(settings: "Settings") -> list[Finding]:
    from holdfast.bus.client import Unreachable, reach
    from holdfast.cli.asking import in_loop

    async def run() -> list[Finding]:
        findings: list[Finding] = []
        async with reach(settings) as client:
            for check in (_server, _persistence, _clock, _services):
                findings += await _safely(check, client)
        return findings

    try:
        return in_loop(run())
    except Unreachable as error:
        return [Finding("bus", FAILURE, str(error), "start everything: `holdfast up`")]


async def _safely(check: "Callable[[Client], Awaitable[list[Finding]]]", client: "Client") -> list[Finding]:
    """The findings of *check*; that it could not be made is one, too."""
    from holdfast.bus.client import refused

    try:
        return await check(client)
    except Exception as error:
        if not refused(error):
            raise
        return [
            Finding(
                check.__name__.strip("_"),
                WARNING,
                f"cannot be asked: {error}",
                "this user may not; ask as admin",
            )
        ]


async def _server(client: "Client") -> list[Finding]:
    info: dict[str, Any] = await client.redis.info("server")
    name, version = (
        ("Valkey", info["valkey_version"])
        if "valkey_version" in info
        else ("Redis", str(info["redis_version"]))
    )
    numbers = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    old = numbers < OLDEST_BUS
    return [
        Finding(
            "bus", FAILURE if old else OK, f"{name} {version}", "Redis 7.0 or newer is needed" if old else ""
        )
    ]


async def _persistence(client: "Client") -> list[Finding]:
    """Losing the bus costs time and wishes that nobody had read; evicting streams would lose work silently."""
    findings = []
    for key, good, advice in (
        ("appendonly", "yes", "without it a restart of the bus loses wishes that nobody has read"),
        ("appendfsync", "always", "a power cut may lose the last second of wishes"),
    ):
        value = str((await client.redis.config_get(key)).get(key, "?"))
        findings.append(
            Finding(f"bus {key}", OK if value == good else WARNING, value, "" if value == good else advice)
        )
    policy = str((await client.redis.config_get("maxmemory-policy")).get("maxmemory-policy", "?"))
    fine = policy == "noeviction"
    findings.append(
        Finding("bus eviction", OK if fine else FAILURE, policy, "" if fine else "set maxmemory-policy noeviction: others throw streams away")
    )  # fmt: skip
    memory: dict[str, Any] = await client.redis.info("memory")
    limit, used = int(memory.get("maxmemory", 0)), int(memory["used_memory"])
    full = 100 * used / limit if limit else 0.0
    high = limit > 0 and full >= client.settings.bus.full_pct
    found = (
        f"{used // 1_000_000} of {limit // 1_000_000} MB ({full:.0f} %)"
        if limit
        else f"{used // 1_000_000} MB, no limit"
    )
    findings.append(
        Finding(
            "bus memory", WARNING if high else OK, found, "entries are refused; exits pass" if high else ""
        )
    )
    return findings


async def _clock(client: "Client") -> list[Finding]:
    """Expiry is judged by wall time, so the bus, whose ids are times, and we should agree."""
    before = client.clock.wall_ms()
    seconds, micros = await client.redis.time()
    skew_ms = round(abs((before + client.clock.wall_ms()) / 2 - seconds * 1000 - micros / 1000))
    off = skew_ms > SKEW_MS
    return [
        Finding(
            "clock",
            WARNING if off else OK,
            f"{skew_ms} ms from the bus",
            "set the clocks (NTP)" if off else "",
        )
    ]


async def _services(client: "Client") -> list[Finding]:
    from holdfast.cli.looking import limits_of, look

    seen = await look(client)
    limits = limits_of(client.settings)
    light = seen.light(limits)
    findings = [
        Finding(
            "light", {0: OK, 1: WARNING}.get(light.exit_code, FAILURE), f"{light.symbol} {light.sentence}"
        )
    ]
    for row in seen.service_rows(limits):
        if row["beat_age_ms"] is None:
            findings.append(Finding(row["service"], FAILURE, "never heard", "is it running?"))
            continue
        trouble = row["unreadable"] or "; ".join(row["warnings"]) or ("" if row["alive"] else "silent")
        found = f"version {row['version']}, {row['restarts']} restarts, {row['pending']} pending, {row['dead_letters']} dead letters"
        other = "" if row["version"] == __version__ else f"this is {__version__}: restart it"
        status = FAILURE if not row["alive"] else WARNING if trouble or other else OK
        findings.append(Finding(row["service"], status, found, trouble or other))
    return findings


# -- accounts ---------------------------------------------------------------------------------------------------------------


def _accounts(settings: "Settings") -> Iterator[Finding]:
    """Whether each account trades real money, and what the exchange says of a live one's key and clock. Nothing is changed there."""
    from holdfast.cli.asking import in_loop
    from holdfast.runtime.faults import Terminal
    from holdfast.runtime.live_settings import live_accounts, meant_live

    meant, live = meant_live(settings), live_accounts(settings)
    for name in settings.accounts:
        check = f"account {name}"
        if name not in meant:
            yield Finding(check, OK, "paper, no keys")
            continue
        state = "LIVE" if name in live else "live, but HOLDFAST_LIVE is not yes: it trades nothing"
        try:
            found = in_loop(_key(settings, name))
        except Terminal as error:
            yield Finding(check, FAILURE, f"{state}; {error}", "see docs/live.md")
        else:
            yield (
                found
                if found.status == FAILURE
                else Finding(check, found.status, f"{state}; {found.found}", found.advice)
            )


async def _key(settings: "Settings", name: str) -> Finding:
    """What the exchange says of an account's key. Raises Terminal where its settings or its files are wrong."""
    from holdfast.runtime.clock import SystemClock
    from holdfast.venues.live import connect
    from holdfast.venues.port import VenueUnreadable

    check, exchange = f"account {name}", settings.account[name].exchange
    try:
        venue = await connect(settings, name, SystemClock())
        try:
            withdraws = await venue.can_withdraw()
        finally:
            await venue.close()
    except VenueUnreadable as error:
        return Finding(check, FAILURE, f"{exchange} cannot be read: {error}", "is it reachable from here?")
    if withdraws:
        return Finding(
            check, FAILURE, f"its key at {exchange} may withdraw", "make one that may only read and trade"
        )
    if withdraws is None:
        return Finding(
            check,
            WARNING,
            f"{exchange} does not say what its key may do",
            "look there that it may not withdraw",
        )
    return Finding(check, OK, f"its key at {exchange} may not withdraw; clocks agree")
