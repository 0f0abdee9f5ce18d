"""`holdfast docs` (hidden): writes docs/streams.md and docs/metrics.md from the contracts, so that they say what the code says.

The words of the page are the code's own: the table of streams, the models' fields with the sentence below each, the catalogues of
codes. With --check nothing is written, and the exit code says whether the page is up to date.
"""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from holdfast.cli.common import fail
from holdfast.cli.rules_page import with_exchanges, with_tables

Out = Annotated[Path, typer.Option("--out", help="The page.")]
_HEAD = """\
<!-- Written by `make docs` from the contracts; edit those. -->

# Streams

Services share streams and nothing else. An entry is plain fields: `id`, `body` (one JSON document) and, where followers filter,
`kind` and `hash` beside them. So this is a valid intent, from any language:

    XADD order.intent '*' body '{"symbol":"BTC/USDT","side":"buy","quantity":"0.01"}'

Amounts are strings of plain digits: no exponent, no trailing zeros; JSON numbers with a point, NaN and infinities are refused. Times
are milliseconds since 1970 UTC. Unknown fields are refused. A body has at most 65,536 bytes.

*Work* is read by one consumer group per service and acknowledged after the commit. A *view* is read by everyone for himself, without a
group. `ledger.updated` has the ledger's sequence as entry id: update 17 is entry `17-0`.

## The table

"""
_NAMES = {
    "Identifier": "id", "Name": "name", "SymbolText": "symbol", "Text": "text", "Millis": "ms", "Seconds": "s", "Fees": "amounts by currency",
    "Positive": "amount > 0", "NotNegative": "amount ≥ 0", "Amount": "amount", "Sum": "sum", "PositiveSum": "sum > 0",
    "NotNegativeSum": "sum ≥ 0", "ExitLevel": 'price, "5%" or "off"',
}  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command("docs", hidden=True)(docs)


def docs(
    out: Out = Path("docs/streams.md"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 if the page is not up to date.")] = False,
) -> None:  # fmt: skip
    """Write docs/streams.md and docs/metrics.md, the tables in docs/exits.md and docs/live.md beside them, and docs/licences.md where there is a lock."""
    from holdfast.cli import licences
    from holdfast.contracts.metrics import page as metrics_page

    for path, text in ((out, page()), (out.with_name("metrics.md"), metrics_page())):
        if check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                fail(f"{path} does not say what the code says; run `make docs`")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    if check:
        return
    for name, filled in (("exits.md", with_tables), ("live.md", with_exchanges)):
        path = out.parent / name
        if path.is_file():
            path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
            print(f"wrote the tables in {path}")
    if licences.LOCK.is_file() and licences.PAGE.parent.is_dir():
        licences.PAGE.write_text(licences.page(licences.LOCK.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"wrote {licences.PAGE}")


def page() -> str:
    """The whole page."""
    from holdfast.contracts import codes, messages, rows
    from holdfast.contracts.base import Frozen
    from holdfast.contracts.streams import STREAMS

    parts = [_HEAD, "\n".join(_table()), "\n\n## Messages\n"]
    seen = []
    for stream in STREAMS:
        if stream.message not in seen:
            seen.append(stream.message)
            names = ", ".join(f"`{one.name}`" for one in STREAMS if one.message is stream.message)
            parts.append(_model(stream.message, f"On {names}. "))
    parts.append("\n## Parts of messages, and rows of the ledger\n")
    others = [*_models(messages, Frozen), *_models(rows, Frozen)]
    parts += [_model(model, "") for model in others if model not in seen]
    parts.append("\n## Words\n")
    parts += [_enum(one) for one in _models(codes, StrEnum) if one is not codes.Code]
    parts.append(_codes(codes.Code))
    return "\n".join(parts)


def _table() -> Iterator[str]:
    from holdfast.contracts.streams import STREAMS

    yield "| stream | message | what | producers | consumers | reading | kept |"
    yield "|---|---|---|---|---|---|---|"
    for stream in STREAMS:
        kept = (
            f"the last {stream.maxlen:,}"
            if stream.maxlen
            else "until read"
            if stream.groups
            else "two snapshots' worth"
        )
        link = f"[{stream.message.__name__}](#{stream.message.__name__.lower()})"
        yield (
            f"| `{stream.name}` | {link} | {_cell(stream.what)} | {', '.join(stream.producers)} | {', '.join(stream.consumers)}"
            f" | {stream.reading.value} | {kept} |"
        )


def _models(module: Any, base: type) -> Iterator[Any]:
    """Classes of *module* itself that are a *base*, in the order of its text."""
    own = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, base)]
    yield from (one for one in own if one.__module__ == module.__name__)


