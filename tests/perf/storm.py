"""A batch of 1,000 sub-calls in bad weather: errors, a hung call, a while of nothing but 429.

python tests/perf/storm.py [CALLS] [LATENCY_MS] [SLOTS]

Of 100 calls one is refused for good and one fails once; one of all gets no reply at all, ever; and
for a while the server answers every request with 429. What the run says of all that is compared
with what the server counted.
"""

import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass

import anyio
import orjson

from rlm_mcp.events import CallEnded, CallRetried
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.service import Query, Service, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Answer, Budget

PROGRAM = """```repl
replies = llm_query_batched([f"question {{number}}" for number in range({calls})])
FINAL([reply if reply else None for reply in replies])
```"""
SILENCE_S = 2.0


class Weather:
    """A scripted server's mood. `peak` is the most requests it was at work on at a time."""

    def __init__(self, calls: int, latency_s: float, *, is_calm: bool = False) -> None:
        self.calls = calls
        self.in_flight = 0
        self.peak = 0
        self._latency_s = latency_s
        self._is_calm = is_calm
        self._asked = 0
        self._failed_once: set[int] = set()

    async def __call__(self, messages) -> str | ScriptedReply:
        if messages[0].role == "system":
            return PROGRAM.format(calls=self.calls)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await anyio.sleep(self._latency_s)
            return self._reply(int(messages[-1].content.split()[-1]))
        finally:
            self.in_flight -= 1

    def _reply(self, number: int) -> str | ScriptedReply:
        self._asked += 1
        if not self._is_calm:
            if number in self.never:
                return ScriptedReply(fault="hang")
            if number in self.refused:
                return ScriptedReply("I will not", status=400)
            if number % 100 == 57 and number not in self._failed_once:
                self._failed_once.add(number)
                return ScriptedReply("out of sorts", status=500)
            if 0 <= self._asked - self.calls // 4 < self.calls // 20:
                return ScriptedReply("slow down", status=429)
        return f"answer {number}"

    @property
    def refused(self) -> set[int]:
        """The calls that no server would answer."""
        return set(range(7, self.calls, 100))

    @property
    def never(self) -> set[int]:
        """The calls that hang."""
        return {self.calls // 3}


@dataclass(frozen=True)
class Passed:
    """What a run says of a storm, and what the server does; `kinds` are errors by their type."""

    answer: Answer
    weather: Weather
    replies: list[str | None]
    kinds: Counter[str]
    failed_attempts: int
    on_the_bill: tuple[int, int]
    of_the_server: tuple[int, int]
    failed_at_the_server: int
    seconds: float

    @property
    def in_order(self) -> bool:
        """Whether each reply is None or that to its own question."""
        return all(said in {None, f"answer {n}"} for n, said in enumerate(self.replies))

    @property
    def unanswered(self) -> set[int]:
        """The calls without a reply."""
        return {number for number, said in enumerate(self.replies) if said is None}


async def ask(service: Service, calls: int) -> Answer:
    session = await service.new_session()
    await service.load(session, (), text="some text")
    job = await service.start(session, Query("go", budget=Budget(calls=calls + 2)))
    view = await service.view(job.run_id, wait_s=600)
    assert view.answer is not None, view.error
    return view.answer


async def storm(weather: Weather, slots: int, home: str) -> Passed:
    """One run with one batch through guest, engine, journal and HTTP."""
    async with serve(weather, slots=slots) as server:
        settings = Settings.load({}, api_url=server.url, home=home, timeout_s=SILENCE_S)
        async with open_service(settings) as service:
            began = time.perf_counter()
            answer = await ask(service, weather.calls)
            seconds = time.perf_counter() - began
            events = [each.event for each in await service.journal.events(answer.run_id)]
        failed = [each for each in events if isinstance(each, CallEnded) and each.outcome != "ok"]
        retried = [each for each in events if isinstance(each, CallRetried)]
        bill, ledger = answer.usage, server.ledger
        return Passed(
            answer=answer,
            weather=weather,
            replies=orjson.loads(answer.text),
            kinds=Counter(str(each.error_type) for each in failed),
            failed_attempts=len(retried) + len(failed),
            on_the_bill=(bill.input_tokens, bill.output_tokens),
            of_the_server=(ledger.input_tokens, ledger.output_tokens),
            failed_at_the_server=ledger.failed,
            seconds=seconds,
        )


def main(calls: int, latency_ms: float, slots: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        weather = Weather(calls, latency_ms / 1000)
        passed = anyio.run(storm, weather, slots, home)
    print(f"{calls} calls of {latency_ms:g} ms, {slots} at a time: {passed.seconds:.1f} s")
    print(f"replies in the order of their questions: {passed.in_order}")
    answered, kinds = calls - len(passed.unanswered), dict(passed.kinds)
    print(f"{answered} answered, {len(passed.unanswered)} failed, by type of error: {kinds}")
    print(f"most requests at a time, as the server counts: {weather.peak} of {slots}")
    print(f"tokens on the bill {passed.on_the_bill}, the server's {passed.of_the_server}")
    print(f"failed attempts told {passed.failed_attempts}, counted {passed.failed_at_the_server}")


if __name__ == "__main__":
    numbers = [float(number) for number in sys.argv[1:]]
    count, latency, width = [*numbers, *[1000, 100, 16][len(numbers) :]]
    main(int(count), latency, int(width))
