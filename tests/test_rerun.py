"""The code of a run, printed as a script, is run by Python alone and comes to the run's answer."""

import os
import sys

import anyio
import pytest

from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.rerun import is_plain
from rlm_mcp.runs.script import script
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio

TEXT = "".join(f"line {number}: {'error' if number % 7 == 0 else 'fine'}\n" for number in range(99))
EVERYTHING = [
    # Fails, but what stands before it is used later; and it has quotes of every kind.
    's = "a\\\\b" + \'\'\'c\'\'\' + """d"""\nparts = [context[:700], context[700:]]\n1 / 0',
    "found = await llm_query_batched([f'Errors in: {part}' for part in parts])",
    "counts = [int(n) for n in found]\nSHOW_VARS()",
    "import random\nluck = llm_query(f'Luck: {random.random()}')",
    "from __future__ import annotations\nfailed = llm_query_batched(['broken'])",
    "from rlm import rlm_query\nsure = rlm_query('Is it right?', str(sum(counts)))",
    "global total\ntotal = sum(counts)\nhits = grep('error', max_hits=2)",
    "import os\nos._exit(3)",
    "result = f'{total} errors, {sure}, {s}, {len(failed)} failed, {len(files)} file'",
    "FINAL_VAR('result')",
]
ANSWER = f"{TEXT.count('error')} errors, right: {TEXT.count('error')}, a\\bcd, 1 failed, 1 file"


def code(text):
    return f"```repl\n{text}\n```"


def everything(messages):
    said = messages[-1].content
    if messages[0].role != "system":
        return ScriptedReply("no", status=400) if said == "broken" else str(said.count(": error"))
    if "Is it right?" in messages[1].content:
        return code("FINAL('right: ' + context)")
    return code(EVERYTHING[sum(message.role == "assistant" for message in messages)])


async def recorded(script_of_model):
    """The answer of a run, and its code as a script."""
    async with serve(script_of_model) as model:
        settings = Settings.load(api_url=model.url, strategy="rlm", max_depth=2)
        async with open_service(settings) as service:
            session = await service.new_session()
            await service.load(session, (), text=TEXT)
            job = await service.start(session, Query("How many?"))
            view = await service.view(job.run_id, wait_s=60)
            return view.answer, await script(service.journal, job.run_id, is_plain)


async def printed(program, tmp_path):
    """What a script prints that Python runs in another folder, without a model."""
    path = tmp_path / "program.py"
    path.write_text(program, encoding="utf-8")
    with anyio.fail_after(60):
        ran = await anyio.run_process(
            [sys.executable, path], env={**os.environ, "PYTHONUTF8": "1"}, cwd=tmp_path
        )
    return ran.stdout.decode().splitlines()


async def test_a_script_of_all_that_code_can_do_prints_the_answer_of_the_run(tmp_path):
    with anyio.fail_after(60):
        answer, program = await recorded(everything)

    assert answer.text == ANSWER
    said = await printed(program, tmp_path)
    assert said[-1] == ANSWER
    assert "ZeroDivisionError: division by zero" in said
    assert "\n# import os\n# os._exit(3)\n" in program


async def test_what_was_never_answered_fails_in_the_script_and_says_so(tmp_path):
    with anyio.fail_after(60):
        _, program = await recorded(
            [code("import uuid\nFINAL(llm_query(f'{uuid.uuid4()}'))"), "yes"]
        )
    path = tmp_path / "program.py"
    path.write_text(program, encoding="utf-8")

    ran = await anyio.run_process([sys.executable, path], check=False)

    assert ran.returncode == 1
    assert b"no answer to this was recorded" in ran.stderr


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("x = 1", True),
        ("def f():\n    global x\n    x = 1", True),
        ("import json", True),
        ("if 1:\n    global x", False),
        ("from __future__ import annotations", False),
        ("await later()", False),
        ("return 1", False),
        ("!ls\nx = 1", False),
        ("print('FINAL(1)')", False),
        ("from rlm import llm_query", False),
    ],
)
def test_plain_is_what_python_reads_as_the_repl_does(text, plain):
    assert is_plain(text) is plain
