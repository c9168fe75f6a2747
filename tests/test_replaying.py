"""A recorded run is run again without a model: its code does again what it did, or it is told."""

import sqlite3
from contextlib import asynccontextmanager, closing

import anyio
import pytest

from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.replaying import replay
from rlm_mcp.resuming import resume
from rlm_mcp.runs.journal import FILE
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Budget

pytestmark = pytest.mark.anyio

TEXT = "".join(f"line {number}: {'error' if number % 7 == 0 else 'fine'}\n" for number in range(99))


def code(text):
    return f"```repl\n{text}\n```"


@asynccontextmanager
async def asked(home, script, text=TEXT, **budget):
    """A service whose run over `text` has ended, the run, and the model's server."""
    with anyio.fail_after(60):
        async with (
            serve(script) as model,
            open_service(
                Settings.load(
                    {}, home=home, api_url=model.url, strategy="rlm", max_output_tokens=50_000
                )
            ) as service,
        ):
            session = await service.new_session()
            await service.load(session, (), text=text)
            job = await service.start(session, Query("How many?", budget=Budget(**budget)))
            await service.view(job.run_id, wait_s=30)
            yield service, job.run_id, model


async def test_a_run_comes_out_again_and_no_model_is_asked(own_environment):
    script = [
        code("n = context.count('error')\nprint(n)"),
        code("r = llm_query_batched([f'Is {n} odd?'])\nFINAL(f'{n} is {r[0]}')"),
        "odd",
    ]
    async with asked(own_environment, script) as (service, run, model):
        before = len(model.requests)
        again = await replay(service, run)

    (node,) = again.nodes
    assert again.agrees
    assert [each.after.output for each in node.cells] == ["15\n", ""]
    assert node.again == node.answer == "15 is odd"
    assert len(model.requests) == before == 3


async def test_nested_runs_are_run_again_too(own_environment):
    def script(messages):
        if "What comes after 3?" in messages[1].content:
            return code("print(context[:6])\nFINAL('4')")
        return code("FINAL(rlm_query('What comes after 3?'))")

    async with asked(own_environment, script, depth=2) as (service, run, _):
        again = await replay(service, run)

    assert again.agrees
    assert [(node.node, node.again) for node in again.nodes] == [("", "4"), ("1", "4")]


async def test_what_rests_on_chance_differs_in_its_cell_and_in_the_answer(own_environment):
    chance = code("import secrets\nx = secrets.randbits(60)\nprint(x)\nFINAL(x)")
    async with asked(own_environment, [code("print('fixed')"), chance]) as (service, run, _):
        again = await replay(service, run)

    (node,) = again.nodes
    assert not again.agrees
    assert [each.agrees for each in node.cells] == [True, False]
    assert node.again != node.answer


async def test_sets_and_the_dice_of_random_come_out_again(own_environment):
    words = "{'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta'}"
    script = [
        code(f"r = llm_query_batched([f'about {{w}}' for w in {words}])\nprint(list({words}))"),
        *["so"] * 7,
        code("import random\nFINAL(llm_query(f'{random.random()} {hash(context)}?'))"),
        "yes",
    ]
    async with asked(own_environment, script) as (service, run, _):
        again = await replay(service, run)

    assert again.agrees
    assert [each.unknown for each in again.nodes[0].cells] == [0, 0]


async def test_an_answer_in_words_is_not_compared(own_environment):
    script = [code("print(context.count('error'))"), "FINAL(There are 15 of them.)"]
    async with asked(own_environment, script) as (service, run, _):
        again = await replay(service, run)

    assert (again.agrees, again.nodes[0].again) == (True, None)


async def test_a_failed_call_fails_again_in_the_same_words(own_environment):
    script = [
        code("r = llm_query('Is it?')\nprint(r)"),
        ScriptedReply("no", status=400),
        "FINAL(no answer)",
    ]
    async with asked(own_environment, script) as (service, run, _):
        again = await replay(service, run)

    (cell,) = again.nodes[0].cells
    assert "400" in cell.before.output + str(cell.before.error)
    assert cell.agrees


async def test_output_that_was_cut_is_cut_at_the_same_place(own_environment):
    script = [code("print('x' * 50_000)\nprint('y' * 50_000)"), "FINAL(done)"]
    async with asked(own_environment, script) as (service, run, _):
        again = await replay(service, run)

    assert again.agrees
    assert again.nodes[0].cells[0].after.output_chars == 100_002


async def test_what_an_earlier_question_left_is_said_to_be_missing(own_environment):
    script = [code("kept = 12345\nFINAL('ok')"), code("FINAL(kept)")]
    async with asked(own_environment, script) as (service, _, _):
        (session,) = service.sessions
        job = await service.start(session, Query("And then?"))
        await service.view(job.run_id, wait_s=30)
        again = await replay(service, job.run_id)

    (cell,) = again.nodes[0].cells
    assert again.had_before
    assert (cell.before.status, cell.after.status) == ("ok", "error")
    assert "NameError" in cell.after.error


