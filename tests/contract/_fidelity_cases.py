"""The stream commands and error texts that Holdfast leans on. What stands in `expect` is what Redis 7.0 answers.

The sentence below each name says what in Holdfast depends on it; `docs/bus-fidelity.md` is written from both.
"""

from typing import Any

from tests.contract._fidelity import Bench, entries, expect, rows, seen
from tests.contract._wait import wait_until

SMALLER = "! The ID specified in XADD is equal or smaller than the target stream top item"
NOGROUP = "! NOGROUP No such key 's' or consumer group 'g'"
WRONGTYPE = "! WRONGTYPE Operation against a key holding the wrong kind of value"
NEEDS_A_KEY = (
    "! The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to "
    "create an empty stream automatically."
)
LAST = "18446744073709551615-18446744073709551615"


def number(entry_id: str) -> tuple[int, int]:
    ms, _, counter = entry_id.partition("-")
    return int(ms), int(counter)


# -- XADD -----------------------------------------------------------------------------------------------------------


@expect({"only grow": True, "wall time, ms": True})
async def ids_of_time(bench: Bench) -> Any:
    """The time of a hand-typed intent is in its id."""
    ids = [number(entry_id) for entry_id in await bench.run(*[("XADD", "s", "*", "body", "x")] * 50)]
    return {
        "only grow": ids == sorted(set(ids)),
        "wall time, ms": all(1_500_000_000_000 < ms < 9_000_000_000_000 for ms, _ in ids),
    }


@expect(["9999999999999-0", "9999999999999-1"])
async def an_id_of_time_goes_on_above_the_last_one(bench: Bench) -> Any:
    """A clock that went back breaks no order of entries."""
    return await bench.run(("XADD", "s", "9999999999999-0", "body", "x"), ("XADD", "s", "*", "body", "x"))


@expect({"same": SMALLER, "smaller": SMALLER, "greater": ["5-1"]})
async def an_id_that_is_not_greater_is_refused(bench: Bench) -> Any:
    """The same sequence is not published twice; the words are looked for by the publisher."""
    await bench.add("5-0")
    return {
        "same": await bench.run(("XADD", "s", "5-0", "body", "x")),
        "smaller": await bench.run(("XADD", "s", "4-9", "body", "x")),
        "greater": await bench.run(("XADD", "s", "5-1", "body", "x")),
    }


@expect(
    {
        "0-0": "! The ID specified in XADD must be greater than 0-0",
        "no id": "! Invalid stream ID specified as stream command argument",
    }
)
async def what_is_no_id_is_refused(bench: Bench) -> Any:
    """Neither is held for a stream that is ahead."""
    return {
        "0-0": await bench.run(("XADD", "s", "0-0", "body", "x")),
        "no id": await bench.run(("XADD", "s", "five", "body", "x")),
    }


@expect({"trimmed to nothing": SMALLER, "deleted": ["4-0"]})
async def a_stream_remembers_its_last_id_until_it_is_deleted(bench: Bench) -> Any:
    """`ledger.updated` may be trimmed; `ledger republish` deletes it."""
    await bench.add("5-0")
    await bench.client.xtrim("s", maxlen=0, approximate=False)
    trimmed = await bench.run(("XADD", "s", "4-0", "body", "x"))
    await bench.client.delete("s")
    return {"trimmed to nothing": trimmed, "deleted": await bench.run(("XADD", "s", "4-0", "body", "x"))}


@expect("! The stream has exhausted the last possible ID, unable to add more items")
async def the_last_possible_id(bench: Bench) -> Any:
    """Whoever may write to a stream may brick it: the threat model says so."""
    await bench.add(LAST)
    return await bench.run(("XADD", "s", "*", "body", "x"))


@expect({"at least the newest": True, "bounded": True, "the newest is there": True})
async def maxlen_about(bench: Bench) -> Any:
    """Ticks, heartbeats and results are capped so."""
    told = await bench.run(*[("XADD", "s", "MAXLEN", "~", 100, "*", "body", str(n)) for n in range(1000)])
    length = await bench.client.xlen("s")
    newest = await bench.client.xrevrange("s", count=1)
    return {
        "at least the newest": length >= 100,
        "bounded": length <= 300,
        "the newest is there": newest[0][0].decode() == told[-1],
    }


