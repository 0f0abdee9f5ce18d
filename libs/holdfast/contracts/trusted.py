"""Reads what Holdfast itself has written, `ledger.updated` and `ledger.snapshot`, several times as fast as pydantic.

The ledger has checked every row before it was recorded, so a follower need not check it again: JSON's texts only become
what the fields hold (Decimal, words, nested rows), and fields that were left out get their defaults. What each field
needs is worked out once, from the models themselves. A document that is not exactly of such fields is given to pydantic,
which says what is wrong with it.

A reader may name the tables it uses; the others stay empty, and their rows are never built.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import orjson

from holdfast.contracts.base import Frozen
from holdfast.contracts.messages import ROW_TABLES, LedgerSnapshot, LedgerUpdated

M = TypeVar("M", bound=Frozen)
Convert = Callable[[Any], Any]

ALL_TABLES: Final = frozenset(ROW_TABLES)


class Unusual(Exception):  # noqa: N818 - no failure: it only takes the long way
    """The document has not exactly the fields that its model has."""


def update_of(body: bytes, tables: frozenset[str] = ALL_TABLES) -> LedgerUpdated:
    """The update in *body* with these *tables*. Raises pydantic's ValidationError when it is none."""
    return _read(LedgerUpdated, _UPDATE, body, tables)


def snapshot_of(body: bytes) -> LedgerSnapshot:
    """The part of a snapshot in *body*, whole: its checksum covers every table. Raises ValidationError when it is none."""
    return _read(LedgerSnapshot, _SNAPSHOT, body, ALL_TABLES)


def _read(model: type[M], make: Callable[[dict[str, Any]], M], body: bytes, tables: frozenset[str]) -> M:
    try:
        document = orjson.loads(body)
        if tables is not ALL_TABLES:
            for name in ALL_TABLES - tables:
                document.pop(name, None)
        return make(document)
    except (Unusual, ValueError, ArithmeticError, LookupError, TypeError, AttributeError):
        return model.model_validate_json(body)


def maker(model: type[M]) -> Callable[[dict[str, Any]], M]:
    """A function from a JSON object to an instance of *model*. It raises Unusual, or whatever a strange value leads to.

    Lists and dicts that are left out are shared by all instances: a message is a fact, and nobody changes it.
    """
    fields = model.model_fields
    required = frozenset(name for name, field in fields.items() if field.is_required())
    template = {name: None if name in required else field.get_default(call_default_factory=True) for name, field in fields.items()}  # fmt: skip
    converters = {name: found for name, field in fields.items() if (found := _converter(field.annotation))}
    size, convert_for, made_of = len(fields), converters.get, model.made_of

    def make(document: dict[str, Any]) -> M:
        values = template | document
        if len(values) != size or not document.keys() >= required:
            raise Unusual
        for name, value in document.items():
            convert = convert_for(name)
            if convert is not None and value is not None:
                values[name] = convert(value)
        return made_of(values)

    return make


def _converter(annotation: Any) -> Convert | None:
    """What turns a JSON value into what a field of this type holds; None where it stays as it is."""
    annotation = _bare(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        return _each(_converter(arguments[0]))
    if origin is tuple:
        return _in_turn([_converter(argument) for argument in arguments])
    if origin is dict:
        return _values(_converter(arguments[1]))
    if origin is Literal:
        return _word({value.value: value for value in arguments if isinstance(value, Enum)})
    if annotation in {str, int, bool}:
        return None
    if annotation is Decimal:
        return Decimal
    if issubclass(annotation, Enum):
        return _word({member.value: member for member in annotation})
    if issubclass(annotation, Frozen):
        return maker(annotation)
    raise TypeError(f"no way to read {annotation}")


def _bare(annotation: Any) -> Any:
    """The type without its constraints, and without the None that it may be instead."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif get_origin(annotation) in {Union, UnionType}:
            (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
        else:
            return annotation


def _word(members: Mapping[Any, Enum]) -> Convert | None:
    return members.__getitem__ if members else None


def _each(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda items: [convert(item) for item in items]


def _in_turn(converters: list[Convert | None]) -> Convert:
    def convert(items: Any) -> tuple[Any, ...]:
        pairs = zip(converters, items, strict=True)
        return tuple(item if one is None else one(item) for one, item in pairs)

    return convert


def _values(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda items: {key: convert(value) for key, value in items.items()}


_UPDATE, _SNAPSHOT = maker(LedgerUpdated), maker(LedgerSnapshot)
