"""A batch of sub-calls from code, through guest, engine, journal and HTTP: seconds against ideal.

python tests/perf/batch.py [CALLS] [LATENCY_MS] [SLOTS]
"""

import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime

import anyio

from rlm_mcp.events import CallEnded, CallStarted
from rlm_mcp.service import Query, Service, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Answer, Budget

SERVER = """
import sys
import anyio
from rlm_mcp.llm.scripted import serve

PROGRAM = '''```repl
replies = llm_query_batched([f"question {number}" for number in range(CALLS)])
FINAL(f"{sum(map(bool, replies))} answered, {len(set(replies))} different")
```'''

def script(messages):
    if messages[0].role == "system":
        return PROGRAM.replace("CALLS", sys.argv[1])
    return f"answer to {messages[-1].content}"

async def main():
    async with serve(script, latency_s=float(sys.argv[2]) / 1000, slots=int(sys.argv[3])) as server:
        print(server.url, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def span_s(service: Service, run_id: str) -> float:
    """From the first sub-call's start to the last one's end, as the journal has it."""
    recorded = await service.journal.events(run_id)
    starts = [r.at for r in recorded if isinstance(r.event, CallStarted) and r.event.role == "sub"]
    ends = [r.at for r in recorded if isinstance(r.event, CallEnded) and r.event.role == "sub"]
    span = datetime.fromisoformat(max(ends)) - datetime.fromisoformat(min(starts))
    return span.total_seconds()


async def ask(service: Service, calls: int) -> Answer:
    session = await service.new_session()
    await service.load(session, (), text="some text")
    job = await service.start(session, Query("go", budget=Budget(calls=calls + 2)))
    view = await service.view(job.run_id, wait_s=600)
    assert view.answer is not None, view.error
    return view.answer


async def measure(settings: Settings, calls: int) -> tuple[Answer, float, float, float]:
    async with open_service(settings) as service:
        session = await service.new_session()
        await service.load(session, (), text="warm")
        await service.models.resolve()
        began, used = time.perf_counter(), cpu_s()
        answer = await ask(service, calls)
        seconds, used = time.perf_counter() - began, cpu_s() - used
        return answer, await span_s(service, answer.run_id), seconds, used


def main(calls: int, latency_ms: float, slots: int) -> None:
    command = [sys.executable, "-c", SERVER, str(calls), str(latency_ms), str(slots)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as home:
            settings = Settings.load({}, api_url=url, home=home, concurrency=slots)
            answer, batch, seconds, used = anyio.run(measure, settings, calls)
        server.terminate()
    ideal = calls * latency_ms / 1000 / slots
    print(f"{answer.text}; {calls} calls of {latency_ms:g} ms, {slots} at a time")
    print(f"ideal {ideal:.2f} s, the batch took {batch:.2f} s: {batch / ideal:.2f} times the ideal")
    print(f"the whole run took {seconds:.2f} s, load, guest and root calls included")
    print(f"{1000 * used / calls:.2f} ms CPU a call, in the host")


if __name__ == "__main__":
    numbers = [float(number) for number in sys.argv[1:]]
    count, latency, width = [*numbers, *[1000, 100, 16][len(numbers) :]]
    main(int(count), latency, int(width))
