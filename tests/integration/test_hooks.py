"""The hook that docs/hooks.md shows, as a service on a port of its own, before the real services: curl in, position out."""

import asyncio
import json
import re
import shutil
import subprocess
import tomllib

import httpx
import pytest

from holdfast.client import AsyncClient
from holdfast.runtime.hook_secrets import hook_secret, secret_file
from holdfast.runtime.secret_files import SecretRefused
from holdfast.runtime.settings import Settings
from services.hooks.app import build
from tests.architecture._tree import ROOT, text
from tests.contract._bus import running
from tests.contract._wait import wait_until
from tests.integration._cli import BTC, Desk, settings_of
from tests.security._system import free_port

pytestmark = pytest.mark.redis
PAGE = text("docs/hooks.md")


def with_hook(desk: Desk) -> Settings:
    """The installation's settings, with the hook of the page."""
    shown = tomllib.loads("\n".join(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)))
    document = settings_of(desk.directory, desk.url).model_dump()
    return Settings.model_validate({**document, **shown, "hook_door": {"port": free_port()}})


async def listening(url: str) -> None:
    async with httpx.AsyncClient() as client:

        async def answers() -> bool:
            try:
                return (await client.get(f"{url}/health")).status_code == 200
            except httpx.TransportError:
                return False

        await wait_until(answers, "the hooks to listen")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
async def test_the_alert_of_the_page_becomes_a_position_with_exits_and_closes_it(desk):
    settings = with_hook(desk)
    url = f"http://127.0.0.1:{settings.hook_door.port}"
    secret = hook_secret(settings, "tv")

    async def curl(*words: str) -> dict:
        command = ["sh", str(ROOT / "examples/tradingview.sh"), f"{url}/hooks/tv", secret, *words]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    async with running(build(settings)), AsyncClient(desk.url, name="looking") as client:
        await listening(url)
        opened = await client.handle((await curl("buy"))["intent_id"]).wait()
        assert opened.status == "filled"
        (held,) = await client.positions()
        assert (held.symbol, held.strategy) == (BTC, "tv")
        assert held.stop_loss == held.entry_price * 98 / 100
        closed = await client.handle((await curl("sell", "flat"))["intent_id"]).wait()
        assert closed.status == "filled"
        async with httpx.AsyncClient() as stranger:
            forged = await stranger.post(f"{url}/hooks/tv", content=b'{"secret":"no"}')
        assert forged.status_code == 403


async def test_a_body_that_is_said_to_be_small_and_is_not_is_cut_off(desk):
    settings = with_hook(desk)
    hook_secret(settings, "tv")
    async with running(build(settings)):
        await listening(f"http://127.0.0.1:{settings.hook_door.port}")
        reader, writer = await asyncio.open_connection("127.0.0.1", settings.hook_door.port)
        writer.write(b"POST /hooks/tv HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            writer.write(b"400\r\n" + b" " * 1024 + b"\r\n")  # and it goes on: the end is never sent
        assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 413")
        writer.close()


def test_where_a_secret_cannot_be_made_it_is_said_how(tmp_path):
    settings = Settings.model_validate({"bus": {"keys": str(tmp_path)}})
    secret_file(settings, "tv").parent.write_text("no folder")
    with pytest.raises(SecretRefused, match="`holdfast hooks secret tv` makes it"):
        hook_secret(settings, "tv")


def test_the_secret_is_made_once_shown_by_the_command_and_readable_by_its_owner_alone(desk, tmp_path):
    file = tmp_path / "holdfast.toml"
    file.write_text("\n".join(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)))
    shown = desk.ok("hooks", "secret", "tv", "--config", file)
    path = secret_file(settings_of(desk.directory, desk.url), "tv")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() in shown
    message = json.loads(shown[shown.index("{") :])
    assert set(message) == {"secret", "ticker", "action", "market_position", "time"}
    assert desk.ok("hooks", "secret", "tv", "--config", file) == shown
    assert "/hooks/tv; may trade BTC/USDT, ETH/USDT" in desk.ok("hooks", "list", "--config", file)
    assert desk.run("hooks", "secret", "other", "--config", file).exit_code == 1


def test_without_a_hook_the_service_does_not_start(desk):
    from holdfast.runtime.faults import Terminal

    with pytest.raises(Terminal, match="no hook is configured"):
        build(settings_of(desk.directory, desk.url))
