"""`up`, `run`, `restart`: the pipeline as supervised processes on this machine, one service in the foreground, one restarted."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast import __version__
from holdfast.cli.common import FAILED, Config, Dir, fail, overrides_of, settings_of
from holdfast.contracts.streams import CLI, DEMO, HOOKS, OPTIONAL, SERVICES
from holdfast.runtime.configuration import ALIASES, redact, variable_of
from holdfast.runtime.faults import EXIT_HELD, EXIT_UNAVAILABLE, Terminal
from holdfast.runtime.live_settings import check_switch, live_accounts, mode_of
from holdfast.runtime.settings import Settings

MARKER = "holdfast.dir"
"""A file of this name says: this directory holds Holdfast's data and nothing else."""
LOCK = "up.lock"
_COLOURS = (36, 32, 33, 35, 34, 96, 92)
_RESTART_S = 30.0

Service = Annotated[str, typer.Argument(help=f"{', '.join((*SERVICES, *OPTIONAL))}.")]


def register(app: typer.Typer) -> None:
    app.command("up")(up)
    app.command("run")(run)
    app.command("restart")(restart)


def up(
    feed: Annotated[
        str | None,
        typer.Option(
            help="Where prices come from: synthetic, replay:FILE, ccxt:EXCHANGE.", show_default=False
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Also run the demonstration producer, which trades on paper.")
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option("--for", min=0, help="End cleanly after this many seconds.", show_default=False),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="First remove all data under --dir; keys stay.")
    ] = False,
    directory: Dir = None,
    config: Config = None,
) -> None:
    """Run everything on this machine, on paper: the bus and every service, restarted whenever one ends."""
    from holdfast.runtime.embedded_bus import NoBusError
    from holdfast.runtime.locks import AlreadyHeld, hold

    overrides = overrides_of(directory, feed__spec=feed)
    settings = _may_be_live(settings_of(directory, config, overrides))
    if demo and settings.demo.account not in settings.accounts:
        overrides["accounts"] = [*settings.accounts, settings.demo.account]
        settings = settings_of(directory, config, overrides)
    try:
        is_new = not settings.dir.exists() or not any(settings.dir.iterdir())
        with hold(settings.dir / "run" / LOCK, "holdfast up"):
            if is_new:
                (settings.dir / MARKER).write_text(
                    "All data of one Holdfast installation. `holdfast up --fresh` removes it.\n",
                    encoding="ascii",
                )
            code = _up(
                settings,
                SERVICES + ((DEMO,) if demo else ()) + ((HOOKS,) if settings.hooks else ()),
                fresh=fresh,
                seconds=seconds,
                env=_environment(overrides, config),
            )
    except AlreadyHeld as error:
        fail(f"something already runs under {settings.dir}: {error}", EXIT_HELD)
    except NoBusError as error:
        fail(str(error), EXIT_UNAVAILABLE)
    except (OSError, ValueError) as error:
        fail(str(error))
    raise typer.Exit(code)


def _may_be_live(settings: Settings) -> Settings:
    """*settings*; ends here where a live account cannot trade, before anything has started. The exchange is asked by the executor."""
    try:
        check_switch(settings)
        if live_accounts(settings):
            from holdfast.venues.live import preflight

            preflight(settings)
    except Terminal as error:
        fail(str(error), error.code)
    return settings


