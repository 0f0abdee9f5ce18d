"""Which intents are this executor's: one serves an account that is apart, another all the rest.

Each has a consumer group of its own, so each is given every intent, acknowledges what is not its own, and answers the rest. What names
no account, or one that nobody serves, is answered by the one that serves the rest; so is what is no intent, or forged.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from holdfast.bus.work import Decode, Handler
from holdfast.contracts.base import Unauthentic
from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.streams import Stream, group_of
from holdfast.contracts.wire import Ack, Entry, Outgoing
from holdfast.runtime.settings import Settings


class Share:
    """See the module."""

    def __init__(self, settings: Settings) -> None:
        self._account, self._apart = settings.executor.account, frozenset(settings.executor.apart)
        self.accounts = settings.served()
        self.group, self.instance = group_of(self._account), self._account or "0"

    def takes(self, entry: Entry) -> bool:
        """Whether we answer it."""
        intent = entry.message
        if isinstance(intent, OrderIntent):
            return intent.account == self._account if self._account else intent.account not in self._apart
        return not self._account

    def only(self, handler: Callable[[Sequence[Entry]], Awaitable[list[Outgoing]]]) -> Handler:
        """*handler* for what is ours; the rest is acknowledged."""
        if not self._apart:
            return handler

        async def handle(batch: Sequence[Entry]) -> list[Outgoing]:
            ours = [entry for entry in batch if self.takes(entry)]
            done: list[Outgoing] = [
                Ack(entry.stream, entry.entry_id) for entry in batch if not self.takes(entry)
            ]
            return done + (await handler(ours) if ours else [])

        return handle

    def decoded(self, decode: Decode) -> Decode:
        """*decode*; what is forged is told by the one that serves the rest, once."""
        if not self._account:
            return decode

        def find(stream: Stream, entry_id: str, fields: Mapping[bytes, bytes]) -> Entry:
            entry = decode(stream, entry_id, fields)
            return Entry(stream, entry_id, entry.body) if isinstance(entry.error, Unauthentic) else entry

        return find