@expect([["1-0", {"id": "ünï-1", "body": '{"a":"é漢\\u0000"}', "kind": "fill"}]])
async def fields_come_back_as_they_were(bench: Bench) -> Any:
    """Plain fields, in their order, whatever is in them."""
    await bench.run(("XADD", "s", "1-0", "id", "ünï-1", "body", '{"a":"é漢\\u0000"}', "kind", "fill"))
    return await seen(bench.client.xrange("s"))


# -- XREAD ----------------------------------------------------------------------------------------------------------


@expect([["1-0", "1-0"], ["2-0", "2-0"], ["8-0", "8-0"]])
async def xread_counts_for_each_stream(bench: Bench) -> Any:
    """`tail` follows many streams in one read; a stream that is not there is left out."""
    await bench.add("1-0", "2-0", "3-0", name="a")
    await bench.add("7-0", "8-0", name="b")
    return entries(await seen(bench.client.xread({"a": "0-0", "b": "7-0", "none": "0-0"}, count=2)))


@expect([[], [["3-0", "3-0"]]])
async def xread_gives_what_is_behind_an_id(bench: Bench) -> Any:
    """A view reads on from where it is, also when that entry was trimmed away."""
    await bench.add("1-0", "2-0", "3-0")
    nothing = entries(await seen(bench.client.xread({"s": "3-0"}, count=5)))
    await bench.client.xtrim("s", minid="3-0", approximate=False)
    return [nothing, entries(await seen(bench.client.xread({"s": "1-0"}, count=5)))]


@expect({"timed out": [], "woken": [["2-0", "2-0"]]})
async def xread_blocks_until_something_comes(bench: Bench) -> Any:
    """A view waits for the next entry without asking again and again."""
    await bench.add("1-0")
    late = await seen(bench.other.xread({"s": "1-0"}, count=5, block=20))
    woken = await bench.while_blocked(
        bench.other.xread({"s": "1-0"}, count=5, block=10_000), bench.add("2-0")
    )
    return {"timed out": entries(late), "woken": entries(woken)}


@expect([["6-0", "6-0"]])
async def a_wipe_does_not_wake_xread(bench: Bench) -> Any:
    """A view does not see a wipe: it has to notice that the stream ends before it (`LedgerFeed`)."""
    await bench.add("5-0")
    read = bench.other.xread({"s": "5-0"}, count=5, block=10_000)
    return entries(
        await bench.while_blocked(read, bench.client.flushall(), bench.add("1-0"), bench.add("6-0"))
    )


# -- groups ---------------------------------------------------------------------------------------------------------


@expect(
    {
        "no stream": NEEDS_A_KEY,
        "with MKSTREAM": True,
        "length": 0,
        "again": "! BUSYGROUP Consumer Group name already exists",
    }
)
async def making_a_group(bench: Bench) -> Any:
    """Every declared group is made before anybody reads; one that is there is left alone."""
    return {
        "no stream": await seen(bench.client.xgroup_create("s", "g", id="0")),
        "with MKSTREAM": await seen(bench.client.xgroup_create("s", "g", id="0", mkstream=True)),
        "length": await bench.client.xlen("s"),
        "again": await seen(bench.client.xgroup_create("s", "g", id="0", mkstream=True)),
    }


@expect({"at 0": [["1-0", "1-0"], ["2-0", "2-0"]], "at $": [["2-0", "2-0"]]})
async def where_a_group_begins(bench: Bench) -> Any:
    """At `$` it would miss what was published before its first start."""
    await bench.add("1-0")
    await bench.group("0", group="g")
    await bench.group("$", group="late")
    await bench.add("2-0")
    return {"at 0": await bench.read_new(), "at $": await bench.read_new(group="late")}


