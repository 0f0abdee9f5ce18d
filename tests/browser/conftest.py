"""One stage and one browser for all of these tests; every page must end without an error in its console."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser._stage import CHROMIUM, Stage, staged

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is Linux-only here")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("stage")) as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in CHROMIUM")
    with playwright.sync_playwright() as engine:
        one = engine.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield one
        one.close()


@pytest.fixture
def page(stage: Stage, browser: Any) -> Iterator[Any]:
    """A page of somebody who may only look."""
    yield from _page(stage, browser)


@pytest.fixture
def operator(stage: Stage, browser: Any) -> Iterator[Any]:
    """A page of somebody who has logged in to operate."""
    for page in _page(stage, browser):
        page.goto(stage.url + "/login")
        page.fill("[name=token]", stage.token)
        page.fill("[name=name]", "anna")
        page.click("button.go")
        page.wait_for_selector("body[data-beat]")
        yield page


def _page(stage: Stage, browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=stage.url)
    page = context.new_page()
    page.set_default_timeout(15_000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: troubles.append(line.text) if line.type == "error" else None)
    yield page
    context.close()
    expected = (
        "net::ERR_",
        "status of 4",
        "status of 5",
    )  # a dashboard that was killed, a wish that was refused
    assert [one for one in troubles if not any(part in one for part in expected)] == []
