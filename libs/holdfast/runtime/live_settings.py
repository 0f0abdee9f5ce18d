"""Real money: what an account needs before it may trade any, and why it may not. Paper is the default, in every doubt.

Live takes two explicit settings in two places, `mode = "live"` in the account's section of holdfast.toml and HOLDFAST_LIVE=yes
in the environment, and limits that somebody has set by hand. What is missing is said all at once, each by its name.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from holdfast.contracts.codes import Kind
from holdfast.contracts.money import Positive
from holdfast.domain.instruments import canonical
from holdfast.domain.valuation import Capital
from holdfast.runtime.exit_settings import ExitOverrides
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.limit_settings import LimitOverrides
from holdfast.runtime.secret_files import SecretRefused, read_secret
from holdfast.runtime.section import Section

if TYPE_CHECKING:
    from holdfast.runtime.settings import Settings

PAPER = "paper"
LEAST_SWITCH_S = 10
SIMULATED = r"^(https?://(127\.0\.0\.1|localhost|venue-sim(-[a-z0-9]+)?)(:\d+)?)?$"
"""Where a simulated venue may be (`venue-sim`, or `venue-sim-` and a word: containers), or nothing: keys of an exchange never go anywhere else."""


class AccountSettings(Section):
    """What one account has of its own. Most keys are for `mode = "live"`."""

    exits: ExitOverrides | None = Field(None, description="The keys of [exits] for one account.")
    limits: LimitOverrides | None = Field(None, description="Keys of [limits] for one account.")
    mode: Literal["paper", "live"] = Field(
        "paper", description="live trades real money, with HOLDFAST_LIVE=yes."
    )
    exchange: str = Field(PAPER, description="Live: the exchange's name in ccxt, as intents name it.")
    symbols: list[str] = Field(
        default_factory=list, description="Live: what the account trades, and nothing else."
    )
    max_notional: Positive | None = Field(
        None, description="Live: most that positions and live entries may come to, in quote currency."
    )
    daily_loss: Positive | None = Field(
        None,
        description="Live: entries stop for the UTC day when this is lost, open positions included, in settlement currency.",
    )
    capital: Positive | None = Field(
        None,
        description="What the account began with, in ledger.base_currency: NAV counts from it. Empty: live what its wallet holds at the first start, on paper ledger.capital.",
    )
    leverage: int | None = Field(
        None, ge=1, le=125, description="Live: set at the exchange at start; empty leaves it as it is."
    )
    key_file: str = Field("", description="Live: file of the API key, mode 0600.")
    secret_file: str = Field("", description="Live: file of its secret, mode 0600.")
    password_file: str = Field("", description="Live: file of its passphrase, where the exchange has one.")
    unsafe_venue: bool = Field(
        False,
        description="Live: trade where Holdfast was never tried, or cannot look up orders by its own ids.",
    )
    url: str = Field(
        "",
        pattern=SIMULATED,
        description="Live: a simulated venue instead of the exchange.",
    )
    protect: Literal["venue", "scanner", "both"] | None = Field(
        None,
        description="Live: who watches the stop-loss; empty: both where a stop can rest at the exchange (on spot: venue), else the scanner.",
    )
    protect_order: Literal["market", "limit"] = Field(
        "market", description="Live: what a stop at the exchange becomes when it is triggered."
    )
    protect_limit_pct: Positive = Field(
        Decimal(1),
        lt=100,
        description="Live: how much worse than its stop a stop-limit may fill, in percent.",
    )
    protect_step_pct: Positive = Field(
        Decimal("0.1"),
        lt=100,
        description="Live: a stop at the exchange is replaced when the stop-loss has moved so far, in percent of its price.",
    )
    protect_every_s: float = Field(
        5, ge=1, le=3600, description="Live: least time between two such replacements, in s."
    )
    escalate_after_s: float = Field(
        5,
        ge=1,
        le=600,
        description='Live: a triggered stop that has not filled becomes a market exit; protect = "venue": so long the scanner waits for it.',
    )
    dead_man_s: int | None = Field(
        None,
        ge=0,
        le=3600,
        description="Live: after so many s without a word from the executor the exchange cancels entries that rest there; 0: never; empty: 60 where it can be told so for one symbol, else 0.",
    )
    adopt: list[str] = Field(
        default_factory=list,
        description="Live: symbols on which positions that others open are taken in at once, with exits from policy.",
    )
    flatten: list[str] = Field(
        default_factory=list,
        description="Live: symbols on which positions that others open are taken in and closed at market, where nothing of ours is held.",
    )
    answer_ms: int = Field(
        3_000, ge=100, le=60_000, description="Live: a send without an answer for so long is unknown, in ms."
    )

    @field_validator("dead_man_s")
    @classmethod
    def _patient(cls, dead_man_s: int | None) -> int | None:
        if dead_man_s is not None and 0 < dead_man_s < LEAST_SWITCH_S:
            raise ValueError(f"0, or at least {LEAST_SWITCH_S} s: a slow answer is no death")
        return dead_man_s

    @field_validator("symbols", "adopt", "flatten")
    @classmethod
    def _canonical(cls, symbols: list[str]) -> list[str]:
        return [canonical(symbol) for symbol in symbols]


def capital_of(settings: "Settings") -> Capital:
    """What each account began with, as the domain takes it. Of a live one that does not say it, the exchange does."""
    own = {name: one.capital for name, one in settings.account.items() if one.capital is not None}
    unsaid = frozenset() if settings.dry_run else frozenset(meant_live(settings)) - own.keys()
    return Capital(settings.ledger.capital, own, unsaid)


def live_accounts(settings: "Settings") -> dict[str, AccountSettings]:
    """The accounts that trade real money; none under DRY_RUN."""
    return meant_live(settings) if settings.live and not settings.dry_run else {}


def meant_live(settings: "Settings") -> dict[str, AccountSettings]:
    """The accounts whose mode is live, whether or not they may trade now."""
    return {name: settings.account[name] for name in settings.accounts if _is_live(settings, name)}


def patience_of(settings: "Settings") -> dict[tuple[str, Kind], int]:
    """Where the venue comes first: so long, ms, the scanner gives a stop that rests there before its own exit. By account and kind:
    on spot it does so where nothing else is set.
    """
    return {
        (name, kind): int(one.escalate_after_s * 1000)
        for name, one in live_accounts(settings).items()
        for kind in Kind
        if one.protect == "venue" or (one.protect is None and kind is Kind.SPOT)
    }


def mode_of(settings: "Settings") -> str:
    """For people: PAPER, or LIVE and where."""
    live = live_accounts(settings)
    if not live:
        return "PAPER"
    return "LIVE, real money: " + ", ".join(f"{name} at {one.exchange}" for name, one in live.items())


def check_live(settings: "Settings") -> None:
    """Raises ValueError with everything that is wrong with the accounts meant to be live."""
    meant = [name for name, one in settings.account.items() if one.mode == "live"]
    wrong = [text for name in meant for text in _wrong(settings, name)]
    wrong += [
        f"[account.{name}] dead_man_s = {one.dead_man_s}: on paper nothing rests at an exchange; take 0"
        for name, one in settings.account.items()
        if one.mode != "live" and one.dead_man_s
    ]
    wrong += [
        f'[account.{name}] protect = "{one.protect}": on paper no stop rests at a venue; take "scanner"'
        for name, one in settings.account.items()
        if one.mode != "live" and one.protect not in {None, "scanner"}
    ]
    if wrong:
        raise ValueError("; ".join(wrong))


def check_switch(settings: "Settings") -> None:
    """Raises Terminal (78) where one of the two settings is there without the other. Asked by what starts trading, and by nothing
    else: `holdfast flatten` from another terminal must not fail for a variable.
    """
    meant = list(meant_live(settings))
    if settings.live and not meant:
        raise Terminal('HOLDFAST_LIVE is set, but no account has mode = "live" ([account.NAME])', EXIT_CONFIG)
    if meant and not settings.live and not settings.dry_run:
        raise Terminal(
            f'[account.{meant[0]}] has mode = "live", but HOLDFAST_LIVE is not yes in the environment; both are needed to trade real money',
            EXIT_CONFIG,
        )


def _is_live(settings: "Settings", name: str) -> bool:
    one = settings.account.get(name)
    return one is not None and one.mode == "live"


def _wrong(settings: "Settings", name: str) -> Iterator[str]:
    one, section = settings.account[name], f"[account.{name}]"
    if name not in settings.accounts:
        yield f'{section} has mode = "live", but accounts does not list {name!r}'
    if one.exchange == PAPER:
        yield f"{section} exchange: name the exchange, like binanceusdm"
    if not one.symbols:
        yield f"{section} symbols: list what this account trades"
    for setting in ("adopt", "flatten"):
        if apart := [symbol for symbol in getattr(one, setting) if symbol not in one.symbols]:
            yield f"{section} {setting}: {', '.join(apart)} not among the symbols that this account trades"
    if both := [symbol for symbol in one.adopt if symbol in one.flatten]:
        yield f"{section} adopt, flatten: {', '.join(both)} cannot be kept and closed"
    if one.max_notional is None:
        yield f"{section} max_notional: set the most that positions and entries may come to; there is no default for real money"
    if one.daily_loss is None:
        yield f"{section} daily_loss: set the loss after which a day's entries end; there is no default for real money"
    if not one.key_file:
        yield f"{section} key_file: name the file of the API key"
    if not one.secret_file:
        yield f"{section} secret_file: name the file of the API key's secret"


def secrets_of(name: str, one: AccountSettings) -> tuple[str, str, str]:
    """Key, secret and passphrase from their files. Raises Terminal (78), which names the setting and never what is in the file."""
    found = []
    for setting in ("key_file", "secret_file", "password_file"):
        path = getattr(one, setting)
        if not path:
            found.append("")
            continue
        try:
            found.append(read_secret(Path(path)))
        except SecretRefused as error:
            raise Terminal(f"[account.{name}] {setting}: {error}", EXIT_CONFIG) from None
    return found[0], found[1], found[2]