@expect(
    {
        "no stream": f"{NOGROUP} in XREADGROUP with GROUP option",
        "no group": f"{NOGROUP} in XREADGROUP with GROUP option",
    }
)
async def reading_without_a_group(bench: Bench) -> Any:
    """NOGROUP is how a wipe is noticed; the group is made again."""
    nothing = await bench.read_new()
    await bench.add("1-0")
    return {"no stream": nothing, "no group": await bench.read_new()}


@expect({"first": [["1-0", "1-0"], ["2-0", "2-0"]], "then": [["3-0", "3-0"]], "after that": []})
async def xreadgroup_gives_each_entry_once(bench: Bench) -> Any:
    """COUNT bounds what becomes pending in one read."""
    await bench.add("1-0", "2-0", "3-0")
    await bench.group()
    return {
        "first": await bench.read_new(count=2),
        "then": await bench.read_new("other", count=2),
        "after that": await bench.read_new(count=2),
    }


@expect(
    {
        "from 0": [["1-0", "1-0"], ["2-0", "2-0"]],
        "from 2-0": [["4-0", "4-0"]],
        "after acks": [["4-0", "4-0"]],
        "a stranger": [],
    }
)
async def xreadgroup_tells_its_own_history(bench: Bench) -> Any:
    """What an earlier life left pending is drained in pages before anything new is read."""
    await bench.add("1-0", "2-0", "3-0", "4-0")
    await bench.group()
    await bench.read_new(count=2)
    await bench.read_new("other", count=1)
    await bench.read_new(count=1)
    told = {"from 0": await bench.read("0", count=2), "from 2-0": await bench.read("2-0", count=2)}
    await bench.run(("XACK", "s", "g", "1-0", "2-0"))
    return {**told, "after acks": await bench.read("0"), "a stranger": await bench.read("0", "stranger")}


@expect([["1-0", None], ["2-0", "2-0"]])
async def history_of_what_was_trimmed_away(bench: Bench) -> Any:
    """A pending entry without content is lost data: it goes to `dead.letter`, never just acknowledged."""
    await bench.add("1-0", "2-0")
    await bench.group()
    await bench.read_new()
    await bench.client.xtrim("s", minid="2-0", approximate=False)
    return await bench.read("0")


@expect({"timed out": [], "woken": [["1-0", "1-0"]], "pending": [["1-0", "c", 1]]})
async def xreadgroup_blocks_with_a_count(bench: Bench) -> Any:
    """The worker's read: COUNT and BLOCK together."""
    await bench.group()
    late = await seen(bench.other.xreadgroup("g", "c", {"s": ">"}, count=5, block=20))
    read = bench.other.xreadgroup("g", "c", {"s": ">"}, count=5, block=10_000)
    woken = await bench.while_blocked(read, bench.add("1-0"))
    return {"timed out": entries(late), "woken": entries(woken), "pending": await bench.pending()}


@expect("! UNBLOCKED the stream key no longer exists")
async def del_under_a_blocked_group_read(bench: Bench) -> Any:
    """The read ends at once with an error; the worker makes its group again."""
    await bench.group()
    read = bench.other.xreadgroup("g", "c", {"s": ">"}, count=5, block=1_000)
    return entries(await bench.while_blocked(read, bench.client.delete("s")))


@expect("! UNBLOCKED the stream key no longer exists")
async def flushall_under_a_blocked_group_read(bench: Bench) -> Any:
    """As DEL."""
    await bench.group()
    read = bench.other.xreadgroup("g", "c", {"s": ">"}, count=5, block=1_000)
    return entries(await bench.while_blocked(read, bench.client.flushall()))


@expect({"deleted": 1, "groups": [], "left of the pending list": NOGROUP})
async def deleting_a_stream_takes_its_groups(bench: Bench) -> Any:
    """After it every group is made anew, at 0."""
    await bench.add("1-0")
    await bench.group()
    await bench.read_new()
    deleted = await bench.client.delete("s")
    await bench.add("1-0")
    groups = await seen(bench.client.xinfo_groups("s"))
    return {"deleted": deleted, "groups": groups, "left of the pending list": await bench.pending()}


# -- the pending list -----------------------------------------------------------------------------------------------


