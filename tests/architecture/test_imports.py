"""The layers of pyproject.toml hold, and the check would notice if they did not."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture._tree import ROOT, text


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over the tree at *root*."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--no-cache",
        ],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": f"{root / 'libs'}{os.pathsep}{root}",
            "COLUMNS": "200",
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_every_contract_is_kept():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("where", "line", "broken"),
    [
        ("libs/holdfast/domain/exits.py", "import time", "domain and contracts are pure"),
        ("libs/holdfast/contracts/money.py", "import holdfast.domain.exits", "layers of the library"),
        ("libs/holdfast/runtime/clock.py", "import holdfast.bus.app", "layers of the library"),
        ("services/executor/desk.py", "import services.ledger.service", "services never import each other"),
        ("services/executor/desk.py", "import redis", "only the bus imports Redis"),
        (
            "services/exit_scanner/service.py",
            "import holdfast.store.store",
            "only the ledger opens the store",
        ),
        ("services/demo/service.py", "import holdfast.venues.paper", "only the executor and the market feed"),
    ],
)
def test_a_wrong_import_is_noticed(tmp_path, where, line, broken):
    for folder in ("libs", "services"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / where).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    result = lint(tmp_path)
    assert result.returncode != 0
    assert [text for text in result.stdout.splitlines() if broken in text and "BROKEN" in text]


def test_every_service_is_under_the_contracts():
    """A new service cannot be forgotten in the lists of pyproject.toml."""
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    named = next(contract["modules"] for contract in contracts if contract["type"] == "independence")
    there = {f"services.{path.parent.name}" for path in (ROOT / "services").glob("*/__init__.py")}
    assert set(named) == there
