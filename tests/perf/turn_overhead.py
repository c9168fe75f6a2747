"""What one turn costs beyond its HTTP call: loop, REPL, journal, in CPU milliseconds.

python tests/perf/turn_overhead.py [RUNS]    (of 20 turns each)
"""

import resource
import subprocess
import sys
import tempfile
import time

import anyio

from rlm_mcp.llm.models import Models
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Budget, Message

SERVER = """
import anyio
from rlm_mcp.llm.scripted import serve

REPLY = "```repl\\nn = len(context)\\nprint(n)\\n```"

async def main():
    async with serve(lambda messages: REPLY) as server:
        print(server.url, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


TURNS = 20
PROMPT_CHARS = 7000  # the middle of such a run: system prompt and ten turns


def cpu_ms(who: int) -> float:
    used = resource.getrusage(who)
    return (used.ru_utime + used.ru_stime) * 1000


async def calls(settings: Settings, count: int) -> float:
    """CPU of the bare HTTP calls that a run of as many turns makes."""
    message = Message("user", "x" * PROMPT_CHARS)
    async with Models(settings) as models:
        root = (await models.resolve()).root
        await root.complete([message])
        began = cpu_ms(resource.RUSAGE_SELF)
        for _ in range(count):
            await root.complete([message])
        return (cpu_ms(resource.RUSAGE_SELF) - began) / count


async def turns(settings: Settings, count: int) -> tuple[float, float]:
    """CPU and wall milliseconds of a turn."""
    async with open_service(settings) as service:
        session = await service.new_session()
        await service.load(session, (), text="some text\n" * 1000)
        warm = await service.start(session, Query("warm", budget=Budget(turns=2)))
        await service.view(warm.run_id, wait_s=60)
        began, wall, made = cpu_ms(resource.RUSAGE_SELF), time.perf_counter(), 0
        for _ in range(count // TURNS):
            job = await service.start(session, Query("go", budget=Budget(turns=TURNS)))
            view = await service.view(job.run_id, wait_s=600)
            assert view.answer is not None, view.error
            assert view.answer.turns == TURNS
            made += view.answer.root.calls  # the turn at the limit asks and runs code like any
        used = cpu_ms(resource.RUSAGE_SELF) - began
        return used / made, (time.perf_counter() - wall) * 1000 / made


def main(count: int) -> None:
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as home:
            settings = Settings.load({}, api_url=url, home=home)
            call = anyio.run(calls, settings, count)
            turn, wall = anyio.run(turns, settings, count)
    finally:
        server.terminate()
        server.wait()
    print(f"one HTTP call      {call:6.2f} ms CPU")
    print(f"one turn           {turn:6.2f} ms CPU, {wall:.2f} ms wall")
    print(
        f"beyond the call    {turn - call:6.2f} ms CPU (target 2), {turn / call:.1f} times the call"
    )


if __name__ == "__main__":
    main(TURNS * (int(sys.argv[1]) if len(sys.argv) > 1 else 10))