@expect({"first": [2], "again": [0], "never delivered": [0], "no stream": [0], "left": [["3-0", "c", 1]]})
async def acknowledging(bench: Bench) -> Any:
    """Acknowledging twice, or what is not pending, is no error."""
    await bench.add("1-0", "2-0", "3-0", "4-0")
    await bench.group()
    await bench.read_new(count=3)
    return {
        "first": await bench.run(("XACK", "s", "g", "1-0", "2-0")),
        "again": await bench.run(("XACK", "s", "g", "1-0")),
        "never delivered": await bench.run(("XACK", "s", "g", "4-0")),
        "no stream": await bench.run(("XACK", "none", "g", "1-0")),
        "left": await bench.pending(),
    }


@expect(
    {
        "nothing": {"pending": 0, "min": None, "max": None, "consumers": []},
        "some": {
            "pending": 3,
            "min": "1-0",
            "max": "3-0",
            "consumers": [{"name": "c", "pending": 2}, {"name": "d", "pending": 1}],
        },
        "no group": NOGROUP,
    }
)
async def the_summary_of_what_is_pending(bench: Bench) -> Any:
    """Trimming stops below the oldest pending entry."""
    await bench.add("1-0", "2-0", "3-0")
    none = await seen(bench.client.xpending("s", "g"))
    await bench.group()
    nothing = await seen(bench.client.xpending("s", "g"))
    await bench.read_new(count=2)
    await bench.read_new("d")
    return {"nothing": nothing, "some": await seen(bench.client.xpending("s", "g")), "no group": none}


@expect(
    {
        "all": [["1-0", "c", 1], ["2-0", "d", 1]],
        "of d": [["2-0", "d", 1]],
        "idle for an hour": [],
        "idle": ["1-0"],
        "no group": NOGROUP,
    }
)
async def what_is_pending_one_by_one(bench: Bench) -> Any:
    """Who holds what, for how long: the claimer looks at it."""
    await bench.add("1-0", "2-0")
    none = await bench.pending()
    await bench.group()
    await bench.read_new(count=1)

    async def first_is_idle() -> bool:
        return await bench.idle_ms() >= 200

    await wait_until(first_is_idle, "an entry to be idle")
    await bench.read_new("d", count=1)
    idle = [row[0] for row in await bench.pending(idle=100)]
    return {
        "all": await bench.pending(), "of d": await bench.pending(consumername="d"),
        "idle for an hour": await bench.pending(idle=3_600_000), "idle": idle[:1], "no group": none,
    }  # fmt: skip


@expect({"deliveries": [1, 2, 3], "idle begins again": True})
async def history_counts_as_a_delivery(bench: Bench) -> Any:
    """Reading its own history makes a consumer's entry young again: nobody claims what is being worked on."""
    await bench.add("1-0")
    await bench.group()
    await bench.read_new()
    counts = [row[2] for row in await bench.pending()]

    async def is_idle() -> bool:
        return await bench.idle_ms() >= 500

    await wait_until(is_idle, "an entry to be idle")
    for _ in range(2):
        await bench.read("0")
        counts += [row[2] for row in await bench.pending()]
    return {"deliveries": counts, "idle begins again": await bench.idle_ms() < 500}


@expect(
    {
        "taken": [["1-0", "1-0"]],
        "held by": [["1-0", "d", 2], ["2-0", "c", 1]],
        "not long enough": [],
        "not pending": [],
        "no group": NOGROUP,
    }
)
async def claiming(bench: Bench) -> Any:
    """An entry that another consumer abandoned changes hands; one that is young does not."""
    await bench.add("1-0", "2-0", "3-0")
    none = await seen(bench.client.xclaim("s", "g", "d", 0, ["1-0"]))
    await bench.group()
    await bench.read_new(count=2)
    taken = rows(await seen(bench.client.xclaim("s", "g", "d", 0, ["1-0"])))
    return {
        "taken": taken, "held by": await bench.pending(),
        "not long enough": rows(await seen(bench.client.xclaim("s", "g", "d", 3_600_000, ["2-0"]))),
        "not pending": rows(await seen(bench.client.xclaim("s", "g", "d", 0, ["3-0"]))), "no group": none,
    }  # fmt: skip


