"""`[executor]`: how the executor sends and compares, and how accounts are shared among executors."""

from collections.abc import Sequence

from pydantic import Field

from holdfast.runtime.section import Section


class ExecutorSettings(Section):
    send_within_ms: int = Field(
        2000,
        ge=50,
        le=60_000,
        description="A reservation is not sent later than this after it was asked for, in ms.",
    )
    entry_batch: int = Field(
        25,
        ge=1,
        le=1000,
        description="Most entries in one round; at most two rounds are outstanding, so a burst never stands before a stop.",
    )
    resend_after_ms: int = Field(
        2000,
        ge=100,
        description="Fills, statuses and reservations that the ledger has not shown are published again after this, in ms.",
    )
    reconcile_every_s: float = Field(
        60.0,
        ge=1,
        description="How often the venue's trades, orders and positions are read and compared, in s.",
    )
    max_tick_age_s: float = Field(
        60.0, gt=0, description="An entry needs a price younger than this, in wall seconds."
    )
    apart: list[str] = Field(
        default_factory=list,
        description="Accounts with an executor process of their own, which knows no other account's keys.",
    )
    account: str = Field(
        "",
        description="The one of `apart` that this process serves; empty: all other accounts. `holdfast run executor --account NAME` sets it.",
    )
    lease_s: float = Field(
        5.0,
        ge=3,
        le=60,
        description="An executor that waits beside another, on another machine, takes over after so long a silence, in s.",
    )


def served(accounts: Sequence[str], executor: ExecutorSettings) -> list[str]:
    """The accounts of the executor that has these settings."""
    return (
        [executor.account] if executor.account else [name for name in accounts if name not in executor.apart]
    )


def check_shares(accounts: Sequence[str], executor: ExecutorSettings) -> None:
    """Raises ValueError where an account would have no executor, or an executor no account."""
    if unknown := [name for name in executor.apart if name not in accounts]:
        raise ValueError(f"executor.apart: accounts does not list {', '.join(unknown)}")
    if set(executor.apart) >= set(accounts):
        raise ValueError("executor.apart: leave one account to the executor that serves all others")
    if executor.account and executor.account not in executor.apart:
        raise ValueError(f"executor.account: executor.apart does not list {executor.account!r}")
