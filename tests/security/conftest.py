"""Real servers with users, and an installation on each."""

from collections.abc import AsyncIterator

import pytest

from holdfast.contracts.streams import LEDGER_SNAPSHOT
from tests.security._system import TRADING, System, guarded_bus, servers, settings_for, with_secrets


@pytest.fixture(params=sorted(servers()))
async def system(request, tmp_path) -> AsyncIterator[System]:
    """A guarded bus with nothing running on it yet."""
    settings = settings_for(tmp_path)
    with guarded_bus(tmp_path, servers()[request.param], with_secrets(settings)) as url:
        made = System(settings.model_copy(update={"bus": settings.bus.model_copy(update={"url": url})}))
        yield made
        await made.admin.aclose()


@pytest.fixture
async def trading(system: System) -> AsyncIterator[System]:
    """Ledger, executor and exit scanner at work on it."""
    async with system.running(*TRADING):
        await system.is_ready(*TRADING)
        assert await system.entries(LEDGER_SNAPSHOT)
        yield system
