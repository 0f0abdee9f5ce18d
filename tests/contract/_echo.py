"""The smallest service there can be: it reads `control` as the ledger does and answers each entry once on `intent.result`.

It stands for any service in the tests of the bus itself. Handlers are made here, the bus does the rest.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from holdfast.bus.app import ServiceApp
from holdfast.contracts.codes import ResultStatus, TradingState
from holdfast.contracts.messages import Control, IntentResult
from holdfast.contracts.streams import CONTROL, INTENT_RESULT, LEDGER
from holdfast.contracts.wire import Entry, Out, Outgoing
from tests.contract._bus import settings_for

Handler = Callable[[Sequence[Entry]], Awaitable[list[Outgoing]]]


def order(number: int) -> Control:
    return Control(id=f"c-{number}", at=1, state=TradingState.ACTIVE, by=f"{number}")


def answer(entry: Entry) -> Out:
    """The same entry always gives the same message, id included."""
    name = entry.message.id if entry.message is not None else f"bad-{entry.entry_id}"
    return Out(INTENT_RESULT, IntentResult(id=f"a-{name}", at=1, intent_id=name, status=ResultStatus.FILLED))


class Echo:
    """Remembers the ids it was given, batch by batch, and answers them."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    @property
    def seen(self) -> list[str]:
        return [name for batch in self.batches for name in batch]

    async def __call__(self, entries: Sequence[Entry]) -> list[Outgoing]:
        self.batches.append([entry.message.id if entry.message else entry.entry_id for entry in entries])
        return [answer(entry) for entry in entries]


def service(url: str, directory: Path, handler: Handler, **work: Any) -> ServiceApp:
    """A ledger by name, with *handler* for `control`. `bus=` in *work* changes settings."""
    app = ServiceApp(LEDGER, settings_for(url, directory, bus=work.pop("bus", None)))
    app.work(CONTROL, handler, **work)
    return app
