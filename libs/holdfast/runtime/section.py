"""What sections of the settings are made of: their base, and the kinds of value that several of them use."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from holdfast.contracts.money import Positive


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


Percent = Annotated[Positive, Field(le=1000)]
Share = Annotated[Positive, Field(le=100)]
Off = Literal["off"]


def overrides(model: type[BaseModel], name: str, **more: Any) -> Any:
    """A section of the same keys, each of which may be left out."""
    fields: dict[str, Any] = {}
    for key, field in model.model_fields.items():
        metadata = tuple(field.metadata)
        kind: Any = Annotated[(field.annotation, *metadata)] if metadata else field.annotation
        fields[key] = (kind | None, None)
    return create_model(name, __base__=Section, **(fields | more))


def or_none(value: Any) -> Any:
    """A setting's value as the domain takes it: None is off."""
    return None if value == "off" else value
