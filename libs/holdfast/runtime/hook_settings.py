"""Alerts from outside that become intents: the sections `hook_door` and `hooks.NAME` of the settings."""

from decimal import Decimal
from typing import Self

from pydantic import Field, field_validator, model_validator

from holdfast.contracts.money import Positive
from holdfast.domain.hooks import template_problem
from holdfast.domain.instruments import canonical
from holdfast.runtime.section import Section


class HookDoorSettings(Section):
    """Where hooks are listened for; only when there is one."""

    host: str = Field(
        "127.0.0.1", description="Address it listens on; put a proxy with TLS before anything but loopback."
    )
    port: int = Field(8490, ge=1, le=65535, description="TCP port.")
    most_wrong_per_minute: int = Field(
        30,
        ge=1,
        description="Deliveries without the right secret that are told what is wrong each minute, of all hooks.",
    )


class HookSettings(Section):
    """One hook: POST /hooks/NAME. Its secret is in a file of its own: see `holdfast hooks secret NAME`."""

    symbols: list[str] = Field(min_length=1, description="What it may trade.")
    intent: dict[str, str] = Field(
        description="Template of the intent: its fields, with {field} for a field of the delivered JSON."
    )
    close_when: dict[str, str] = Field(
        default_factory=dict,
        description="Field of the delivered JSON = value: then it closes the symbol instead.",
    )
    time_field: str = Field("time", description="Field that holds the alert's own time, ISO 8601 or ms.")
    max_age_s: float = Field(60.0, gt=0, le=3600, description="Alerts older than this are refused, in s.")
    rate_per_minute: Positive = Field(Decimal(30), description="Most alerts a minute.")

    @field_validator("symbols")
    @classmethod
    def _canonical(cls, symbols: list[str]) -> list[str]:
        return [canonical(symbol) for symbol in symbols]

    @model_validator(mode="after")
    def _template_makes_sense(self) -> Self:
        problem = template_problem(self.intent)
        if problem is not None:
            raise ValueError(f"intent: {problem}")
        return self