async def test_a_run_whose_text_is_gone_cannot_be_replayed(own_environment):
    async with asked(own_environment, [code("FINAL(len(context))")]) as (service, run, _):
        with closing(sqlite3.connect(own_environment / FILE, isolation_level=None)) as db:
            db.execute(
                'UPDATE events SET record = replace(record, \'"contexts":[["ctx_\','
                " '\"contexts\":[[\"ctx_gone') WHERE kind = 'RunStarted'"
            )
        again = await replay(service, run)

    assert not again.agrees
    assert "is gone" in again.nodes[0].obstacle


async def test_a_question_that_nobody_answered_is_counted(own_environment):
    script = [code("import uuid\nprint(llm_query(f'{uuid.uuid4()}?'))"), "yes", "FINAL(ok)"]
    async with asked(own_environment, script) as (service, run, model):
        before = len(model.requests)
        again = await replay(service, run)

    assert (again.nodes[0].cells[0].unknown, again.agrees) == (1, False)
    assert len(model.requests) == before


async def test_a_reply_too_long_for_its_event_is_given_whole(own_environment):
    long = "word " * 20_000
    script = [code("r = llm_query('Tell.')\nprint(len(r))"), long, "FINAL(told)"]
    async with asked(own_environment, script) as (service, run, _):
        again = await replay(service, run)

    assert again.agrees
    assert again.nodes[0].cells[0].after.output == f"{len(long.strip())}\n"


HOUR = {"retry-after": "3600"}


@pytest.mark.parametrize("first", ["", "print(llm_query_batched(['Which?']))\n"])
async def test_a_run_that_went_on_after_an_outage_comes_out_as_it_ended(own_environment, first):
    is_mended = False

    def script(messages):
        match messages[-1].content:
            case "Is it?" if not is_mended:
                return ScriptedReply("Loading model", status=503, headers=HOUR)
            case "Which?" if not is_mended:
                return ScriptedReply("no", status=400)
            case "Is it?" | "Which?":
                return "yes"
            case _:
                return code(f"result = 'half'\n{first}FINAL(llm_query('Is it?'))")

    async with asked(own_environment, script) as (service, run, _):
        stopped = (await service.view(run)).answer
        is_mended = True
        await resume(service, run)
        ended = (await service.view(run, wait_s=30)).answer
        again = await replay(service, run)

    (node,) = again.nodes
    assert (stopped.text, stopped.stopped_by) == ("half", "endpoint")
    assert (ended.text, ended.stopped_by) == ("yes", "answer")
    assert (node.answer, node.again) == ("yes", "yes")
    assert again.agrees
    assert len(node.cells) == 1


async def test_a_reply_too_long_for_its_event_is_not_asked_for_again(own_environment):
    long, is_mended = "word " * 20_000, False

    def script(messages):
        match messages[-1].content:
            case "Tell.":
                return long
            case "Is it?":
                return "yes" if is_mended else ScriptedReply("Lost", status=503, headers=HOUR)
            case _:
                return code("r = llm_query('Tell.')\nllm_query('Is it?')\nFINAL(len(r))")

    async with asked(own_environment, script) as (service, run, model):
        await service.view(run, wait_s=30)
        is_mended = True
        await resume(service, run)
        ended = (await service.view(run, wait_s=30)).answer

    assert ended.text == f"{len(long.strip())}"
    assert [each[-1].content for each in model.requests].count("Tell.") == 1


async def test_a_run_that_goes_on_has_every_endpoint_it_had(own_environment):
    is_mended = False

    def root(messages):
        if len(messages) > 2:
            return code("FINAL('done')")
        return code("print(llm_query_batched(['p', 'q']))")

    def sub(_messages):
        return "yes" if is_mended else ScriptedReply("Loading", status=503, headers=HOUR)

    async with serve({"one": sub}) as one, serve({"other": sub}) as other, serve(root) as first:
        settings = Settings.load(
            home=own_environment,
            api_url=first.url,
            sub_api_url=f"{one.url} {other.url}",
            strategy="rlm",
        )
        async with open_service(settings) as service:
            with anyio.fail_after(60):
                session = await service.new_session()
                await service.load(session, (), text=TEXT)
                job = await service.start(session, Query("How many?"))
                stopped = (await service.view(job.run_id, wait_s=30)).answer
            is_mended = True
        async with open_service(settings) as service:
            with anyio.fail_after(60):
                await resume(service, job.run_id)
                ended = (await service.view(job.run_id, wait_s=30)).answer

    assert (stopped.stopped_by, ended.text) == ("endpoint", "done")
    assert ended.notes == ()
    assert one.ledger.calls == other.ledger.calls == 1