@expect({"taken": [["2-0", "2-0"]], "pending": [["2-0", "d", 2]]})
async def claiming_what_was_trimmed_away(bench: Bench) -> Any:
    """Such an entry is dropped without a word: the claimer must look for itself, and say that it was lost."""
    await bench.add("1-0", "2-0")
    await bench.group()
    await bench.read_new()
    await bench.client.xtrim("s", minid="2-0", approximate=False)
    taken = rows(await seen(bench.client.xclaim("s", "g", "d", 0, ["1-0", "2-0"])))
    return {"taken": taken, "pending": await bench.pending()}


# -- XINFO GROUPS ---------------------------------------------------------------------------------------------------


async def _group(bench: Bench) -> dict[str, Any]:
    (row,) = await seen(bench.client.xinfo_groups("s"))
    return {key: row.get(key) for key in ("name", "consumers", "pending", "last-delivered-id", "lag")}


@expect(
    [
        {"name": "g", "consumers": 0, "pending": 0, "last-delivered-id": "0-0", "lag": 3},
        {"name": "g", "consumers": 1, "pending": 2, "last-delivered-id": "2-0", "lag": 1},
        {"name": "g", "consumers": 2, "pending": 3, "last-delivered-id": "3-0", "lag": 0},
    ]
)
async def groups_tell_how_far_they_are(bench: Bench) -> Any:
    """Lag and pending are in every heartbeat; trimming stops behind the last delivered entry."""
    await bench.add("1-0", "2-0", "3-0")
    await bench.group()
    told = [await _group(bench)]
    await bench.read_new(count=2)
    told.append(await _group(bench))
    await bench.read_new("d")
    return [*told, await _group(bench)]


@expect({"trimmed behind it": 1, "made at an id": None, "no stream": "! no such key"})
async def what_a_group_cannot_tell(bench: Bench) -> Any:
    """The lag may be unknown: then it counts as nothing, and the ledger's sequence says how far behind a view is."""
    none = await seen(bench.client.xinfo_groups("s"))
    await bench.add("1-0", "2-0", "3-0")
    await bench.group()
    await bench.read_new(count=2)
    await bench.client.xtrim("s", minid="2-0", approximate=False)
    trimmed = (await _group(bench))["lag"]
    await bench.client.delete("s")
    await bench.add("1-0", "2-0", "3-0", "4-0")
    await bench.group("2-0")
    return {"trimmed behind it": trimmed, "made at an id": (await _group(bench))["lag"], "no stream": none}


# -- trimming and looking -------------------------------------------------------------------------------------------


@expect({"removed": 2, "again": 0, "no stream": 0, "left": [["3-0", "3-0"]], "in a MULTI": [1], "length": 0})
async def trimming_by_id(bench: Bench) -> Any:
    """Work is trimmed below what its groups need, `ledger.updated` below the last snapshots."""
    await bench.add("1-0", "2-0", "3-0")
    told = {
        "removed": await bench.client.xtrim("s", minid="3-0", approximate=False),
        "again": await bench.client.xtrim("s", minid="3-0", approximate=False),
        "no stream": await bench.client.xtrim("none", minid="3-0", approximate=False),
        "left": rows(await seen(bench.client.xrange("s"))),
        "in a MULTI": await bench.run(("XTRIM", "s", "MINID", "4-0")),
    }
    return {**told, "length": await bench.client.xlen("s")}


@expect([["8-0", "8-0"], ["9-0", "9-0"]])
async def trimming_looks_at_no_group(bench: Bench) -> Any:
    """So the bus's own janitor does."""
    await bench.group()
    await bench.add(*(f"{number}-0" for number in range(1, 10)))
    await bench.client.xtrim("s", maxlen=2, approximate=False)
    return await bench.read_new()


