"""Who is called, and for what: the section `alerts` of the settings."""

from decimal import Decimal
from typing import Literal

from pydantic import Field, SecretStr

from holdfast.contracts.money import Positive
from holdfast.runtime.section import Percent, Section

Told = Literal["on", "silent", "off"]
"""on: shown and delivered; silent: shown; off: not looked at."""


class AlertSettings(Section):
    """Who is called, and for what. Addresses hold secrets: they come from a file of their own or the environment."""

    urls: SecretStr = Field(
        SecretStr(""),
        description="Who is called: Apprise addresses like tgram://, discord://, mailto://, json://, spaces between. Secret.",
    )
    escalation_urls: SecretStr = Field(
        SecretStr(""),
        description="Who is called too when nobody has acknowledged a critical alert. Secret.",
    )
    escalate_after_s: float = Field(
        900.0, ge=1, description="A critical alert that nobody acknowledged for this long is escalated, in s."
    )
    repeat_after_s: float = Field(600.0, ge=1, description="An open alert is said again after this, in s.")
    calm_s: float = Field(10.0, ge=0, description="What has been well for this long has recovered, in s.")
    most_per_minute: int = Field(
        10, ge=1, description="More alerts than this a minute are shown, not delivered."
    )
    light: Told = Field(
        "on", description="The light is red or yellow for longer than its patience: on, silent or off."
    )
    blocked_rate: Told = Field("on", description="Too many refused intents a minute: on, silent or off.")
    unknown_order: Told = Field(
        "on", description="An order without a clear answer from the venue: on, silent or off."
    )
    quarantine: Told = Field(
        "on", description="Something at the venue that Holdfast did not open: on, silent or off."
    )
    dead_letter: Told = Field("on", description="An entry that no service could use: on, silent or off.")
    service_down: Told = Field("on", description="A service is silent: on, silent or off.")
    ledger_stopped: Told = Field("on", description="The ledger is silent: on, silent or off.")
    drawdown: Told = Field("on", description="NAV lies too far below its high-water mark: on, silent or off.")
    daily_loss: Told = Field(
        "on", description="Too much has been lost since midnight UTC: on, silent or off."
    )
    red_after_s: float = Field(
        5.0, ge=0, description="How long the light is red before somebody is called, in s."
    )
    yellow_after_s: float = Field(60.0, ge=0, description="... and how long it is yellow, in s.")
    unknown_after_s: float = Field(
        10.0, ge=0, description="... and how long an order has no clear answer, in s."
    )
    down_after_s: float = Field(
        3.0, ge=0, description="... and how long a service is down, in s after state.max_heartbeat_age_s."
    )
    blocked_per_minute: Positive = Field(
        Decimal(10), description="More refused intents a minute are too many."
    )
    blocked_window_s: float = Field(300.0, ge=10, description="Over how long they are counted, in s.")
    drawdown_pct: Percent = Field(
        Decimal(10), description="A larger drawdown of NAV is worth a call, in percent."
    )
    daily_loss_pct: Percent = Field(
        Decimal(5),
        description="A larger loss since midnight UTC, unrealised included, is worth a call, in percent of NAV.",
    )
