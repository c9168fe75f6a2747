"""A journal that cannot be written: its runs end with what they have, and all else lives on."""

import subprocess
import sys

import anyio
import pytest

from rlm_mcp.errors import ArgumentInvalid, JournalFailed
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.resuming import resume
from rlm_mcp.runs import writer
from rlm_mcp.runs.journal import FILE
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio

WITHIN_S = 30
HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def code(text):
    return f"```repl\n{text}\n```"


class Gate:
    """A script that drafts, waits until it may go on, and then asks a sub-model that hangs once."""

    def __init__(self):
        self.waiting = 0
        self.all_wait = anyio.Event()
        self.open = anyio.Event()
        self.hangs = True

    async def __call__(self, messages):
        turn = sum(message.role == "assistant" for message in messages)
        if messages[0].role != "system":
            return ScriptedReply(fault="hang") if self.hangs else "at last"
        if turn == 1:
            self.waiting += 1
            if self.waiting == 2:
                self.all_wait.set()
            await self.open.wait()
        return [code("answer['content'] = 'so far'"), code("FINAL(llm_query('go'))")][turn]


async def test_a_journal_that_another_process_holds_for_long_stops_the_runs_and_nothing_else(
    own_environment, monkeypatch
):
    monkeypatch.setattr(writer, "PATIENCE_MS", 100)
    gate = Gate()
    command = [sys.executable, "-c", HOLDER, str(own_environment / FILE)]
    with anyio.fail_after(WITHIN_S):
        async with (
            serve(gate) as server,
            open_service(Settings.load(api_url=server.url)) as service,
        ):
            sessions = [await service.new_session() for _ in range(2)]
            jobs = [await service.start(session, Query("go")) for session in sessions]
            await gate.all_wait.wait()
            async with await anyio.open_process(command, stderr=subprocess.DEVNULL) as holder:
                await holder.stdout.receive()
                gate.open.set()
                for job in jobs:
                    await job.ended.wait()
                with pytest.raises(JournalFailed) as refused:
                    await service.new_session()
                unknown = await service.start(sessions[0], Query("go"))
                await unknown.ended.wait()
                await holder.stdin.aclose()
            traced = await service.trace(jobs[0].run_id)
            gate.hangs = False
            following = await service.start(sessions[0], Query("go"))
            await following.ended.wait()
            again = await resume(service, jobs[1].run_id)
            await again.ended.wait()
            with pytest.raises(ArgumentInvalid, match="Nothing of run"):
                await resume(service, unknown.run_id)

    for job in jobs:
        assert (job.outcome.stopped_by, job.outcome.text) == ("journal", "so far")
        assert "database is locked" in job.outcome.notes[-1]
        assert "RLM_HOME" in job.outcome.notes[-1]
    assert traced.run.phase == "done"
    assert refused.value.hint
    assert unknown.outcome.stopped_by == "journal"
    assert following.outcome.text == again.outcome.text == "at last"