@expect(
    {
        "all": ["1-0", "1-5", "2-0", "3-0"], "one": ["2-0"], "none": [], "behind": ["2-0", "3-0"], "count": ["1-0", "1-5"],
        "a whole ms": ["1-0", "1-5"], "no stream": [],
    }
)  # fmt: skip
async def xrange_forwards(bench: Bench) -> Any:
    """The publisher looks an entry up by its id."""
    await bench.add("1-0", "1-5", "2-0", "3-0")
    asked: dict[str, Any] = {
        "all": ("s", "-", "+", None), "one": ("s", "2-0", "2-0", None), "none": ("s", "2-1", "2-1", None), "behind": ("s", "(1-5", "+", None),
        "count": ("s", "-", "+", 2), "a whole ms": ("s", "1", "1", None), "no stream": ("none", "-", "+", None),
    }  # fmt: skip
    return {
        what: [row[0] for row in await seen(bench.client.xrange(name, first, last, count=count))]
        for what, (name, first, last, count) in asked.items()
    }


@expect({"newest": ["3-0"], "before": ["1-5", "1-0"], "no stream": []})
async def xrevrange_backwards(bench: Bench) -> Any:
    """The newest entry; and pages backwards, each strictly before the last."""
    await bench.add("1-0", "1-5", "2-0", "3-0")
    return {
        "newest": [row[0] for row in await seen(bench.client.xrevrange("s", count=1))],
        "before": [row[0] for row in await seen(bench.client.xrevrange("s", max="(2-0", count=5))],
        "no stream": await seen(bench.client.xrevrange("none", count=1)),
    }


@expect([0, 2])
async def xlen(bench: Bench) -> Any:
    """No stream is an empty one."""
    before = await bench.client.xlen("s")
    await bench.add("1-0", "2-0")
    return [before, await bench.client.xlen("s")]


# -- MULTI, and what does not fit -----------------------------------------------------------------------------------


@expect({"told": SMALLER, "there": ["5-0", "6-0"], "pending": []})
async def one_that_fails_in_a_multi_does_not_keep_the_others_out(bench: Bench) -> Any:
    """Redis rolls nothing back: so what is published again after a refusal must be safe to be there twice."""
    await bench.add("1-0", name="s")
    await bench.group()
    await bench.read_new()
    told = await bench.run(
        ("XADD", "t", "5-0", "body", "x"), ("XADD", "t", "5-0", "body", "x"), ("XADD", "t", "6-0", "body", "x"), ("XACK", "s", "g", "1-0"),
    )  # fmt: skip
    there = [row[0] for row in await seen(bench.client.xrange("t"))]
    return {"told": told, "there": there, "pending": await bench.pending()}


@expect({"told": "! wrong number of arguments for 'xadd' command", "there": 0, "afterwards": ["1-0"]})
async def one_that_cannot_be_queued_keeps_the_others_out(bench: Bench) -> Any:
    """Nothing is half done, and the connection is good for the next."""
    told = await bench.run(("XADD", "s", "1-0", "body", "x"), ("XADD", "s"))
    there = await bench.client.xlen("s")
    return {"told": told, "there": there, "afterwards": await bench.run(("XADD", "s", "1-0", "body", "x"))}


@expect({"add": WRONGTYPE, "read": WRONGTYPE, "group": WRONGTYPE, "look": WRONGTYPE, "view": WRONGTYPE})
async def a_key_that_is_no_stream(bench: Bench) -> Any:
    """Somebody else's key under our name is an error that does not pass: the service stops and says so."""
    await bench.run(("SET", "s", "x"))
    return {
        "add": await bench.run(("XADD", "s", "*", "body", "x")), "read": await bench.read_new(),
        "group": await seen(bench.client.xgroup_create("s", "g", id="0", mkstream=True)),
        "look": await seen(bench.client.xrange("s")), "view": await seen(bench.client.xread({"s": "0-0"}, count=1)),
    }  # fmt: skip


@expect(True)
async def the_memory_tells_itself(bench: Bench) -> Any:
    """Entries are refused when the bus is nearly full; a server that does not tell is never full."""
    told = await seen(bench.client.info("memory"))
    return told if isinstance(told, str) else {"used_memory", "maxmemory"} <= told.keys()
