import json

import pytest

pytestmark = pytest.mark.anyio

CODE = """```repl
pieces = [f"Is this odd? {number}" for number in range(3)]
FINAL(" ".join(llm_query_batched(pieces)))
```"""


async def counts(messages):
    if messages[0].role != "system":
        return "odd" if messages[-1].content[-1] in "13579" else "even"
    return CODE


@pytest.fixture
async def run_id(desk):
    """The newest run of the journal."""
    desk.script = counts
    _, out, _ = await desk.run("ask", "-", "Which are odd?", "--json", stdin=b"numbers")
    return json.loads(out)["run_id"]


async def test_an_empty_journal_says_how_to_fill_it(desk, tmp_path):
    code, out, _ = await desk.run("traces", RLM_HOME=str(tmp_path / "own"))

    assert code == 0
    assert "rlm-mcp ask PATH" in out


async def test_runs_are_listed_with_phase_question_and_bill(desk, run_id):
    _, out, _ = await desk.run("traces")
    _, listed, _ = await desk.run("traces", "--json", "-n", "1")

    assert out.startswith(f"{run_id}  ")
    assert "done     Which are odd?\n" in out
    assert "4 calls · " in out
    (record,) = json.loads(listed)
    assert (record["id"], record["phase"]) == (run_id, "done")
    assert record["usage"]["sub"]["usage"]["calls"] == 3
    assert record["cost"] is None


async def test_a_trace_shows_code_calls_and_answer_in_the_wanted_detail(desk, run_id):
    _, turns, _ = await desk.run("traces", "show", run_id)
    _, calls, _ = await desk.run("traces", "show", run_id, "--detail", "calls")
    _, answer, _ = await desk.run("traces", "show", run_id, "--detail", "answer", "--json")

    assert "llm_query_batched(pieces)" in turns
    assert "3 sub-calls" in turns
    assert calls.count("sub-call]") == 3
    assert [step["text"] for step in json.loads(answer)["steps"]] == ["even odd even"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nobody"], "There is no run 'nobody'"), (["{run}", "--page", "9"], "there is no page 9")],
)
async def test_a_run_or_page_that_is_not_there_is_an_error(desk, run_id, arguments, words):
    code, out, err = await desk.run(
        "traces", "show", *(each.format(run=run_id) for each in arguments)
    )

    assert (code, out) == (1, "")
    assert words in err
