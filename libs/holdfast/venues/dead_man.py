"""After how much silence each live account's exchange cancels the entries that rest there: the settings, and what it can do."""

from collections.abc import Mapping

from holdfast.runtime.live_settings import AccountSettings, live_accounts
from holdfast.runtime.settings import Settings
from holdfast.venues.capabilities import CAPABILITIES, Switch

DEFAULT_S = 60
"""Where the switch is for one symbol. One for a whole account cancels what others placed there as well, so somebody has to ask for it."""


def switch_s(one: AccountSettings) -> int:
    """As set; where it is not: the default, or 0, off."""
    if one.dead_man_s is not None:
        return one.dead_man_s
    return DEFAULT_S if _kind(one.exchange) is Switch.SYMBOL else 0


def _kind(exchange: str) -> Switch:
    found = CAPABILITIES.get(exchange)
    return Switch.NONE if found is None else found.switch


def refusal_of_switch(name: str, one: AccountSettings) -> str | None:
    """Why the account cannot have what it says; None: it can."""
    if not switch_s(one) or _kind(one.exchange) is not Switch.NONE:
        return None
    able = ", ".join(exchange for exchange, found in CAPABILITIES.items() if found.switch is not Switch.NONE)
    return f"[account.{name}] dead_man_s = {one.dead_man_s}: no dead man's switch of {one.exchange} is used here, only those of {able}; take 0"


def switches_of(settings: Settings) -> Mapping[str, int]:
    """Of each live account that has one, in ms."""
    return {name: switch_s(one) * 1000 for name, one in live_accounts(settings).items() if switch_s(one)}
