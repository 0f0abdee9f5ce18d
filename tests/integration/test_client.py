"""`holdfast.client` as a strategy uses it, against the real services on a real bus; blocking and asyncio say the same."""

import json
import subprocess
import sys
from decimal import Decimal

import pytest
import redis

from holdfast.client import (
    AsyncClient,
    Client,
    Event,
    NotConfirmed,
    Unreachable,
    WrongIntent,
)
from holdfast.contracts.streams import INTENT_RESULT, ORDER_INTENT, PREDICTION
from holdfast.runtime.keys import new_key
from tests.contract._wait import wait_until
from tests.integration._cli import BTC, ETH, Desk, settings_of

pytestmark = pytest.mark.redis
D = Decimal


@pytest.fixture
def client(desk: Desk):
    with Client(desk.url, name="mine") as one:
        yield one


# -- what it is made of -----------------------------------------------------------------------------------------------

NEEDED = {"redis", "hiredis", "pydantic", "pydantic_core", "orjson", "annotated_types", "typing_extensions", "typing_inspection"}  # fmt: skip
OWN = ("holdfast.client", "holdfast.contracts")
STANDARD_ONLY = {"holdfast", "holdfast.runtime", "holdfast.runtime.clock", "holdfast.runtime.ids", "holdfast.runtime.secret_files"}  # fmt: skip


