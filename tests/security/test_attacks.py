"""An attacker who reaches the bus, tried for real against running services: users on, signatures required.

Three attackers: one without any password; `mine`, a producer gone bad (or whoever stole its password, and in some tests its key);
and one who got past the users altogether and writes as `admin`, but has no key. docs/threat-model.md lists what came of each.
"""

from collections import Counter

import orjson
import pytest
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from holdfast.bus.connection import connect
from holdfast.contracts.base import MAX_BODY_BYTES
from holdfast.contracts.signing import Key
from holdfast.contracts.streams import DEAD_LETTER, FILL, LEDGER_TRADE, intent_stream
from tests.contract._wait import wait_until
from tests.security._system import System

pytestmark = pytest.mark.redis
MINE = intent_stream("mine").name
EXIT = "order.intent.exit"
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"


async def mine_holds(system: System, quantity: str = "0.1") -> None:
    """The producer `mine` has bought, as it may."""
    await system.send("mine", system.body("mine:first", quantity=quantity))
    assert await system.answer("mine:first") == ("filled", None)
    assert await system.held() == {"BTC/USDT": quantity}


async def other_works(system: System, intent_id: str = "other:works") -> None:
    """Another producer trades as if nothing had happened."""
    await system.send("other", system.body(intent_id, symbol="ETH/USDT:USDT"))
    assert await system.answer(intent_id) == ("filled", None)


# -- without a password ---------------------------------------------------------------------------------------------


async def test_without_a_password_nothing_is_read_or_written(trading):
    async with connect(trading.settings.bus.url) as stranger:
        for command in (
            ("XADD", MINE, "*", "body", "{}"),
            ("XRANGE", "fill", "-", "+"),
            ("PING",),
            ("INFO",),
            ("FLUSHALL",),
        ):
            with pytest.raises((AuthenticationError, ResponseError), match=r"NOAUTH|Authentication required"):
                await stranger.execute_command(*command)


# -- forging --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["order.intent", EXIT, MINE])
async def test_an_unsigned_intent_is_not_executed(trading, stream):
    await mine_holds(trading)
    for number, document in enumerate(({"side": "buy"}, {"action": "close", "side": None, "quantity": None})):
        await trading.admin.xadd(stream, {"body": trading.body(f"forged-{number}", **document)})
    await trading.refused_as("unsigned", 2)
    assert await trading.held() == {"BTC/USDT": "0.1"}
    assert await trading.results("forged-0") == []


async def test_a_made_up_key_is_nobodys(trading):
    key, body = Key("mine.00000000", bytes(32)), trading.body("mine:forged")
    await trading.admin.xadd(MINE, {"key": key.key_id, "sig": key.sign(MINE, body), "body": body})
    await trading.refused_as("unknown_key")
    assert await trading.held() == {}


async def test_a_captured_signature_is_worth_nothing_for_another_body(trading):
    captured = trading.signed("mine", MINE, trading.body("mine:1"))
    await trading.admin.xadd(MINE, captured | {"body": trading.body("mine:1", quantity="9")})
    await trading.refused_as("bad_signature")
    assert await trading.held() == {}


async def test_a_forged_exit_closes_nothing(trading):
    """By who writes past the users, by a producer with its own key, and by a signature taken from another stream."""
    await mine_holds(trading)
    close = trading.body("x1", action="close", side=None, quantity=None)
    await trading.admin.xadd(EXIT, {"body": close})
    await trading.refused_as("unsigned")
    own = trading.body("mine:x2", action="close", side=None, quantity=None)
    await trading.admin.xadd(EXIT, trading.signed("mine", EXIT, own))
    await trading.refused_as("wrong_stream")
    await trading.admin.xadd(EXIT, trading.signed("mine", MINE, own))
    await trading.refused_as("bad_signature")
    assert await trading.held() == {"BTC/USDT": "0.1"}


async def test_a_producer_cannot_close_what_it_may_not_trade(trading):
    await other_works(trading)
    await trading.send(
        "mine", trading.body("mine:close", symbol="ETH/USDT:USDT", action="close", side=None, quantity=None)
    )
    assert await trading.answer("mine:close") == ("blocked", "producer_symbol")
    assert await trading.held() == {"ETH/USDT": "0.1"}


