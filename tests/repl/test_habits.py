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
        ("llm_query('a', chunk='b')", "'<a>'"),
        ("llm_query([{'role': 'user', 'content': 'a'}])", "'<a>'"),
        ("llm_query(messages=[{'role': 'user', 'content': 'a'}])", "'<a>'"),
        ("llm_query({'prompt': 'a', 'context': 'b'})", "'<a>'"),
        ("llm_query_batched([('a', 'x'), ('b', 'y')])", "['<a>', '<b>']"),
        ("llm_query_batched([{'query': 'a', 'text': 'x'}])", "['<a>']"),
        ("llm_query_batched('a', ['x', 'y'])", "['<a>', '<a>']"),
        ("llm_query_batched(['a', 'b'], documents=['x', 'y'])", "['<a>', '<b>']"),
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
        ("1 + 1\nThis prints it.", "[left out: `This prints it.`; it is no code]", "2"),
        (
            "llm_query('a', temperature=0)",
            "[llm_query: `temperature` was left out; it cannot be set here]",
            "'<a>'",
        ),
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


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("llm_query('a', colour='red')", "llm_query takes prompt, context and model"),
        ("llm_query(['a', 'b'])", "llm_query_batched takes a list"),
        ("llm_query_batched('a')", "llm_query takes one"),
        ("llm_query()", "llm_query needs a prompt"),
        ("x = (1\nThis is no end.", "SyntaxError"),
    ],
)
async def test_what_is_not_plainly_meant_is_refused_in_words(repl, code, error):
    await repl.open()
    result = await repl.run(code)
    assert result.status == "error"
    assert error in result.error


async def test_a_prompt_takes_its_text_along_in_whatever_form_it_comes(repl):
    await repl.open()
    await repl.run("llm_query_batched([('a', 'x'), {'prompt': 'a', 'text': 'x'}])")
    await repl.run("llm_query('a', passage='x'); llm_query_batched('a', ['x'])")
    asked = [request for call in repl.calls for request in call.requests]
    assert [(each.prompt, each.context) for each in asked] == [("a", "x")] * len(asked)
    assert len(asked) == 4


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
        ("submit_answer('x')", "x"),
        ("FINAL = 'x'", "x"),
        ("v = 'x'\nFINAL('v')", "x"),
        ("v = 'x'\nFINAL('{v}')", "x"),
        ("v = 'x'\nSUBMIT('`v`')", "x"),
        ("v = 'x'\nanswer['content'] = 'v'; answer['ready'] = True", "x"),
        ("v = 'x'\nFINAL('v is it')", "v is it"),
        ("def v(): pass\nFINAL('v')", "v"),
        ("FINAL(None)", ""),
        ("print('FINAL(x)')", "x"),
        ("v = 'x'\nprint(f'FINAL({v})')", "x"),
        ("v = 'x'\nprint(f'FINAL_ANSWER: {v}')", "x"),
    ],
)
async def test_an_answer_is_taken_by_whatever_name_it_is_given(repl, code, text):
    await repl.open()
    result = await repl.run(code)
    assert result.final is not None
    assert result.final.text == text


@pytest.mark.parametrize(
    "code", ["text = 'FINAL(x)'\nprint(text)", "print('call FINAL(x)')", "print('FINAL', 1)"]
)
async def test_text_that_is_printed_is_no_answer(repl, code):
    await repl.open()
    result = await repl.run(code)
    assert (result.status, result.final) == ("ok", None)


async def test_a_name_that_is_nearly_that_of_a_variable_leaves_its_value_as_a_draft(repl):
    await repl.open()
    result = await repl.run("total = 42\nFINAL_VAR('totl')")
    assert (result.status, result.final, result.draft) == ("error", None, "42")
    assert (await repl.run("FINAL_VAR('else')")).draft is None


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
