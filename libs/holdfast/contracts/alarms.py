"""Messages about calling somebody: what is wrong and how far that has come, and that somebody has seen it."""

from typing import Annotated

from pydantic import Field

from holdfast.contracts.base import Identifier, Message, Millis, Text
from holdfast.contracts.codes import AlertEvent, AlertState


class Alert(Message):
    """Something that somebody is called for, each time its state changes. `key` says which; the last word on a key counts."""

    key: Identifier
    event: AlertEvent
    critical: bool = False
    state: AlertState
    text: Text
    opened_at: Millis
    """Wall time at which the trouble was first seen."""
    times: Annotated[int, Field(ge=0)] = 0
    """How often it has been said."""
    by: Text = ""
    """Who acknowledged it."""
    silent: bool = False
    """Kept and shown, not delivered."""
    undelivered: list[Text] = Field(default_factory=list, max_length=20)
    """Where it could not be delivered, and why; addresses without their secrets."""


class AlertAck(Message):
    """Somebody has seen the alert of this key; empty: all that are open."""

    key: str = Field(default="", max_length=128)
    by: Text
