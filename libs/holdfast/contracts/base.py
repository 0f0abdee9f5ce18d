"""What every message has: an id, the id of its cause, a correlation id that follows a trade from intent to exit, a time.

Messages are frozen facts. `extra="forbid"`: a field nobody knows is a mistake of the sender, and is said so.
"""

from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from holdfast.contracts.codes import Code

MAX_BODY_BYTES = 65_536
"""A larger body is refused before it is parsed."""

Identifier = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
"""Printable ASCII without spaces, at most 128."""
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._@:/-]+$")]
"""An account, an exchange, a strategy, a service."""
SymbolText = Annotated[str, Field(min_length=1, max_length=40)]
Text = Annotated[str, Field(max_length=1000)]
"""Untrusted prose: whoever shows it escapes it."""
Millis = Annotated[int, Field(ge=0, le=9_999_999_999_999)]
"""Milliseconds since 1970-01-01 UTC."""


class ContractViolation(ValueError):  # noqa: N818 - the pair is InvariantViolation and ContractViolation
    """Their message is wrong (InvariantViolation: we are). It goes to `dead.letter`, or is answered `invalid`.

    *field* names the first culprit; *text* is one sentence a person can act on.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}" if field else text)
        self.field, self.text = field, text

    @classmethod
    def of(cls, error: ValidationError) -> Self:
        """The first complaint of pydantic's, with the number of further ones."""
        first, more = error.errors(include_url=False, include_context=False)[0], error.error_count() - 1
        field = ".".join(str(part) for part in first["loc"]) or "body"
        text = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            text = "no such field"
        return cls(field, text + (f" (and {more} more)" if more else ""))


class Unauthentic(ContractViolation):
    """An entry whose sender is not who may send it. Nothing in it is believed, its id neither: it goes to `dead.letter`.

    *code* says why, as the first word of the text.
    """

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(code.value, text)
        self.code = code


class Frozen(BaseModel):
    """Base of messages and of the rows they carry."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="strings", validate_default=False, defer_build=True
    )

    def evolve(self, **changes: Any) -> Self:
        """A copy with *changes*; they are trusted, not validated."""
        made = self.__class__.__new__(self.__class__)
        _put(made, "__dict__", self.__dict__ | changes)
        _put(made, "__pydantic_fields_set__", _UNTRACKED)
        _put(made, "__pydantic_extra__", None)
        _put(made, "__pydantic_private__", None)
        return made

    @classmethod
    def trusted(cls, **values: Any) -> Self:
        """An instance of *values*, which must name every field; nothing is validated or filled in. For hot paths:
        what `model_construct` does, without looking at each field.
        """
        return cls.made_of(values)

    @classmethod
    def made_of(cls, values: dict[str, Any]) -> Self:
        """As `trusted`, of a dict that becomes the instance's own."""
        made = cls.__new__(cls)
        _put(made, "__dict__", values)
        _put(made, "__pydantic_fields_set__", _UNTRACKED)
        _put(made, "__pydantic_extra__", None)
        _put(made, "__pydantic_private__", None)
        return made

    def json_bytes(self) -> bytes:
        """As a row travels: JSON, fields at their default left out."""
        return self.__pydantic_serializer__.to_json(self, exclude_defaults=True)


_put = object.__setattr__
_UNTRACKED: set[str] = set()
"""Which fields were given is nobody's question here."""


class Message(Frozen):
    id: Identifier
    cause_id: Identifier | None = None
    correlation_id: Identifier | None = None
    at: Millis

    def body(self) -> bytes:
        """The one JSON document that goes on the wire."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)

    @classmethod
    def parse(cls, body: bytes | str) -> Self:
        """The message in *body*. Raises ContractViolation, which names the field."""
        if len(body) > MAX_BODY_BYTES:
            raise ContractViolation("body", f"{len(body)} bytes; at most {MAX_BODY_BYTES} are read")
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise ContractViolation.of(error) from None


def encode(document: Any) -> bytes:
    """JSON of plain values, keys sorted: the same document gives the same bytes, so it can be hashed."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
