"""The bus's users: one per service, per producer, for people and for looking; what each may do follows from the table of streams.

A user may write where the table names it as a producer, read work where it is a consumer, and read the views it follows. Beyond that
stands below what the code calls, and nothing else: no key but streams, no script, no CONFIG, no group moved or removed. Passwords
stand in the file as SHA-256, so the file itself is no secret.

What no ACL can see is arguments: who may XADD may also empty that stream (MAXLEN 0) or use up its ids. So nobody outside Holdfast
writes to a stream that somebody else writes to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from holdfast.contracts.streams import (
    ALERTS,
    ANYONE,
    CLI,
    DASHBOARD,
    DEMO,
    EVERYONE,
    EXECUTOR,
    HEARTBEAT,
    INTENT_RESULT,
    LEDGER,
    LEDGER_SNAPSHOT,
    LEDGER_UPDATED,
    OPTIONAL,
    ORDER_BLOCKED,
    SERVICES,
    SIGNED_BY,
    STATE_PUBLISHER,
    Reading,
    Stream,
    intent_stream,
    with_producers,
)

VIEWER, ADMIN = "viewer", "admin"
_ALWAYS = "-@all +ping +hello +auth +client|setname"
_ASK = "+info +multi +exec"
_LOOK = "+xread +xrange +xrevrange"
_LOOK_CLOSELY = f"{_LOOK} +xlen +xinfo|stream +xinfo|groups"
_WORK = "+xreadgroup +xack +xclaim +xpending +xgroup|create +xinfo|groups +xrange"
_TRIM = "+xtrim +xlen +xpending +xinfo|groups"


@dataclass(frozen=True, slots=True)
class User:
    """One user: its name and its rules, as an ACL file states them."""

    name: str
    rules: str

    def line(self, password: str) -> str:
        return f"user {self.name} reset on #{sha256(password.encode()).hexdigest()} {self.rules}"


def users(producers: Iterable[str], prefix: str = "") -> list[User]:
    """Every user of an installation with these *producers*."""
    producers = sorted(producers)
    every = with_producers(producers)
    people = [
        User(
            CLI,
            " ".join(
                [
                    _ALWAYS,
                    _ASK,
                    _writing(CLI, every, prefix),
                    f"(%R~{prefix}* {_LOOK_CLOSELY})",
                    _republishing(prefix),
                ]
            ),
        ),
        User(VIEWER, f"{_ALWAYS} (%R~{prefix}* {_LOOK_CLOSELY})"),
        User(ADMIN, "~* &* +@all"),
    ]
    return (
        [_service(name, every, prefix) for name in (*SERVICES, *OPTIONAL)]
        + people
        + [_producer(name, prefix) for name in producers]
    )


def acl_file(every: Iterable[User], passwords: Mapping[str, str]) -> str:
    """The text of an ACL file. Nobody is anybody without a password: the default user is off."""
    lines = [user.line(passwords[user.name]) for user in every]
    return "\n".join(["user default reset", *lines]) + "\n"


def _writes(name: str, stream: Stream) -> bool:
    signers = SIGNED_BY.get(stream.name)
    if signers is not None:
        return name in signers
    return (
        name in stream.producers
        or EVERYONE in stream.producers
        or (name == CLI and ANYONE in stream.producers)
    )


def _writing(name: str, every: Iterable[Stream], prefix: str) -> str:
    keys = " ".join(f"%W~{prefix}{stream.name}" for stream in every if _writes(name, stream))
    return f"({keys} +xadd)"


def _service(name: str, every: tuple[Stream, ...], prefix: str) -> User:
    parts = [_ALWAYS, _ASK, _writing(name, every, prefix)]
    works = [stream for stream in every if stream.reading is Reading.WORK and name in stream.consumers]
    if works:
        parts.append(f"({_keys('~', works, prefix)} {_WORK})")
    readers = {name, EVERYONE} | ({ANYONE} if name == DEMO else set())
    views = [stream for stream in every if stream.reading is Reading.VIEW and readers & set(stream.consumers)]
    views += (
        [HEARTBEAT] if HEARTBEAT not in views else []
    )  # `holdfast health`, beside the service in its container
    parts.append(f"({_keys('%R~', views, prefix)} {_LOOK})")
    if name == DASHBOARD:  # a timeline is made of every stream
        parts.append(f"(%R~{prefix}* {_LOOK})")
    if name in {ALERTS, DASHBOARD, EXECUTOR, STATE_PUBLISHER}:  # who has ended shows by its connections
        parts.append("+client|list")
    if name == LEDGER:  # it keeps house, and its two streams without a cap
        every_work = [stream for stream in every if stream.reading is Reading.WORK]
        parts.append(f"({_keys('~', [*every_work, LEDGER_UPDATED, LEDGER_SNAPSHOT], prefix)} {_TRIM})")
    return User(name, " ".join(parts))


def _producer(name: str, prefix: str) -> User:
    answers = _keys("%R~", [INTENT_RESULT, ORDER_BLOCKED], prefix)
    return User(
        name, f"{_ALWAYS} +multi +exec (%W~{prefix}{intent_stream(name).name} +xadd) ({answers} {_LOOK})"
    )


def _republishing(prefix: str) -> str:
    """`holdfast ledger republish`: the two streams that the ledger can write anew from its store."""
    return f"({_keys('~', [LEDGER_UPDATED, LEDGER_SNAPSHOT], prefix)} +del)"


def _keys(how: str, streams: Iterable[Stream], prefix: str) -> str:
    return " ".join(f"{how}{prefix}{stream.name}" for stream in streams)
