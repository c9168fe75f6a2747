import json
import os
import sys

import anyio
import pytest
from terminals import read_terminal

from rlm_mcp.runs.costs import costs
from rlm_mcp.runs.journal import FILE, Journal

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


async def test_what_calls_sent_and_received_is_printed_raw(desk, run_id):
    _, every, _ = await desk.run("traces", "show", run_id, "--messages")
    _, one, _ = await desk.run("traces", "show", run_id, "--messages", "s2")
    _, told, _ = await desk.run("traces", "show", run_id, "--messages", "s2", "--json")

    assert "[turn 1 · r1 system]\n" in every
    assert one.endswith("[turn 1 · s2 user]\nIs this odd? 1\n\n[turn 1 · s2 reply]\nodd\n")
    assert [step["text"] for step in json.loads(told)["steps"]] == ["Is this odd? 1", "odd"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "There is no run 'nobody'"),
        (["{run}", "--page", "9"], "there is no page 9"),
        (["{run}", "--messages", "x9"], 'detail "calls" names them all'),
    ],
)
async def test_a_run_or_page_that_is_not_there_is_an_error(desk, run_id, arguments, words):
    code, out, err = await desk.run(
        "traces", "show", *(each.format(run=run_id) for each in arguments)
    )

    assert (code, out) == (1, "")
    assert words in err


async def test_the_list_tells_when_how_long_and_what_became_of_a_run(desk, run_id):
    _, out, _ = await desk.run("traces", "list", "-n", "1")
    _, plain, _ = await desk.run("traces", "-n", "1")
    _, listed, _ = await desk.run("traces", "list", "--json", "-n", "1")

    (record,) = json.loads(listed)
    assert out == plain
    assert (record["status"], record["calls"]) == ("done", 4)
    assert record["seconds"] > 0
    assert f"{record['seconds']:.1f} s" in out


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
async def test_the_list_fills_a_terminal_and_no_line_is_wider(desk, width):
    desk.script = counts
    await desk.run("ask", "-", "Which are odd? " * 20, stdin=b"numbers")
    ours, theirs = os.openpty()
    pytest.importorskip("termios").tcsetwinsize(theirs, (24, width))

    with anyio.fail_after(60):
        process = await desk.start("traces", "-n", "1", stdout=theirs)
        await process.wait()
    os.close(theirs)
    first, second = read_terminal(ours).splitlines()

    assert len(first) == width
    assert first.endswith("…")
    assert len(second) <= width


async def test_the_code_of_a_run_is_printed_as_a_script_that_prints_its_answer(
    desk, run_id, tmp_path
):
    _, out, _ = await desk.run("traces", "show", run_id, "--code")
    path = tmp_path / "script.py"
    path.write_text(out, encoding="utf-8")
    ran = await anyio.run_process([sys.executable, path], env=desk.environment)

    assert "# turn 1\npieces = [" in out
    assert "# From the REPL: FINAL, llm_query_batched\n" in out
    assert ran.stdout == b"even odd even\n"


async def test_the_bill_of_a_run_is_printed_alone(desk, run_id):
    _, out, _ = await desk.run("traces", "show", run_id, "--cost")
    _, as_json, _ = await desk.run("traces", "show", run_id, "--cost", "--json")

    assert out.startswith(f"run {run_id}: 4 calls · ")
    assert "\nsub: 3 calls · " in out
    assert json.loads(as_json)["total"]["retried"] == 0


async def test_json_without_a_page_is_everything(desk, run_id):
    _, out, _ = await desk.run("traces", "show", run_id, "--json")
    _, page, _ = await desk.run("traces", "show", run_id, "--json", "--page", "1")

    whole = json.loads(out)
    kinds = [event["event"] for event in whole["events"]]
    assert (kinds[0], kinds[-1], kinds.count("CallEnded")) == ("RunStarted", "RunEnded", 4)
    assert [event["seq"] for event in whole["events"]] == list(range(1, len(kinds) + 1))
    assert whole["costs"]["total"]["usage"]["calls"] == 4
    assert whole["steps"] == json.loads(page)["steps"]


async def test_code_and_bill_are_not_asked_for_together(desk):
    code, _, err = await desk.run("traces", "show", "run_1", "--code", "--cost")

    assert code == 2
    assert "--code" in err


async def test_runs_are_removed_and_their_costs_stay(desk, run_id, home):
    code, out, _ = await desk.run("traces", "rm", run_id)
    gone, _, err = await desk.run("traces", "show", run_id)

    assert (code, out) == (0, "Removed 1 run.\n")
    assert (gone, f"There is no run '{run_id}'" in err) == (1, True)
    async with Journal.open(home / FILE) as journal:
        assert (await costs(journal, "all")).total.usage.calls >= 4


async def test_runs_older_than_some_days_are_removed(desk, run_id):
    _, young, _ = await desk.run("traces", "rm", "--older-than", "1")
    _, old, _ = await desk.run("traces", "rm", "--older-than", "0")
    _, left, _ = await desk.run("traces", "--json")

    assert young == "Removed 0 runs.\n"
    assert old.startswith("Removed ")
    assert json.loads(left) == []


async def test_removing_nothing_in_particular_is_a_usage_error(desk):
    code, _, err = await desk.run("traces", "rm")

    assert code == 2
    assert "--older-than" in err


async def test_a_run_is_replayed_cell_by_cell_without_a_model(desk, run_id):
    desk.script = None
    code, out, err = await desk.run("traces", "replay", run_id)

    assert (code, err) == (0, "")
    assert out == (
        "  cell 1, turn 1: agrees (ok, 0 characters)\n"
        "  answer: the same\n"
        "1 of 1 cell agree. It came out as recorded.\n"
    )


async def test_a_replay_that_differs_shows_how_and_fails(desk):
    desk.script = chance
    _, out, _ = await desk.run("ask", "-", "Which one?", "--json", stdin=b"numbers")

    code, told, _ = await desk.run("traces", "replay", json.loads(out)["run_id"])

    assert code == 1
    assert "  cell 1, turn 1: differs (ok)\n    - 0." in told
    assert "\n    + 0." in told
    assert "  answer: differs\n" in told
    assert told.endswith("0 of 1 cell agree. It did not come out as recorded.\n")


async def chance(_messages):
    return "```repl\nimport random\nx = random.SystemRandom().random()\nprint(x)\nFINAL(x)\n```"


async def test_a_run_without_code_has_nothing_to_replay(desk):
    desk.script = words
    _, out, _ = await desk.run(
        "ask", "-", "Which one?", "--json", stdin=b"numbers", RLM_STRATEGY="direct"
    )

    code, told, _ = await desk.run("traces", "replay", json.loads(out)["run_id"])

    assert (code, told) == (0, "It had no code: there is nothing to compare.\n")


async def words(_messages):
    return "The first one."
