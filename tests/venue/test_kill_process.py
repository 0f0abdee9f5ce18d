"""`kill -9` of executors that are processes; all steps, entry and exit, are `python -m tests.venue._kills` (minutes), in one process `test_kill.py`."""

import pytest

from tests.venue._kills import play, world


@pytest.mark.long
@pytest.mark.redis
@pytest.mark.timeout(280)
async def test_an_executor_process_that_is_killed_leaves_nothing_doubled_lost_or_unresolved(tmp_path):
    async with world(tmp_path) as stage:
        await play(stage, (5, 6), is_exit=False)
        await play(stage, (7,), is_exit=True)
        assert stage.executors.deaths >= 2 * 3
