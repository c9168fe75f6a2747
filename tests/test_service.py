"""The service as its front ends use it: a real store, guest and endpoint, a scripted model."""

import os
import sqlite3
from contextlib import asynccontextmanager, closing, suppress

import anyio
import pytest

from rlm_mcp.errors import (
    EndpointUnreachable,
    JournalFailed,
    ReplUnavailable,
    RunInterrupted,
    SourceMissing,
    TooManySessions,
    UnknownContext,
    UnknownRun,
    UnknownSession,
)
from rlm_mcp.events import RunStarted, to_json
from rlm_mcp.llm.models import ModelPair
from rlm_mcp.llm.scripted import ScriptedModel, serve
from rlm_mcp.resuming import resume
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Budget, Cell

pytestmark = pytest.mark.anyio


def code(text):
    return f"```repl\n{text}\n```"


def script(messages):
    """Answers the question as code where it is code, else echoes."""
    question = messages[1].content.rpartition("Question:\n")[2] if len(messages) > 1 else ""
    return code(question) if question else f"[{messages[-1].content}]"


class Stage:
    """A script that a test may exchange while the endpoint is up."""

    script = staticmethod(script)

    def __call__(self, messages):
        return self.script(messages)


class Stuck:
    """A script that drafts an answer and then hangs until it may say its `last` words."""

    def __init__(self, last="```repl\nFINAL('at last')\n```"):
        self.last = last
        self.asked = anyio.Event()
        self.go_on = anyio.Event()

    async def __call__(self, messages):
        if len(messages) < 3:
            return code("answer['content'] = 'so far'")
        self.asked.set()
        await self.go_on.wait()
        return self.last


@pytest.fixture
def stage():
    return Stage()


@pytest.fixture
async def endpoint(stage):
    async with serve(stage) as server:
        yield server


@pytest.fixture
async def service(endpoint):
    async with open_service(Settings.load(api_url=endpoint.url)) as opened:
        with anyio.fail_after(60):
            yield opened


async def ask(service, session, program, **query):
    job = await service.start(session, Query(program, **query))
    return await service.view(job.run_id, wait_s=30)


async def test_a_question_is_answered_recorded_and_billed_exactly(service, endpoint):
    session = await service.new_session()
    await service.load(session, (), text="a b c", name="letters")

    view = await ask(service, session, "FINAL(llm_query_batched(context.split()))")

    assert view.answer.text == '["[a]", "[b]", "[c]"]'
    spent = await service.costs("run", view.run_id)
    bill = endpoint.ledger
    assert (spent.root.usage.calls, spent.sub.usage.calls) == (1, 3)
    assert spent.total.usage.calls == bill.calls
    assert spent.total.usage.input_tokens == bill.input_tokens
    assert spent.total.usage.output_tokens == bill.output_tokens
    assert spent.total.usage.estimated_calls == 0
    assert view.answer.usage.tokens == spent.total.usage.tokens
    assert (await service.costs("session", session.handle)).total == spent.total


async def test_an_answer_tells_of_an_endpoint_that_others_stood_in_for(endpoint):
    async with serve(script) as gone:
        pass
    addresses = f"{gone.url} {endpoint.url}"
    settings = Settings.load(api_url=endpoint.url, sub_api_url=addresses)
    async with open_service(settings) as service:
        session = await service.new_session()
        await service.load(session, (), text="some text")
        view = await ask(service, session, "FINAL(' '.join(llm_query_batched(['a', 'b'])))")

    assert view.answer.text == "[a] [b]"
    (note,) = view.answer.notes
    assert gone.url in note


async def test_a_models_calls_are_those_of_their_session_and_run(service):
    class Shared(ScriptedModel):
        """A model that takes note of who asks it."""

        def for_run(self, session, run):
            self.askers = (session, run)
            return self

    model = Shared([code("FINAL('done')")])
    session = await service.new_session()
    await service.load(session, (), text="some text")
    job = await service.start(session, Query("go", models=ModelPair(model, model), strategy="rlm"))
    assert (await service.view(job.run_id, wait_s=30)).answer.text == "done"

    assert model.askers == (session.handle, job.run_id)


