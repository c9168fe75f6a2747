"""Code as models write it elsewhere: what is plain is done, what is not is explained."""

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.needs("helpers")]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("await llm_query('a')", "'<a>'"),
        ("x = await llm_query_batched(['a', 'b'])\nx", "['<a>', '<b>']"),
        ("[await llm_query(p) for p in 'ab']", "['<a>', '<b>']"),
        ("async def ask():\n    return await llm_query('a')\nawait ask()", "'<a>'"),
        ("await 3", "3"),
        ("from repl import llm_query\nllm_query('a')", "'<a>'"),
        ("from rlm.tools import llm_query as ask, FINAL\nask('a')", "'<a>'"),
        (
            "from x import llm_query as a, llm_query_batched as b\na('a'), b(['b'])",
            "('<a>', ['<b>'])",
        ),
        ("import llm_query\nllm_query('a')", "'<a>'"),
        ("from rlm import *\nllm_query('a')", "'<a>'"),
        ("llm_query(question='a')", "'<a>'"),
        ("llm_query(query='a', text='b')", "'<a>'"),
        ("llm_query_batched(questions=['a'])", "['<a>']"),
        ("llm_query_batched(queries=['a'], context='c')", "['<a>']"),
        ("from json import dumps as d\nd([1])", "'[1]'"),
        ("import json as j, math\nj.dumps([math.floor(1.5)])", "'[1]'"),
    ],
)
async def test_what_is_plainly_meant_is_done(repl, code, value):
    await repl.open()
    assert await repl.value(code) == value


@pytest.mark.parametrize(
    ("code", "said", "value"),
    [
        (
            "!pip install numpy\n1 + 1",
            "[left out: `!pip install numpy`; there is no shell here]",
            "2",
        ),
        ("for x in 'ab':\n    %time x\nx", "[left out: `%time x`; there is no shell here]", "'b'"),
        ("len(“four”)", "[typographic quotes were read as plain ones]", "4"),
    ],
)
async def test_what_is_changed_in_the_text_is_said(repl, code, said, value):
    await repl.open()
    assert await repl.value(code) == f"{said}\n{value}"


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("import numpy", "Only Python's standard library is here, and nothing can be installed."),
        ("from numpy import array", "Only Python's standard library is here"),
        ("print(json.dumps(1))", "Write `import json` first."),
        ("import asyncio\nasyncio.run('x')", "call them without await or asyncio.run."),
    ],
)
async def test_what_cannot_be_done_is_explained(repl, code, hint):
    await repl.open()
    result = await repl.run(code)
    assert result.status == "error"
    assert hint in result.error


@pytest.mark.parametrize("code", ["x = = 1", "“open", "def f(:\n    pass", "await"])
async def test_what_is_not_plain_stays_the_error_it_is(repl, code):
    await repl.open()
    result = await repl.run(code)
    assert (result.status, "SyntaxError" in (result.error or "")) in {
        ("error", True),
        ("ok", False),
    }


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("SUBMIT('x')", "x"),
        ("submit(answer='x')", "x"),
        ("final_answer(42)", "42"),
        ("SUBMIT(place='a', line=3)", '{"place": "a", "line": 3}'),
        ("SUBMIT('a', 'b')", '["a", "b"]'),
        ("answer.content = 'x'\nanswer.ready = True", "x"),
        ("answer['content'] = 'x'; answer['ready'] = True", "x"),
        ("answer = {'content': 'x', 'ready': True}", "x"),
    ],
)
async def test_an_answer_is_taken_by_whatever_name_it_is_given(repl, code, text):
    await repl.open()
    result = await repl.run(code)
    assert result.final is not None
    assert result.final.text == text


async def test_a_variable_may_have_the_name_of_another_harness_finish(repl):
    await repl.open()
    result = await repl.run("final_answer = 'draft'\nFINAL_VAR('final_answer')")
    assert result.final.text == "draft"


async def test_an_answer_that_was_bound_anew_is_the_best_so_far(repl):
    await repl.open()
    result = await repl.run("answer = 'forty-two'")
    assert (result.final, result.draft) == (None, "forty-two")


async def test_patched_modules_do_not_break_the_cells_behind_them(repl):
    await repl.open()
    await repl.run("import ast\nast.copy_location = ast.Await = ast.NodeTransformer = None")
    assert await repl.value("await 3") == "3"
