"""Who has a session: found out by a lock that goes with its process."""

import subprocess
import sys

import anyio
import anyio.lowlevel
import pytest

from rlm_mcp.errors import RunElsewhere
from rlm_mcp.runs.alone import locked
from rlm_mcp.runs.owner import Holds

pytestmark = pytest.mark.anyio

WITHIN_S = 30
# Turns of the event loop in which whoever would not wait has an answer.
LONG_ENOUGH = 2000
HOLDER = """
import sys
from pathlib import Path
import anyio
from rlm_mcp.runs.owner import Holds

async def main(folder):
    async with Holds(Path(folder)) as holds:
        await holds.take("ses")
        print("held", flush=True)
        await anyio.sleep_forever()

anyio.run(main, sys.argv[1])
"""


async def test_a_session_is_free_again_once_the_process_that_has_it_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with anyio.fail_after(WITHIN_S):
        async with (
            Holds(tmp_path) as holds,
            await anyio.open_process(command, stderr=subprocess.DEVNULL) as holder,
        ):
            await holder.stdout.receive()
            assert await holds.is_elsewhere("ses")
            with pytest.raises(RunElsewhere) as refused:
                await holds.take("ses")
            holder.kill()
            await holder.wait()
            assert not await holds.is_elsewhere("ses")
            await holds.take("ses")

    assert refused.value.hint


async def test_two_holders_in_one_process_keep_each_other_out(tmp_path):
    async with Holds(tmp_path) as one, Holds(tmp_path) as other:
        await one.take("ses")
        assert not await one.is_elsewhere("ses")
        assert await other.is_elsewhere("ses")
        await one.drop("ses")
        await other.take("ses")
        assert await one.is_elsewhere("ses")


async def test_a_session_that_is_only_swept_is_nobodys(tmp_path):
    async with Holds(tmp_path) as holds:
        sweeping = locked(tmp_path / "ses")
        told = []

        async def look():
            told.append(await holds.is_elsewhere("ses"))

        with anyio.fail_after(WITHIN_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(look)
                for _ in range(LONG_ENOUGH):
                    await anyio.lowlevel.checkpoint()
                sweeping.close()

    assert told == [False]


async def test_only_what_nobody_has_is_swept_away(tmp_path):
    folder = tmp_path / "sessions"
    async with Holds(folder) as holds:
        await holds.take("left")
        await holds.drop("left")
        await holds.take("had")
        await holds.sweep()

        assert [path.name for path in folder.iterdir()] == ["had"]
        assert not await holds.is_elsewhere("left")