async def test_the_trace_shows_code_output_and_sub_calls_but_never_the_text(service):
    session = await service.new_session()
    await service.load(session, (), text="canary " * 100_000)

    view = await ask(service, session, "x = llm_query_batched(['p', 'q'])\nFINAL(len(context))")

    turns = await service.trace(view.run_id)
    calls = await service.trace(view.run_id, detail="calls")
    assert "llm_query_batched" in turns.text()
    assert "2 sub-calls" in turns.text()
    assert "[p]" in calls.text()
    assert "canary canary" not in calls.text()
    assert [step.kind for step in turns.steps][-1] == "answer"


async def test_thirty_turns_over_a_large_context_leave_a_small_trace(service, stage):
    session = await service.new_session()
    await service.load(session, (), text="a line of text\n" * 2_000_000)

    async def chatty(messages):
        turn = sum(message.role == "assistant" for message in messages)
        return code("print(context[:100000])" if turn < 29 else "FINAL('done')")

    stage.script = chatty
    view = await ask(service, session, "go", budget=Budget(turns=40))

    recorded = await service.journal.events(view.run_id)
    assert view.answer.turns == 30
    assert sum(len(to_json(row.event)) for row in recorded) < 1_000_000


async def test_two_sessions_see_nothing_of_each_other(service):
    one, two = await service.new_session(), await service.new_session()
    await service.load(one, (), text="first text", name="mine")
    await ask(service, one, "secret = 1\nFINAL(1)")

    view = await ask(
        service, two, "FINAL(f'{\"secret\" in globals()} {context!r} {list(contexts)}')"
    )

    assert view.answer.text == "False '' []"
    with pytest.raises(UnknownContext):
        await service.start(two, Query("x", contexts=["mine"]))


async def test_named_contexts_are_the_ones_a_run_sees(service):
    session = await service.new_session()
    await service.load(session, (), text="first", name="a")
    await service.load(session, (), text="second", name="b")

    both = await ask(service, session, "FINAL(f'{context} {list(contexts)}')")
    second = await ask(service, session, "FINAL(f'{context} {list(contexts)}')", contexts=["b"])

    assert both.answer.text == "first ['a', 'b']"
    assert second.answer.text == "second ['b']"


async def test_a_run_goes_on_after_the_caller_stopped_waiting(service, stage):
    go_on = anyio.Event()

    async def slow(_messages):
        await go_on.wait()
        return code("FINAL('at last')")

    stage.script = slow
    session = await service.new_session()
    job = await service.start(session, Query("slow"))

    early = await service.view(job.run_id, wait_s=0)
    go_on.set()
    late = await service.view(job.run_id, wait_s=30)

    assert early.running
    assert "turn" in early.line
    assert late.answer.text == "at last"


async def test_a_cancelled_run_ends_with_its_draft(service, stage):
    stage.script = stuck = Stuck()
    session = await service.new_session()
    job = await service.start(session, Query("go"))
    await stuck.asked.wait()

    view = await service.cancel(job.run_id)

    assert (view.answer.stopped_by, view.answer.text) == ("cancelled", "so far")


async def test_what_a_service_still_works_on_when_it_is_left_may_go_on_at_the_next(endpoint, stage):
    stage.script = stuck = Stuck()
    settings = Settings.load(api_url=endpoint.url)
    async with open_service(settings) as first:
        job = await first.start(await first.new_session(), Query("go"))
        await stuck.asked.wait()

    stuck.go_on.set()
    async with open_service(settings) as second:
        stopped = await second.view(job.run_id)
        again = await (await resume(second, job.run_id)).wait(30)

    assert (job.outcome.stopped_by, job.outcome.text) == ("server", "so far")
    assert (stopped.answer, stopped.is_open) == (job.outcome, False)
    assert (again.stopped_by, again.text) == ("answer", "at last")


async def test_an_ended_run_can_be_read_by_a_later_process(endpoint):
    settings = Settings.load(api_url=endpoint.url)
    async with open_service(settings) as first:
        session = await first.new_session()
        view = await ask(first, session, "FINAL('kept')")

    async with open_service(settings) as second:
        again = await second.view(view.run_id)

    assert again.answer == view.answer


