"""Who comes in, and the attacks that were tried on the dashboard; docs/dashboard.md has them as a table."""

import asyncio

import httpx
import pytest

from holdfast.runtime.bounded_log import tail
from services.dashboard.auth import COOKIE, FAILURES_PER_ADDRESS, MAX_BODY, POLICY
from tests.unit._dashboard import PAGE, Front, Hand
from tests.unit._state import position

HALT = {"state": "halted", "why": "test"}


@pytest.fixture
async def front(tmp_path) -> Front:
    return Front(tmp_path, await Hand().well(position()))


# -- reading ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/positions", "/metrics", "/performance"])
async def test_this_machine_may_look_without_a_login(front, path):
    assert (await front.client().get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/api/positions", "/metrics", "/events", "/api/openapi.json"])
async def test_another_machine_may_not(tmp_path, path):
    front = Front(tmp_path, hosts=["trader.lan"])

    reply = await front.client("192.168.1.7", "http://trader.lan").get(path)

    assert reply.status_code == 401


async def test_another_machine_is_sent_to_the_login_and_may_look_with_the_view_token(tmp_path):
    front = Front(tmp_path, await Hand().well(), hosts=["trader.lan"])
    client = front.client("192.168.1.7", "http://trader.lan")

    sent = await client.get("/", headers={"accept": "text/html"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/login")

    client = await front.logged_in("view", address="192.168.1.7", base="http://trader.lan")
    assert (await client.get("/api/positions")).status_code == 200


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-host"])
async def test_a_proxy_on_this_machine_does_not_make_the_world_local(front, header):
    assert (await front.client().get("/api/positions", headers={header: "8.8.8.8"})).status_code == 401


async def test_metrics_may_be_opened_for_a_private_network(tmp_path):
    front = Front(tmp_path, hosts=["dashboard"], open_metrics=True)
    client = front.client("172.18.0.5", "http://dashboard:8480")

    assert (await client.get("/metrics")).status_code == 200
    assert (await client.get("/api/positions")).status_code == 401


# -- logging in -------------------------------------------------------------------------------------------------------------


async def test_a_login_gives_a_session_that_no_script_reads_and_no_other_site_sends(front):
    client = front.client()

    reply = await client.post("/login", data={"token": front.made["operate"]}, headers={"origin": PAGE})

    cookie = reply.headers["set-cookie"]
    assert reply.status_code == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie


async def test_behind_tls_the_cookie_is_secure_and_the_origin_https(tmp_path):
    front = Front(tmp_path, await Hand().well(), behind_tls=True, hosts=["trader.lan"])
    client = front.client("10.0.0.1", "https://trader.lan")

    refused = await client.post(
        "/login", data={"token": front.made["operate"]}, headers={"origin": "http://trader.lan"}
    )
    reply = await client.post(
        "/login", data={"token": front.made["operate"]}, headers={"origin": "https://trader.lan"}
    )

    assert refused.status_code == 403
    assert "Secure" in reply.headers["set-cookie"]


async def test_there_is_no_default_password(front):
    for guess in ("", "admin", "operate", "operate.", "operate.admin", "view.", "x" * 5000):
        reply = await front.client(f"10.0.0.{len(guess) % 250}").post(
            "/login", data={"token": guess}, headers={"origin": PAGE}
        )
        assert reply.status_code == 401


async def test_attack_brute_force_is_slowed_down_and_the_right_token_waits_too(front):
    client, headers = front.client(), {"origin": PAGE}
    for _ in range(FAILURES_PER_ADDRESS):
        assert (await client.post("/login", data={"token": "operate.x"}, headers=headers)).status_code == 401

    assert (
        await client.post("/login", data={"token": front.made["operate"]}, headers=headers)
    ).status_code == 429
    bearer = {"authorization": f"Bearer {front.made['operate']}"}
    assert (await client.get("/api/positions", headers=bearer)).status_code == 429
    front.clock.now += 61_000
    assert (
        await client.post("/login", data={"token": front.made["operate"]}, headers=headers)
    ).status_code == 303


async def test_attack_brute_force_from_many_addresses_is_slowed_down_in_all(front):
    codes = [
        (
            await front.client(f"10.0.1.{number}").post(
                "/login", data={"token": "operate.x"}, headers={"origin": PAGE}
            )
        ).status_code
        for number in range(40)
    ]

    assert codes.count(401) == 30
    assert codes[30:] == [429] * 10


async def test_attack_session_fixation_a_login_never_takes_the_name_it_is_offered(front):
    client = front.client()
    client.cookies.set(COOKIE, "chosen-by-the-attacker")

    reply = await client.post("/login", data={"token": front.made["operate"]}, headers={"origin": PAGE})

    assert "chosen-by-the-attacker" not in reply.headers["set-cookie"]
    thief = front.client()
    thief.cookies.set(COOKIE, "chosen-by-the-attacker")
    assert (await thief.post("/api/control", json=HALT, headers={"origin": PAGE})).status_code == 401


async def test_a_session_ends_by_logging_out_by_time_and_with_its_token(front):
    for ending in ("logout", "time", "token"):
        client = await front.logged_in()
        if ending == "logout":
            assert (await client.post("/logout")).status_code == 200
            client.cookies.clear()
        elif ending == "time":
            front.clock.now += 13 * 3_600_000
        else:
            front.made["operate"] = front.tokens.replace("operate")
        assert (await client.post("/api/control", json=HALT)).status_code == 401


# -- writing ------------------------------------------------------------------------------------------------------------------


async def test_the_operator_writes_and_the_audit_trail_says_who(front):
    client = await front.logged_in()

    reply = await client.post("/api/control", json=HALT)

    assert (reply.status_code, reply.json()["status"]) == (200, "done")
    assert [(out.message.state, out.message.by) for out in front.bus.sent] == [
        ("halted", "dashboard:operate:anna")
    ]
    newest = tail(front.audit, 1)[0]
    assert (newest["by"], newest["what"], newest["status"]) == (
        "dashboard:operate:anna",
        "ControlWish",
        "done",
    )
    assert newest["asked"]["why"] == "test"


async def test_attack_csrf_another_site_cannot_press_the_buttons(front):
    client = await front.logged_in()
    csrf = client.headers["x-csrf-token"]
    tries: list[dict[str, str]] = [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": ""},
        {"x-csrf-token": ""},
        {"x-csrf-token": csrf[:-1]},
    ]
    for headers in tries:
        assert (await client.post("/api/control", json=HALT, headers=headers)).status_code == 403
    assert front.bus.sent == []


async def test_attack_csrf_login_from_another_site_is_refused(front):
    reply = await front.client().post(
        "/login", data={"token": front.made["operate"]}, headers={"origin": "http://evil.example"}
    )

    assert reply.status_code == 403


async def test_nobody_writes_without_the_role(front):
    anonymous = await front.client().post("/api/control", json=HALT, headers={"origin": PAGE})
    viewer = await front.logged_in("view")
    bearer = {"authorization": f"Bearer {front.made['view']}"}

    assert anonymous.status_code == 401
    assert (await viewer.post("/api/control", json=HALT)).status_code == 403
    assert (await front.client().post("/api/control", json=HALT, headers=bearer)).status_code == 403
    assert front.bus.sent == []


async def test_a_program_writes_with_its_token(front):
    reply = await front.client().post(
        "/api/control", json=HALT, headers={"authorization": f"Bearer {front.made['operate']}"}
    )

    assert reply.status_code == 200
    assert front.bus.sent[0].message.by == "api:operate"


# -- other attacks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8480",
        "127.0.0.1.nip.io",
        "localhost.evil.example",
        "[::1",
        ":80",
        "127.0.0.1:x",
        "",
    ],
)
async def test_attack_dns_rebinding_an_unknown_name_finds_nobody(front, host):
    for path in ("/", "/api/positions", "/events", "/static/app.js", "/health"):
        assert (await front.client().get(path, headers={"host": host})).status_code == 421


@pytest.mark.parametrize(
    "path",
    [
        "/static/../web.py", "/static/%2e%2e/web.py", "/static//etc/passwd", "///etc/passwd", "/static/..%2f..%2f..%2fetc%2fpasswd",
        "/static/vendor/../../auth.py", "/static/", "/static/vendor", "/static/SHA256SUMS",
    ],
)  # fmt: skip
async def test_attack_path_traversal_only_names_on_the_list_are_served(front, path):
    transport = httpx.ASGITransport(app=front.app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport) as client:
        reply = await client.send(httpx.Request("GET", httpx.URL(PAGE).copy_with(raw_path=path.encode())))

    assert reply.status_code == 404


async def test_attack_xss_texts_from_outside_are_escaped_by_the_server(front):
    evil = "<script>alert(1)</script>"
    client = await front.logged_in()
    await client.post("/api/control", json={"state": "halted", "why": evil})
    pages = [
        (await client.get("/logs", params={"words": evil})).text,
        (await client.get(f"/position/{evil.replace('/', '')}".replace("<", "%3C").replace(">", "%3E"))).text,
    ]

    assert all("<script>alert" not in page for page in pages)
    assert "&lt;script&gt;" in pages[0]


async def test_no_page_has_a_script_or_a_style_inside_itself(front):
    for path in ("/", "/performance", "/learning", "/dead-letters", "/logs", "/login"):
        reply = await front.client().get(path)
        text = reply.text.replace('<script type="module" src="', "").replace('<script defer src="', "")
        assert reply.headers["content-security-policy"] == POLICY
        assert "unsafe" not in POLICY
        assert "<script" not in text
        assert "<style" not in text
        assert " style=" not in text
        assert " on" + "click=" not in text


async def test_every_answer_has_the_headers_and_no_foreign_site_may_read(front):
    for path in ("/", "/api/positions", "/static/app.css", "/nowhere"):
        headers = (await front.client().get(path, headers={"origin": "http://evil.example"})).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers


async def test_attack_a_body_that_is_too_large_is_not_read(front):
    client = await front.logged_in()

    assert (
        await client.post("/api/control", json={"state": "halted", "why": "x" * MAX_BODY})
    ).status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/api/control",
        "/api/close",
        "/api/flatten",
        "/api/exits",
        "/api/requeue",
        "/api/alerts/ack",
        "/api/cancel",
    ],
)
async def test_nothing_is_written_by_following_a_link(front, path):
    client = await front.logged_in()

    assert (await client.get(path)).status_code == 405


async def test_attack_flood_of_events_further_pages_are_turned_away_and_places_come_back(tmp_path):
    front = Front(tmp_path, await Hand().well(), max_clients=3)
    taken = [front.hub.enter() for _ in range(3)]

    refused = await front.client().get("/events")

    assert taken == [True] * 3
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    front.hub.leave()
    assert front.hub.enter()


async def test_a_websocket_finds_nobody(front):
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    await asyncio.wait_for(front.app({"type": "websocket", "path": "/events", "headers": []}, None, send), 5)

    assert [message["type"] for message in sent] == ["websocket.close"]
