"""Documents that cannot rot: what they name exists, what they quote is said in the code, what they show can be run."""

import ast
import contextlib
import io
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest
import typer.main

from holdfast import __version__
from holdfast.cli.docs import page
from holdfast.cli.main import app
from holdfast.cli.rules_page import with_exchanges, with_tables
from holdfast.contracts.streams import BY_NAME, OPTIONAL, SERVICES, STREAMS, Reading
from holdfast.contracts.wire import decode
from holdfast.domain.invariants import STATEMENTS
from holdfast.runtime.configuration import load
from holdfast.store import schema
from replay.__main__ import app as replay
from tests.architecture._tree import ROOT, modules, text, tracked, tree
from venue_sim.__main__ import app as venue_sim

DOCUMENTS = [name for name in tracked() if name.endswith(".md")]
COMMANDS = typer.main.get_command(app)
COMMANDS.commands["replay"] = typer.main.get_command(replay)  # it hands everything on to a program of its own
COMMANDS.commands["venue-sim"] = typer.main.get_command(venue_sim)  # ... and so does this


@cache
def headings(name: str) -> frozenset[str]:
    """Anchors of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text(name), flags=re.DOTALL), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles)


@cache
def names_in(path: str) -> frozenset[str]:
    """Functions, classes, class::method and tables (constants) of a Python file."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper()}
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{child.name}" for child in node.body if hasattr(child, "name")}
    return frozenset(found)


def missing(name: str) -> list[str]:
    """Code (`path.py:name`), tests (`path.py::node`) and paths that *name* mentions and the tree does not have."""
    lost = []
    for mention in re.findall(r"`((?:libs|services|tests|docs|benchmarks)/[^`\s*<…]+)`", text(name)):
        path, separator, inside = mention.partition(":")
        if not (ROOT / path).exists() or (separator and inside.removeprefix(":") not in names_in(path)):
            lost.append(mention)
    return lost


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(name), re.DOTALL | re.MULTILINE)


# -- everywhere -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text(name), flags=re.DOTALL)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists() or (anchor and anchor not in headings(str(file.resolve().relative_to(ROOT)))):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_code_and_tests_that_are_named_exist(name):
    assert missing(name) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_that_are_named_exist(name):
    """Every `holdfast …` in a document, with its options, is a command of the CLI."""
    wrong = []
    for words in re.findall(r"(?<![\w./-])holdfast ((?:[a-z-]+ ?)+)((?:[^`\n#|]*)?)", _typed(name)):
        problem = _problem(words[0].split(), words[1])
        if problem:
            wrong.append(f"holdfast {''.join(words).strip()}: {problem}")
    assert wrong == []


def _typed(name: str) -> str:
    """What the document tells people to type: blocks of a shell, and code in a line that begins with the program."""
    shell = [block for language in ("bash", "console", "sh") for block in blocks(name, language)]
    typed = [line.removeprefix("$ ") for block in shell for line in block.splitlines() if "holdfast " in line]
    typed = [line for line in typed if re.match(r"(\.venv/bin/|docker compose exec ledger )?holdfast ", line)]
    typed = [line.replace(".venv/bin/", "").replace("docker compose exec ledger ", "") for line in typed]
    inline = re.findall(r"`(holdfast [^`]+)`", re.sub(r"```.*?```", "", text(name), flags=re.DOTALL))
    return "\n".join([*typed, *inline])


def _problem(words: list[str], rest: str) -> str | None:
    command = COMMANDS
    while words and getattr(command, "commands", None):
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts} | {
        "--help",
        "-h",
        "--version",
    }
    options = [
        word.partition("=")[0]
        for word in shlex.split(rest.split(";", maxsplit=1)[0].split("#", maxsplit=1)[0].replace("'", '"'))
    ]
    unknown = [word for word in options if re.match(r"--?[a-z]", word) and word not in known]
    return f"no option {', '.join(unknown)}" if unknown else None


# -- README ---------------------------------------------------------------------------------------------------------


IN_FILES = {text(name) for name in tracked() if name.startswith("examples/") and name.endswith(".py")}
"""Blocks that are an example run for ever; tests/integration/test_examples.py runs them as processes."""


@pytest.mark.parametrize("block", [block for block in blocks("README.md", "python") if block not in IN_FILES])
def test_python_in_the_readme_runs_and_prints_what_it_says(block, monkeypatch, tmp_path):
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("QT_ALLOW_HEDGING", raising=False)
    from holdfast.position_invariant import reset_enforcer

    reset_enforcer()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "README.md", "exec"), {})
    reset_enforcer()
    promised = [
        line.rpartition("  # ")[2] for line in block.splitlines() if "print(" in line and "  # " in line
    ]
    assert printed.getvalue().splitlines() == promised


@pytest.mark.parametrize("line", re.findall(r"redis-cli .*XADD .*", text("README.md")))
def test_entries_in_the_readme_are_messages(line):
    words = shlex.split(line.replace("$(cat var/bus/port)", "6379"))
    stream, entry_id, field, body = words[words.index("XADD") + 1 :]
    entry = decode(BY_NAME[stream], "1735689600000-0", {field.encode(): body.encode()})
    assert entry_id == "*"
    assert (entry.error, type(entry.message)) == (None, BY_NAME[stream].message)


