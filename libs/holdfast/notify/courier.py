"""Delivers one text to many addresses (Apprise URLs: Telegram, Discord, e-mail, webhooks, a hundred more).

Every address is tried by itself, so that one which fails holds nobody else up, and it is known which one it was. Apprise
blocks, and swallows the reason of a failure into its log: it runs in a thread, and the log's last word becomes the reason.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

import apprise

from holdfast.runtime.faults import EXIT_CONFIG, Terminal


class Courier(Protocol):
    async def deliver(self, title: str, text: str, *, critical: bool) -> list[str]:
        """Where it could not be delivered, and why; empty: everywhere it could."""
        ...


class Apprise:
    """See the module. *urls* are checked when it is made: a wrong one raises Terminal, which names its place, not its secret."""

    def __init__(self, urls: Sequence[str], setting: str) -> None:
        self._targets = [_target(url, f"{setting}[{number}]") for number, url in enumerate(urls)]

    def __len__(self) -> int:
        return len(self._targets)

    async def deliver(self, title: str, text: str, *, critical: bool) -> list[str]:
        kind = apprise.NotifyType.FAILURE if critical else apprise.NotifyType.WARNING
        results = await asyncio.gather(
            *(asyncio.to_thread(_send, target, title, text, kind) for target in self._targets)
        )
        return [failure for failure in results if failure]


def _target(url: str, where: str) -> apprise.NotifyBase:
    made = apprise.Apprise.instantiate(url)
    if made is None:
        scheme = url.partition("://")[0][:20] if "://" in url else "no scheme"
        raise Terminal(f"{where} is no address that Apprise knows ({scheme}://…)", EXIT_CONFIG)
    return made


def _send(target: apprise.NotifyBase, title: str, text: str, kind: apprise.NotifyType) -> str:
    heard = _Heard()
    logger = logging.getLogger("apprise")
    logger.addHandler(heard)
    try:
        if target.notify(body=text, title=title, notify_type=kind):
            return ""
        why = heard.last or "refused"
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the others must still be tried
        why = type(error).__name__
    finally:
        logger.removeHandler(heard)
    shown = str(target.url(privacy=True))  # type: ignore[no-untyped-call]
    return f"{shown.partition('?')[0][:200]}: {why[:200]}"


class _Heard(logging.Handler):
    """The last warning of Apprise's, without what follows the first line."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage().partition("\n")[0]
