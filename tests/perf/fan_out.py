"""1,000 calls of 100 ms through one model, against a scripted server in another process.

Prints the time over the ideal (calls x latency / in flight) and the computing time of a call on our
side. Run as `python tests/perf/fan_out.py [calls]`.
"""

import sys
import time

import anyio
from anyio.streams.text import TextReceiveStream

from rlm_mcp.llm.models import Models
from rlm_mcp.llm.scripted import serve
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

LATENCY_S = 0.1
PROMPT = Message("user", "Which of these lines names an error? " * 50)
REPLY = "The third line does. " * 5


async def server() -> None:
    async with serve(lambda messages: REPLY, latency_s=LATENCY_S) as running:
        print(running.url, flush=True)
        await anyio.sleep_forever()


async def measure(url: str, calls: int, in_flight: int) -> None:
    remaining = iter(range(calls))
    async with Models(Settings(api_url=url, concurrency=in_flight)) as models:
        model = (await models.resolve()).root

        async def caller() -> None:
            for _ in remaining:
                await model.complete([PROMPT])

        async def burst() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(in_flight):
                    group.start_soon(model.complete, [PROMPT])

        await burst()
        wall, cpu = time.perf_counter(), time.process_time()
        async with anyio.create_task_group() as group:
            for _ in range(in_flight):
                group.start_soon(caller)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    ideal = calls * LATENCY_S / in_flight
    print(
        f"{calls} calls, {in_flight} in flight: {wall:.2f} s, {wall / ideal:.2f} x ideal,"
        f" {1000 * cpu / calls:.2f} ms of computing a call"
    )


async def main(calls: int) -> None:
    command = [sys.executable, __file__, "--serve"]
    async with await anyio.open_process(command, stderr=None) as child:
        assert child.stdout is not None
        url = (await TextReceiveStream(child.stdout).receive()).strip()
        for in_flight in (16, 64):
            await measure(url, calls, in_flight)
        child.terminate()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        anyio.run(server)
    else:
        anyio.run(main, int(sys.argv[1]) if sys.argv[1:] else 1000)
