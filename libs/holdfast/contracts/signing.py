"""Signed intents: HMAC-SHA256 by the producer, so that an intent is its producer's or it is nothing.

What is signed is the exact bytes of the body, behind three lines: the scheme, the stream as XADD names it, the key's id. So
a signature is worth nothing on another stream, under another key, or for a body that differs in one byte; and neither of the
three lines can hold a line break, so no two (stream, key, body) give the same text. The entry carries `key` and `sig` beside
`body`. Id, time and expiry are in the body: a signed intent must name its own id and `at`, so that it cannot be dated anew.

HMAC is symmetric: whoever verifies could also sign. Only the executor verifies.
"""

import hmac
import re
from dataclasses import dataclass

SCHEME = "holdfast:intent:1"
SECRET_BYTES = 32
_LINE = re.compile(r"(?P<id>[A-Za-z0-9][A-Za-z0-9._-]{0,63}) (?P<secret>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Key:
    """One secret of one producer, and the id by which an entry names it."""

    key_id: str
    secret: bytes

    def __repr__(self) -> str:
        """Never the secret: this may end in a log."""
        return f"Key({self.key_id!r})"

    def line(self) -> str:
        """As a line of a key file."""
        return f"{self.key_id} {self.secret.hex()}"

    def sign(self, stream: str, body: bytes) -> str:
        """The entry's `sig`: 64 hex digits. *stream* is the name that XADD uses, prefix included."""
        text = f"{SCHEME}\n{stream}\n{self.key_id}\n".encode() + body
        return hmac.digest(self.secret, text, "sha256").hex()

    def signed(self, stream: str, body: bytes, signature: bytes) -> bool:
        """Whether *signature* is this key's for *body* on *stream*; takes the same time whatever differs."""
        return hmac.compare_digest(self.sign(stream, body).encode(), signature)


def parse_keys(text: str) -> list[Key]:
    """The keys of a key file: one a line, id and 64 hex digits; the first one signs, all verify. `#` begins a comment.

    Raises ValueError, which names the line and never its content.
    """
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"line {number} is not KEY_ID and 64 hex digits")
        keys.append(Key(match["id"], bytes.fromhex(match["secret"])))
    if not keys:
        raise ValueError("it holds no key")
    return keys
