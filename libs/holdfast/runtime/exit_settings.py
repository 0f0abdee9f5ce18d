"""`[exits]`: what positions get whose intents name nothing, and on which terms all other exits work.

`[exits."BTC/USDT"]` and `[account.NAME.exits]` hold the same keys and override them one by one. What the keys mean together is
checked by the domain (`domain.exit_policy`), whose complaints name them.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from holdfast.contracts.exit_terms import ExitTerms, TriggerPrice
from holdfast.contracts.money import Amount, NotNegative, Positive, canonical
from holdfast.domain.exit_policy import ExitPolicy, PolicyTable
from holdfast.runtime.section import Off, Percent, Section, Share, or_none, overrides

if TYPE_CHECKING:
    from holdfast.runtime.settings import Settings


Confidence = Annotated[Positive, Field(le=1)]


def _rung(value: object) -> object:
    """A rung may be written `5:0.5`, too: at 5 %, half."""
    if isinstance(value, str) and ":" in value:
        at, _, fraction = value.partition(":")
        return {"at_pct": at.strip().removesuffix("%"), "fraction": fraction.strip()}
    return value


class RungSettings(Section):
    at_pct: Percent
    fraction: Annotated[Positive, Field(le=1)]


class TrailingSettings(Section):
    distance_pct: Percent | Off = Field(
        "off", description="The stop follows the best price at this distance, in percent of it; or off."
    )
    distance_atr: Positive | Off = Field(
        "off",
        description="... or at so many ATRs (Wilder, 14 candles of a minute), as the ATR was at the first tick that had one.",
    )
    activation_pct: Percent | Off = Field(
        "off",
        description="The trail begins when the price is this far ahead of the entry (>=), in percent; off: at once.",
    )
    activation_atr: Positive | Off = Field("off", description="... or so many ATRs ahead.")
    only_after_activation: bool = Field(
        False,
        description="Before the activation the stop stays; false: it follows at the stop-loss's own distance.",
    )


class ExitKeys(Section):
    """The keys that a symbol or an account may override."""

    stop_loss_pct: Percent = Field(
        Decimal(10), description="Stop-loss distance from the average entry price, in percent. Cannot be off."
    )
    take_profit_pct: Percent | Off = Field(
        Decimal(20),
        description="Take-profit distance from the average entry price, in percent; off only with a trail or max_hold_s.",
    )
    take_profit_ladder: list[Annotated[RungSettings, BeforeValidator(_rung)]] = Field(
        default_factory=list,
        description="Take-profit in rungs instead, like 5:0.5,10:0.5: at 5 % half, at 10 % the other half. At most 10.",
        max_length=10,
    )
    max_hold_s: Positive | Off = Field(
        "off", description="Longest time a position is held, in market seconds, or off."
    )
    basis: Literal["price", "margin"] = Field(
        "price", description="Percents are of the price move, or of the margin (divided by the leverage)."
    )
    trigger: TriggerPrice = Field(
        TriggerPrice.QUOTE,
        description="Price that fires: quote (long: bid, short: ask), last, or mark where the feed has one.",
    )
    liquidation_guard_pct: Share | Off = Field(
        Decimal(20),
        description="On margin: closed when the price is within this share of the way from liquidation back to entry, in percent.",
    )
    emergency_loss_pct: Percent | Off = Field(
        Decimal(20), description="A larger loss (>) closes whatever else is asked, in percent."
    )
    extraordinary_profit_pct: Percent | Off = Field(
        Decimal(50), description="A larger profit (>) is taken, in percent."
    )
    reversal_confidence: Confidence | Off = Field(
        Decimal("0.6"),
        description="A prediction against the position with more confidence (>) closes it, 0 to 1.",
    )
    roi: dict[str, Amount] = Field(
        default_factory=dict,
        description="Minutes since opening and the net profit in percent that is enough from then on: { 0 = 5, 60 = 2 }.",
    )
    signal: bool = Field(
        True, description="Whether a soft close is a reason to leave; a hard close always is."
    )
    stagnation_after_s: Positive | Off = Field(
        "off",
        description="A position this old whose price is still near its entry is closed, in market seconds.",
    )
    stagnation_band_pct: Percent = Field(
        Decimal("0.5"), description="... near: within this of the entry price, in percent."
    )
    ai_hold_confidence: Confidence | Off = Field(
        Decimal("0.7"),
        description="A prediction for the position with more confidence (>) holds soft exits back, 0 to 1.",
    )
    min_hold_s: Positive | Off = Field(
        Decimal(120), description="Soft exits wait until it has been held for so long, in market seconds."
    )
    min_loss_pct: Percent | Off = Field(
        Decimal("0.5"), description="A soft exit at a smaller net loss (<) waits, in percent."
    )
    breakeven_trigger_pct: Percent | Off = Field(
        "off",
        description="So far ahead (>=), the stop moves to where closing costs nothing, fees included; in percent.",
    )
    breakeven_buffer_pct: NotNegative = Field(Decimal(0), description="... and this much beyond, in percent.")


if TYPE_CHECKING:
    ExitOverrides = ExitKeys
else:
    TrailingOverrides = overrides(TrailingSettings, "TrailingOverrides")
    ExitOverrides = overrides(ExitKeys, "ExitOverrides", trailing=(TrailingOverrides | None, None))


class ExitSettings(ExitKeys):
    """The policy. Percents are of the price move unless `basis` says otherwise."""

    symbols: dict[str, ExitOverrides] = Field(
        default_factory=dict, description='Written as [exits."BTC/USDT"]: the same keys for one symbol.'
    )
    trailing: TrailingSettings = Field(default_factory=TrailingSettings)


def policy_table(settings: "Settings") -> PolicyTable:
    """All policies there are. Raises ValueError that names the table and the keys which contradict each other."""
    own, accounts = settings.exits, settings.account
    special: dict[tuple[str, str], ExitPolicy] = {}
    for symbol in own.symbols:
        special["", symbol] = _policy(settings, (own.symbols[symbol],), f'[exits."{symbol}"]', symbol)
    for name, account in accounts.items():
        if account.exits is None:
            continue
        special[name, ""] = _policy(settings, (account.exits,), f"[account.{name}.exits]")
        for symbol in own.symbols:
            both = (own.symbols[symbol], account.exits)
            special[name, symbol] = _policy(
                settings, both, f'[account.{name}.exits] with [exits."{symbol}"]', symbol
            )
    default = _policy(settings, (), "[exits]")
    for symbol in settings.instruments.keys() - own.symbols.keys():
        special["", symbol] = _policy(settings, (), "[exits]", symbol)
    return PolicyTable(default, special)


def _policy(settings: "Settings", tables: tuple[Any, ...], where: str, symbol: str = "") -> ExitPolicy:
    keys = settings.exits.model_dump(exclude={"symbols"})
    for table in tables:
        given = table.model_dump(exclude_none=True)
        _give_way(keys, given)
        keys |= given | {"trailing": keys["trailing"] | given.get("trailing", {})}
    try:
        return _made(keys, settings, symbol)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


_PAIRS = (("distance_pct", "distance_atr"), ("activation_pct", "activation_atr"))


def _give_way(keys: dict[str, Any], given: Mapping[str, Any]) -> None:
    """What an override puts in the place of: a ladder of a single profit, a percent of an ATR, and the other way round."""
    if given.get("take_profit_pct") is not None and "take_profit_ladder" not in given:
        keys["take_profit_ladder"] = []
    trailing = given.get("trailing", {})
    for pair in _PAIRS:
        for one, other in (pair, pair[::-1]):
            if trailing.get(one, "off") != "off" and other not in trailing:
                keys["trailing"] = keys["trailing"] | {other: "off"}


def _made(keys: dict[str, Any], settings: "Settings", symbol: str) -> ExitPolicy:
    ladder = ",".join(
        f"{canonical(r['at_pct'])}%:{canonical(r['fraction'])}" for r in keys["take_profit_ladder"]
    )
    return ExitPolicy(
        stop_loss_pct=keys["stop_loss_pct"],
        take_profit_pct=or_none(keys["take_profit_pct"]),
        max_hold_s=or_none(keys["max_hold_s"]),
        ladder=ladder or None,
        terms=ExitTerms(**dict(_terms(keys, settings, symbol))),
        on_margin=keys["basis"] == "margin",
    )


_PLAIN = (
    "liquidation_guard_pct", "emergency_loss_pct", "extraordinary_profit_pct", "reversal_confidence", "signal", "stagnation_after_s",
    "stagnation_band_pct", "ai_hold_confidence", "min_hold_s", "min_loss_pct", "breakeven_trigger_pct", "breakeven_buffer_pct", "trigger",
)  # fmt: skip


def _terms(keys: dict[str, Any], settings: "Settings", symbol: str) -> Iterator[tuple[str, Any]]:
    for key in _PLAIN:
        yield key, or_none(keys[key])
    trailing = keys["trailing"]
    for pair in _PAIRS:
        if all(trailing[one] != "off" for one in pair):
            raise ValueError(f"trailing.{pair[0]} and trailing.{pair[1]}: only one of the two")
    for key, value in trailing.items():
        yield f"trailing_{key}", or_none(value)
    yield "roi", tuple(sorted((_minutes(minutes), profit) for minutes, profit in keys["roi"].items()))
    paper = settings.paper
    yield "leverage", paper.leverage
    yield "maintenance_pct", paper.maintenance_pct
    yield "fee_pct", paper.fee_pct
    instrument = settings.instruments.get(symbol)
    if instrument is not None:
        yield "quantity_step", instrument.quantity_step
        yield "min_quantity", instrument.min_quantity
        yield "min_notional", instrument.min_notional


def _minutes(text: str) -> Decimal:
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise ValueError(f"roi: {text!r} is not a number of minutes")
    return Decimal(text)


# -- the file, and complaints about it --------------------------------------------------------------------------------


def gathered(document: dict[str, Any]) -> dict[str, Any]:
    """The document with `[exits."BTC/USDT"]` where the settings have it: in the table of symbols."""
    exits = document.get("exits")
    if not isinstance(exits, dict):
        return document
    symbols = {name: table for name, table in exits.items() if "/" in name}
    rest = {name: value for name, value in exits.items() if name not in symbols}
    return document | {"exits": rest | ({"symbols": symbols} if symbols else {})}


def inner_key(rest: tuple[str, ...], inside: Mapping[str, str]) -> str:
    """The key inside a table: what follows it in *rest* is pydantic's own (which part of a union objects)."""
    for length in range(len(rest), 0, -1):
        if (inner := ".".join(rest[:length])) in inside:
            return inner
    return ".".join(rest)


def contradiction(text: str, given: Mapping[str, Any]) -> str:
    """Keys that do not go together: the text names them, this adds where each of them stands."""
    places = [
        place
        for key, one in given.items()
        for name, place in ((key, one.source), *one.inside.items())
        if key.startswith(("exits.", "account")) and name.rpartition(".")[2] in re.split(r"[^a-z_]+", text)
    ]
    return "; ".join(dict.fromkeys(places)) + (": " if places else "") + text
