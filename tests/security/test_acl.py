"""The bus's users on real servers: the services work as theirs, and what each must not do is tried and refused.

What a user may write and read is stated here once more by hand, so that the file and the table cannot be wrong together.
"""

from contextlib import suppress
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from holdfast.bus.acl import users
from holdfast.bus.connection import connect
from holdfast.bus.groups import create_groups
from holdfast.contracts.streams import BY_NAME, HEARTBEAT, OPTIONAL, ORDER_INTENT, SERVICES, Reading
from tests.contract._wait import wait_until
from tests.security._system import BUILDERS, System

pytestmark = pytest.mark.redis
COMMON = {"snapshot.request", "heartbeat", "dead.letter"}
WRITES = {
    "ledger": {
        "order.blocked_by_invariant",
        "intent.result",
        "ledger.updated",
        "ledger.snapshot",
        "ledger.trade",
        "ledger.outcome",
    }
    | COMMON,
    "executor": {"order.reserve", "order.status", "fill", "nav.mark", "executor.claim"} | COMMON,
    "exit_scanner": {"order.intent.exit", "exit.adjust", "exit.evaluated"} | COMMON,
    "state_publisher": COMMON,
    "market_feed": {"market.tick"} | COMMON,
    "demo": {"order.intent"} | COMMON,
    "hooks": {"order.intent"} | COMMON,
    "cli": {
        "order.intent",
        "order.intent.exit",
        "control",
        "exit.adjust",
        "fill",
        "prediction",
        "alert.ack",
        "exit.thresholds",
    }
    | COMMON,
    "viewer": set(),
    "dashboard": {"order.intent.exit", "control", "exit.adjust", "fill", "alert.ack"} | COMMON,
    "alerts": {"alert"} | COMMON,
    "learner": {"trade.outcome", "exit.thresholds"} | COMMON,
    "mine": {"order.intent.mine"},
    "other": {"order.intent.other"},
}
LEDGERS = {"ledger.updated", "ledger.snapshot"}
WORK_OF = {
    "executor": {"order.intent", "order.intent.exit", "order.intent.mine", "order.intent.other"},
    "ledger": {
        "order.reserve",
        "order.status",
        "fill",
        "snapshot.request",
        "exit.adjust",
        "control",
        "exit.thresholds",
        "trade.outcome",
        "nav.mark",
        "executor.claim",
    },
    "alerts": {"alert.ack"},
}
READS = {
    "ledger": LEDGERS | {"heartbeat"},
    "executor": LEDGERS | {"intent.result", "ledger.trade", "market.tick", "heartbeat"},
    "exit_scanner": LEDGERS | {"market.tick", "prediction", "heartbeat"},
    "state_publisher": LEDGERS | {"order.blocked_by_invariant", "ledger.trade", "market.tick", "heartbeat"},
    "market_feed": LEDGERS | {"heartbeat"},
    "alerts": LEDGERS | {"heartbeat", "market.tick", "order.blocked_by_invariant", "dead.letter", "alert"},
    "learner": LEDGERS | {"ledger.trade", "ledger.outcome", "market.tick", "prediction", "heartbeat"},
    "demo": LEDGERS | {"intent.result", "order.blocked_by_invariant", "market.tick", "heartbeat"},
    "hooks": LEDGERS | {"heartbeat"},
    "mine": {"intent.result", "order.blocked_by_invariant"},
    "other": {"intent.result", "order.blocked_by_invariant"},
}
"""Of views; `cli`, `viewer` and `dashboard` read everything."""
FORBIDDEN = {
    "FLUSHALL": ("FLUSHALL",), "FLUSHDB": ("FLUSHDB",), "KEYS": ("KEYS", "*"), "SCAN": ("SCAN", "0"), "SELECT": ("SELECT", "0"),
    "CONFIG GET": ("CONFIG", "GET", "*"), "CONFIG SET": ("CONFIG", "SET", "maxmemory", "1"), "EVAL": ("EVAL", "return 1", "0"),
    "FUNCTION": ("FUNCTION", "LIST"), "SCRIPT": ("SCRIPT", "LOAD", "return 1"), "ACL LIST": ("ACL", "LIST"),
    "ACL SETUSER": ("ACL", "SETUSER", "mine", "+@all"), "ACL WHOAMI": ("ACL", "WHOAMI"), "CLIENT INFO": ("CLIENT", "INFO"),
    "CLIENT KILL": ("CLIENT", "KILL", "TYPE", "normal"), "DEBUG": ("DEBUG", "SLEEP", "0"), "MONITOR": ("MONITOR",), "SHUTDOWN": ("SHUTDOWN",),
    "SAVE": ("SAVE",), "BGREWRITEAOF": ("BGREWRITEAOF",), "REPLICAOF": ("REPLICAOF", "127.0.0.1", "1"), "MODULE": ("MODULE", "LIST"),
    "SET": ("SET", "fill", "1"), "GET": ("GET", "fill"), "RENAME": ("RENAME", "fill", "x"), "DUMP": ("DUMP", "fill"),
    "PUBLISH": ("PUBLISH", "fill", "1"), "SUBSCRIBE": ("SUBSCRIBE", "fill"), "SORT": ("SORT", "fill"), "OBJECT": ("OBJECT", "ENCODING", "fill"),
    "XDEL": ("XDEL", "{stream}", "0-1"), "XSETID": ("XSETID", "{stream}", "1-1"), "XGROUP SETID": ("XGROUP", "SETID", "{stream}", "{group}", "$"),
    "XGROUP DESTROY": ("XGROUP", "DESTROY", "{stream}", "{group}"), "XGROUP DELCONSUMER": ("XGROUP", "DELCONSUMER", "{stream}", "{group}", "x"),
    "EXPIRE": ("EXPIRE", "{stream}", "1"), "UNLINK": ("UNLINK", "{stream}"), "COPY": ("COPY", "{stream}", "order.intent.copy"),
}  # fmt: skip
"""What nobody but `admin` may do, on any stream, its own included."""


