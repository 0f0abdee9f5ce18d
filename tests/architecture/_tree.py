"""The repository as the architecture tests read it: tracked files, parsed modules."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {
    ".git",
    ".venv",
    ".hypothesis",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".import_linter_cache",
}
NOT_OURS |= {"__pycache__", "var", "logs", "build", "dist"}
"""Folders that are not looked into where git cannot be asked (a source archive)."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tracked() -> tuple[str, ...]:
    """Paths of all files of the project, relative, sorted."""
    if (ROOT / ".git").exists():
        out = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        names = [name for name in out.split("\0") if name and (ROOT / name).is_file()]
    else:
        found = (
            path
            for path in ROOT.rglob("*")
            if path.is_file() and not NOT_OURS & set(path.relative_to(ROOT).parts)
        )
        names = [str(path.relative_to(ROOT)) for path in found]
    return tuple(sorted(names))


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(text(name), name)


def modules(*folders: str) -> list[str]:
    """Tracked Python files below *folders*."""
    return [
        name
        for name in tracked()
        if name.endswith(".py") and name.startswith(tuple(f"{f}/" for f in folders))
    ]


def functions(node: ast.AST) -> Iterator[Function]:
    """Every function and method below *node*."""
    return (child for child in ast.walk(node) if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def called(node: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every call below *node*; what is called on anything but names reads `….name`."""
    for child in ast.walk(node):
        if isinstance(child, ast.Call):
            yield child.lineno, dotted(child.func)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "…"


def docstrings(node: ast.Module) -> set[int]:
    """Identities of the constants that are texts for people: docstrings of modules, classes, functions, and attributes."""
    return {
        id(child.value)
        for child in ast.walk(node)
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
    }
