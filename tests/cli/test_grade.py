import json

import pytest

from rlm_mcp.evals.policy import Scene, good
from rlm_mcp.evals.trials import TRIALS

pytestmark = pytest.mark.anyio

TASKS = [make() for make in TRIALS]


def task_of(messages):
    """The task a root model is asked about, None if a sub-model is asked."""
    said = "\n".join(message.content for message in messages if message.role != "assistant")
    return next((task for task in TASKS if task.item.question in said), None)


async def able(messages):
    task = task_of(messages)
    reader = next(each for each in TASKS if each.item.leaf)
    return good(Scene(task, 1, messages)) if task else reader.leaf(messages)


async def unable(_):
    return "I would rather talk about it."


async def test_a_model_that_can_drive_is_told_so_task_by_task(desk):
    desk.script = able

    code, out, err = await desk.run("grade")

    assert (code, err) == (0, "")
    rows = [
        line.split()[0] for line in out.splitlines() if " solved " in line and "turns, " in line
    ]
    assert rows == [task.item.id for task in TASKS]
    assert f"verdict  scripted drives an RLM well: {len(TASKS)} of {len(TASKS)} tasks solved" in out
    assert "RLM_CONTEXT_WINDOW=?" in out  # the scripted server tells no window


async def test_a_model_that_cannot_is_told_what_went_wrong(desk):
    desk.script = unable

    code, out, _ = await desk.run("grade", "--json", RLM_MAX_ERRORS="2")

    record = json.loads(out)
    assert code == 1
    assert "cannot drive an RLM" in record["verdict"]
    assert [task["solved"] for task in record["tasks"]] == [False] * len(TASKS)
    assert all(task["slips"]["reply without code or an answer"] for task in record["tasks"])
    assert {"RLM_MODEL", "RLM_SUB_MODEL"} <= {each["name"] for each in record["settings"]}


async def test_the_runs_of_a_grade_can_be_looked_up(desk):
    desk.script = unable

    _, out, _ = await desk.run("grade", RLM_MAX_ERRORS="1")
    shown = next(line for line in out.splitlines() if "traces show" in line)
    code, trace, _ = await desk.run(*shown.split()[1:])

    assert code == 0
    assert TASKS[0].item.question in trace


async def test_the_engine_is_graded_without_an_endpoint(desk):
    code, out, err = await desk.run(
        "grade", "--engine", "--policy", "fence_py", "--json", RLM_API_URL=""
    )

    record = json.loads(out)
    assert (code, err) == (0, "")
    assert record["good"]
    assert {each["policy"] for each in record["verdicts"]} >= {"fence_py", "fence_python"}


async def test_a_policy_that_does_not_exist_is_a_usage_error(desk):
    code, out, err = await desk.run("grade", "--engine", "--policy", "no_such_policy")

    assert (code, out) == (2, "")
    assert "no_such_policy" in err


async def test_a_policy_needs_the_engine(desk):
    code, _, err = await desk.run("grade", "--policy", "fence")

    assert code == 2
    assert "--engine" in err
