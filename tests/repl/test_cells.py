"""What a cell can do and what comes back, in every box."""

import anyio
import pytest

from rlm_mcp.types import SubReply

pytestmark = pytest.mark.anyio
needs = pytest.mark.needs


async def test_variables_functions_and_classes_live_from_cell_to_cell(repl):
    await repl.run("x = 20\ndef double(n):\n    return factor * n\nclass Box:\n    size = 3")
    await repl.run("factor = 2")
    assert await repl.value("[double(x + 1), Box().size, [x + y for y in range(2)]]") == (
        "[42, 3, [20, 21]]"
    )


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("1 + 1", "2\n"),
        ("'text'", "'text'\n"),
        ("x = 1", ""),
        ("None", ""),
        ("print('a'); 'b'", "a\n'b'\n"),
        ("1\n2", "2\n"),
        ("# nothing", ""),
        (
            "import sys\nprint('out')\nprint('err', file=sys.stderr)\nprint('out')",
            "out\nerr\nout\n",
        ),
    ],
)
async def test_output_is_what_was_printed_in_order_and_the_last_expression(repl, code, shown):
    assert (await repl.run(code)).output == shown


async def test_an_exception_keeps_what_was_assigned_and_shows_only_the_cell(repl):
    result = await repl.run("import json\nkept = 1\njson.loads('{')\nnever = 2")
    assert (result.status, result.lost) == ("error", False)
    assert result.error.startswith("Traceback (most recent call last):\n  <cell 1>, line 3, in ")
    assert "json.loads('{')" in result.error
    assert "decoder.py" not in result.error
    assert result.error.splitlines()[-1].startswith("json.decoder.JSONDecodeError: Expecting")
    assert [variable.name for variable in result.variables] == ["kept"]
    assert "NameError" in (await repl.run("never")).error


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def broken(:", "SyntaxError"),
        ("input('name? ')", "nobody to ask"),
        ("exit()", "the REPL goes on"),
        pytest.param("raise SystemExit(3)", "the REPL goes on", marks=needs("exits")),
        ("def f(): f()\nf()", "RecursionError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import numpy_of_nowhere", "ModuleNotFoundError"),
        pytest.param(
            "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
            "E: <exception str",
            marks=needs("inheritance"),
        ),
        ("raise ValueError('x' * 10**7)", "characters]..."),
        pytest.param("'\\0'\n\0", "null bytes", marks=needs("cpython")),
    ],
)
async def test_a_cell_that_fails_says_why_and_the_repl_goes_on(repl, code, said):
    result = await repl.run(code)
    assert result.status == "error"
    assert said in result.error
    assert len(result.error) < 10_000
    assert await repl.value("6 * 7") == "42"


async def test_a_printed_gigabyte_is_shown_as_head_and_tail_with_its_size(repl):
    with anyio.fail_after(60):
        result = await repl.run(
            "print('BEGIN')\nfor _ in range(1024): print('x' * (1 << 20), end='')\nprint('END')"
        )
    assert result.output_chars == (1 << 30) + 10
    assert result.output.startswith("BEGIN\nxxx")
    assert result.output.endswith("xxxEND\n")
    assert "\n... [1,073,739,834 characters omitted] ...\n" in result.output
    assert len(result.output) < 2_100


async def test_a_huge_value_is_echoed_in_bounds(repl):
    result = await repl.run("['y' * 10**8] * 10**5")
    assert result.status == "ok"
    assert len(result.output) < 3_000
    assert "100,000,000" in result.output or "omitted" in result.output


async def test_variables_are_listed_newest_first_with_a_bounded_preview(repl):
    result = await repl.run(
        "import math\n_hidden = 1\nfirst = [1, 2]\nbig = 'z' * 10**6\n"
        "class Rude:\n    def __repr__(self): raise OSError\n    def __len__(self): return -1\n"
        "rude = Rude()"
    )
    listed = {variable.name: variable for variable in result.variables}
    assert list(listed) == ["rude", "Rude", "big", "first"]
    assert (listed["first"].type, listed["first"].size, listed["first"].preview) == (
        "list",
        2,
        "[1, 2]",
    )
    assert listed["big"].size == 10**6
    assert len(listed["big"].preview) <= 80
    assert "repr raises OSError" in listed["rude"].preview
    shown = await repl.run("SHOW_VARS()")
    assert "first: list[2] = [1, 2]" in shown.output


@pytest.mark.parametrize(
    "lose", ["llm_query = 1", pytest.param("del llm_query", marks=needs("del"))]
)
async def test_names_of_ours_are_back_for_the_next_cell_and_named(repl, lose):
    result = await repl.run(f"context = 'mine'\n{lose}\nFINAL = 3\nprint(context)")
    assert result.output == "mine\n"
    assert set(result.restored) == {"context", "llm_query", "FINAL"}
    after = await repl.run("FINAL(llm_query('q') + context)")
    assert (after.final.text, after.restored) == ("<q>", ())