@pytest.fixture
async def streams(system: System) -> System:
    """Every stream there, with an entry and its groups."""
    await create_groups(system.admin, "", system.settings.streams())
    for stream in system.settings.streams():
        await system.admin.xadd(stream.name, {"body": "{}"}, id="0-1")
    return system


async def is_allowed(client, *command: str) -> bool:
    """Whether the server runs it. An error other than a refusal says that it would have been."""
    try:
        await client.execute_command(*command)
    except NoPermissionError:
        return False
    except ResponseError as error:
        return "command not allowed" not in str(error)  # DEBUG and MODULE are off for everybody
    return True


async def allowed(system: System, user: str, *command: str) -> set[str]:
    """The streams on which *user* may do *command* ({stream} is put in, and {group})."""
    found = set()
    async with system.as_user(user) as client:
        for stream in system.settings.streams():
            group = stream.groups[0] if stream.groups else "none"
            words = [word.replace("{stream}", stream.name).replace("{group}", group) for word in command]
            if await is_allowed(client, *words):
                found.add(stream.name)
            if words == list(command):
                break  # it has nothing to do with a stream
    return found


LOOPBACK = "0100007F"
"""127.0.0.1, as the kernel writes it."""


def listening() -> set[str]:
    """Local addresses on which this process, with all services in it, accepts TCP connections."""
    sockets = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(str(path.readlink()))
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


ORDINARY = sorted(WRITES)


async def test_every_user_is_looked_at_here(system):
    assert {user.name for user in users(system.settings.producers)} == set(ORDINARY) | {"admin"}


async def test_each_user_writes_to_its_own_streams_and_no_other(streams):
    found = {user: await allowed(streams, user, "XADD", "{stream}", "*", "body", "{}") for user in ORDINARY}
    assert found == WRITES


async def test_each_user_reads_what_it_follows_and_no_other(streams):
    every = {stream.name for stream in streams.settings.streams()}
    may = READS | {"cli": every, "viewer": every, "dashboard": every}
    for command in (("XREAD", "COUNT", "1", "STREAMS", "{stream}", "0"), ("XREVRANGE", "{stream}", "+", "-")):
        assert {user: await allowed(streams, user, *command) for user in ORDINARY} == may
    found = {user: await allowed(streams, user, "XRANGE", "{stream}", "-", "+") for user in ORDINARY}
    assert found == {user: may[user] | WORK_OF.get(user, set()) for user in ORDINARY}


