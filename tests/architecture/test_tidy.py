"""House rules that a reader relies on, checked over the whole tree. An exception is listed here with its reason or its
number, and may only shrink."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from holdfast.cli.watch import _COLOURS
from holdfast.contracts.streams import STREAMS
from tests.architecture._tree import (
    Function,
    called,
    docstrings,
    dotted,
    functions,
    modules,
    text,
    tracked,
    tree,
)

SOURCE = modules("libs", "services")
OUTSIDE = "libs/proving/drill/"
"""Works on real processes in real time, and meets the bus as any other program does: no part of a service."""
TESTS = modules("tests")

# -- one table names every stream -----------------------------------------------------------------------------------

ANOTHER_WORD = {"control"}  # the ledger's table and the rows of that name, too


def test_stream_names_stand_in_the_table_of_streams_alone():
    names = {stream.name for stream in STREAMS}
    found = {
        (name, node.value)
        for name in SOURCE
        if name
        not in {"libs/holdfast/contracts/streams.py", "libs/holdfast/cli/watch.py"}  # colours: see below
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Constant) and node.value in names and id(node) not in docstrings(tree(name))
    }
    assert {(name, word) for name, word in found if word not in ANOTHER_WORD} == set()


def test_the_colours_of_a_tail_are_those_of_streams_that_exist():
    assert _COLOURS.keys() <= {stream.name for stream in STREAMS}


# -- only the bus publishes -----------------------------------------------------------------------------------------


def test_only_the_bus_publishes_and_subscribes():
    touching = re.compile(r"\.(publish|xadd|xreadgroup|xack|subscriber)$|^(.*\.)?StreamSub$")
    found = [
        f"{name}:{line} {call}"
        for name in SOURCE
        if not name.startswith(
            ("libs/holdfast/bus/", "libs/proving/")
        )  # the proofs are the bus of their worlds
        for line, call in called(tree(name))
        if touching.search(call)
        and not (call == "app.publish" and re.fullmatch(r"services/\w+/app\.py", name))  # wiring
        and not (
            call == "client.publish" and name.startswith("libs/holdfast/cli/")
        )  # a person, through bus.client
    ]
    assert found == []


# -- the truth is in the ledger -------------------------------------------------------------------------------------


def test_state_files_are_never_read_back():
    """The loaders of `holdfast.state` are for other programs; nothing of ours takes a file for a truth."""
    loading = re.compile(r"(^|\.)(load_(positions|positions_ledger|kpis_v7)_state|get_ledger_entries)$")
    found = [
        f"{name}:{line} {call}"
        for name in SOURCE
        if name
        not in {"libs/holdfast/state.py", "libs/holdfast/cli/adopt.py"}  # adopt: when a person asks, once
        for line, call in called(tree(name))
        if loading.search(call)
    ]
    assert found == []


# -- time, ids and randomness are arguments -------------------------------------------------------------------------

AMBIENT_MODULES = {"time", "random", "uuid", "secrets"}
MAY_IMPORT_THEM = {
    "libs/holdfast/cli/health.py": "a probe that lives for one look, without a Clock",
    "libs/holdfast/cli/up.py": "waits for another process to come up",
    "services/market_feed/synthetic.py": "random.Random with the seed of the configuration",
    "libs/venue_sim/command.py": "random.Random with the seed of its command line",
    "libs/proving/sim/dice.py": "random.Random with the seed of the simulated world",
}


def _imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_clocks_ids_and_randomness_come_from_runtime_alone():
    outside = [name for name in SOURCE if not name.startswith(("libs/holdfast/runtime/", OUTSIDE))]
    importing = {name for name in outside if AMBIENT_MODULES & set(_imported(tree(name)))}
    assert importing - MAY_IMPORT_THEM.keys() == set()
    now = re.compile(r"(^|\.)(now|utcnow|today|urandom|getrandom)$")
    asked = [
        f"{name}:{line} {call}"
        for name in outside
        if name != "libs/holdfast/cli/watch.py"  # what a person's `--since 10m` counts from
        for line, call in called(tree(name))
        if now.search(call) and call.startswith(("datetime.", "date.", "os."))
    ]
    assert asked == []


def test_what_is_random_in_a_service_is_seeded():
    seeded = [
        len(node.args)
        for node in ast.walk(tree("services/market_feed/synthetic.py"))
        if isinstance(node, ast.Call) and dotted(node.func).startswith("random.")
    ]
    assert seeded
    assert 0 not in seeded


# -- money is Decimal -----------------------------------------------------------------------------------------------

FLOATS = {"libs/holdfast/contracts/money.py": 1}  # the place that refuses them


@pytest.mark.parametrize("name", modules("libs/holdfast/domain", "libs/holdfast/contracts"))
def test_no_float_near_money(name):
    found = [
        node
        for node in ast.walk(tree(name))
        if (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Constant) and isinstance(node.value, float))
    ]
    assert len(found) <= FLOATS.get(name, 0), [node.lineno for node in found]


# -- short, and kept short ------------------------------------------------------------------------------------------

LONGEST_FUNCTION, LONGEST_FILE = 50, 400
LONG_FUNCTIONS: dict[str, int] = {}
LONG_FILES = {
    "libs/holdfast/bus/app.py": 460,
    "libs/holdfast/contracts/messages.py": 530,
}


def _length(function: Function) -> int:
    """Lines without the docstring."""
    first = function.body[0]
    told = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if told else 0)


def test_functions_are_short():
    long = {
        f"{name}:{function.name}": length
        for name in SOURCE
        for function in functions(tree(name))
        if (length := _length(function)) > LONGEST_FUNCTION
    }
    assert {key: length for key, length in long.items() if length > LONG_FUNCTIONS.get(key, 0)} == {}
    assert LONG_FUNCTIONS.keys() - long.keys() == set(), "short again: take it off the list"


def test_files_are_short():
    long = {name: lines for name in SOURCE if (lines := len(text(name).splitlines())) > LONGEST_FILE}
    assert {name: lines for name, lines in long.items() if lines > LONG_FILES.get(name, 0)} == {}
    assert LONG_FILES.keys() - long.keys() == set(), "short again: take it off the list"


# -- the head of a file explains it ---------------------------------------------------------------------------------


def test_every_module_says_what_it_is_for():
    silent = [
        name
        for name in modules("libs", "services", "tests", "benchmarks")
        if text(name).strip() and not ast.get_docstring(tree(name))
    ]
    assert silent == []


@pytest.mark.parametrize(
    "name", [name for name in SOURCE if re.fullmatch(r"services/\w+/__init__\.py", name)]
)
def test_every_service_has_its_card(name):
    card = ast.get_docstring(tree(name)) or ""
    lines = [
        line for line in ("CONSUMES", "PRODUCES", "OWNS", "ON RESTART", "IF IT STOPS") if line not in card
    ]
    assert lines == []


# -- nothing unfinished, nothing private ----------------------------------------------------------------------------

UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
OF_ONE_MACHINE = re.compile(r"(?<![\w.<$}])/(work|root|home)/\w|[A-Z]:\\Users|/tmp/bash")
HOSTS = re.compile(
    r"py" + r"pi\.|python" + r"hosted|//mirrors?\.|index-url[= ]+http|npm" + r"js\.", re.IGNORECASE
)
"""Hosts of package registries, in pieces, so that this file does not name one."""
BINARY = (".png", ".svg", ".gz", ".ico", ".db")
TEXTS = [name for name in tracked() if not name.endswith((*BINARY, ".lock")) and name != "LICENSE"]
THIS = "tests/architecture/test_tidy.py"


def _lines_with(pattern: re.Pattern[str], names: list[str]) -> list[str]:
    return [
        f"{name}:{number} {line.strip()[:100]}"
        for name in names
        if name != THIS
        for number, line in enumerate(text(name).splitlines(), 1)
        if pattern.search(line)
    ]


def test_nothing_is_left_unfinished():
    assert _lines_with(UNFINISHED, TEXTS) == []


def test_no_file_names_one_machine_or_one_index():
    assert _lines_with(OF_ONE_MACHINE, TEXTS) == []
    assert _lines_with(HOSTS, [*TEXTS, *(name for name in tracked() if name.endswith(".lock"))]) == []


# -- assertions belong to tests -------------------------------------------------------------------------------------


def _narrows(node: ast.Assert) -> bool:
    """`assert isinstance(x, T)` and `assert x is not None` tell mypy what the code knows; they check nothing else."""
    if isinstance(node.test, ast.Call):
        return dotted(node.test.func) == "isinstance"
    return (
        isinstance(node.test, ast.Compare)
        and isinstance(node.test.ops[0], ast.IsNot)
        and isinstance(node.test.comparators[0], ast.Constant)
        and node.test.comparators[0].value is None
    )


def test_no_assert_stands_for_a_check_outside_tests():
    found = [
        f"{name}:{node.lineno}"
        for name in SOURCE
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Assert) and not _narrows(node)
    ]
    assert found == []


# -- tests test -----------------------------------------------------------------------------------------------------


def _calls(function: Function) -> set[str]:
    return {call.rpartition(".")[2] for _, call in called(function)}


def _asserts(node: ast.AST) -> bool:
    """`assert`, a check that raises (`check_book(...)`), or a program that must succeed (`check=True`)."""
    if isinstance(node, ast.Call):
        return dotted(node.func).rpartition(".")[2].startswith("check_")
    return isinstance(node, ast.Assert) or (
        isinstance(node, ast.keyword) and node.arg == "check" and getattr(node.value, "value", None) is True
    )


def _asserting_helpers() -> set[str]:
    """Names of functions of the tests that assert, themselves or through others of them."""
    every = [(function.name, function) for name in TESTS for function in functions(tree(name))]
    found = {key for key, function in every if any(_asserts(node) for node in ast.walk(function))}
    found |= {"raises", "warns", "fail", "run_state_machine_as_test"}
    while more := {key for key, function in every if key not in found and _calls(function) & found}:
        found |= more
    return found


def test_every_test_asserts_something():
    asserting = _asserting_helpers()
    idle = [
        f"{name}:{function.lineno} {function.name}"
        for name in TESTS
        for function in functions(tree(name))
        if function.name.startswith("test_") and function.name not in asserting
    ]
    assert idle == []


WAITING = re.compile(r"wait|until|eventually|settle|pause|slow|quiet")
"""Helpers that wait for a condition with a bound, or are slow on purpose; whoever else sleeps, sleeps for luck."""


SLEEPS = {
    "tests/contract/test_bus.py": 1,  # nothing may happen for that long
    "tests/contract/test_bus_faults.py": 1,  # the bus is away for that long
}


def test_tests_do_not_sleep_for_luck():
    sleeping: list[str] = []
    for name in TESTS:
        if name.startswith(
            ("tests/chaos/", "tests/simulation/")
        ):  # no tests: they let real processes run for a while between their kills; or time that is virtual
            continue
        waiting: list[ast.AST] = [f for f in functions(tree(name)) if WAITING.search(f.name)]
        waiting += [
            node for node in ast.walk(tree(name)) if isinstance(node, ast.While)
        ]  # a condition, or a pulse
        allowed = {id(node) for place in waiting for node in ast.walk(place)}
        sleeping += [
            f"{name}:{node.lineno}"
            for node in ast.walk(tree(name))
            if isinstance(node, ast.Call)
            and dotted(node.func) in {"time.sleep", "asyncio.sleep"}
            and id(node) not in allowed
            and not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)  # lets others run
        ]
    counted = Counter(place.partition(":")[0] for place in sleeping)
    assert {name: count for name, count in counted.items() if count > SLEEPS.get(name, 0)} == {}, sleeping
