"""Fixtures of the command line's tests: one bus and one set of services for a module."""

from collections.abc import Iterator

import pytest

from holdfast.runtime.embedded_bus import embedded
from tests.integration._cli import Desk


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    directory = tmp_path_factory.mktemp("holdfast")
    with embedded(directory / "bus") as url:
        desk = Desk(directory, url)
        desk.start()
        yield desk
        desk.stop()


@pytest.fixture
def desk(services: Desk) -> Desk:
    """The running services, with nothing left of earlier tests."""
    services.flat()
    return services


@pytest.fixture
def silent(tmp_path, monkeypatch) -> Iterator[Desk]:
    """A bus on which nobody answers, and little patience with that."""
    monkeypatch.setattr("holdfast.bus.client.PATIENCE_S", 0.3)
    with embedded(tmp_path / "bus") as url:
        yield Desk(tmp_path, url)
