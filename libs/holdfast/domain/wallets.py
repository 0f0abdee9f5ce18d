"""What exchanges say lies in the accounts' wallets, for people to see beside NAV. It comes in heartbeats: nothing is decided by it.

What NAV counts from is another matter: where `capital` does not say it, the ledger records it once (`nav.mark`, `began`).
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from holdfast.contracts.money import HUNDRED, canonical, mul, sub
from holdfast.domain.light import Beat, is_executor

WALLETS = "wallets"
"""Where an executor's heartbeat has them, in its details."""
MOST_OFF_PCT = Decimal(10)
"""So far `capital` may differ from the wallet before somebody is told, in percent of it: fees and a day's result are less."""


def written(amounts: Mapping[str, Decimal]) -> str:
    """*amounts* by account, for a heartbeat."""
    return ", ".join(f"{account} {canonical(amount)}" for account, amount in sorted(amounts.items()))


def wallets_in(beats: Mapping[str, Beat]) -> dict[str, Decimal]:
    """By account, from the heartbeats of the executors that serve."""
    found = dict[str, Decimal]()
    for name, beat in beats.items():
        if is_executor(name) and not beat.is_standby:
            for part in filter(None, beat.message.details.get(WALLETS, "").split(", ")):
                account, _, amount = part.partition(" ")
                try:
                    found[account] = Decimal(amount)
                except InvalidOperation:
                    continue
    return found


def is_far_off(capital: Decimal, wallet: Decimal) -> bool:
    """Whether an account cannot have begun with *capital* where it holds *wallet*."""
    return mul(sub(wallet, capital).copy_abs(), HUNDRED) > mul(capital, MOST_OFF_PCT)