async def test_forged_ids_cannot_use_up_the_ids_of_a_genuine_producer(trading):
    """Whoever could have an id refused in another's name could stop that intent, a stop included."""
    await trading.admin.xadd("order.intent.other", {"body": trading.body("other:next", quantity="-1")})
    await trading.refused_as("unsigned")
    await trading.send("mine", trading.body("other:next"))
    await trading.refused_as("foreign_id")
    await other_works(trading, "other:next")


# -- again, later, otherwise ----------------------------------------------------------------------------------------


async def test_a_replayed_intent_changes_nothing(trading):
    await mine_holds(trading)
    (_, captured), *_ = await trading.admin.xrange(MINE)
    for _ in range(5):
        await trading.admin.xadd(MINE, captured)

    await wait_until(lambda: trading.all_read(MINE), "every copy to be finished with")
    assert len(await trading.results("mine:first")) > 1, "the recorded answer, again"
    assert set(await trading.results("mine:first")) <= {("accepted", None), ("filled", None)}
    assert await trading.held() == {"BTC/USDT": "0.1"}
    assert len(await trading.entries(FILL)) == 1


async def test_a_replayed_intent_is_worth_nothing_on_another_stream(trading):
    captured = trading.signed("mine", MINE, trading.body("mine:1"))
    for stream in ("order.intent", "order.intent.other", EXIT):
        await trading.admin.xadd(stream, captured)
    await trading.refused_as("bad_signature", 3)
    assert await trading.held() == {}


async def test_an_intent_that_was_held_back_cannot_be_dated_anew(trading):
    """Taken off the stream by somebody in between, and put there again after its minute."""
    old = trading.clock.wall_ms() - 61_000
    await trading.send("mine", trading.body("mine:old", at=old))
    assert await trading.answer("mine:old") == ("expired", "expired")
    await trading.send("mine", trading.body("mine:undated", at=None))
    assert await trading.answer("mine:undated") == ("invalid", "malformed")
    await trading.send("mine", trading.body("mine:future", at=trading.clock.wall_ms() + 120_000))
    assert await trading.answer("mine:future") == ("invalid", "from_the_future")
    assert await trading.held() == {}


async def test_the_same_id_with_another_body_is_refused(trading):
    await mine_holds(trading)
    await trading.send("mine", trading.body("mine:first", quantity="5"))

    async def refused() -> bool:
        return ("invalid", "intent_id_reused") in await trading.results(
            "mine:first"
        ) or "order.reserve" in str(await trading.entries(DEAD_LETTER))

    await wait_until(refused, "the other body to be refused")
    assert await trading.held() == {"BTC/USDT": "0.1"}


# -- a producer gone bad, against the streams -----------------------------------------------------------------------


async def test_a_producer_that_erases_its_stream_harms_itself_alone(trading):
    async with trading.as_user("mine") as bad:
        await bad.xadd(MINE, {"body": "{}"}, maxlen=0, approximate=False)
        for stream in ("order.intent", "order.intent.other", EXIT, "fill"):
            with pytest.raises(NoPermissionError):
                await bad.xadd(stream, {"body": "{}"}, maxlen=0, approximate=False)
    await other_works(trading)


async def test_a_producer_that_uses_up_its_ids_harms_itself_alone_and_can_be_helped(trading):
    async with trading.as_user("mine") as bad:
        await bad.xadd(MINE, {"body": "{}"}, id=LAST_ID)
        with pytest.raises(ResponseError, match=r"last possible ID|equal or smaller"):
            await bad.xadd(MINE, {"body": "{}"})
        with pytest.raises(NoPermissionError):
            await bad.xadd("order.intent.other", {"body": "{}"}, id=LAST_ID)
    await trading.refused_as("unsigned")
    await other_works(trading)
    await trading.admin.delete(MINE)  # what a person does; the executor makes the group again
    await mine_holds_again(trading)


async def mine_holds_again(system: System) -> None:
    await system.send("mine", system.body("mine:again"))
    assert await system.answer("mine:again") == ("filled", None)


