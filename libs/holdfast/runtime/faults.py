"""How things fail, and what each kind of failure means for the service that meets it.

`Transient`: the store or the bus is full, busy or gone. The batch is kept, waited with, and never counted against a
message. `Terminal`: this service cannot keep its promise; it stops with a non-zero exit code and says why.
Everything else that a handler raises is held against the message that caused it.
"""

EXIT_TERMINAL = 70
"""Something Holdfast promises cannot be kept (sysexits: internal software error)."""
EXIT_UNAVAILABLE = 69
"""The store or the bus stayed unusable for longer than bus.store_patience_s."""
EXIT_HELD = 73
"""Another process holds what this one needs: the store, an account, a directory."""
EXIT_CONFIG = 78
"""The configuration is wrong."""


class Transient(Exception):  # noqa: N818 - named for what it means to the reader of an except clause
    """Try the same again later; nothing was changed."""


class Terminal(Exception):  # noqa: N818
    """Stop this service."""

    def __init__(self, text: str, code: int = EXIT_TERMINAL) -> None:
        super().__init__(text)
        self.code = code