async def test_a_run_whose_server_died_says_so(service):
    sink = service.journal.sink("run_x", "ses", await service.journal.claim("ses"))
    sink.emit(RunStarted("", "q", "ses", (), "m", "m", Budget()))
    await sink.written()

    view = await service.view("run_x")

    assert isinstance(view.error, RunInterrupted)


async def test_a_run_whose_events_cannot_be_kept_is_stopped_with_what_it_has(service, stage):
    stage.script = stuck = Stuck(code("looked = True"))
    job = await service.start(await service.new_session(), Query("go"))
    await stuck.asked.wait()

    path = service.settings.home.expanduser() / "journal.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE events RENAME TO gone")
        stuck.go_on.set()
        await job.ended.wait()
        with pytest.raises(JournalFailed):
            await service.journal.events(job.run_id)
        other.execute("ALTER TABLE gone RENAME TO events")

    assert (job.outcome.stopped_by, job.outcome.text) == ("journal", "so far")
    assert "RLM_HOME" in job.outcome.notes[-1]
    stage.script = script
    view = await ask(service, await service.new_session(), "FINAL('next')")
    assert view.answer.text == "next"


async def test_an_endpoint_that_is_down_at_start_is_found_when_it_is_up(tmp_path):
    async with serve(script) as server:
        url = server.url
    async with open_service(Settings.load(api_url=url, home=tmp_path)) as service:
        session = await service.new_session()
        with pytest.raises(EndpointUnreachable) as caught:
            await service.start(session, Query("FINAL(1)"))
        port = int(url.split(":")[2].split("/")[0])
        async with serve(script, port=port):
            view = await ask(service, session, "FINAL(1)")

    assert caught.value.hint
    assert view.answer.text == "1"


async def test_what_has_no_utf_8_form_does_not_break_a_question(service):
    session = await service.new_session()

    view = await ask(service, session, "FINAL(1)  # \ud800")

    assert view.answer.text == "1"
    assert (await service.journal.run(view.run_id)).query == "FINAL(1)  # ?"


async def test_an_error_of_a_caller_passes_as_it_was_raised(tmp_path):
    with pytest.raises(SourceMissing):
        async with open_service(Settings.load()) as service:
            await service.load(await service.new_session(), [str(tmp_path / "nowhere")])


