"""Alerts from outside: what a template makes of them, and every delivery that must not become an intent."""

import hmac
import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast.contracts.messages import OrderIntent
from holdfast.domain.hooks import MOST_BYTES
from holdfast.runtime.faults import Transient
from holdfast.runtime.hook_settings import HookSettings
from services.hooks.app import make_web
from services.hooks.service import Hooks
from tests.unit._executor import D, FakeClock

SECRET = "q" * 43
NOW = FakeClock().now
HOOK = HookSettings(
    symbols=["BTC/USDT", "ETH/USDT"],
    intent={
        "symbol": "{ticker}", "side": "{action}", "quantity": "{contracts}", "stop_loss": "2%", "price": "{limit}", "strategy": "tv",
    },
    close_when={"market_position": "flat"},
    rate_per_minute=D(12),
)  # fmt: skip
ALERT = {
    "secret": SECRET, "ticker": "BTCUSDT", "action": "buy", "contracts": 0.015, "limit": "", "market_position": "long",
    "time": NOW,
}  # fmt: skip


class Door:
    """The web side with a bus that keeps what is published, or is gone."""

    def __init__(self, hook: HookSettings = HOOK) -> None:
        self.clock = FakeClock()
        self.hooks = Hooks({"tv": hook}, {"tv": SECRET}, self.clock, most_wrong_per_minute=12)
        self.published: list[OrderIntent] = []
        self.is_gone = False
        transport = httpx.ASGITransport(make_web(self.hooks, self.publish))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://hook")

    async def publish(self, outputs):
        if self.is_gone:
            raise Transient("bus: gone")
        self.published += [out.message for out in outputs]

    async def post(self, body, name="tv"):
        content = body if isinstance(body, bytes) else json.dumps(body)
        return await self.client.post(f"/hooks/{name}", content=content)


@pytest.fixture
async def door():
    made = Door()
    yield made
    await made.client.aclose()


# -- what an alert becomes --------------------------------------------------------------------------------------------


async def test_an_alert_becomes_the_intent_of_its_template_and_is_answered_with_its_id(door):
    reply = await door.post(ALERT)
    (wish,) = door.published
    assert (reply.status_code, reply.json()) == (202, {"intent_id": wish.id})
    assert (wish.symbol, wish.side, wish.quantity, wish.stop_loss, wish.type, wish.strategy) == ("BTCUSDT", "buy", D("0.015"), "2%", "market", "tv")  # fmt: skip
    assert wish.expires_at == NOW + 60_000
    assert SECRET not in wish.model_dump_json()


async def test_a_field_that_is_there_and_empty_leaves_its_part_out_and_a_price_makes_a_limit_order(door):
    await door.post({**ALERT, "limit": "42000.5"})
    assert (door.published[0].type, door.published[0].price) == ("limit", D("42000.5"))


async def test_the_condition_for_a_close_makes_one(door):
    await door.post({**ALERT, "market_position": "flat", "action": "sell"})
    (wish,) = door.published
    assert (wish.action, wish.symbol, wish.side, wish.quantity, wish.expires_at, wish.reason) == ("close", "BTCUSDT", None, None, None, "signal")  # fmt: skip


# -- replayed ---------------------------------------------------------------------------------------------------------


async def test_a_delivery_that_is_repeated_is_the_same_intent(door):
    replies = []
    for wait_ms in (0, 5_000, 20_000):
        door.clock.now += wait_ms
        replies.append((await door.post(ALERT)).json()["intent_id"])
    assert len(set(replies)) == 1
    restarted = Door()
    assert (await restarted.post(ALERT)).json()["intent_id"] == replies[0], "through a restart, too"
    await restarted.client.aclose()
    assert (await door.post({**ALERT, "time": NOW + 1})).json()["intent_id"] != replies[0]
    assert (await door.post({**ALERT, "contracts": 0.016})).json()["intent_id"] != replies[0]


