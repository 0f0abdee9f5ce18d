"""Runs everything on one machine: the bus and every service, each as a process of its own, restarted whenever it ends.

Whoever exits is started again, with code 0 too: nothing here ever has reason to end by itself. The pause doubles from
0.1 s to 5 s and is forgotten after 10 healthy seconds. Only code 78 (the configuration is wrong) stops everything, because no
restart repairs that. At the end services go first and the bus last. Children run in sessions of their own, so that a Ctrl-C in
the terminal reaches the supervisor alone and the order holds; if the supervisor itself is killed, they get SIGTERM.

DIR/run has one record per process (`runtime.processes`) and a lock: one supervisor per directory.
"""

import asyncio
import importlib.util
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import holdfast
from holdfast.contracts.streams import EXECUTOR
from holdfast.runtime.configuration import FROM_FILE, variable_of
from holdfast.runtime.embedded_bus import EmbeddedBus, answers
from holdfast.runtime.faults import EXIT_CONFIG, EXIT_UNAVAILABLE
from holdfast.runtime.processes import Running, birth, die_with_parent, record_path
from holdfast.runtime.settings import Settings

FIRST_PAUSE_S, LONGEST_PAUSE_S, HEALTHY_S = 0.1, 5.0, 10.0
PATIENCE_S = 10.0
"""How long a process may take to end after SIGTERM before it is killed."""
BUS_READY_S = 30.0
"""How long the bus may take to answer; a large one loads for a while."""
BUS = "bus"