@pytest.mark.parametrize("command", [
    ("XREADGROUP", "GROUP", "{group}", "x", "COUNT", "1", "STREAMS", "{stream}", "0"), ("XACK", "{stream}", "{group}", "0-1"),
    ("XCLAIM", "{stream}", "{group}", "x", "0", "0-1"), ("XGROUP", "CREATE", "{stream}", "{group}", "0"),
], ids=lambda command: command[0])  # fmt: skip
async def test_work_is_taken_by_who_it_is_for_and_nobody_else(streams, command):
    found = {user: await allowed(streams, user, *command) for user in ORDINARY}
    assert found == {user: WORK_OF.get(user, set()) for user in ORDINARY}


async def test_trimming_and_removing_is_for_who_keeps_the_stream(streams):
    work = {stream.name for stream in streams.settings.streams() if stream.reading is Reading.WORK}
    trims = {user: await allowed(streams, user, "XTRIM", "{stream}", "MINID", "0") for user in ORDINARY}
    removes = {user: await allowed(streams, user, "DEL", "{stream}") for user in ORDINARY}
    assert trims == {user: work | LEDGERS if user == "ledger" else set() for user in ORDINARY}
    assert removes == {user: LEDGERS if user == "cli" else set() for user in ORDINARY}


async def test_who_is_connected_is_seen_by_those_who_judge_it_alone(streams):
    seen = {user for user in ORDINARY if await allowed(streams, user, "CLIENT", "LIST")}
    assert seen == {"alerts", "dashboard", "executor", "state_publisher"}


async def test_nobody_may_do_what_breaks_the_bus(streams):
    tried = {
        (user, what): await allowed(streams, user, *FORBIDDEN[what])
        for user in ORDINARY
        for what in FORBIDDEN
    }
    assert {case: found for case, found in tried.items() if found} == {}
    assert len(tried) == len(ORDINARY) * len(FORBIDDEN)


async def test_nobody_is_let_in_without_the_right_password(system):
    for url in (
        system.settings.bus.url,
        system.settings.bus.url.replace("://", "://:guess@"),
        system.settings.bus.url.replace("://", "://mine:guess@"),
    ):
        async with connect(url) as client:
            with pytest.raises((AuthenticationError, ResponseError), match=r"(?i)auth|WRONGPASS|invalid"):
                await client.xadd(ORDER_INTENT.name, {"body": "{}"})


async def test_the_admin_may_do_everything(streams):
    """So that a person can repair: the one user that a service never is."""
    assert await allowed(streams, "admin", "XADD", "{stream}", "*", "body", "{}") == {
        s.name for s in streams.settings.streams()
    }
    assert set(BY_NAME) <= {s.name for s in streams.settings.streams()}


async def test_every_service_works_as_its_own_user(system):
    """Through positions opened by the demonstration, and with every heartbeat coming: nothing they call is refused."""
    everybody = (*SERVICES, *OPTIONAL)
    assert set(everybody) == set(BUILDERS)
    others = listening()  # servers of the tests themselves live in this process, too
    async with system.running(*everybody):
        await system.is_ready(*everybody)
        await system.send("mine", system.body("mine:1", symbol="BTC/USDT:USDT", quantity="0.01"))
        assert await system.answer("mine:1") == ("filled", None)

        async def armed() -> bool:
            beats = [entry.message for entry in await system.entries(HEARTBEAT) if entry.message is not None]
            return any(beat.service == "exit_scanner" and beat.armed for beat in beats)

        await wait_until(armed, "the position's exits to be armed", 30)
        status = system.settings.state_directory() / "status.json"
        await wait_until(status.exists, "the state files", 30)
        assert await system.dead() == []
        opened = [address.partition(":")[0] for address in listening() - others]
        assert opened == [LOOPBACK] * 2, (
            "the dashboard and the hooks open a port, on loopback, and nobody else does"
        )