@pytest.mark.parametrize("time", [NOW - 61_000, "2023-11-14T22:12:18Z", NOW // 1000 - 61])
async def test_a_delivery_that_is_replayed_later_is_refused(door, time):
    reply = await door.post({**ALERT, "time": time})
    assert (reply.status_code, door.published) == (422, [])
    assert "older than 60 s" in reply.json()["detail"]


@pytest.mark.parametrize("time", ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00", str(NOW), NOW // 1000])  # fmt: skip
async def test_an_alerts_time_is_read_as_they_write_it(door, time):
    assert (await door.post({**ALERT, "time": time})).status_code == 202


@pytest.mark.parametrize("time", [None, "", "soon", True, [1], 1e300, "9" * 400, NOW + 61_000])
async def test_an_alert_without_a_time_of_its_own_is_refused(door, time):
    assert (await door.post({**ALERT, "time": time})).status_code == 422
    assert door.published == []


# -- forged -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret", ["", "q" * 42, "q" * 42 + "r", None, 5, ["q"], {"a": 1}, "Q" * 43, "\u00e9" * 43]
)
async def test_whoever_has_not_the_secret_gets_nothing(door, secret):
    reply = await door.post({**ALERT, "secret": secret})
    assert (reply.status_code, reply.json()["detail"]) == (403, "no such hook, or not its secret")
    assert door.published == []


async def test_a_hook_that_does_not_exist_answers_as_one_whose_secret_is_wrong(door, monkeypatch):
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(len(a)) or compare(a, b))
    replies = [await door.post({**ALERT, "secret": "no"}, name) for name in ("tv", "nobody")]
    assert replies[0].text == replies[1].text
    assert compared == [43, 43], "compared in constant time, and as long, either way"


async def test_the_secret_is_no_field_that_a_template_can_let_out():
    leaking = HookSettings(symbols=["BTC/USDT"], intent={**HOOK.intent, "strategy": "{secret}"})
    door = Door(leaking)
    reply = await door.post(ALERT)
    assert (reply.status_code, door.published) == (422, [])
    assert SECRET not in reply.text
    await door.client.aclose()


@pytest.mark.parametrize("ticker", ["DOGE/USDT", "BTC/USD", "", "NONSENSE"])
async def test_a_symbol_that_is_not_on_the_list_is_refused_in_and_out(door, ticker):
    for position in ("long", "flat"):
        reply = await door.post({**ALERT, "ticker": ticker, "market_position": position})
        assert reply.status_code == 422
    assert door.published == []


# -- oversized --------------------------------------------------------------------------------------------------------


async def test_a_body_that_is_too_large_is_not_read_to_its_end(door):
    read = 0

    async def endless():
        nonlocal read
        while read < 1_000_000:
            read += 1000
            yield b" " * 1000

    reply = await door.client.post("/hooks/tv", content=endless())
    assert reply.status_code == 413
    padded = json.dumps(ALERT).encode() + b" " * MOST_BYTES
    assert (await door.post(padded)).status_code == 413
    assert (await door.post(padded[:MOST_BYTES])).status_code == 202


# -- malformed --------------------------------------------------------------------------------------------------------

MALFORMED = [
    b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe", b'{"secret":NaN}', b"[" * 4000, b'{"a":' * 800, b'{"secret":"\\ud800"}', b"12",
]  # fmt: skip


@pytest.mark.parametrize("body", MALFORMED)
async def test_what_is_no_json_object_is_refused(door, body):
    reply = await door.post(body)
    assert (reply.status_code, door.published) == (400, [])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"contracts": "much"}, "quantity"), ({"contracts": -1}, "quantity"), ({"contracts": 0}, "quantity"), ({"contracts": [1]}, "neither a text nor a number"),
        ({"action": "hold"}, "side"), ({"action": ""}, "side is required"), ({"limit": "-5"}, "price"), ({"contracts": 1e300}, "quantity"),
    ],
)  # fmt: skip
async def test_what_makes_no_intent_is_refused_with_the_field(door, changes, says):
    reply = await door.post({**ALERT, **changes})
    assert (reply.status_code, door.published) == (422, [])
    assert says in reply.json()["detail"]


async def test_a_field_that_the_template_needs_and_the_alert_lacks_is_named(door):
    reply = await door.post({key: value for key, value in ALERT.items() if key != "contracts"})
    assert reply.json()["detail"] == "quantity: the alert has no field contracts"


@given(st.dictionaries(st.sampled_from([*ALERT, "x"]), st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())), max_size=8))  # fmt: skip
@settings(max_examples=200)
def test_whatever_is_delivered_is_answered(document):
    hooks = Hooks({"tv": HOOK}, {"tv": SECRET}, FakeClock(), most_wrong_per_minute=10_000)
    body = json.dumps({**ALERT, **document}).encode()
    answer = hooks.deliver("tv", body)
    assert answer.status in {202, 400, 403, 422}
    assert (answer.intent is not None) is (answer.status == 202)
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "intent", [{"symbol": "{t}", "leverage": "5"}, {"side": "buy"}, {"symbol": "{t}", "id": "x"}]
)
def test_a_template_that_cannot_be_is_refused_at_the_start(intent):
    with pytest.raises(ValidationError, match="intent:"):
        HookSettings(symbols=["BTC/USDT"], intent=intent)


def test_a_hook_without_a_list_of_symbols_is_none():
    with pytest.raises(ValidationError, match="symbols"):
        HookSettings(symbols=[], intent=HOOK.intent)


# -- flooded ----------------------------------------------------------------------------------------------------------


async def test_more_alerts_than_the_rate_are_refused_and_the_next_minute_is_free_again(door):
    statuses = [(await door.post({**ALERT, "time": NOW + number})).status_code for number in range(10)]
    assert statuses == [202] * 3 + [429] * 7, "a quarter of a minute's worth at once"
    door.clock.now += 5_000
    assert (await door.post({**ALERT, "time": NOW + 5_000})).status_code == 202


async def test_a_flood_of_forgeries_is_told_nothing_and_keeps_no_genuine_alert_away(door):
    forged = {**ALERT, "secret": "no"}
    statuses = [(await door.post(forged)).status_code for _ in range(10)]
    assert statuses == [403] * 3 + [429] * 7
    assert (await door.post(b"{")).status_code == 429
    assert (await door.post(ALERT)).status_code == 202
    door.clock.now += 60_000
    assert (await door.post(forged)).status_code == 403


async def test_without_the_bus_the_sender_is_asked_to_deliver_again_and_that_is_the_same_intent(door):
    door.is_gone = True
    assert (await door.post(ALERT)).status_code == 503
    door.is_gone = False
    assert (await door.post(ALERT)).json()["intent_id"] == door.published[0].id


@pytest.mark.parametrize(("method", "path"), [("GET", "/hooks/tv"), ("PUT", "/hooks/tv"), ("POST", "/"), ("POST", "/hooks/"), ("POST", "/hooks/a/b")])  # fmt: skip
async def test_nothing_else_is_served(door, method, path):
    assert (await door.client.request(method, path)).status_code in {404, 405}
    assert (await door.client.get("/health")).json() == {"status": "listening"}
