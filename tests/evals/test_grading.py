"""The engine against models that misbehave, and what is said of a model that was tried."""

import json

import anyio
import pytest

from rlm_mcp.evals import slips
from rlm_mcp.evals.driving import Advice, Drive, advice, can_drive, verdict
from rlm_mcp.evals.grading import LEAST_PASSED, MODES, as_json, grade, sums, table
from rlm_mcp.evals.policies import controls, policies
from rlm_mcp.evals.policy import Actor, Policy, fence
from rlm_mcp.evals.trials import TRIALS, total
from rlm_mcp.events import CallEnded, CallRetried, CellEnded, Note
from rlm_mcp.llm.models import ModelPair
from rlm_mcp.llm.scripted import ScriptedModel
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message, Usage

ROWS = set(range(1, 37))
LEAST_POLICIES = 60


def played():
    """Of each pathology's policies every fifth, the first among them: `grade --engine` plays all.

    Those that can only be flagged come first.
    """
    rows = {}
    for policy in sorted(policies(), key=lambda policy: policy.expects != "flagged"):
        rows.setdefault(policy.row, []).append(policy)
    return [policy for row in rows.values() for policy in row[::5]]


@pytest.fixture(scope="module")
def verdicts():
    return anyio.run(grade, played())


@pytest.fixture(scope="module")
def control_verdicts():
    return anyio.run(grade, controls(), MODES[:1])


def test_every_known_pathology_has_a_policy():
    named = [policy.name for policy in (*policies(), *controls())]

    assert {policy.row for policy in played()} - {None} == ROWS
    assert len(played()) >= LEAST_POLICIES
    assert len(set(named)) == len(named)


def test_the_engine_stands_what_models_do(verdicts):
    whole = sums(verdicts)

    assert (whole.silent, whole.crashed, whole.hung) == (0, 0, 0)
    assert whole.share >= LEAST_PASSED, [each for each in verdicts if not each.passed]


def test_a_model_that_behaves_is_cost_no_turn(control_verdicts):
    disturbed = [
        each for each in control_verdicts if each.outcome != "exact" or each.wasted or each.notes
    ]

    assert disturbed == []


def test_a_model_that_can_be_taught_is_told_what_is_wrong(verdicts):
    teachable = {policy.name for policy in played() if policy.expects == "flagged"}
    untold = [
        each.policy
        for each in verdicts
        if each.policy in teachable and each.mode == "teachable" and not each.told
    ]

    assert untold == []


@pytest.mark.anyio
async def test_only_what_the_engine_says_teaches():
    deaf = Policy("deaf", None, lambda _: "I think about it.", "no word of this is ever said")

    stubborn, teachable = await grade([deaf])

    assert (stubborn.outcome, teachable.outcome) == ("flagged", "flagged")
    assert not stubborn.told
    assert [stubborn.passed, teachable.passed] == [False, False]


@pytest.mark.anyio
async def test_a_wrong_answer_without_a_word_is_silent_and_a_broken_script_no_pass():
    wrong = Policy("wrong", None, lambda scene: fence(f"{scene.trial.work}\nFINAL(total + 1)"))
    broken = Policy("broken", None, lambda scene: scene.no_such_thing)

    silent, crash = await grade([wrong, broken], MODES[:1])

    assert (silent.outcome, silent.passed) == ("silent", False)
    assert (crash.outcome, crash.passed) == ("crash", False)


@pytest.mark.anyio
async def test_verdicts_are_told_as_lines_and_as_json():
    verdicts = await grade(controls()[:1])

    lines, record = list(table(verdicts, whole=True)), json.loads(as_json(verdicts))

    assert lines[0].startswith(controls()[0].name)
    assert list(table(verdicts)) == lines[-1:]
    assert f"{len(MODES)} of {len(MODES)} passed" in lines[-1]
    assert record["good"]
    assert [each["mode"] for each in record["verdicts"]] == list(MODES)


def test_a_taught_policy_behaves_from_then_on():
    policy = Policy("x", None, lambda _: "bad", lesson="no code block")
    stubborn, teachable = Actor(policy, "stubborn"), Actor(policy, "teachable")
    task = (Message("user", "no code block"),)
    told = (*task, Message("assistant", "bad"), Message("user", "There was No code block."))
    later = (*told, Message("assistant", "x"), Message("user", "Output: 1"))

    said = [[actor(each) for each in (task, told, later)] for actor in (stubborn, teachable)]

    good = fence(total().work)
    assert said == [["bad", "bad", "bad"], ["bad", good, good]]
    assert stubborn.told
    assert teachable.told


@pytest.mark.parametrize("make", TRIALS, ids=lambda make: make.__name__)
def test_a_task_gives_its_guess_no_point_and_its_gold_all(make):
    item = make().item

    assert item.score(item.gold) == 1.0
    assert item.score(make().guess) < 1.0


def reply(text, **more):
    usage = Usage(calls=1)
    return CallEnded("", "r1", 1, "root", "m", "ok", text, len(text), 0, usage, **more)