def _up(
    settings: Settings,
    services: tuple[str, ...],
    *,
    fresh: bool,
    seconds: float | None,
    env: Mapping[str, str],
) -> int:
    """The part under the lock. Returns the exit code."""
    from holdfast.cli.keys import acl_text
    from holdfast.runtime.embedded_bus import prepare
    from holdfast.runtime.keys import ensure_keys
    from holdfast.runtime.processes import end_leftovers
    from holdfast.runtime.supervisor import Supervisor, bus_program, service_programs

    say = Printer((*services, "bus", "up"), prefix=settings.log.format != "json")
    for name in end_leftovers(settings.dir / "run"):
        say("up", f"ended {name}, which an earlier run had left behind")
    if fresh:
        say("up", f"removed {', '.join(remove_data(settings.dir)) or 'nothing'} from {settings.dir}")
    ensure_keys(settings)
    url, programs = settings.bus.url, []
    if url:
        asyncio.run(_must_answer(settings))
    else:
        bus = prepare(settings.dir / "bus", settings.bus, acl=acl_text(settings) if settings.bus.acl else "")
        url, programs = bus.url, [bus_program(bus)]
        if bus.note:
            say("up", bus.note)
    for line in banner(settings, url, bus.server if programs else ""):
        say("up", line)
    programs += service_programs(settings, services, url, {**env, **_front_door(settings, say)})

    async def main() -> int:
        return await Supervisor(programs, settings.dir / "run", _kept(say, settings.dir / "log")).run(seconds)

    return asyncio.run(main())


def _kept(say: "Printer", folder: Path) -> Callable[[str, str], None]:
    """*say* that keeps the newest lines in *folder*, too, for the dashboard. A disk that takes none stops nothing."""
    from holdfast.runtime.bounded_log import BoundedLog
    from holdfast.runtime.clock import SystemClock

    log, clock, failed = BoundedLog(folder / "up.log"), SystemClock(), set[str]()

    def say_and_keep(name: str, line: str) -> None:
        say(name, line)
        try:
            log.write({"at_ms": clock.wall_ms(), "service": name, "line": line})
        except OSError as error:
            if str(error) not in failed:
                failed.add(str(error))
                say("up", f"lines are not kept in {log.path}: {error}")

    return say_and_keep


def _front_door(settings: Settings, say: "Printer") -> dict[str, str]:
    """Choose the dashboard's port, make its tokens at the first start, and say both; what its process has to know.

    The tokens are shown here and nowhere else: not in DIR/log. Raises ValueError where a port that was set is in use. One that
    was not set is only remembered: should another program take it before the dashboard does, the dashboard takes another and
    says so, instead of ending, and all with it, over a port that nobody had asked for.
    """
    from holdfast.runtime.front_door import OPERATE, Tokens, choose_port

    folder = settings.dir / "dashboard"
    port = choose_port(folder, settings.dashboard.host, settings.dashboard.port)
    say("up", f"dashboard http://{settings.dashboard.host}:{port}/")
    for role, token in Tokens(folder).first().items():
        use = "to press its buttons" if role == OPERATE else "to look from another machine"
        say("up", f"dashboard token {use}, shown only now: {token}")
    return {variable_of("dashboard.port"): str(port)} if settings.dashboard.port else {}


async def _must_answer(settings: Settings) -> None:
    """An address that was given must work now; later the services wait for it, however long it is away."""
    from redis.exceptions import RedisError

    from holdfast.bus.connection import connect
    from holdfast.runtime.bus_address import complete
    from holdfast.runtime.embedded_bus import OLDEST, NoBusError

    try:
        url = complete(settings.bus.url, settings, CLI)
    except Terminal as error:
        raise NoBusError(str(error)) from None
    client = connect(url)
    try:
        version = str((await client.info("server"))["redis_version"])
    except (RedisError, OSError) as error:
        raise NoBusError(
            f"the bus at {redact(url)} does not answer: {error}. Start it, or unset its address: then `up` brings its own."
        ) from None
    finally:
        await client.aclose()
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        raise NoBusError(
            f"the bus at {redact(url)} is version {version}; Holdfast needs {'.'.join(map(str, OLDEST))} or newer"
        )


def _environment(overrides: Mapping[str, Any], config: Path | None) -> dict[str, str]:
    """What the command line set, as variables for the services."""
    env = {
        variable_of(key): ",".join(value) if isinstance(value, list) else str(value)
        for key, value in overrides.items()
        if key not in ALIASES.values()
    }
    return env | ({"HOLDFAST_CONFIG": str(config.resolve())} if config is not None else {})


