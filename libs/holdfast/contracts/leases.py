"""Who may trade an account: an executor says which it takes over, and the ledger decides."""

from typing import Annotated

from pydantic import Field

from holdfast.contracts.base import Identifier, Message, Name

MOST_ACCOUNTS = 1000
EPOCHS, PLACE, STANDBY, APART = "epochs", "place", "standby", "apart"
"""What an executor's heartbeat says in its details: what it has, in which directory it holds the locks, what it waits for, and which
accounts have an executor of their own."""
Epoch = Annotated[int, Field(ge=1)]


class ExecutorClaim(Message):
    """An executor takes accounts over: from the update on that this causes, reservations of lower epochs are refused.

    All of them or none: each epoch must be higher than the account's. Whoever comes second with the same epochs gets nothing.
    """

    incarnation: Identifier
    epochs: dict[Name, Epoch] = Field(min_length=1, max_length=MOST_ACCOUNTS)
