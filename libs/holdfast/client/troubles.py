"""What can go wrong for a strategy, each with what to do about it in its text."""

from holdfast.contracts.messages import IntentResult


class Trouble(Exception):  # noqa: N818 - the family of what follows
    """Any of the below."""


class WrongIntent(Trouble, ValueError):  # noqa: N818 - reads as what is the case
    """The wish says something that cannot be meant. Nothing was sent."""


class Unreachable(Trouble, ConnectionError):  # noqa: N818 - reads as what is the case
    """No bus, or one that does not let us in, for longer than the client's patience."""


class Forbidden(Trouble, PermissionError):  # noqa: N818 - reads as what is the case
    """The bus has users, and this one may not do that."""


class NotConfirmed(Trouble, TimeoutError):  # noqa: N818 - reads as what is the case
    """No end within the time given; `latest` is the last answer so far, None for none. The wish may still be carried out:
    wait again, or ask again with the same key or id, which never makes a second order.
    """

    def __init__(self, text: str, latest: IntentResult | None = None) -> None:
        super().__init__(text)
        self.latest = latest
