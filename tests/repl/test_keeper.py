"""Nothing that a guest started outlives the host, however the host ends."""

import json
import signal
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from rough_cells import living, sessions_below

from rlm_mcp.repl.keeper import Keeper

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only there guests leave copies behind"),
]

HOST = """
import json, sys, anyio
from pathlib import Path
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import Cell, ReplLimits, ReplSpec

# The fork that is granted for the next cell's checkpoint is taken by code: its child does not stand
# still, and nothing ties it to anyone.
TAKE = '''
import gc, os, time
gc.unfreeze()
names = [o for o in gc.get_objects() if type(o) is dict and o.get("__name__") == "guest.checkpoint"]
for name in [n for n in names[0] if names[0][n] is os.fork]:
    fork = names[0][name]
    def split():
        pid = fork()
        if pid == 0:
            while True: time.sleep(60)
        return pid
    names[0][name] = split
'''

async def main():
    async with LocalBackend(Path(sys.argv[1]), "linux") as backend:
        await backend.open(ReplSpec("h", 1, (), ReplLimits()))
        cursor = await backend.submit("h", 1, Cell("take", TAKE))
        await backend.pump("h", "take", cursor, wait_s=30)
        cursor = await backend.submit("h", 1, Cell("wait", "llm_query('for ever')"))
        batch = await backend.pump("h", "wait", cursor, wait_s=30)
        print(json.dumps([type(event).__name__ for event in batch.events]), flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


def still_runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def test_what_code_forked_for_itself_ends_with_a_host_that_was_killed(cache):
    command = [sys.executable, "-c", HOST, str(cache)]
    others = sessions_below()  # of tests before this one, whose objects may live until the end
    async with await anyio.open_process(command, stderr=None, start_new_session=True) as host:
        assert json.loads(await host.stdout.receive()) == ["CallAsked"]
        processes = living(sessions_below() - others)
        assert len(processes) >= 4  # the host, its keeper, the guest, and what took the fork
        host.kill()
    with anyio.fail_after(20):
        while any(map(still_runs, processes)):
            await anyio.lowlevel.checkpoint()


async def test_a_group_that_is_forgotten_is_left_alone():
    sleep = ["sleep", "60"]
    keeper = Keeper()
    await keeper.start()
    async with (
        await anyio.open_process(sleep, start_new_session=True) as kept,
        await anyio.open_process(sleep, start_new_session=True) as forgotten,
    ):
        keeper.keep(kept.pid)
        keeper.keep(forgotten.pid)
        keeper.forget(forgotten.pid)
        await keeper.aclose()
        assert await kept.wait() == -signal.SIGKILL
        assert forgotten.returncode is None
        forgotten.kill()