Say = Callable[[str, str], None]
"""Shows one line of one process: `say("ledger", "started")`."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process to keep running."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    ready: Callable[[], bool] | None = None
    """Others wait until this is true."""


def bus_program(bus: EmbeddedBus) -> Program:
    return Program(BUS, bus.command, dict(os.environ), lambda: answers(bus.port))


def service_programs(
    settings: Settings,
    services: Sequence[str],
    url: str,
    more: Mapping[str, str] | None = None,
    *,
    supervised: bool = True,
) -> list[Program]:
    """The services as programs that find the bus at *url* and all data under `settings.dir`; one more executor for each account apart.

    *more* goes into their environment: what the command line has set. They read the same file and .env as we did.
    """
    own = {variable_of("state.directory")} | ({variable_of("executor.account")} if supervised else set())
    if (
        url != settings.bus.url
    ):  # where it is given, they find it as we did: no password goes into an environment
        own |= {
            variable_of("bus.url"),
            f"{variable_of('bus.url')}{FROM_FILE}",
            f"HOLDFAST_REDIS_URL{FROM_FILE}",
        }
    env = {name: value for name, value in os.environ.items() if name not in own} | dict(more or {})
    env |= {
        "PYTHONPATH": os.pathsep.join([*import_roots(), *filter(None, [env.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "HOLDFAST_DIR": str(settings.dir.resolve()),
        "HOLDFAST_STATE_DIR": str(settings.state_directory().resolve()),
    }
    if url != settings.bus.url:
        env["HOLDFAST_REDIS_URL"] = url
    if supervised:
        env["HOLDFAST_SUPERVISOR"] = str(os.getpid())
        if settings.log.format == "auto":  # a pipe is no terminal, but a person reads the other end
            env[variable_of("log.format")] = "console"
    commands = {name: (sys.executable, "-m", f"services.{name}") for name in services}
    programs = [Program(name, command, env) for name, command in commands.items()]
    if supervised and EXECUTOR in commands:
        programs += [
            Program(
                f"{EXECUTOR}-{account}", commands[EXECUTOR], env | {variable_of("executor.account"): account}
            )
            for account in settings.executor.apart
        ]
    return programs


def import_roots() -> list[str]:
    """Where a child finds `holdfast` and `services`, whatever way this process found them."""
    services = importlib.util.find_spec("services")
    places = list(services.submodule_search_locations or ()) if services is not None else []
    if not places:
        raise FileNotFoundError(
            "the package `services` is not importable; install Holdfast, or set PYTHONPATH to its folder"
        )
    return list(dict.fromkeys(str(Path(path).resolve().parent) for path in (holdfast.__path__[0], places[0])))


@dataclass(slots=True)
class _Child:
    program: Program
    process: Process | None = None
    restarts: int = 0
    task: "asyncio.Task[None] | None" = None
    quick_ends: int = field(default=0)
    """Ends in a row without 10 healthy seconds between them."""


class Supervisor:
    """Keeps *programs* running, the one with `ready` first. Records go to *folder*, lines to *say*."""

    def __init__(self, programs: Sequence[Program], folder: Path, say: Say) -> None:
        self._children = [_Child(program) for program in programs]
        self._folder, self._show = folder, say
        self._stopping = asyncio.Event()
        self._why, self._code = "", 0

    async def run(self, seconds: float | None = None) -> int:
        """Run until stopped, or for *seconds*. The exit code: 0, 1 when somebody was down at the end, or who stopped it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._listen()
        first = [child for child in self._children if child.program.ready]
        rest = [child for child in self._children if not child.program.ready]
        try:
            for child in first:
                self._start(child)
                await self._until_ready(child)
            for child in rest:
                self._start(child)
            await self._wait(seconds)
            if not self._stopping.is_set():
                down = [child.program.name for child in self._children if child.process is None]
                self.stop(
                    f"{seconds:g} s are over" + (f"; not running: {', '.join(down)}" if down else ""),
                    1 if down else 0,
                )
        finally:
            self._stopping.set()
            self._say("up", f"stopping: {self._why}")
            await self._end(rest)
            await self._end(first)
            self._say("up", "everything has ended")
        return self._code

    def stop(self, why: str, code: int = 0) -> None:
        """Ask for an orderly end; the first reason counts."""
        if not self._stopping.is_set():
            self._why, self._code = why, code
            self._stopping.set()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self._stopping.is_set():
            self.stop(f"{number.name} received")
        elif number == signal.SIGINT:
            self._say("up", "a second Ctrl-C: killing what still runs")
            for child in self._children:
                _send(child, signal.SIGKILL)

    def _start(self, child: _Child) -> None:
        child.task = asyncio.create_task(self._keep(child), name=f"keep {child.program.name}")
        child.task.add_done_callback(self._on_keeper_done)

    def _on_keeper_done(self, task: "asyncio.Task[None]") -> None:
        """An error of the supervisor itself must not leave a process unattended: stop everything."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.stop(f"{task.get_name()}: {error!r}", 1)

    async def _keep(self, child: _Child) -> None:
        name, loop, pause = child.program.name, asyncio.get_running_loop(), FIRST_PAUSE_S
        while not self._stopping.is_set():
            started = loop.time()
            how = await self._run_once(child)
            if self._stopping.is_set():
                return
            if how == EXIT_CONFIG:
                self.stop(f"the configuration of {name} is wrong, see its lines above", EXIT_CONFIG)
                return
            lasted = loop.time() - started
            child.quick_ends = 1 if lasted >= HEALTHY_S else child.quick_ends + 1
            pause = FIRST_PAUSE_S if child.quick_ends == 1 else min(pause * 2, LONGEST_PAUSE_S)
            child.restarts += 1
            self._say(
                name,
                f"ended with {_named(how)} after {lasted:.1f} s; again in {pause:g} s (restart {child.restarts})",
            )
            if name == BUS and child.quick_ends == 5:
                self._say(
                    name,
                    f"it does not come up, {self._folder.parent / BUS}/bus.log says why. If its data are damaged, move that "
                    "folder away: nothing is lost, the ledger publishes anew",
                )
            await self._wait(pause)

    async def _run_once(self, child: _Child) -> int:
        """Start the process, show its lines, and return the code it ended with."""
        program = child.program
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                env=program.env,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
        except OSError as error:
            self._say(program.name, f"cannot be started: {error}")
            return 127
        child.process = process
        if (born := birth(process.pid)) is not None:
            Running(program.name, process.pid, born, time.time_ns() // 1_000_000, child.restarts).write(
                self._folder
            )
        if self._stopping.is_set():  # asked to stop while it was being started
            _send(child, signal.SIGTERM)
        lines = asyncio.create_task(self._show_lines(program.name, process))
        code = await process.wait()
        child.process = None
        await asyncio.wait([lines], timeout=1)  # a grandchild may keep the pipe open
        lines.cancel()
        return code

    async def _show_lines(self, name: str, process: Process) -> None:
        rest = b""
        while process.stdout and (chunk := await process.stdout.read(65_536)):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                self._say(name, line.decode("utf-8", "replace"))
            if len(rest) > 1_000_000:
                self._say(name, rest.decode("utf-8", "replace"))
                rest = b""
        if rest:
            self._say(name, rest.decode("utf-8", "replace"))

    async def _until_ready(self, child: _Child) -> None:
        until = asyncio.get_running_loop().time() + BUS_READY_S
        while (
            child.program.ready
            and not self._stopping.is_set()
            and not await asyncio.to_thread(child.program.ready)
        ):
            if asyncio.get_running_loop().time() > until:
                self.stop(
                    f"{child.program.name} does not answer after {BUS_READY_S:g} s, see its lines above",
                    EXIT_UNAVAILABLE,
                )
            await self._wait(0.02)

    async def _end(self, children: Sequence[_Child]) -> None:
        tasks = [child.task for child in children if child.task]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in children:
                _send(child, number)
            if tasks and (await asyncio.wait(tasks, timeout=PATIENCE_S))[1]:
                late = [child.program.name for child in children if child.process]
                self._say("up", f"still running after {PATIENCE_S:g} s: {', '.join(late)}")
                continue
            break
        for child in children:
            record_path(self._folder, child.program.name).unlink(missing_ok=True)

    async def _wait(self, seconds: float | None) -> None:
        """Until that long has passed or a stop was asked for."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    def _say(self, name: str, line: str) -> None:
        try:
            self._show(name, line)
        except (
            OSError
        ) as error:  # the terminal or pipe is gone: no line can be shown any more, so end in order
            self.stop(f"the output cannot be written: {error}", 1)


def _send(child: _Child, number: signal.Signals) -> None:
    if child.process is not None:
        try:
            child.process.send_signal(number)
        except ProcessLookupError:
            return  # it has just ended by itself


def _named(code: int) -> str:
    return f"code {code}" if code >= 0 else signal.strsignal(-code) or f"signal {-code}"
