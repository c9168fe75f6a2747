import json
import signal
import sys

import anyio
import pytest

from rlm_mcp.evals.policy import Scene, good
from rlm_mcp.evals.trials import TRIALS
from rlm_mcp.llm.scripted import ScriptedReply

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

    assert code == 0
    total = len(TASKS)
    assert err.splitlines() == [
        f"[{n}/{total}] {task.item.id}: {task.skill}" for n, task in enumerate(TASKS, 1)
    ]
    rows = [
        line.split()[0] for line in out.splitlines() if " solved " in line and "turns, " in line
    ]
    assert rows == [task.item.id for task in TASKS]
    assert f"verdict  scripted drives an RLM well: {len(TASKS)} of {len(TASKS)} tasks solved" in out
    assert "RLM_CONTEXT_WINDOW: the server" in out  # the scripted server tells no window


async def test_a_model_that_cannot_is_told_what_went_wrong(desk):
    desk.script = unable

    code, out, _ = await desk.run("grade", "--json", RLM_MAX_ERRORS="2")

    record = json.loads(out)
    assert code == 1
    assert "cannot drive an RLM" in record["verdict"]
    assert [task["solved"] for task in record["tasks"]] == [False] * len(TASKS)
    assert all(task["slips"]["reply without code or an answer"] for task in record["tasks"])
    assert {"RLM_MODEL", "RLM_SUB_MODEL"} <= {each["name"] for each in record["settings"]}


async def test_an_endpoint_that_refuses_is_said_once_and_not_blamed_on_the_model(desk):
    asked = []

    async def refuses(messages):
        asked.append(messages)
        return ScriptedReply("no such key", status=401)

    desk.script = refuses
    code, out, err = await desk.run("grade")

    assert code == 1
    assert "RLM_API_KEY" in err
    assert "drive an RLM" not in out
    assert len(asked) == 1


async def test_a_task_that_the_endpoint_fails_tells_nothing_of_the_model(desk):
    async def drops(messages):
        if (task := task_of(messages)) and task.item.id == TASKS[1].item.id:
            return ScriptedReply("no more credit", status=402)
        return await able(messages)

    desk.script = drops
    code, out, _ = await desk.run("grade")

    assert code == 0
    judged = len(TASKS) - 1
    assert f"{judged} of {judged} tasks solved" in out
    assert "1 task left out" in out
    assert "RLM_CONCURRENCY" not in out


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
    assert code == 0
    cases = record["cases"]
    assert err.splitlines() == [f"[{n}/{cases}]" for n in range(1, cases + 1)]
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


async def test_the_engines_table_lists_failures_alone_unless_all_are_asked_for(desk):
    _, short, _ = await desk.run("grade", "--engine", "--policy", "fence_py", RLM_API_URL="")
    _, whole, _ = await desk.run(
        "grade", "--engine", "--policy", "fence_py", "--verbose", RLM_API_URL=""
    )

    assert "that misbehave, 0 that behave well" in short
    assert "stubborn:" not in short
    assert "fence_python" in whole
    assert short.splitlines()[-1] == whole.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child process")
async def test_ctrl_c_leaves_the_tasks_done_and_says_there_is_no_verdict(desk):
    second = anyio.Event()

    async def model(messages):
        if (task := task_of(messages)) and task.item.id == TASKS[1].item.id:
            second.set()
            await anyio.sleep_forever()
        return await able(messages)

    desk.script = model
    with anyio.fail_after(60):
        async with await desk.start("grade") as child:
            await second.wait()
            child.send_signal(signal.SIGINT)
            out = b"".join([part async for part in child.stdout]).decode()
            err = b"".join([part async for part in child.stderr]).decode()

    assert child.returncode == 130
    assert err.splitlines()[-1] == "interrupted: no verdict"
    assert [line.split()[0] for line in out.splitlines() if " solved " in line] == [
        TASKS[0].item.id
    ]
