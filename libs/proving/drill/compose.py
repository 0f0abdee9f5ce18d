"""Holdfast in containers: the project's own docker-compose.yml, with a file over it that only adds what a drill needs.

That is: a port of the bus on loopback, on a network of its own, so that the drill still reaches it when the services' network
is cut; a user of the bus who may do everything, in its ACL file; intents without a signature allowed, because the drill has
no producer's key; the bounds set short; and the folder that shifts a service's clock. `docker kill` counts for Docker as a wish, after
which it restarts nothing, so the drill starts again what it has killed.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

from redis import Redis

import holdfast
from holdfast.contracts import streams
from proving.drill.processes import SKEW, wait
from proving.drill.world import ACCOUNTS, BOUNDS, BUS, SERVICES, Unavailable, told

ROOT = Path(holdfast.__file__).parents[2]
IMAGE = "holdfast:drill"
PAUSES = 5
USER, PASSWORD = "drill", "of-one-drill"
"""Of a bus that lives as long as the drill and is reached from this machine alone."""
MADE = f"holdfast secrets && echo 'user {USER} on >{PASSWORD} ~* &* +@all' >>/secrets/bus/users.acl"
OURS = (*SERVICES, streams.DEMO)


def run(*command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Raises RuntimeError, with the last words, when it fails and *check* is asked for."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"`{' '.join(command[:4])}` failed: {(done.stderr or done.stdout).strip()[-800:]}")
    return done


def compose_command() -> tuple[str, ...]:
    """`docker compose`, or the older `docker-compose`. Raises RuntimeError without either."""
    if shutil.which("docker") and run("docker", "compose", "version", check=False).returncode == 0:
        return ("docker", "compose")
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    raise RuntimeError("--compose needs Docker with Compose; without it the drill runs on processes")


class Compose:
    """See `proving.drill.world.World`."""

    def __init__(self, directory: Path, feed: str) -> None:
        directory.mkdir(parents=True)
        self._base, self.directory, self.asked = directory, directory / "data", Counter[str]()
        self._project, self._port, self._copies = f"hfdrill{os.getpid()}", _free_port(), 0
        self._environment = self._files(feed)
        self._command = (
            *compose_command(), "-p", self._project, "--project-directory", str(ROOT),
            "-f", str(ROOT / "docker-compose.yml"), "-f", str(directory / "over.yml"),
        )  # fmt: skip
        try:
            self._compose("up", "-d", "--build")
            self._ids = {name: self._compose("ps", "-q", self._named(name)).strip() for name in (*OURS, BUS)}
            wait(lambda: bool(self.client().ping()), "the bus")
        except BaseException:
            self._compose("down", "-v", "-t", "5", check=False)
            raise

    def _files(self, feed: str) -> dict[str, str]:
        """The file over docker-compose.yml, the services' settings, and the folder for their clocks."""
        clocks = self._base / "clocks"
        clocks.mkdir()
        clocks.chmod(0o755)
        self._base.chmod(0o755)
        shutil.copy(SKEW / "sitecustomize.py", clocks)
        settings = {**BOUNDS, "HOLDFAST_FEED_SPEC": feed}
        lines = [f"{key}={value}" for key, value in settings.items()]
        (self._base / "settings.env").write_text("\n".join(lines) + "\n", encoding="utf-8")
        over = {
            "image": IMAGE, "volumes": [f"{clocks}:/drill:ro"],
            "environment": {"PYTHONPATH": "/drill", "DRILL_SKEW": "/drill/skew.json", "HOLDFAST_BUS_REQUIRE_SIGNED": "false"},
        }  # fmt: skip
        document = {
            "version": "3.8",
            "services": dict.fromkeys(OURS, over)
            | {"secrets": {"image": IMAGE, "command": ["sh", "-c", MADE]}}
            | {"redis": {"networks": ["bus", "drill"], "ports": [f"127.0.0.1:{self._port}:6379"]}},
            "networks": {"drill": {}},
        }
        (self._base / "over.yml").write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
        return os.environ | {
            "HOLDFAST_ENV_FILE": str(self._base / "settings.env"),
            "HOLDFAST_ACCOUNTS": ",".join(ACCOUNTS),
            "HOLDFAST_DEMO": "1",
        }

    def _compose(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            (*self._command, *arguments), env=self._environment, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"compose {' '.join(arguments)} failed: {done.stderr.strip()[-800:]}")
        return done.stdout

    @staticmethod
    def _named(name: str) -> str:
        return "redis" if name == BUS else name

    def client(self) -> "Redis":
        return Redis(
            port=self._port, username=USER, password=PASSWORD, decode_responses=True, socket_timeout=5
        )

    # -- processes ----------------------------------------------------------------------------------------------------

    def kill(self, names: tuple[str, ...]) -> None:
        ids = [self._ids[name] for name in names]
        run("docker", "kill", *ids, check=False)
        run("docker", "start", *ids)

    def restart(self, names: tuple[str, ...], pause_s: float) -> None:
        under_way = []
        for name in names:
            self.asked[name] += 1
            under_way.append(
                subprocess.Popen(
                    ("docker", "restart", "-t", "10", self._ids[name]),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            time.sleep(pause_s)
        for one in under_way:
            one.wait()

    def pause(self, name: str) -> None:
        """Docker now and then finds a busy container unable to freeze: some tries, then the fault is not to be had."""
        for _ in range(PAUSES):
            done = run("docker", "pause", self._ids[name], check=False)
            if done.returncode == 0:
                return
            time.sleep(1)
        raise Unavailable(f"`docker pause` fails: {done.stderr.strip()[-200:]}")

    def resume(self, name: str) -> None:
        run("docker", "unpause", self._ids[name], check=False)

    def skew(self, name: str, by_ms: int) -> None:
        path = self._base / "clocks" / "skew.json"
        path.write_text(json.dumps({name: by_ms}), encoding="utf-8")
        path.chmod(0o644)
        self.restart((name,), 0)

    def second(self, name: str) -> int:
        return run("docker", "exec", self._ids[name], "holdfast", "run", name, check=False).returncode

    # -- the bus's files, and places ----------------------------------------------------------------------------------

    def copy_bus(self) -> None:
        self._copies += 1
        run(
            "docker",
            "cp",
            "-a",
            f"{self._ids[BUS]}:/data/appendonlydir",
            str(self._base / f"bus-{self._copies}"),
        )

    def rewind(self) -> None:
        """While the bus is down, a container beside it, as the same user, replaces its files by the older ones."""
        swap = "rm -rf /data/appendonlydir && cp -r /older /data/appendonlydir"
        run("docker", "kill", self._ids[BUS])
        run(
            "docker", "run", "--rm", "--network", "none", "--volumes-from", self._ids[BUS],
            "--volume", f"{self._base / f'bus-{self._copies}'}:/older:ro", IMAGE, "sh", "-c", swap,
        )  # fmt: skip
        run("docker", "start", self._ids[BUS])

    def fill_disk(self) -> None:
        raise Unavailable(
            "the containers' volumes share a disk with everything else here; the drill on processes has one of its own"
        )

    def free_disk(self) -> None:
        """Nothing was filled."""

    def cut_network(self) -> None:
        run("docker", "network", "disconnect", f"{self._project}_bus", self._ids[BUS])

    def join_network(self) -> None:
        run("docker", "network", "connect", "--alias", "redis", f"{self._project}_bus", self._ids[BUS])

    # -- the end ------------------------------------------------------------------------------------------------------

    def light(self) -> str:
        """Read by whichever container can see the file: one of the two may stand still."""
        for name in (streams.STATE_PUBLISHER, streams.LEDGER):
            done = run("docker", "exec", self._ids[name], "cat", "/state/status.json", check=False)
            if done.returncode == 0:
                return told(done.stdout)
        return f"unreadable: {done.stderr.strip()}"

    def stop(self) -> str:
        """Who stands still ends last, when nobody is left to act on what it says."""
        run(
            "docker",
            "stop",
            "-t",
            "20",
            *(self._ids[name] for name in SERVICES if name != streams.MARKET_FEED),
        )
        for name in (streams.DEMO, streams.MARKET_FEED):
            run("docker", "unpause", self._ids[name], check=False)
        self._compose("stop", "-t", "20")
        return self._compose("logs", "--no-color", check=False)

    def remove(self) -> None:
        self.directory.mkdir(exist_ok=True)
        for name, folder in ((streams.LEDGER, "ledger"), (streams.EXECUTOR, "paper")):
            run("docker", "cp", f"{self._ids[name]}:/data/{folder}", str(self.directory / folder))
        self._compose("down", "-v", "-t", "5")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