async def test_a_name_that_is_given_takes_the_place_of_what_had_it(service, tmp_path):
    for folder, text in (("a/src", "first"), ("b/src", "second")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.txt").write_text(text, encoding="utf-8")
    session = await service.new_session()
    await service.load(session, [str(tmp_path / "a" / "src")])

    given = await service.load(session, [str(tmp_path / "b" / "src")], name="src")
    text = await service.load(session, (), text="third", name="src")

    assert given.name == text.name == "src"
    assert [info.id for info in session.contexts] == [text.id]


async def test_a_source_is_the_same_however_its_path_is_written(service, tmp_path, monkeypatch):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "x.txt").write_text("alpha", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    session = await service.new_session()

    for path in ("src", "src/", str(tmp_path / "src"), "src/../src", "./src"):
        await service.load(session, [path])

    assert [info.name for info in session.contexts] == ["src"]


async def test_sessions_started_at_the_same_time_are_bounded_too(endpoint):
    opened, refused = [], []

    async def start(service):
        try:
            opened.append(await service.new_session())
        except TooManySessions as error:
            refused.append(error)

    async with open_service(Settings.load(api_url=endpoint.url, max_sessions=1)) as service:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(start, service)

        assert (len(opened), len(refused)) == (1, 4)


async def test_the_end_of_a_session_ends_its_runs_and_then_its_repl(service, stage):
    stage.script = stuck = Stuck()
    session = await service.new_session()
    job = await service.start(session, Query("go"))
    await stuck.asked.wait()

    await service.end_session(session.handle)

    assert job.ended.is_set()
    assert (job.outcome.stopped_by, job.outcome.text) == ("cancelled", "so far")
    assert not (await service.view(job.run_id)).is_open
    assert await is_closed(service, session)


async def test_a_run_that_has_just_begun_leaves_no_repl_behind(service):
    session = await service.new_session()
    job = await service.start(session, Query("FINAL(1)"))

    await service.end_session(session.handle)

    assert job.ended.is_set()
    assert await is_closed(service, session)


async def is_closed(service, session):
    try:
        await service.backend.submit(session.handle, session.epoch, Cell("late", "1"))
    except ReplUnavailable:
        return True
    return False


async def test_a_session_that_ends_while_its_model_is_looked_for_starts_no_run(endpoint):
    async with (
        held(endpoint.url) as (url, asked, go_on),
        open_service(Settings.load(api_url=url)) as service,
    ):
        session = await service.new_session()
        refused = []

        async def start():
            with pytest.raises(UnknownSession) as caught:
                await service.start(session, Query("FINAL(1)"))
            refused.append(caught.value)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(start)
                await asked.wait()
                await service.end_session(session.handle)
                go_on.set()

        assert refused
        assert service.jobs.working() == []


@asynccontextmanager
async def held(url):
    """The same endpoint at another address, which answers nothing until it may."""
    port = int(url.split(":")[2].split("/")[0])
    asked, go_on = anyio.Event(), anyio.Event()

    async def pump(source, target):
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for chunk in source:
                await target.send(chunk)
            await target.send_eof()

    async def serve_one(client):
        asked.set()
        await go_on.wait()
        server = await anyio.connect_tcp("127.0.0.1", port)
        async with client, server, anyio.create_task_group() as pumps:
            pumps.start_soon(pump, client, server)
            pumps.start_soon(pump, server, client)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    own_port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve_one)
        yield f"http://127.0.0.1:{own_port}/v1", asked, go_on
        tasks.cancel_scope.cancel()


async def test_sessions_are_bounded_and_unknown_ones_refused(endpoint):
    async with open_service(Settings.load(api_url=endpoint.url, max_sessions=1)) as service:
        session = await service.new_session()
        with pytest.raises(TooManySessions):
            await service.new_session()
        await service.end_session(session.handle)
        with pytest.raises(UnknownSession):
            service.session(session.handle)
        with pytest.raises(UnknownRun):
            await service.view("run_nope")


async def test_an_idle_session_expires(endpoint):
    async with open_service(Settings.load(api_url=endpoint.url, session_ttl_s=0.05)) as service:
        session = await service.new_session()
        with anyio.fail_after(10):
            while service.sessions:
                await anyio.sleep(0.01)

        with pytest.raises(UnknownSession, match="expired"):
            service.session(session.handle)


async def test_a_session_at_work_does_not_expire_and_is_idle_from_the_end_of_its_run(
    endpoint, stage
):
    stage.script = stuck = Stuck()
    settings = Settings.load(api_url=endpoint.url, session_ttl_s=0.5)
    async with open_service(settings) as service:
        await service.models.resolve()
        with anyio.fail_after(30):
            working = await service.new_session()
            job = await service.start(working, Query("go"))
            await stuck.asked.wait()
            idle = await service.new_session()
            while idle in service.sessions:
                await anyio.sleep(0.01)

            open_still = service.sessions
            went_on = anyio.current_time()
            stuck.go_on.set()
            await job.ended.wait()

    assert open_still == (working,)
    assert job.outcome.text == "at last"
    assert working.used_at >= went_on


async def test_at_its_start_a_server_removes_old_contexts_that_no_run_was_asked_of(endpoint):
    settings = Settings.load(api_url=endpoint.url)
    async with open_service(settings) as service:
        session = await service.new_session()
        cited = await service.load(session, [], text="asked of", name="cited")
        await ask(service, session, "FINAL(context)")
        idle = await service.load(session, [], text="never asked of", name="idle")
    for info in (cited, idle):
        os.utime(info.blob.parent, (0, 0))
    with anyio.fail_after(30):
        async with open_service(settings) as service:
            while idle.blob.parent.exists():
                await anyio.lowlevel.checkpoint()
            assert [info.id for info in service.store.list()] == [cited.id]