@pytest.mark.parametrize(
    ("code", "text", "via"),
    [
        ("FINAL('done')", "done", "FINAL"),
        ("FINAL(1)\nFINAL(2)", "2", "FINAL"),
        ("FINAL({'a': [1, None]})", '{"a": [1, null]}', "FINAL"),
        ("FINAL([{1, 2}])", "[{1, 2}]", "FINAL"),
        ("report = 'long text'\nFINAL_VAR('report')", "long text", "FINAL_VAR"),
        ("report = 'word'\nFINAL_VAR(report)", "word", "FINAL_VAR"),
        ("FINAL_VAR('a whole sentence')", "a whole sentence", "FINAL_VAR"),
        ("FINAL_VAR(12)", "12", "FINAL_VAR"),
        ("answer['content'] = 'so'\nanswer['ready'] = True", "so", "answer"),
        ("answer = {'content': [1], 'ready': 1}", "[1]", "answer"),
    ],
)
async def test_code_gives_a_final_answer(repl, code, text, via):
    final = (await repl.run(code)).final
    assert (final.text, final.via, final.cut) == (text, via, False)
    assert (await repl.run("1", fresh_answer=True)).final is None


async def test_a_final_of_a_cell_that_then_fails_does_not_count(repl):
    assert (await repl.run("FINAL('early')\n1/0")).final is None


async def test_final_var_names_the_nearest_variable(repl):
    result = await repl.run("total_count = 3\nFINAL_VAR('total_cuont')")
    assert "NameError" in result.error
    assert "total_count" in result.error


async def test_an_answer_that_is_not_ready_is_a_draft_until_a_fresh_one(repl):
    result = await repl.run("answer['content'] = 'half of it'")
    assert (result.final, result.draft) == (None, "half of it")
    assert (await repl.run("1/0")).draft == "half of it"
    assert (await repl.run("answer", fresh_answer=True)).draft is None


async def test_llm_query_gives_the_text_and_carries_context_and_model(repl):
    assert await repl.value("llm_query('q', context=['a', 'b'], model='small')") == "'<q>'"
    assert await repl.value("llm_query(query='q2', text='t')") == "'<q2>'"
    assert await repl.value("rlm_query(('tuple', 1))") == "\"<('tuple', 1)>\""
    first, second, third = repl.calls
    assert (first.kind, first.batched) == ("llm", False)
    assert (first.requests[0].context, first.requests[0].model) == ("a\n\nb", "small")
    assert second.requests[0].context == "t"
    assert third.kind == "rlm"


@needs("falsy failures")
async def test_a_batch_is_one_call_whose_failures_are_no_strings(repl):
    def model(request):
        if request.prompt == "b":
            return SubReply(None, "endpoint busy")
        return SubReply(request.prompt * 2 + (request.context or ""))

    result = await repl.run(
        "r = llm_query_batched(['a', 'b', 'c'], context=['1', '2', '3'])\n"
        "print(r[0], bool(r[1]), isinstance(r[1], str), str(r[1]), r[1].error, r[2])",
        model=model,
    )
    assert [request.context for request in repl.calls[0].requests] == ["1", "2", "3"]
    assert len(repl.calls) == 1
    notice, line = result.output.splitlines()
    assert notice == "[llm_query_batched: 1 of 3 failed; the first: endpoint busy]"
    assert line == "aa1 False False [failed: endpoint busy] endpoint busy cc3"
    assert await repl.value("llm_query_batched([])") == "[]"
    assert "list of prompts" in (await repl.run("llm_query_batched('one')")).error
    crowd = await repl.run("llm_query_batched([''] * 10_001)")
    assert "at most 10,000 fit; split them" in crowd.error
    assert "name of a model" in (await repl.run("llm_query('a', model='m' * 201)")).error


@needs("inheritance")
async def test_a_failed_single_call_raises_with_its_reason(repl):
    result = await repl.run(
        "try:\n    llm_query('x')\nexcept RuntimeError as e:\n    print(type(e).__name__, e)",
        model=lambda _: SubReply(None, "the prompt is too long"),
    )
    assert result.output == "LLMError the prompt is too long\n"


async def test_a_call_over_the_limit_says_its_size_and_what_to_do(repl):
    result = await repl.run("llm_query('x' * (17 << 20))")
    assert "17,825,792 bytes and at most 16,777,216 fit" in result.error
    assert not repl.calls
    assert await repl.value("len(llm_query('é' * 10**6))") == str(10**6 + 2)


@needs("threads")
async def test_many_threads_ask_at_the_same_time(repl):
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(16) as pool:\n"
        "    r = list(pool.map(llm_query, map(str, range(200))))\n"
        "r == [f'<{n}>' for n in range(200)]"
    )
    with anyio.fail_after(30):
        assert await repl.value(code) == "True"


@needs("surrogates")
async def test_odd_characters_reach_the_model_as_valid_text(repl):
    await repl.run("llm_query('a\\ud800b' + '\\U0001f680' * 100)")
    assert repl.calls[0].requests[0].prompt == "a?b" + "\U0001f680" * 100


async def test_two_repls_see_nothing_of_each_other(repl):
    await repl.open("other")
    await repl.run("secret = 1")
    assert "NameError" in (await repl.run("secret", "other")).error
