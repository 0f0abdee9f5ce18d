"""Every recipe as a new user would try it: its blocks, in order, beside a real `holdfast up` in a folder of its own.

`bash` and `python` blocks must end well. Those marked `stopped` run while nothing runs, those marked `elsewhere` in another folder that
has the producer's key alone; `text` blocks are for people, `toml` blocks must be configurations.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.runtime.configuration import load
from tests.architecture._tree import ROOT, text, tracked

pytestmark = pytest.mark.redis
PAGES = sorted(name for name in tracked() if name.startswith("docs/recipes/"))
QUIET = "synthetic?symbols=BTC/USDT&volatility=0.0001&jump=0"
PLACE = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, mark, text) of every block, those in lists too, without their indentation."""
    found = re.findall(r"^( *)```(\w+)(?: (\w+))?\n(.*?)^ *```", text(page), re.DOTALL | re.MULTILINE)
    return [
        (language, mark, re.sub(rf"^{indent}", "", block, flags=re.MULTILINE))
        for indent, language, mark, block in found
    ]


def wait_until_true(look: Callable[[], bool]) -> None:
    """Returns when *look* says so; a minute at most."""
    end = time.monotonic() + 60
    while not look():
        assert time.monotonic() < end, "waited in vain for everything to be green"
        time.sleep(0.1)


class Home:
    """One installation: a folder, and `holdfast up` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.elsewhere = folder, folder / "elsewhere"
        self.elsewhere.mkdir()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "DRY_RUN"))
        }
        self.env = kept | {"PATH": PLACE, "COLUMNS": "160", "HOLDFAST_FEED_SPEC": QUIET}
        (toml,) = (
            block for language, _, block in blocks("docs/recipes/two-machines.md") if language == "toml"
        )
        self.up: subprocess.Popen[bytes] | None = None
        (folder / "up.log").touch()
        self.run("holdfast keys new remote")
        (folder / "holdfast.toml").write_text(toml)

    def start(self) -> None:
        with (self.folder / "up.log").open("ab") as log:
            self.up = subprocess.Popen(
                ["holdfast", "up"], cwd=self.folder, env=self.env, stdout=log, stderr=log
            )
        begun, status = time.time(), self.folder / "var/state/status.json"

        def is_green() -> bool:
            return (
                status.exists()
                and status.stat().st_mtime > begun
                and json.loads(status.read_text())["status"] == "consistent"
            )

        wait_until_true(is_green)

    def stop(self) -> None:
        if self.up is not None:
            self.up.terminate()
            self.up.wait(30)
            self.up = None

    def run(self, script: str) -> None:
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}\n{self.log()}"

    def python(self, program: str, folder: Path, **env: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, f"{program}\n{done.stdout}{done.stderr}\n{self.log()}"

    def log(self) -> str:
        return "\n".join((self.folder / "up.log").read_text().splitlines()[-15:])

    def away(self, program: str) -> None:
        """On the other machine: a folder with the key alone, and the tunnel's address."""
        shutil.copy(self.folder / "var/keys/others/remote/intent.key", self.elsewhere / "intent.key")
        port = (self.folder / "var/bus/port").read_text().strip()
        self.python(program, self.elsewhere, HOLDFAST_REDIS_URL=f"redis://127.0.0.1:{port}/0")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("home"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES)
def test_a_recipe_does_what_it_says(home, page):
    for language, mark, block in blocks(page):
        if mark == "stopped":
            home.stop()
        elif home.up is None:
            home.start()
        if language == "bash" and ("redis-cli" not in block or shutil.which("redis-cli")):
            home.run(block)
        elif language == "python" and mark == "elsewhere":
            home.away(block)
        elif language == "python":
            home.python(block, home.folder)
    if home.up is not None:
        home.run("holdfast flatten >/dev/null; holdfast check")


@pytest.mark.parametrize("page", PAGES)
def test_its_configurations_are_some(page, tmp_path):
    for language, _, block in blocks(page):
        if language == "toml":
            file = tmp_path / "holdfast.toml"
            file.write_text(block)
            assert load(config=file, env={}, dotenv=tmp_path / "none")
    assert len(text(page).splitlines()) < 130, "one page"


def test_there_is_a_page_for_each_thing_people_ask_first():
    names = {Path(name).stem for name in PAGES}
    assert names == {
        "first-trade", "my-own-strategy", "restart-anything", "what-the-light-means", "read-the-streams", "back-up-and-restore",
        "go-live-carefully", "two-machines",
    }  # fmt: skip
    assert ROOT.exists()