async def test_a_flood_stays_within_the_producers_rate_and_holds_up_nobody(trading):
    """500 genuine intents at once; meanwhile another producer trades and a stop fires."""
    await other_works(trading)
    async with trading.as_user("mine") as bad, bad.pipeline(transaction=False) as pipe:
        for number in range(500):
            pipe.xadd(MINE, trading.signed("mine", MINE, trading.body(f"mine:{number}", quantity="0.001")))
        await pipe.execute()
    await other_works(trading, "other:meanwhile")
    trading.prices["ETH/USDT"] = "5"

    async def stopped() -> bool:
        return "ETH/USDT" not in await trading.held()

    await wait_until(stopped, "the stop of the other producer's position")
    await wait_until(lambda: trading.all_read(MINE), "the flood to be over", 60)
    ends = Counter([await trading.answer(f"mine:{number}") for number in range(0, 500, 10)])
    assert ends["blocked", "producer_rate"] > 10
    assert ends.keys() <= {
        ("blocked", "producer_rate"),
        ("filled", None),
        ("expired", "expired"),
        ("expired", "not_sent"),
    }


async def test_what_is_too_large_is_kept_small(trading):
    body = trading.body("mine:large", strategy="x" * 1_000_000)
    assert len(body) > MAX_BODY_BYTES
    await trading.send("mine", body)
    await trading.refused_as("bad_signature")
    assert max(len(entry.body) for entry in await trading.entries(DEAD_LETTER)) < 10_000
    await mine_holds(trading)


async def test_poison_is_answered_and_what_follows_is_served(trading):
    poison = [b"{", b"\xff\xfe\x00", b"[" * 20_000, b'{"quantity":NaN}', b'{"id":"mine:p","at":1,"symbol":"BTC/USDT","side":"buy","quantity":0.1}',
              trading.body("mine:e", quantity="1e400"), trading.body("mine:n", quantity="NaN"), trading.body("mine:s", symbol="../../etc"),
              b'{"id":"mine:d","id":"mine:d2"}', b"null", b"0"]  # fmt: skip
    for body in poison:
        await trading.send("mine", body)
    await mine_holds(trading)
    assert await trading.answer("mine:p") == ("invalid", "malformed")
    assert await trading.answer("mine:s") == ("invalid", "unknown_symbol")
    assert await trading.dead() == []


@pytest.mark.parametrize(
    "fields", [{}, {"key": "mine.1"}, {"sig": "0"}, {"key": b"\xff" * 500, "sig": b"\x00"}, {"colour": "red"}]
)
async def test_an_entry_of_any_fields_is_refused_without_harm(trading, fields):
    async with trading.as_user("mine") as bad:
        await bad.xadd(MINE, {"x": "y"} | fields)

    async def one() -> bool:
        return len(await trading.dead()) == 1

    await wait_until(one, "the entry to be in dead.letter")
    await mine_holds(trading)


# -- a producer gone bad, against everything else -------------------------------------------------------------------