def test_the_configuration_in_the_readme_is_one(tmp_path):
    file = tmp_path / "holdfast.toml"
    file.write_text("\n".join(blocks("README.md", "toml")))
    settings = load(config=file, env={}, dotenv=tmp_path / "none")
    stated = tomllib.loads(file.read_text())
    assert str(settings.exits.stop_loss_pct) == stated["exits"]["stop_loss_pct"]
    assert settings.limits.max_positions == stated["limits"]["max_positions"]


def test_the_readme_has_every_stream_as_it_is_read():
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \|.*\| (work|view) \|$", text("README.md"), re.MULTILINE))
    assert rows == {stream.name: "work" if stream.reading is Reading.WORK else "view" for stream in STREAMS}


def test_the_readme_has_every_service_and_state_file():
    rows = set(re.findall(r"^\| `([a-z_.0-9]+)` \|", text("README.md"), re.MULTILINE))
    files = {Path(path).name for path in re.findall(r"logs/state/(\w+\.json)", text("v7_manifest.json"))}
    assert {*SERVICES, *OPTIONAL} <= rows
    assert files
    assert files <= rows


def test_the_readme_names_every_command():
    """A command that is not in the README is a command that nobody finds."""
    table = text("README.md").partition("## Commands")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(?:holdfast )?([a-z-]+)(?: [a-z]+)?`", table))
    assert set(COMMANDS.commands) - named - {"docs"} == set()


def test_the_page_of_streams_is_what_the_contracts_say():
    assert text("docs/streams.md") == page(), "run `make docs`"


def test_the_tables_of_rules_are_what_the_code_says():
    assert with_tables(text("docs/exits.md")) == text("docs/exits.md"), "run `make docs`"
    assert with_exchanges(text("docs/live.md")) == text("docs/live.md"), "run `make docs`"


def test_make_targets_that_are_named_exist():
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    named = {
        target
        for name in DOCUMENTS
        for target in re.findall(r"(?:`|^)make ([a-z]+)", text(name), re.MULTILINE)
    }
    assert named - targets == set()


# -- invariants -----------------------------------------------------------------------------------------------------


def _sections(name: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", text(name), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_invariant_has_its_statement_reason_code_store_and_tests():
    sections = _sections("docs/invariants.md")
    assert list(sections) == list(STATEMENTS)
    for number, said in sections.items():
        assert f"> {STATEMENTS[number]}\n" in said
        why, held, store, tests = (
            re.split(rf"\*\*{word}\.\*\*", said)[1] for word in ("Why", "Held by", "Store", "Tests")
        )
        assert "seed" in why.lower()
        assert re.search(r"`(libs|services)/\S+\.py:\w+`", held)
        assert store.strip()
        assert re.search(r"`tests/\S+\.py::\S+`", tests)


def test_constraints_that_invariants_name_are_in_the_schema():
    known = {table.name for table in schema.metadata.tables.values()}
    known |= {
        constraint.name for table in schema.metadata.tables.values() for constraint in table.constraints
    }
    known |= {column.name for table in schema.metadata.tables.values() for column in table.columns}
    for number, said in _sections("docs/invariants.md").items():
        store = re.split(r"\*\*Store\.\*\*", said)[1].partition("**Tests.")[0]
        named = set(re.findall(r"`([a-z_]+)`", store)) - {"unknown"}
        assert named <= known, number


# -- the rest -------------------------------------------------------------------------------------------------------


def test_the_changelog_has_this_version():
    titles = re.findall(r"^## \[([^\]]+)\]", text("CHANGELOG.md"), re.MULTILINE)
    assert titles[0] == "Unreleased"
    assert __version__ in titles


def test_every_requirement_has_code_and_a_test():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text("docs/requirements.md").splitlines()
        if re.match(r"\| \d{3}\.\d+ \|", line)
    ]
    assert len(rows) > 60
    assert len({row[0] for row in rows}) == len(rows)
    for number, _, code, tests in rows:
        assert re.search(r"`\S+", code), number
        assert re.search(r"`tests/\S+`", tests) or "not yet" in tests or "by design" in tests, number


def test_decisions_are_numbered_and_complete():
    names = sorted(name for name in tracked() if name.startswith("docs/adr/"))
    assert [int(Path(name).name[:4]) for name in names] == list(range(1, len(names) + 1))
    for name in names:
        assert text(name).startswith(f"# {int(Path(name).name[:4])}. ")
        assert "**Status:**" in text(name)
        assert re.findall(r"^## (.+)$", text(name), re.MULTILINE) == ["Context", "Decision", "Consequences"]
        assert len(text(name).splitlines()) < 60


PLANTED = ROOT / "tests" / "planted" / "bugs.py"


@pytest.mark.skipif(not PLANTED.exists(), reason="no bugs are planted yet")
@pytest.mark.parametrize("number", [number for number in STATEMENTS if number != "INV-10"])
def test_every_invariant_is_broken_on_purpose(number):
    assert any(
        re.search(rf"\b{number}\b", text(name)) for name in modules("libs/proving/planted", "tests/planted")
    )
