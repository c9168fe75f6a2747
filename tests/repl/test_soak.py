"""A long session of cells that raise, loop, allocate, exit and crash."""

import sys

import anyio
import pytest
from repl_driver import Driver
from rough_cells import (
    SESSION_LIMITS,
    descriptors,
    draw,
    living,
    resident_bytes,
    sessions_below,
    soak,
)

from rlm_mcp.repl.local import LocalBackend

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc"),
]

CELLS = 100
SEED = 11
MOST_GROWTH_BYTES = 24 << 20


async def test_a_hundred_rough_cells_lose_nothing_and_leave_nothing(cache, box):
    before, others = descriptors(), sessions_below()
    with anyio.fail_after(150):
        async with LocalBackend(cache, box) as backend:
            repl = Driver(backend)
            state = await repl.open(limits=SESSION_LIMITS)
            if not state.checkpoints:
                pytest.skip("without checkpoints the cells before a crash would all run again")
            await soak(repl, draw(20, SEED))
            warm = resident_bytes()
            tally = await soak(repl, draw(CELLS, SEED))
            sessions = sessions_below() - others
            grown = resident_bytes() - warm
    assert tally.wrong == []
    assert tally.started_again == 0
    assert sessions
    assert living(sessions) == set()
    assert descriptors() == before
    assert grown < MOST_GROWTH_BYTES