AGAINST = {
    "a forged fill": ("XADD", "fill", "*", "body", "{}"),
    "a forged reservation": ("XADD", "order.reserve", "*", "body", "{}"),
    "a forged status": ("XADD", "order.status", "*", "body", "{}"),
    "a forged ledger update": ("XADD", "ledger.updated", "*", "kind", "filled", "body", "{}"),
    "a forged snapshot": ("XADD", "ledger.snapshot", "*", "body", "{}"),
    "a forged answer": ("XADD", "intent.result", "*", "body", "{}"),
    "a forged price": ("XADD", "market.tick", "*", "body", "{}"),
    "a forged halt": ("XADD", "control", "*", "body", "{}"),
    "looser exits": ("XADD", "exit.adjust", "*", "body", "{}"),
    "a forged heartbeat": ("XADD", "heartbeat", "*", "body", "{}"),
    "a flood of snapshots": ("XADD", "snapshot.request", "*", "body", "{}"),
    "a forged prediction": ("XADD", "prediction", "*", "body", "{}"),
    "the shared stream": ("XADD", "order.intent", "*", "body", "{}"),
    "another's intents": ("XRANGE", "order.intent.other", "-", "+"),
    "its own intents of before": ("XRANGE", MINE, "-", "+"),
    "positions": ("XRANGE", "ledger.updated", "-", "+"),
    "dead letters": ("XRANGE", "dead.letter", "-", "+"),
    "moving the executor's group": ("XGROUP", "SETID", MINE, "executor", "$"),
    "removing the executor's group": ("XGROUP", "DESTROY", MINE, "executor"),
    "reading the executor's work": ("XREADGROUP", "GROUP", "executor", "x", "STREAMS", MINE, ">"),
    "acknowledging it": ("XACK", MINE, "executor", "0-1"),
    "FLUSHALL": ("FLUSHALL",),
    "CONFIG": ("CONFIG", "SET", "appendonly", "no"),
    "a script": ("EVAL", "return redis.call('FLUSHALL')", "0"),
    "a new user": ("ACL", "SETUSER", "evil", "on", "nopass", "+@all"),
    "SHUTDOWN": ("SHUTDOWN", "NOSAVE"),
}  # fmt: skip


async def test_a_producer_can_do_nothing_but_send_its_intents_and_read_answers(trading):
    await mine_holds(trading)
    got_through = []
    async with trading.as_user("mine") as bad:
        for what, command in AGAINST.items():
            try:
                await bad.execute_command(*command)
            except NoPermissionError:
                continue
            got_through.append(what)
    assert got_through == []
    assert await trading.held() == {"BTC/USDT": "0.1"}


async def test_what_was_refused_inside_a_transaction_is_refused_whole(trading):
    async with trading.as_user("mine") as bad, bad.pipeline() as pipe:
        pipe.xadd(MINE, trading.signed("mine", MINE, trading.body("mine:tx")))
        pipe.xadd("fill", {"body": "{}"})
        with pytest.raises(ResponseError):
            await pipe.execute()
    assert await trading.results("mine:tx") == []
    await mine_holds(trading)


# -- with a stolen key ----------------------------------------------------------------------------------------------


async def test_a_stolen_key_is_bound_by_its_producers_limits(trading):
    await trading.send("mine", trading.body("mine:eth", symbol="ETH/USDT:USDT"))
    await trading.send("mine", trading.body("mine:large", quantity="10.1"))
    assert await trading.answer("mine:eth") == ("blocked", "producer_symbol")
    assert await trading.answer("mine:large") == ("blocked", "producer_notional")
    assert await trading.held() == {}


# -- and Holdfast's own exits go on ---------------------------------------------------------------------------------


async def test_the_scanners_stop_and_a_persons_close_pass_while_signatures_are_required(trading):
    await mine_holds(trading)
    trading.prices["BTC/USDT"] = "80"

    async def closed() -> bool:
        return bool(await trading.entries(LEDGER_TRADE))

    await wait_until(closed, "the stop-loss to close the position")
    assert await trading.held() == {}
    await other_works(trading)
    close = trading.body("by-hand", symbol="ETH/USDT:USDT", action="close", side=None, quantity=None)
    await trading.send("cli", close, EXIT)
    assert await trading.answer("by-hand") == ("filled", None)


async def test_nothing_of_a_key_or_password_is_on_the_bus(trading):
    """A canary: every secret there is, looked for in every entry of every stream after an attack and a trade."""
    await mine_holds(trading)
    await trading.admin.xadd(MINE, {"body": trading.body("mine:forged")})
    await trading.refused_as("unsigned")
    files = [
        path for path in trading.settings.keys_directory().rglob("*") if path.suffix in {".password", ".key"}
    ]
    secrets = {
        word
        for path in files
        for line in path.read_text().splitlines()
        for word in line.split()
        if len(word) >= 40
    }
    assert len(secrets) >= 10
    for stream in trading.settings.streams():
        everything = orjson.dumps(
            [
                [str(name), str(value)]
                for _, fields in await trading.admin.xrange(stream.name)
                for name, value in fields.items()
            ]
        )
        assert [secret[:4] for secret in secrets if secret.encode() in everything] == []