def _model(model: Any, where: str) -> str:
    lines = [
        f"### {model.__name__}\n",
        f"{where}{_doc(model)}\n",
        "| field | type | default | |",
        "|---|---|---|---|",
    ]
    notes = _notes(model)
    annotations = _annotations(model)
    for name, info in model.model_fields.items():
        if info.is_required():
            default = "required"
        elif info.default_factory is not None:
            default = "empty"
        else:
            default = "" if info.default is None else f"`{_plain(info.default)}`"
        lines.append(f"| `{name}` | {_cell(annotations[name])} | {default} | {_cell(notes.get(name, ''))} |")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    """A default as JSON would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _enum(one: Any) -> str:
    notes = _notes(one)
    words = [
        f"`{member.value}`" + (f" ({notes[member.name]})" if member.name in notes else "") for member in one
    ]
    doc = _doc(one)
    return f"### {one.__name__}\n\n{doc + ' ' if doc else ''}{', '.join(words)}\n"


def _codes(code: Any) -> str:
    notes = _notes(code)
    lines = [f"### {code.__name__}\n", f"{_doc(code)}\n", "| code | |", "|---|---|"]
    lines += [f"| `{member.value}` | {_cell(notes.get(member.name, ''))} |" for member in code]
    return "\n".join(lines) + "\n"


def _doc(model: Any) -> str:
    return " ".join(inspect.cleandoc(model.__dict__.get("__doc__") or "").split())


def _notes(model: Any) -> dict[str, str]:
    """Name -> the sentence that stands below it in the class, bases first."""
    notes: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if cls.__module__.startswith("holdfast."):
            notes |= _own_notes(cls)
    return notes


def _own_notes(cls: type) -> dict[str, str]:
    notes, before = dict[str, str](), ""
    for node in _body(cls):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            before = node.target.id
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            before = node.targets[0].id
        elif before and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            notes[before] = " ".join(str(node.value.value).split())
            before = ""
        else:
            before = ""
    return notes


def _annotations(model: Any) -> dict[str, str]:
    """Name -> its type in words, from the source, where types have names."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if cls.__module__.startswith("holdfast."):
            found |= {
                node.target.id: _type(ast.unparse(node.annotation), model.model_fields.get(node.target.id))
                for node in _body(cls)
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
            }
    return found


def _body(cls: type) -> list[ast.stmt]:
    parsed = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    return parsed.body if isinstance(parsed, ast.ClassDef) else []


def _type(source: str, info: Any) -> str:
    """A type as a person who writes JSON needs it."""
    source = source.removesuffix(" | None")
    if source in _NAMES:
        return _NAMES[source]
    if source.startswith("list["):
        return f"list of {_type(source[5:-1], None)}"
    return _of(info.annotation) if info is not None else source


def _of(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{_plain(one)}`" for one in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_of(one) for one in arguments if one is not type(None))
    if origin is Annotated:
        return _of(arguments[0])
    if origin is not None:
        return f"{origin.__name__} of {', '.join(_of(one) for one in arguments)}"
    words = {"str": "text", "int": "integer", "bool": "true or false"}
    name: str = annotation.__name__
    return words.get(name, name)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
