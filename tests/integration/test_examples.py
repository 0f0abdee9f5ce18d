"""Every file of examples/ runs as its head says, as a process of its own, before the real services on a real bus."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.streams import PREDICTION
from tests.architecture._tree import ROOT, text, tracked
from tests.integration._cli import BTC, ETH, Desk

pytestmark = pytest.mark.redis
EXAMPLES = ROOT / "examples"
RUN_HERE = {
    "moving_average.py",
    "stop_and_reverse.py",
    "market_maker.py",
    "predictions.py",
    "redis_cli.sh",
    "node/order.mjs",
}
ELSEWHERE = {
    "tradingview.sh": "tests/integration/test_hooks.py",
    "live/holdfast.toml": "tests/security/test_live_containers.py",
    "live/venue-sim.yml": "tests/security/test_live_containers.py",
    "live/apart.yml": "tests/security/test_live_containers.py",
    "live/apart-sim.yml": "tests/security/test_live_containers.py",
    "live/apart.toml": "tests/security/test_live_containers.py",
}
D = Decimal


def python(desk: Desk, name: str, *words: str) -> list[str]:
    return [sys.executable, "-u", str(EXAMPLES / name), *words]


def env(desk: Desk) -> dict[str, str]:
    return {**os.environ, "HOLDFAST_REDIS_URL": desk.url}


@contextmanager
def running(desk: Desk, name: str) -> Iterator[subprocess.Popen[str]]:
    """An example that runs for ever, until it is killed; it must not have ended by itself."""
    with subprocess.Popen(
        python(desk, name), env=env(desk), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
            assert process.poll() is None, process.stderr.read()
        finally:
            process.kill()


def moving(desk: Desk, step: str, until: Callable[[], object], symbol: str = BTC) -> None:
    """The price goes *step* at a time until something holds."""

    def look() -> object:
        desk.prices[symbol] = str(D(desk.prices[symbol]) + D(step))
        return until()

    desk.wait(look, 20)


def test_every_example_is_run_somewhere():
    there = {name.removeprefix("examples/") for name in tracked() if re.match(r"examples/(?!replay/)", name)}
    assert there - {"node/package.json"} == RUN_HERE | ELSEWHERE.keys()
    assert all(name in text(where) for name, where in ELSEWHERE.items())


def test_the_first_code_block_of_the_readme_is_the_moving_average_in_twenty_lines():
    language, block = re.search(r"^```(\w+)\n(.*?)^```", text("README.md"), re.DOTALL | re.MULTILINE).groups()
    assert (language, block) == ("python", text("examples/moving_average.py"))
    assert len(block.splitlines()) <= 20


def test_the_moving_average_buys_what_rises_and_closes_what_falls(desk):
    with running(desk, "moving_average.py") as process:
        moving(desk, "0.01", lambda: desk.rows("positions"))
        (held,) = desk.rows("positions")
        assert (held["strategy"], held["symbol"]) == ("ma", BTC)
        lost = D(held["quantity"]) * (D(held["entry_price"]) - D(held["stop_loss"]))
        assert 990 < lost < 1005, "1 % of 100000 at the stop, but for what the price moved on its way"
        moving(desk, "-0.01", lambda: not desk.rows("positions"))
        assert process.stdout.readline().startswith("in filled ")
        assert process.stdout.readline().startswith("out filled ")


def test_stop_and_reverse_turns_round_and_again_with_the_same_key_does_nothing(desk):
    def run(*words: str) -> str:
        done = subprocess.run(
            python(desk, "stop_and_reverse.py", *words),
            env=env(desk),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert run("buy", "a").startswith("filled 5 at 100")
    assert run("sell", "b").startswith("filled 5 at 100")
    assert [row["side"] for row in desk.rows("positions")] == ["short"]
    trades = len(desk.rows("trades"))
    assert run("sell", "b").startswith("filled 5 at 100")
    assert ([row["side"] for row in desk.rows("positions")], len(desk.rows("trades"))) == (["short"], trades)


def test_the_market_maker_moves_its_one_bid_along(desk):
    def bids() -> list[str]:
        return [row["price"] for row in desk.rows("orders") if row["strategy"] == "maker"]

    with running(desk, "market_maker.py") as process:
        desk.wait(lambda: bids() == ["99.9"])
        for price, bid in (("101", "100.9"), ("102", "101.9"), ("103", "102.9")):
            desk.prices[BTC] = price
            desk.wait(lambda bid=bid: bids() == [bid])
        desk.prices[BTC] = "102.8"  # the market comes down to it
        desk.wait(lambda: desk.rows("positions"))
        assert [row["quantity"] for row in desk.rows("positions")] == ["0.01"]
        lines = [process.stdout.readline().split()[0] for _ in range(4)]
    assert lines == ["accepted"] * 4


def test_predictions_say_where_the_price_has_gone(desk):
    with running(desk, "predictions.py"):
        moving(desk, "0.01", lambda: any(told.direction == "long" for told in predictions(desk)), ETH)
    told = predictions(desk)[-1]
    assert (told.model, told.symbol) == ("momentum", ETH)
    assert told.confidence > D("0.5")


def predictions(desk: Desk) -> list[Prediction]:
    return [Prediction.parse(fields[b"body"]) for _, fields in desk.redis.xrange(PREDICTION.name)]


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="there is no redis-cli on this machine")
def test_redis_cli_sends_an_intent_and_shows_its_answer(desk):
    def run(body: str) -> dict:
        words = ["sh", str(EXAMPLES / "redis_cli.sh"), str(urlsplit(desk.url).port), body]
        return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    answer = run('{"id":"typed-1","symbol":"BTC/USDT","side":"buy","quantity":"0.01"}')
    assert (answer["intent_id"], answer["status"]) == ("typed-1", "filled")
    refused = run('{"id":"typed-2","symbol":"BTC/USDT","side":"sell","quantity":"0.01"}')
    assert (refused["status"], refused["code"]) == ("blocked", "opposed")


@pytest.fixture(scope="module")
def node(request) -> str:
    """A folder with the example and what npm installs for it; kept between runs."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no node with npm on this machine")
    folder = request.config.cache.mkdir("node-example")
    for name in ("package.json", "order.mjs"):
        shutil.copy(EXAMPLES / "node" / name, folder)
    if not (folder / "node_modules" / "redis").is_dir():
        words = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
        try:
            subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True, timeout=50)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"npm cannot install redis here: {error}")
    return str(folder)


def test_node_sends_an_intent_and_shows_its_answer(desk, node):
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["node", "order.mjs", desk.url, *words]
        return subprocess.run(command, cwd=node, capture_output=True, text=True, check=False, timeout=30)

    assert run("node-1", BTC, "buy", "0.01").stdout == "filled 0.01 100\n"
    assert [(row["strategy"], row["stop_loss"]) for row in desk.rows("positions")] == [("node", "98")]
    again = run("node-1", BTC, "buy", "0.01")
    assert (again.returncode, again.stdout) == (0, "filled 0.01 100\n"), "the same id is the same intent"
    refused = run("node-2", BTC, "sell", "0.01")
    assert (refused.returncode, refused.stdout.split()[0]) == (1, "blocked")
