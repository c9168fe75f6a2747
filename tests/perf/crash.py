"""Kills the server of a scripted run at random moments; each run must go on to the same answer.

By turns the endpoint takes one call at a time, and several; those in flight may be made twice.

python tests/perf/crash.py [KILLS] [SECONDS]
"""

import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
from test_resume import ANSWER, CHILD, TEXT, Endpoint, settings

from rlm_mcp.errors import EndpointUnreachable
from rlm_mcp.llm.scripted import serve
from rlm_mcp.resuming import resume
from rlm_mcp.service import Service, open_service

NEVER = 10**9
SLOTS = (1, 4)
LATENCY_S = 0.02
LONGEST_S = 1.2


async def one(home: Path, text: Path, slots: int, kill_after_s: float) -> tuple[str, int]:
    """How a run ended that was killed at a random moment, and how many requests were in vain."""
    endpoint = Endpoint(NEVER)
    async with serve(endpoint.play, latency_s=LATENCY_S, slots=slots) as server:
        command = [sys.executable, str(CHILD), str(home), server.url, str(text)]
        async with await anyio.open_process(command, stderr=subprocess.DEVNULL) as child:
            run_id = (await child.stdout.receive()).decode().strip()
            with anyio.move_on_after(kill_after_s):
                await child.wait()
            if child.returncode is None:
                child.kill()
            await child.wait()
        async with open_service(settings(home, server.url)) as service:
            await resumed(service, run_id)
            view = await service.view(run_id, wait_s=300)
            spent = (await service.costs("run", run_id)).total
    assert view.answer is not None, view.error
    how = "the same answer" if view.answer.text == ANSWER else view.answer.text
    return how, endpoint.asked.total() - (spent.usage.calls - spent.cancelled)


async def resumed(service: Service, run_id: str) -> None:
    """Go on with the run; a machine under load may leave the endpoint no time to be found."""
    while True:
        try:
            await resume(service, run_id)
        except EndpointUnreachable:
            continue
        return


async def main(kills: int, seconds: float) -> None:
    until = anyio.current_time() + seconds
    chosen, ends = random.Random(1), Counter[str]()
    twice = {slots: Counter[int]() for slots in SLOTS}
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "entries.log")
        await anyio.Path(text).write_text(TEXT, encoding="utf-8")
        while ends.total() < kills and anyio.current_time() < until:
            slots = SLOTS[ends.total() % len(SLOTS)]
            after_s = chosen.uniform(0, LONGEST_S)
            how, again = await one(Path(folder, "home"), text, slots, after_s)
            ends[how] += 1
            twice[slots][again] += 1
    print(f"{ends.total()} kills: {dict(ends)}")
    for slots, counts in twice.items():
        print(f"calls made twice, at most {slots} in flight: {dict(sorted(counts.items()))}")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    anyio.run(main, *given, *(200, 3600)[len(given) :])