def banner(settings: Settings, url: str, server: str) -> list[str]:
    """What a person sees first."""
    mode = mode_of(settings) if live_accounts(settings) else "PAPER, no real money"
    at = "" if settings.dir == Path("var") else f" --dir {settings.dir}"
    return [
        f"Holdfast {__version__}: {mode}. Prices: {settings.feed.spec}",
        f"data {settings.dir}, state files {settings.state_directory()}",
        f"bus {redact(url)}" + (f", {server}" if server else ""),
        f"in another terminal: holdfast status{at} | check | positions | trades | tail fill | restart SERVICE",
    ]


def remove_data(directory: Path) -> list[str]:
    """Remove everything under *directory* but our own lock and the keys; the names. Raises ValueError where it is not all Holdfast's."""
    if not (directory / MARKER).is_file():
        raise ValueError(
            f"--fresh removes only what `holdfast up` has made: {directory} has no {MARKER}, so it holds other things, too. Remove it by hand."
        )
    removed: list[str] = []
    for path in sorted(directory.iterdir()):
        if path.name in {MARKER, "keys"}:
            continue
        if path.name == "run":
            for record in path.iterdir():
                if record.name != LOCK:
                    record.unlink()
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        removed.append(path.name)
    return removed


class Printer:
    """Shows lines as `name | line`, each name in its colour on a terminal; without the prefix when lines are JSON."""

    def __init__(self, names: tuple[str, ...], *, prefix: bool) -> None:
        self._prefixes: dict[str, str] = {}
        width = max(map(len, names))
        is_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        for index, name in enumerate(names):
            text = f"{name:{width}} |"
            self._prefixes[name] = (
                f"\x1b[{_COLOURS[index % len(_COLOURS)]}m{text}\x1b[0m " if is_coloured else f"{text} "
            )
        self._is_prefixed = prefix

    def __call__(self, name: str, line: str) -> None:
        print((self._prefixes[name] if self._is_prefixed or name in {"up", "bus"} else "") + line, flush=True)


def run(service: Service, directory: Dir = None, config: Config = None) -> None:
    """Run one service in the foreground, as containers do. The bus is HOLDFAST_REDIS_URL, or that of `up` under --dir."""
    from holdfast.runtime.embedded_bus import NoBusError, address
    from holdfast.runtime.supervisor import service_programs

    _must_be_service(service)
    overrides = overrides_of(directory)
    settings = settings_of(directory, config, overrides)
    try:
        (program,) = service_programs(
            settings, (service,), address(settings), _environment(overrides, config), supervised=False
        )
    except (NoBusError, FileNotFoundError) as error:
        fail(str(error), EXIT_UNAVAILABLE)
    sys.stdout.flush()
    os.execve(program.command[0], program.command, dict(program.env))  # noqa: S606 - the same process becomes the service: signals reach it


def restart(service: Service, directory: Dir = None, config: Config = None) -> None:
    """End one service of a running `up`, and wait until its successor has started. Nothing is lost."""
    from holdfast.runtime.locks import holder_of
    from holdfast.runtime.processes import read_record, signal_process

    settings = settings_of(directory, config)
    folder = settings.dir / "run"
    if holder_of(folder / LOCK) is None:
        fail(f"nothing runs under {settings.dir}; start it with `holdfast up`")
    try:
        before = read_record(folder, service)
        if before is None:
            fail(
                f"`holdfast up` does not run {service!r}; it runs {', '.join(sorted(path.stem for path in folder.glob('*.json')))}"
            )
        signal_process(before, signal.SIGTERM)
        until = time.monotonic() + _RESTART_S
        while (
            (now := read_record(folder, service)) is None or now.birth == before.birth or not now.is_alive()
        ):
            if time.monotonic() > until:
                fail(
                    f"{service}: no successor after {_RESTART_S:g} s; process {before.pid} {'still runs' if before.is_alive() else 'has ended'}. See the lines of `up`."
                )
            time.sleep(0.02)
    except ValueError as error:
        fail(str(error))
    print(f"{service}: process {before.pid} ended, {now.pid} runs (restart {now.restarts})")


def _must_be_service(service: str) -> None:
    if service not in (*SERVICES, *OPTIONAL):
        fail(f"no service {service!r}; there are {', '.join((*SERVICES, *OPTIONAL))}", FAILED + 1)
