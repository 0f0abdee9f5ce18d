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
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import orjson

from holdfast.contracts.base import Frozen
from holdfast.contracts.messages import ROW_TABLES, LedgerSnapshot, LedgerUpdated

M = TypeVar("M", bound=Frozen)
Convert = Callable[[Any], Any]
Keep = Callable[[Mapping[str, Any]], bool]
"""Whether a row with these fields is needed."""

MOST_PLANS = 1000
"""More combinations of fields than the ledger ever writes."""


class Unusual(Exception):  # noqa: N818 - no failure: it only takes the long way
    """The document has not exactly the fields that its model has."""


class Tables:
    """What a follower reads of the ledger: *whole* tables, and of *some* only the rows that a function keeps.

    `Tables("positions", orders=is_exit)`: every position, the exit orders, nothing else.
    """

    def __init__(self, *whole: str, **some: Keep) -> None:
        self.some = tuple(some.items())
        self.skipped = tuple(name for name in ROW_TABLES if name not in whole and name not in some)

    def leave_out(self, document: dict[str, Any]) -> None:
        """Take from *document* what is not read."""
        for name in self.skipped:
            document.pop(name, None)
        for name, keep in self.some:
            if name in document:
                document[name] = [row for row in document[name] if keep(row)]

    def of(self, part: LedgerSnapshot) -> LedgerSnapshot:
        """*part* with what is read."""
        left: dict[str, Any] = {name: [] for name in self.skipped if hasattr(part, name)}
        for name, keep in self.some:
            if hasattr(part, name):
                left[name] = [row for row in getattr(part, name) if keep(vars(row))]
        return part.evolve(**left)


def update_of(body: bytes, tables: Tables | None = None) -> LedgerUpdated:
    """The update in *body*, of which *tables* are read. Raises pydantic's ValidationError when it is none."""
    return _read(LedgerUpdated, _UPDATE, body, tables)


def snapshot_of(body: bytes) -> LedgerSnapshot:
    """The part of a snapshot in *body*, whole: its checksum covers every table. Raises ValidationError when it is none."""
    return _read(LedgerSnapshot, _SNAPSHOT, body, None)


def _read(model: type[M], make: Callable[[dict[str, Any]], M], body: bytes, tables: Tables | None) -> M:
    try:
        document = orjson.loads(body)
        if tables is not None:
            tables.leave_out(document)
        return make(document)
    except (Unusual, ValueError, ArithmeticError, LookupError, TypeError, AttributeError):
        return model.model_validate_json(body)


def maker(model: type[M]) -> Callable[[dict[str, Any]], M]:
    """A function from a JSON object to an instance of *model*. It raises Unusual, or whatever a strange value leads to.

    Rows come in few shapes (which fields are there), so what is to be done is worked out once per shape. Lists and dicts
    that are left out are shared by all instances: a message is a fact, and nobody changes it.
    """
    fields = model.model_fields
    required = frozenset(name for name, field in fields.items() if field.is_required())
    template = {name: None if name in required else field.get_default(call_default_factory=True) for name, field in fields.items()}  # fmt: skip
    converters = {name: found for name, field in fields.items() if (found := _converter(field.annotation))}
    plans: dict[tuple[str, ...], list[tuple[str, Convert]]] = {}
    made_of = model.made_of

    def plan_of(shape: tuple[str, ...]) -> list[tuple[str, Convert]]:
        if not required <= set(shape) <= template.keys():
            raise Unusual
        if len(plans) >= MOST_PLANS:
            plans.clear()
        plans[shape] = plan = [(name, converters[name]) for name in shape if name in converters]
        return plan

    def make(document: dict[str, Any]) -> M:
        shape = tuple(document)
        plan = plans.get(shape)
        if plan is None:
            plan = plan_of(shape)
        values = template | document
        for name, convert in plan:
            value = document[name]
            if value is not None:
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
