"""docs/licences.md: under which licence everything is that running Holdfast installs, from the packages' own metadata."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

PAGE = Path("docs/licences.md")
LOCK = Path("requirements-exchange.lock")
_PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^ ;\\]+)(?P<marker> *;[^\\\n]*)?", re.MULTILINE
)
_PREFIX = "License :: OSI Approved :: "
_HEAD = """\
<!-- Written by `make docs` from the installed packages of requirements-exchange.lock. -->

# Licences

Holdfast is under Apache-2.0. What it installs to run, and nothing else, is listed here as the packages themselves state it. The
locks name each version and its hash. `ccxt` and what it brings are only in the image, and where `make exchange` was asked for;
`psycopg` (LGPL-3.0) is optional and not in this list.

| package | version | licence | only where |
|---|---|---|---|
"""


def page(lock: str) -> str:
    """The page for the text of a lock. A package that is not installed on this machine keeps its place with a dash."""
    return _HEAD + "".join(f"{row}\n" for row in rows(lock).values())


def rows(lock: str) -> dict[str, str]:
    """Package -> its line of the table."""
    found = {}
    for match in _PINNED.finditer(lock):
        try:
            licence = licence_of(distribution(match["name"]))
        except PackageNotFoundError:
            licence = "-"
        marker = (match["marker"] or "").strip(" ;").strip()
        found[match["name"]] = f"| {match['name']} | {match['version']} | {licence} | {marker} |"
    return found


def licence_of(package: Distribution) -> str:
    """What the package's metadata say: an SPDX expression, else its classifiers, else the first line of the text."""
    metadata = package.metadata
    expression, text = ((metadata.get_all(name) or [""])[0] for name in ("License-Expression", "License"))
    if expression:
        return str(expression)
    stated = [
        one.removeprefix(_PREFIX) for one in metadata.get_all("Classifier") or [] if one.startswith(_PREFIX)
    ]
    if stated:
        return ", ".join(sorted(stated))
    return str(text or "not stated").strip().splitlines()[0][:60]
