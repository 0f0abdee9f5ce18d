"""`[limits]`: how much may be opened, and which rules of the portfolio stop entries. No limit and no rule ever stops an exit.

`[account.NAME.limits]` holds those keys that are about one account, and overrides them one by one.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from holdfast.contracts.money import Positive
from holdfast.domain.limits import Limits
from holdfast.domain.portfolio_rules import Portfolio, PortfolioRules
from holdfast.runtime.section import Off, Percent, Section, Share, or_none, overrides

if TYPE_CHECKING:
    from holdfast.runtime.settings import Settings


class AccountLimitKeys(Section):
    """The keys that an account may override."""

    max_symbol_notional: Positive = Field(
        Decimal(10_000_000), description="Per book: position + live entries, in quote currency."
    )
    max_account_notional: Positive = Field(
        Decimal(100_000_000), description="Per account, in quote currency."
    )
    max_orders_per_minute: int = Field(
        1_000_000, ge=1, description="Entry orders reserved per account and wall minute."
    )
    cooldown_s: Positive | Off = Field(
        "off",
        description="After a position closed at a loss its book takes no entry for so long, in wall seconds; or off.",
    )
    loss_streak: Annotated[int, Field(ge=1)] | Off = Field(
        "off", description="After so many losing trades of the account in a row its entries pause; or off."
    )
    loss_streak_pause_s: Positive = Field(
        Decimal(3600), description="... for so long from the last of them, in wall seconds."
    )
    max_daily_loss: Positive | Off = Field(
        "off",
        description="When NAV fell further (>) since the UTC day began, unrealised included, entries wait for the next; in ledger.base_currency, or off.",
    )
    max_daily_loss_pct: Share | Off = Field(
        "off", description="The same in percent of the NAV that the day began with."
    )
    max_drawdown_pct: Share | Off = Field(
        "off",
        description="When NAV lies further (>) below its high-water mark, in percent of that, entries wait until a person resumes; or off.",
    )
    shrink_drawdown_pct: Share | Off = Field(
        "off",
        description="Notional limits shrink in a straight line with the drawdown, and reach their floor at this one, in percent; or off.",
    )
    shrink_volatility_pct: Percent | Off = Field(
        "off",
        description="NAV's volatility of a day, in percent, beyond which notional limits shrink: at twice this they are half; or off.",
    )
    shrink_floor_pct: Share = Field(
        Decimal(20), description="No shrinking takes a limit below this share of it, in percent."
    )


if TYPE_CHECKING:
    LimitOverrides = AccountLimitKeys
else:
    LimitOverrides = overrides(AccountLimitKeys, "LimitOverrides")


class LimitSettings(AccountLimitKeys):
    """Those keys, and the ones that are about all accounts together."""

    max_positions: int = Field(
        1000,
        ge=1,
        description="Books that hold a position, a live entry or an UNKNOWN order, over all accounts.",
    )
    max_total_notional: Positive = Field(
        Decimal(1_000_000_000), description="Over all accounts, in quote currency."
    )
    max_total_long_notional: Positive = Field(
        Decimal(1_000_000_000), description="Of all long positions and entries, over all accounts."
    )
    max_total_short_notional: Positive = Field(
        Decimal(1_000_000_000), description="Of all short positions and entries, over all accounts."
    )
    max_total_daily_loss: Positive | Off = Field(
        "off", description="As max_daily_loss, of all accounts together."
    )
    max_total_daily_loss_pct: Share | Off = Field(
        "off", description="As max_daily_loss_pct, of all accounts together."
    )
    max_total_drawdown_pct: Share | Off = Field(
        "off", description="As max_drawdown_pct, of all accounts together."
    )
    max_nav_age_s: float = Field(
        10.0,
        gt=0,
        description="Where a rule that needs NAV is on, an entry needs one marked within this, in wall seconds.",
    )


def portfolio_of(settings: "Settings") -> Portfolio:
    """The rules of all accounts, as the domain takes them."""
    limits = settings.limits
    special: dict[str, PortfolioRules] = {}
    own: dict[str, Limits] = {}
    for name, account in settings.account.items():
        if account.limits is not None:
            merged = limits.model_copy(update=account.limits.model_dump(exclude_none=True))
            special[name], own[name] = _rules(merged), Limits.of(merged)
    total = PortfolioRules(
        of_all=True,
        max_daily_loss=or_none(limits.max_total_daily_loss),
        max_daily_loss_pct=or_none(limits.max_total_daily_loss_pct),
        max_drawdown_pct=or_none(limits.max_total_drawdown_pct),
        **_shrinking(limits),
    )
    return Portfolio(
        accounts=tuple(settings.accounts),
        total=total,
        default=_rules(limits),
        special=special,
        limits=own,
        max_nav_age_ms=int(limits.max_nav_age_s * 1000),
    )


def _rules(limits: AccountLimitKeys) -> PortfolioRules:
    return PortfolioRules(
        cooldown_ms=_ms(or_none(limits.cooldown_s)),
        loss_streak=or_none(limits.loss_streak),
        loss_streak_pause_ms=int(limits.loss_streak_pause_s * 1000),
        max_daily_loss=or_none(limits.max_daily_loss),
        max_daily_loss_pct=or_none(limits.max_daily_loss_pct),
        max_drawdown_pct=or_none(limits.max_drawdown_pct),
        **_shrinking(limits),
    )


def _shrinking(limits: AccountLimitKeys) -> Mapping[str, Any]:
    keys = ("shrink_drawdown_pct", "shrink_volatility_pct", "shrink_floor_pct")
    return {key: or_none(getattr(limits, key)) for key in keys}


def _ms(seconds: Decimal | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