def test_importing_it_pulls_redis_and_the_contracts_alone():
    """In a process of its own. redis-py itself imports what it can do without (telemetry, cryptography), where that is installed."""
    alone = "import sys; before = set(sys.modules); import redis, redis.asyncio, pydantic, orjson; with_redis = set(sys.modules);"
    program = alone + "import holdfast.client; print('\\n'.join(sorted(set(sys.modules) - with_redis)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = [name for name in result.stdout.split() if not name.startswith("_sysconfigdata")]
    outside = (
        {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - NEEDED - {"holdfast"}
    )
    ours = {name for name in loaded if name.startswith("holdfast") and not name.startswith(OWN)}
    assert "holdfast.client" in loaded
    assert outside == set()
    assert ours == STANDARD_ONLY


# -- wishes and answers -----------------------------------------------------------------------------------------------


def test_a_buy_is_filled_held_with_exits_and_closed(desk, client):
    done = client.buy(BTC, "0.5", stop_loss="5%", take_profit="130").wait()
    assert (done.status, done.filled_quantity, done.average_price) == ("filled", D("0.5"), D(100))
    (held,) = client.positions()
    assert (held.symbol, held.quantity, held.stop_loss, held.take_profit, held.strategy) == (BTC, D("0.5"), D(95), D(130), "mine")  # fmt: skip
    assert client.close(BTC).wait().status == "filled"
    assert client.positions() == []
    (trade,) = client.trades(1)
    assert (trade.position_id, trade.exit_reason) == (held.position_id, "close")
    assert client.trades(5, strategy="somebody else") == []


def test_the_way_there_is_told_in_order(client):
    handle = client.buy(BTC, "0.25")
    told = list(handle.events())
    assert all(isinstance(one, Event) for one in told)
    assert [(one.kind, getattr(one.message, "status", None)) for one in told if one.kind == "result"] == [
        ("result", "accepted"),
        ("result", "filled"),
    ]
    assert [one.message.state for one in told if one.kind == "order"] == ["reserved", "filled"]
    assert [one.message.quantity for one in told if one.kind == "execution"] == [D("0.25")]


def test_a_resting_order_is_accepted_and_canceled(client):
    handle = client.buy(BTC, "1", price="50", post_only=True)
    assert handle.wait(accepted=True).status == "accepted"
    with pytest.raises(NotConfirmed) as caught:
        handle.wait(0.3)
    assert caught.value.latest.status == "accepted"
    assert "wait again, or cancel it" in str(caught.value)
    assert client.cancel(order=handle.id).wait().status == "canceled"
    assert handle.wait().status == "canceled"


def test_a_refusal_is_an_answer_with_code_and_reason(client):
    client.buy(BTC, 1).wait()
    done = client.sell(BTC, 1).wait()
    assert (done.status, done.code) == ("blocked", "opposed")
    assert "existing LONG position" in done.reason


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (lambda c: c.buy(BTC, 0.01), 'write amounts as strings, like "0.01"'),
        (lambda c: c.buy(BTC), "quantity is required to open (or quote_amount, nav_pct, risk_pct)"),
        (lambda c: c.buy(BTC, 1, nav_pct=5), "a size is said once"),
        (lambda c: c.buy(BTC, 1, stop_loss="off"), "stop_loss cannot be off"),
        (lambda c: c.buy(BTC, 1, post_only=True), "post_only needs a limit order"),
        (lambda c: c.buy(BTC, 1, key="a", id="b"), "give key= or id=, not both"),
        (lambda c: c.buy(BTC, 1, key=""), "an empty key names nothing"),
        (lambda c: c.close(BTC, fraction=2), "at most 1"),
        (lambda c: c.cancel(), "symbol is required to cancel"),
        (lambda c: c.predict(BTC, "up", "0.5"), "direction"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_sent(desk, client, wish, says):
    before = desk.redis.xlen(ORDER_INTENT.name), desk.redis.xlen(PREDICTION.name)
    with pytest.raises(WrongIntent) as caught:
        wish(client)
    assert says in str(caught.value)
    assert (desk.redis.xlen(ORDER_INTENT.name), desk.redis.xlen(PREDICTION.name)) == before


# -- restarts ---------------------------------------------------------------------------------------------------------


def answers(desk, intent_id):
    """Status and code of everything that was answered to the intent."""
    rows = [json.loads(fields[b"body"]) for _, fields in desk.redis.xrange(INTENT_RESULT.name)]
    return [(row["status"], row.get("code")) for row in rows if row["intent_id"] == intent_id]


def test_the_same_key_is_the_same_intent_whoever_asks_again(desk, client):
    first = client.buy(BTC, "0.5", key="2026-11-26T21:00").wait()
    with Client(desk.url, name="mine") as restarted:
        handle = restarted.buy(BTC, "0.5", key="2026-11-26T21:00")
        again = handle.wait()
        assert handle.id == "mine:2026-11-26T21:00"
        restarted.buy(BTC, "0.7", key="2026-11-26T21:00")
    assert (again.order_id, again.status) == (first.order_id, "filled")
    desk.wait(lambda: ("duplicate", "intent_id_reused") in answers(desk, handle.id))
    assert [row.quantity for row in client.positions()] == [D("0.5")]


def test_a_key_of_any_text_and_length_becomes_an_id(client):
    handle = client.buy(BTC, "0.5", key="Kerze von 21 Uhr " * 20)
    assert handle.id.startswith("mine:~")
    assert handle.wait().status == "filled"


def test_an_answer_from_before_is_found_and_one_that_was_trimmed_away_is_asked_for_again(desk, client):
    first = client.buy(BTC, "0.5", key="trimmed").wait()
    assert client.handle("mine:trimmed").wait(2) == first
    desk.redis.xtrim(INTENT_RESULT.name, maxlen=0, approximate=False)
    with pytest.raises(NotConfirmed):
        client.handle("mine:trimmed").wait(0.3)
    again = client.buy(BTC, "0.5", key="trimmed").wait()
    assert (again.repeated, again.order_id, again.average_price) == (
        True,
        first.order_id,
        first.average_price,
    )


def test_results_and_trades_are_followed_from_where_one_was(desk, client):
    heard, closed = [], []
    results = client.on_result(heard.append)
    trades = client.on_trade(closed.append)
    client.buy(BTC, "0.5", key="heard").wait()
    desk.wait(lambda: [one.status for one in heard] == ["accepted", "filled"])
    place = results.last_id
    results.stop()
    client.close(BTC, key="missed").wait()
    desk.wait(lambda: [one.strategy for one in closed] == ["mine"])
    trades.stop()
    late = []
    following = client.on_result(late.append, since=place)
    desk.wait(lambda: [one.intent_id for one in late][-1:] == ["mine:missed"])
    following.stop()
    assert {one.intent_id for one in late} == {"mine:missed"}


# -- prices and predictions -------------------------------------------------------------------------------------------


def test_ticks_are_of_the_symbol_alone_however_it_is_written(client):
    for name in (ETH, "ETHUSDT", "eth-usdt", "ETH/USDT:USDT"):
        tick = next(iter(client.ticks(name)))
        assert (tick.symbol, tick.bid) == (ETH, D(10))


def test_a_prediction_is_on_the_bus_with_its_model_and_its_end(desk, client):
    sent = client.predict(BTC, "long", "0.8", valid_s=60)
    fields = desk.redis.xrevrange(PREDICTION.name, count=1)[0][1]
    assert fields[b"id"].decode() == sent
    from holdfast.contracts.exit_messages import Prediction

    told = Prediction.parse(fields[b"body"])
    assert (told.direction, told.confidence, told.model, told.expires_at - told.at) == ("long", D("0.8"), "mine", 60_000)  # fmt: skip


# -- asyncio ----------------------------------------------------------------------------------------------------------


async def test_the_same_for_asyncio(desk):
    async with AsyncClient(desk.url, name="aio") as client:
        heard = []

        async def hear(result):
            heard.append(result.status.value)

        following = await client.on_result(hear)
        handle = await client.buy(BTC, quote_amount="50", stop_loss="5%")
        told = [event.kind async for event in handle.events()]
        done = await handle.wait()
        assert (done.status, done.filled_quantity) == ("filled", D("0.5"))
        assert told[-1] == "result"
        (held,) = await client.positions()
        assert held.strategy == "aio"
        async for tick in client.ticks(BTC):
            assert tick.symbol == BTC
            break
        assert (await (await client.sell(BTC, 1)).wait()).code == "opposed"
        assert (await (await client.close(BTC, fraction="0.5")).wait()).filled_quantity == D("0.25")
        assert (await (await client.close(BTC)).wait()).status == "filled"
        assert (await client.trades(1))[0].position_id == held.position_id
        rest = await client.buy(BTC, 1, price="50")
        assert (await rest.wait(accepted=True)).status == "accepted"
        assert (await (await client.cancel(BTC)).wait()).status == "canceled"
        assert (await client.handle(rest.id).wait()).status == "canceled"
        assert (await client.predict(BTC, "hold", "0.5")).startswith("aio:")
        await wait_until(lambda: heard[-1:] == ["canceled"], "the last answer")
        await following.stop()
        with pytest.raises(WrongIntent):
            await client.buy(BTC)


# -- no bus, or another one -------------------------------------------------------------------------------------------


def test_without_an_address_the_error_says_how_to_come_by_one(tmp_path, monkeypatch):
    monkeypatch.delenv("HOLDFAST_REDIS_URL", raising=False)
    with pytest.raises(Unreachable, match="Start `holdfast up` here, or give Client"):
        Client(directory=tmp_path)


def test_beside_a_running_installation_no_address_is_needed(desk, monkeypatch):
    monkeypatch.delenv("HOLDFAST_REDIS_URL", raising=False)
    with Client(directory=desk.directory, name="near") as near:
        assert near.positions() == []


def test_a_bus_that_is_not_there_is_said_so_without_the_password(monkeypatch):
    monkeypatch.setattr("holdfast.client.core.PATIENCE_S", 0.2)
    with (
        Client("redis://me:secret-word@127.0.0.1:1/0", name="mine") as lost,
        pytest.raises(Unreachable, match="Asking again is safe") as caught,
    ):
        lost.buy(BTC, 1)
    assert "secret-word" not in str(caught.value)


def test_nobody_who_answers_is_told_so_and_the_wish_stays_one(silent):
    with Client(silent.url, name="mine") as client:
        handle = client.buy(BTC, 1, key="k")
        with pytest.raises(NotConfirmed, match="Are ledger and executor running") as caught:
            handle.wait(0.2)
        assert caught.value.latest is None
        with pytest.raises(Unreachable, match="no usable snapshot"):
            client.positions(0.2)


def test_what_nobody_has_answered_is_sent_again_under_its_id(silent, monkeypatch):
    monkeypatch.setattr("holdfast.client.core.RESEND_S", 0.05)
    with Client(silent.url, name="mine") as client:
        handle = client.buy(BTC, 1, key="k")
        silent.redis.flushall()
        with pytest.raises(NotConfirmed):
            handle.wait(0.5)
    bodies = {fields[b"body"] for _, fields in silent.redis.xrange(ORDER_INTENT.name)}
    assert len(bodies) == 1, "the same wish, byte for byte"


def test_a_wrong_password_is_no_reason_to_wait(silent):
    admin = redis.Redis.from_url(silent.url)
    admin.acl_setuser("mine", enabled=True, passwords=["+right-word"], keys=["*"], commands=["+@all"])
    with (
        Client(silent.url.replace("//", "//mine:wrong-word@"), name="mine") as client,
        pytest.raises(Unreachable, match="lets nobody in like this"),
    ):
        client.buy(BTC, 1)


# -- signed -----------------------------------------------------------------------------------------------------------


def test_with_a_key_intents_are_signed_and_go_to_the_producers_own_stream(silent):
    settings = settings_of(silent.directory, silent.url)
    key = new_key(settings, "mine")
    with Client(silent.url, name="mine", directory=silent.directory) as client:
        handles = [client.buy(BTC, 1, id="a"), client.close(BTC, key="b"), client.cancel(BTC)]
    entries = silent.redis.xrange("order.intent.mine")
    assert [fields[b"id"].decode() for _, fields in entries] == [one.id for one in handles]
    assert [one.id for one in handles][:2] == ["mine:a", "mine:b"]
    assert all(one.id.startswith("mine:") for one in handles)
    for _, fields in entries:
        assert fields[b"key"].decode() == key.key_id
        assert key.signed("order.intent.mine", fields[b"body"], fields[b"sig"])
    assert not silent.redis.exists(ORDER_INTENT.name)


def test_a_key_that_others_may_read_is_refused(silent):
    key = new_key(settings_of(silent.directory, silent.url), "mine")
    file = silent.directory / "keys" / "others" / "mine" / "intent.key"
    file.chmod(0o644)
    with pytest.raises(Unreachable, match="chmod 600") as caught:
        Client(silent.url, name="mine", directory=silent.directory)
    assert key.secret.hex() not in str(caught.value)
