"""An endpoint lost in the middle of a run: waited for; gone for long, the run stops and goes on."""

from collections import Counter

import anyio
import pytest
from test_resume import ANSWER, PIECES, TEXT, WITHIN_S, Endpoint, settings

from rlm_mcp.events import CallRetried, RunEnded
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.resuming import resume
from rlm_mcp.service import Query, open_service

pytestmark = pytest.mark.anyio

GONE_FOR_LONG = ScriptedReply("Loading model", status=503, headers={"retry-after": "3600"})
# A call of a batch, and one of a nested run.
PLACES = [6, 3 + PIECES]


class Plug:
    """A scripted endpoint that can be pulled, and put back at the same address."""

    def __init__(self, play):
        self.bills = []
        self._play = play
        self._port = 0
        self._pulled = anyio.Event()
        self._gone = anyio.Event()

    async def stand(self, *, task_status):
        self._pulled, self._gone = anyio.Event(), anyio.Event()
        async with serve(self._play, port=self._port) as server:
            self._port = int(server.url.split(":")[2].removesuffix("/v1"))
            self.bills.append(server.ledger)
            task_status.started(server.url)
            await self._pulled.wait()
        self._gone.set()

    async def pull(self):
        self._pulled.set()
        await self._gone.wait()

    @property
    def bill(self):
        """Calls answered, and their tokens in and out, as the endpoint counts them."""
        return tuple(
            sum(getattr(bill, name) for bill in self.bills)
            for name in ("calls", "input_tokens", "output_tokens")
        )


class Heard:
    """A sink that knows when a run has told that it waits for a lost endpoint."""

    def __init__(self):
        self.lost = anyio.Event()

    def emit(self, event):
        if isinstance(event, CallRetried) and event.lost and event.wait_s > 0:
            self.lost.set()


class GoesAway(Endpoint):
    """Has no time for its `n`-th request and all after it, until it is let go."""

    def __init__(self, hold_at):
        super().__init__(hold_at)
        self.answered = Counter()

    async def play(self, messages):
        if self.asked.total() + 1 >= self.hold_at and not self.let_go.is_set():
            return GONE_FOR_LONG
        self.answered[tuple(message.content for message in messages)] += 1
        return await super().play(messages)


def billed(costs):
    """The same figures as our ledger has them."""
    total = costs.total
    calls = total.usage.calls - total.failed - total.cancelled
    return calls, total.usage.input_tokens, total.usage.output_tokens


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "entries.log"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


async def started(service, text, *sinks):
    session = await service.new_session()
    await service.load(session, [text])
    return await service.start(session, Query("How many?"), *sinks)


@pytest.mark.parametrize("place", PLACES)
async def test_a_run_waits_for_its_endpoint_and_answers_as_if_nothing_had_been(
    tmp_path, text, place
):
    endpoint, heard = Endpoint(place), Heard()
    plug = Plug(endpoint.play)
    with anyio.fail_after(WITHIN_S):
        async with anyio.create_task_group() as tasks:
            url = await tasks.start(plug.stand)
            async with open_service(settings(tmp_path / "home", url, roots="*")) as service:
                job = await started(service, text, heard)
                await endpoint.reached.wait()
                await plug.pull()
                await heard.lost.wait()
                line = job.status.line()
                endpoint.let_go.set()
                await tasks.start(plug.stand)
                await job.ended.wait()
                costs = await service.costs("run", job.run_id)
            await plug.pull()

    assert "waiting for the endpoint, " in line
    assert (job.outcome.text, job.outcome.stopped_by) == (ANSWER, "answer")
    assert job.outcome.notes == ()
    assert billed(costs) == plug.bill
    assert (costs.total.failed, costs.total.cancelled) == (0, 0)


@pytest.mark.parametrize("place", PLACES)
async def test_a_run_stopped_by_its_endpoint_goes_on_and_asks_nothing_twice(tmp_path, text, place):
    endpoint = GoesAway(place)
    with anyio.fail_after(WITHIN_S):
        async with (
            serve(endpoint.play) as server,
            open_service(settings(tmp_path / "home", server.url, roots="*")) as service,
        ):
            job = await started(service, text)
            await job.ended.wait()
            endpoint.let_go.set()
            again = await resume(service, job.run_id)
            await again.ended.wait()
            costs = await service.costs("run", job.run_id)
            row = await service.journal.run(job.run_id)
            settled = await resume(service, job.run_id)

    assert job.outcome.stopped_by == "endpoint"
    assert again is not job
    assert (again.outcome.text, again.outcome.stopped_by) == (ANSWER, "answer")
    assert settled is again
    assert row.phase == "done"
    assert set(endpoint.answered.values()) == {1}
    bill = server.ledger
    assert billed(costs) == (bill.calls, bill.input_tokens, bill.output_tokens)
    assert again.outcome.usage.calls == costs.total.usage.calls


async def test_a_stopped_run_goes_on_in_another_process_once_however_many_ask(tmp_path, text):
    endpoint, jobs = GoesAway(5), []
    with anyio.fail_after(WITHIN_S):
        async with serve(endpoint.play) as server:
            own = settings(tmp_path / "home", server.url, roots="*")
            async with open_service(own) as service:
                job = await started(service, text)
                await job.ended.wait()
            endpoint.let_go.set()
            async with open_service(own) as service:
                stopped = await service.view(job.run_id)

                async def ask():
                    jobs.append(await resume(service, job.run_id))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ask)
                    tasks.start_soon(ask)
                going = await service.journal.ending(job.run_id)
                await jobs[0].ended.wait()
                ending = await service.journal.ending(job.run_id)

    assert stopped.answer == job.outcome
    assert jobs[0] is jobs[1]
    assert going is None or going.event.stopped_by == "answer"
    assert isinstance(ending.event, RunEnded)
    assert jobs[0].outcome.text == ending.event.answer == ANSWER


async def test_an_endpoint_that_stays_away_stops_the_run_within_its_time(tmp_path, text):
    endpoint = Endpoint(3)
    plug = Plug(endpoint.play)
    with anyio.fail_after(WITHIN_S):
        async with anyio.create_task_group() as tasks:
            url = await tasks.start(plug.stand)
            own = settings(tmp_path / "home", url, roots="*", max_seconds=5)
            async with open_service(own) as service:
                job = await started(service, text)
                await endpoint.reached.wait()
                await plug.pull()
                await job.ended.wait()
                endpoint.let_go.set()
                await tasks.start(plug.stand)
                again = await resume(service, job.run_id)
                await again.ended.wait()
            await plug.pull()

    assert job.outcome.stopped_by == "endpoint"
    assert "for the endpoint" in job.outcome.notes[-1]
    assert (again.outcome.text, again.outcome.stopped_by) == (ANSWER, "answer")
