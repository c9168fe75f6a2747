"""Progress notifications: a line on what happens now, soon, often enough and never too often."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from mcp.server.session import ServerSession

from rlm_mcp.tasks import background

TICK_S = 0.5
HEARTBEAT_S = 5.0


@dataclass(slots=True)
class Progress:
    """What a request tells of itself: `line` is asked again and again, and may be replaced."""

    line: Callable[[], str]


@asynccontextmanager
async def reporting(session: ServerSession, line: Callable[[], str]) -> AsyncIterator[Progress]:
    """Tell the client of a request how it stands while the block runs; once for each request.

    The first line goes out at once, then one each `TICK_S` seconds if it is another, and the same
    again after `HEARTBEAT_S`: hosts take a silent server for a dead one. A client that gave no
    progress token is told nothing; one that does not read loses lines, and holds nothing up.
    """
    progress = Progress(line)
    async with background() as tasks:
        tasks.start_soon(_report, session, progress)
        yield progress


async def _report(session: ServerSession, progress: Progress) -> None:
    told, told_at, value = "", 0.0, 0
    while True:
        words, now = progress.line(), anyio.current_time()
        if words != told or now - told_at >= HEARTBEAT_S:
            told, told_at, value = words, now, value + 1
            await session.report_progress(value, None, words)
        await anyio.sleep(TICK_S)
