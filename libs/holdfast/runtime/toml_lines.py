"""In which line of a TOML file a key stands: tomllib keeps no lines, and a complaint without one is no help."""

import re
from collections.abc import Iterable

_HEADER = re.compile(r"^\s*\[+\s*(?P<name>[^\]]+?)\s*\]+\s*(#.*)?$")
_ASSIGNMENT = re.compile(r"^\s*(?P<name>[A-Za-z0-9_.\"'-]+)\s*=")


def lines_of(text: str) -> dict[str, int]:
    """Key or section -> line number, for messages. (tomllib keeps none; it has already checked the grammar.)"""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = _plain(header["name"])
            found.setdefault(section, number)
            found.setdefault(section.partition(".")[0], number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault(
                f"{section}.{_plain(assignment['name'])}" if section else _plain(assignment["name"]), number
            )
    return found


def _plain(name: str) -> str:
    return name.replace('"', "").replace("'", "")


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """What was meant, perhaps: at most one of *known*."""
    from difflib import get_close_matches  # every process reads settings, few meet a wrong one

    return get_close_matches(name, list(known), n=1, cutoff=0.6)