def cell(status, error):
    return CellEnded("", "c1", 1, status, "", 0, error, 0.1)


def test_slips_are_read_from_the_events_of_a_run():
    events = [
        reply("Let me think."),
        reply(""),
        reply("<think>a while</think>"),
        reply(fence("print(1)", "tool_code")),
        reply(fence("print(1)") + "\n\nFINAL(1)"),
        reply(fence("print(1)")),
        reply("FINAL(1)"),
        cell("error", "SyntaxError: invalid syntax"),
        cell("error", "NameError: x"),
        cell("interrupted", "KeyboardInterrupt"),
        cell("ok", None),
        CallRetried("", "r2", 1, "http://h/v1 sent no whole reply", 0.5),
        CallRetried("", "r2", 2, "http://h/v1 is busy (503)", 0.5),
        CallEnded("", "s1", 1, "sub", "m", "failed", "", 0, 0, None, error="no"),
        Note("", "The server cut a prompt for m: of about 9 tokens it counted 4."),
        Note("", "Something else."),
    ]

    found = slips.slips(events)

    each_once = {
        slips.NO_CODE, slips.EMPTY, slips.THINKING, slips.OWN_FORM, slips.BESIDE, slips.SYNTAX,
        slips.FAILED, slips.TIME, slips.RETRIED, slips.CROWDED, slips.SUB_FAILED, slips.TRUNCATED,
    }  # fmt: skip
    assert found == dict.fromkeys(each_once, 1)
    assert each_once == set(slips.PLURALS)


def test_slips_are_told_with_their_numbers():
    told = slips.told({slips.FAILED: 1, slips.EMPTY: 3})

    assert told == f"3 {slips.PLURALS[slips.EMPTY]}, 1 {slips.FAILED}"


def drive(trial, *, solved=True, turns=3, notes=(), stopped_by="answer", judged=True, **found):
    return Drive(
        trial, f"skill of {trial}", solved, stopped_by, turns, 5, 1.0, found, notes, "",
        "run_x", judged=judged,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("drives", "drives_well", "said"),
    [
        ([drive("count"), drive("read")], True, "drives an RLM well: 2 of 2 tasks solved"),
        ([drive("count", turns=9)], True, "slowly"),
        ([drive("count"), drive("find"), drive("read", solved=False)], True, "skill of read"),
        ([drive("count", solved=False), drive("read")], False, "cannot drive an RLM"),
        ([drive("count"), drive("read", solved=False, judged=False)], True, "1 of 1 task solved"),
        ([drive("count", solved=False, judged=False)], False, "Nothing is known of m"),
    ],
)
def test_a_verdict_says_whether_the_model_can_drive(drives, drives_well, said):
    assert can_drive(drives) is drives_well
    assert said in verdict("m", drives)


def advised(drives, window=8_000):
    model = ScriptedModel([], name="m", window_tokens=window)
    return {each.name: each.value for each in advice(drives, ModelPair(model, model), Settings())}


def test_a_model_that_did_well_needs_no_other_settings():
    assert advised([drive("count")]) == {}


@pytest.mark.parametrize(
    ("drives", "settings"),
    [
        ([drive("count", notes=("…, or set RLM_CONTEXT_WINDOW=4096 so",))],
         {"RLM_CONTEXT_WINDOW": "4096"}),
        ([drive("count", **{slips.THINKING: 1})],
         {"RLM_MAX_OUTPUT_TOKENS": str(4 * Settings().max_output_tokens)}),
        ([drive("count", **{slips.RETRIED: 1})], {}),
        ([drive("count", **{slips.CROWDED: 1})], {"RLM_CONCURRENCY": "2"}),
        ([drive("count"), drive("read", solved=False, judged=False)], {}),
        ([drive("count"), drive("find"), drive("read", solved=False)], {"RLM_SUB_MODEL": "?"}),
        ([drive("count", solved=False)], {"RLM_MODEL": "?", "RLM_SUB_MODEL": "m"}),
        ([drive("count"), drive("find"), drive("steps", solved=False, stopped_by="turns")],
         {"RLM_MAX_TURNS": str(2 * Settings().max_turns)}),
        ([drive("count", **{slips.TIME: 1})], {"RLM_CELL_S": str(round(2 * Settings().cell_s))}),
    ],
)  # fmt: skip
def test_settings_are_advised_that_exist_and_fit_what_went_wrong(drives, settings):
    found = advised(drives)

    assert found == settings
    assert {name.removeprefix("RLM_").lower() for name in found} <= set(Settings.model_fields)


def test_an_unknown_window_is_asked_for():
    assert advised([drive("count")], window=None) == {"RLM_CONTEXT_WINDOW": "?"}


def test_advice_carries_its_reason():
    model = ScriptedModel([], name="m")
    found = advice([drive("count")], ModelPair(model, model), Settings())

    assert found == (Advice("RLM_CONTEXT_WINDOW", "?", found[0].why),)
    assert "window" in found[0].why
