"""The fast reader against pydantic: for every row that can be written, both read the same, type for type."""

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast.contracts.base import Frozen
from holdfast.contracts.codes import Role
from holdfast.contracts.messages import ROW_TABLES, LedgerSnapshot, LedgerUpdated, row_json
from holdfast.contracts.money import canonical
from holdfast.contracts.trusted import Tables, _bare, maker, snapshot_of, update_of
from holdfast.domain.view import LedgerView, snapshot_checksum

ROWS = [get_args(LedgerUpdated.model_fields[name].annotation)[0] for name in ROW_TABLES]
AMOUNTS = st.decimals(min_value="0.000001", max_value="1000000", places=6).map(canonical)
LEVELS = ("take_profit_spec", "stop_loss_spec")


def value_of(name: str, annotation: Any) -> st.SearchStrategy[Any]:
    """JSON values that a field of this name and type can have."""
    bare = _bare(annotation)
    origin, arguments = get_origin(bare), get_args(bare)
    if origin is list:
        return st.lists(value_of(name, arguments[0]), max_size=2)
    if origin is tuple:
        return st.tuples(*(value_of(name, argument) for argument in arguments)).map(list)
    if origin is dict:
        return st.dictionaries(st.sampled_from(["BNB", "EUR"]), value_of(name, arguments[1]))
    if bare is Decimal:
        return AMOUNTS
    if bare is bool:
        return st.booleans()
    if bare is int:
        return st.integers(1, 10**9 if name in {"version", "based_on", "restores"} else 10**12)
    if bare is str:
        level = name in LEVELS or (name in {"take_profit", "stop_loss"})
        return st.sampled_from(["43000", "5%", "0.5%"] if level else ["main", "BTC/USDT", "a-1"])
    if issubclass(bare, Enum):
        return st.sampled_from([member.value for member in bare])
    if issubclass(bare, Frozen):
        return document_of(bare)
    raise TypeError(annotation)


def document_of(model: type[Frozen]) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects that *model* takes, optional fields left out now and then."""
    every, needed = {}, set()
    for name, field in model.model_fields.items():
        every[name] = value_of(name, field.annotation)
        if field.is_required():
            needed.add(name)
            if NoneType in get_args(field.annotation):
                every[name] = st.none() | every[name]
    return st.fixed_dictionaries(
        {name: every[name] for name in needed},
        optional={name: one for name, one in every.items() if name not in needed},
    )


def types_of(value: Any) -> Any:
    """The types of everything in *value*: Side.BUY equals "buy", and they are not the same."""
    if isinstance(value, Frozen):
        return type(value), {name: types_of(one) for name, one in vars(value).items()}
    if isinstance(value, list | tuple):
        return type(value), [types_of(one) for one in value]
    if isinstance(value, dict):
        return {name: types_of(one) for name, one in value.items()}
    return type(value), str(value)


def same(ours: Frozen, theirs: Frozen) -> None:
    assert ours == theirs
    assert types_of(ours) == types_of(theirs)


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_row_is_read_as_pydantic_reads_it(model: type[Frozen], data: st.DataObject) -> None:
    row = model.model_validate_json(orjson.dumps(data.draw(document_of(model))))
    written = row_json(row)
    same(maker(model)(orjson.loads(written)), model.model_validate_json(written))


@settings(max_examples=20, deadline=None)
@given(document=document_of(LedgerUpdated))
def test_an_update_is_read_as_pydantic_reads_it(document: dict[str, Any]) -> None:
    body = LedgerUpdated.model_validate_json(orjson.dumps(document)).body()
    same(update_of(body), LedgerUpdated.model_validate_json(body))


@settings(max_examples=15, deadline=None)
@given(document=document_of(LedgerSnapshot))
def test_a_snapshot_is_read_as_pydantic_reads_it(document: dict[str, Any]) -> None:
    body = LedgerSnapshot.model_validate_json(orjson.dumps(document)).body()
    same(snapshot_of(body), LedgerSnapshot.model_validate_json(body))


@settings(max_examples=15, deadline=None)
@given(document=document_of(LedgerUpdated), tables=st.frozensets(st.sampled_from(ROW_TABLES)))
def test_tables_that_were_not_asked_for_are_empty(document: dict[str, Any], tables: frozenset[str]) -> None:
    body = LedgerUpdated.model_validate_json(orjson.dumps(document)).body()
    whole, part = LedgerUpdated.model_validate_json(body), update_of(body, Tables(*tables))
    for name in ROW_TABLES:
        assert getattr(part, name) == (getattr(whole, name) if name in tables else [])
    assert (part.seq, part.kind, part.executors) == (whole.seq, whole.kind, whole.executors)


def is_exit(row: Mapping[str, Any]) -> bool:
    return bool(row["role"] == Role.EXIT)


@settings(max_examples=15, deadline=None)
@given(document=document_of(LedgerUpdated))
def test_of_a_table_only_the_rows_that_are_kept(document: dict[str, Any]) -> None:
    body = LedgerUpdated.model_validate_json(orjson.dumps(document)).body()
    whole, part = (
        LedgerUpdated.model_validate_json(body),
        update_of(body, Tables("positions", orders=is_exit)),
    )
    assert part.positions == whole.positions
    assert part.orders == [row for row in whole.orders if row.role is Role.EXIT]


UPDATE = {"id": "u-1", "at": 1, "seq": 1, "store_id": "s", "epoch": 1, "kind": "reserved"}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "no such kind"},
        {"surprise": 1},
        {"seq": None},
        {"positions": [{"position_id": "p"}]},
        {"positions": 7},
        {"orders": [None]},
        {"fills": [{"quantity": "many"}]},
    ],
    ids=repr,
)
def test_what_is_no_update_is_refused_as_pydantic_refuses_it(change: dict[str, Any]) -> None:
    document = {key: value for key, value in (UPDATE | change).items() if value is not None}
    with pytest.raises(ValidationError):
        update_of(orjson.dumps(document))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'"text"', b"null"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    for read in (update_of, snapshot_of):
        with pytest.raises(ValidationError):
            read(body)


def test_an_unknown_table_of_a_stranger_is_refused_even_where_tables_are_named() -> None:
    with pytest.raises(ValidationError):
        update_of(orjson.dumps(UPDATE | {"surprise": []}), Tables("positions"))


@settings(max_examples=10, deadline=None)
@given(document=document_of(LedgerSnapshot))
def test_a_view_holds_its_tables_and_no_others(document: dict[str, Any]) -> None:
    for number, order in enumerate(document.get("orders", ())):
        order["order_id"] = (
            f"o-{number}"  # a snapshot holds an order once; which of two a view keeps is no question
        )
    part = LedgerSnapshot.model_validate(document | {"part": 1, "parts": 1})
    part = part.evolve(checksum=snapshot_checksum([part]))
    whole, some = LedgerView(), LedgerView(Tables("positions", orders=is_exit))
    whole.load([part])
    some.load([part])
    assert (some.positions, some.seq) == (whole.positions, whole.seq)
    assert some.orders == {key: row for key, row in whole.orders.items() if row.role is Role.EXIT}
    assert not any((some.books, some.control, some.totals, some.quarantine, some.nav))
    assert some.executors == whole.executors
