"""Places that a drill makes for itself as root: a small disk that can be filled, and two networks that can be cut.

The disk is a file with a file system in it, mounted under the drill's own directory. The networks are two namespaces with
one cable between them: the bus lives in one, all services in the other, and nothing outside them is touched. The drill
itself reaches the bus by its Unix socket, which no cable can cut.
"""

import os
import shutil
import subprocess
from pathlib import Path

from proving.drill.world import Unavailable

DISK_MB = 768
BUS_ADDRESS, SERVICES_ADDRESS = "10.213.7.1", "10.213.7.2"


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"`{' '.join(command[:3])}` does not work here: {done.stderr.strip()[-200:]}")
    return done.stdout


def _need(*programs: str) -> None:
    if os.geteuid() != 0:
        raise Unavailable("it needs root")
    for program in programs:
        if shutil.which(program) is None:
            raise Unavailable(f"it needs {program}")


class Disk:
    """A file system of its own, of `DISK_MB` at most, mounted at *where*. Raises Unavailable."""

    def __init__(self, image: Path, where: Path) -> None:
        _need("mkfs.ext4", "mount", "umount")
        self.where = where
        where.mkdir(parents=True, exist_ok=True)
        with image.open("wb") as file:
            file.truncate(DISK_MB * 1_000_000)
        _run("mkfs.ext4", "-q", "-m", "0", "-F", str(image))
        _run("mount", "-o", "loop", str(image), str(where))
        self._image, self._ballast = image, where / "ballast"

    def fill(self) -> None:
        """Not one byte is left when this returns."""
        handle = os.open(self._ballast, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            for size in (1 << 20, 4096, 1):
                self._write(handle, b"\0" * size)
        finally:
            os.close(handle)

    @staticmethod
    def _write(handle: int, block: bytes) -> None:
        while True:
            try:
                os.write(handle, block)
            except OSError:
                return

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        _run("umount", "-l", str(self.where))
        self._image.unlink()


class Networks:
    """Two network namespaces and the cable between them. Raises Unavailable."""

    def __init__(self, name: str) -> None:
        _need("ip")
        self.bus, self.services = f"{name}-bus", f"{name}-services"
        _run("ip", "netns", "add", self.bus)
        try:
            _run("ip", "netns", "add", self.services)
            _run(
                "ip",
                "-n",
                self.bus,
                "link",
                "add",
                "cable",
                "type",
                "veth",
                "peer",
                "cable",
                "netns",
                self.services,
            )
            for space, address in ((self.bus, BUS_ADDRESS), (self.services, SERVICES_ADDRESS)):
                _run("ip", "-n", space, "address", "add", f"{address}/30", "dev", "cable")
                _run("ip", "-n", space, "link", "set", "lo", "up")
                _run("ip", "-n", space, "link", "set", "cable", "up")
        except Unavailable:
            self.remove()
            raise

    @staticmethod
    def inside(space: str) -> tuple[str, ...]:
        """What to put before a command so that it runs in *space*."""
        return ("ip", "netns", "exec", space)

    def cut(self) -> None:
        _run("ip", "-n", self.services, "link", "set", "cable", "down")

    def join(self) -> None:
        _run("ip", "-n", self.services, "link", "set", "cable", "up")

    def remove(self) -> None:
        for space in (self.services, self.bus):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
