"""The door of the intent streams: who sent it, before anything in it is read; and then what that producer may do.

`decode` stands where entries are decoded. It checks the signature over the raw bytes, in constant time, and only then parses. An entry
that is not its sender's is no intent: nothing in it is believed, its id neither, or a forger could use up another's ids by having
them refused. So it goes to `dead.letter`, and the ledger never hears of it. Whoever is genuine gets an answer, `objection` included.

Replay is harmless by the ledger's table of intents: an id has one end, kept for ever, and the stream is part of what is signed.
"""

import logging
from collections.abc import Mapping

import orjson
from pydantic import TypeAdapter, ValidationError

from holdfast.contracts.base import MAX_BODY_BYTES, Identifier, Unauthentic
from holdfast.contracts.codes import Code
from holdfast.contracts.messages import OrderRequest, Refusal
from holdfast.contracts.signing import Key
from holdfast.contracts.streams import EXIT_SCANNER, SIGNED_BY, Stream
from holdfast.contracts.wire import Entry, decode
from holdfast.domain.producers import Allowances, Producer, objection, owner_of
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.keys import verifying_keys
from holdfast.runtime.secret_files import SecretRefused
from holdfast.runtime.settings import Settings

log = logging.getLogger("holdfast.executor")
LOOK_AGAIN_MS = 1_000
"""An unknown key makes the key files be read again, at most this often."""
_IDENTIFIER = TypeAdapter[str](Identifier)


class Gate:
    """See the module. The key files are read at `open`, and again when an unknown key is met."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._is_strict, self._prefix = settings.bus.require_signed, settings.bus.prefix
        self._keys: Mapping[str, tuple[str, Key]] = {}
        self._looked = 0
        self._allowances = Allowances()
        self.producers = {
            name: Producer(name, frozenset(one.symbols), one.max_notional, one.rate_per_s)
            for name, one in settings.producers.items()
        }

    async def open(self) -> None:
        """Read the key files. Raises Terminal where one cannot be used, or a producer has none."""
        try:
            self._keys = verifying_keys(self._settings)
        except SecretRefused as error:
            raise Terminal(str(error), EXIT_CONFIG) from None
        known = {name for name, _ in self._keys.values()}
        needed = set(self.producers) | ({EXIT_SCANNER} if self._is_strict else set())
        if lacking := sorted(needed - known):
            raise Terminal(f"no key for {', '.join(lacking)}: see `holdfast keys new NAME`", EXIT_CONFIG)

    # -- who sent it ------------------------------------------------------------------------------------------------------

    def decode(self, stream: Stream, entry_id: str, fields: Mapping[bytes, bytes]) -> Entry:
        """The entry; with an `Unauthentic` as its error where its sender is not who may send it."""
        body = fields.get(b"body", b"")
        try:
            producer = self._sender(stream, fields, body)
            entry = decode(stream, entry_id, fields, producer=producer)
            self._check_id(entry)
        except Unauthentic as error:
            return Entry(stream, entry_id, body, None, error)
        return entry

    def _sender(self, stream: Stream, fields: Mapping[bytes, bytes], body: bytes) -> str:
        """The producer who signed *body* for *stream*; empty for an unsigned entry where those are taken."""
        key_id, signature = fields.get(b"key", b""), fields.get(b"sig", b"")
        must = self._is_strict or stream.name not in SIGNED_BY
        if not key_id and not signature:
            if must:
                raise Unauthentic(Code.UNSIGNED, "no key and sig beside the body")
            return ""
        found = self._key(key_id.decode("ascii", "replace")[:100])
        if found is None:
            if must:
                raise Unauthentic(Code.UNKNOWN_KEY, f"{key_id[:64]!r}")
            return (
                ""  # unsigned ones are taken here: a signature that nobody can check is worth as much as none
            )
        producer, key = found
        if len(body) > MAX_BODY_BYTES or not key.signed(self._prefix + stream.name, body, signature):
            raise Unauthentic(Code.BAD_SIGNATURE, f"not {key.key_id}'s for this body on {stream.name}")
        if producer not in SIGNED_BY.get(stream.name, stream.producers):
            raise Unauthentic(Code.WRONG_STREAM, f"{producer} does not write to {stream.name}")
        return producer

    def _key(self, key_id: str) -> tuple[str, Key] | None:
        found = self._keys.get(key_id)
        now = self._clock.monotonic_ms()
        if found is None and (not self._looked or now - self._looked > LOOK_AGAIN_MS):
            self._looked = now
            try:
                self._keys = verifying_keys(self._settings)
            except SecretRefused as error:
                log.warning("the key files cannot be read again, the former keys stay in force: %s", error)
            found = self._keys.get(key_id)
        return found

    def _check_id(self, entry: Entry) -> None:
        """An id that begins with a producer's name is that producer's: nobody else may use it up."""
        given = entry.message.id if entry.message is not None else id_given(entry.body)
        if given is None:
            return
        owner = owner_of(given, self.producers)
        if entry.producer in self.producers and owner != entry.producer:
            raise Unauthentic(
                Code.FOREIGN_ID,
                f"ids of {entry.producer} begin with {entry.producer}: and not like {given[:64]}",
            )
        if owner and owner != entry.producer:
            raise Unauthentic(Code.FOREIGN_ID, f"only {owner} may use the id {given[:64]}")

    # -- what it may do ---------------------------------------------------------------------------------------------------

    def objection(self, producer: str, symbol: str, order: OrderRequest | None) -> Refusal | None:
        """Why the proposal is more than *producer* may have; None where nothing is against it."""
        limits = self.producers.get(producer)
        if limits is None:
            return None
        return objection(limits, symbol, order, self._allowances, self._clock.monotonic_ms())


def id_given(body: bytes) -> str | None:
    """The id in a body that may be no intent."""
    if len(body) > MAX_BODY_BYTES:
        return None
    try:
        document = orjson.loads(body)
        given = document.get("id") if isinstance(document, dict) else None
        return _IDENTIFIER.validate_python(given, strict=True)
    except (orjson.JSONDecodeError, ValidationError):
        return None
