"""docs/threat-model.md: each threat names tests that exist, and no attack that is tried is left out of it."""

import re

from tests.architecture._tree import functions, text, tree

PAGE = text("docs/threat-model.md")
ROWS = [
    line
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| attack", "| threat"))
]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_threat_has_an_answer_and_a_test():
    assert len(ROWS) > 25
    assert [
        row for row in ROWS if row.count("|") != 4 or not re.search(r"`tests/[\w/]+\.py::\w+`", row)
    ] == []


def test_every_test_that_is_named_exists():
    assert [
        f"{file}::{name}" for file, name in NAMED if name not in {one.name for one in functions(tree(file))}
    ] == []


def test_every_attack_that_is_tried_is_on_the_page():
    tried = {
        one.name for one in functions(tree("tests/security/test_attacks.py")) if one.name.startswith("test_")
    }
    assert tried - {name for _, name in NAMED} == set()
