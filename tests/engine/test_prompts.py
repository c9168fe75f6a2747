"""The words a root model reads, as golden files."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from rlm_mcp.engine import briefing, prompts
from rlm_mcp.engine.history import History
from rlm_mcp.repl import toolbox
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.types import CellResult, ContextInfo, TextKind, Variable


def context(name, documents, chars):
    nowhere = Path("nowhere")
    return ContextInfo(
        "ctx_1", name, documents, chars, chars, 3, chars // 4, (), TextKind.ASCII, nowhere, nowhere
    )


def means(window, *, recursion=False, **more):
    return briefing.Means(window, window, 4, 8000, recursion, **more)


def result(status="ok", output="", error=None, **fields):
    return CellResult("c1", status, output, len(output), error, 0.1, **fields)


@pytest.mark.parametrize(
    ("name", "window", "recursion"),
    [("system-unknown-window.txt", None, False), ("system-32k-recursion.txt", 32_768, True)],
)
def test_the_system_prompt_is_the_golden_one(golden, name, window, recursion):
    golden(name, briefing.system(means(window, recursion=recursion)))


def test_a_repl_with_helpers_is_searched_with_them(golden):
    prompt = briefing.system(means(32_768, helpers=toolbox.shown()))

    golden("system-helpers.txt", prompt)
    assert {"grep", "read"} <= set(re.findall(r"^- `(\w+)\(", prompt, re.MULTILINE))


def test_the_system_prompt_leaves_a_small_window_free(golden):
    prompt = briefing.system(
        means(8192, recursion=True, helpers=toolbox.shown(), dialect="No generators.")
    )
    assert prompt.endswith("\n\nNo generators.")

    assert estimate_tokens(prompt) < 0.15 * 8192
    assert "{" not in prompt


def test_the_task_names_what_is_loaded_and_what_is_left_from_before(golden):
    contexts = [
        (context("src", 1204, 8_000_000), "files by folder: src/ (1,100), tests/ (104)"),
        (context("app.log", 1, 90), ""),
    ]
    variables = [Variable("hits", "list", 3, "[1, 2, 3]"), Variable("n", "int", None, "7")]

    wide = replace(context("чат.log", 1, 5_000_000_000), kind=TextKind.UCS2)
    contexts += [(context("big.log", 1, 10_000_000_000), ""), (wide, "")]
    golden("task.txt", prompts.task("Where is {it}?", contexts, variables))
    golden("task-without-text.txt", prompts.task("What is 6 * 7?", [], []))


def test_reports_say_what_code_printed_and_what_went_wrong(golden):
    results = [
        result(output="12 hits\n", restored=("context",)),
        result("error", error="Traceback:\n  line 1\nKeyError: 'x'"),
    ]
    lost = result("died", error="The REPL process ended: killed at 60 s.", lost=True)

    golden("report.txt", prompts.report(results, unrun=True))
    golden("report-quiet.txt", prompts.report([result()], unrun=False))
    golden("report-lost.txt", prompts.report([lost], unrun=False))


def test_refusals_and_footers_tell_what_to_do_next(golden):
    parts = [
        prompts.no_code(prompts.BLOCK),
        prompts.LOOK_FIRST,
        prompts.FINAL_BESIDE_CODE,
        prompts.FINAL_EMPTY,
        prompts.footer(3, 20, "990 model calls, 1200 s"),
        prompts.footer(19, 20, ""),
        prompts.forced([Variable("hits", "list", 3, "[1, 2, 3]")]),
    ]

    golden("refusals.txt", "\n----\n".join(parts))


def test_folding_keeps_the_newest_reports_and_says_what_was_dropped():
    history = History("system", "task")
    for number in range(4):
        history.add_reply(f"reply {number}")
        history.add_report(str(number) * 1000)

    sizes = []
    while history.fold():
        reports = [message.content for message in history.messages[3::2]]
        sizes.append([len(report) for report in reports if "characters dropped" not in report])

    assert sizes == [[1000, 1000], [1000], [1000]]


def test_outputs_become_stubs_before_turns_become_a_summary():
    history = History("system", "task")
    for number in range(4):
        history.add_reply(f"First I look.\n```repl\nstep_{number}()\n```")
        history.add_report(str(number) * 1000)

    assert history.fold()
    assert "1,000 characters dropped" in history.messages[3].content
    assert history.fold()
    assert history.fold()

    roles = [message.role for message in history.messages]
    task = history.messages[1].content
    assert roles == ["system", "user", "assistant", "user"]
    assert history.messages[3].content == "3" * 1000
    assert [n for n in range(4) if f"{n + 1}: First I look. step_{n}()" in task] == [0, 1, 2]


def test_the_last_report_is_cut_when_nothing_else_can_be_folded():
    history = History("system", "task")
    history.add_reply("reply")
    history.add_report("x" * 50_000)

    assert history.fold()
    assert len(history.messages[-1].content) < 2_000
    assert "50,000 characters" in history.messages[-1].content
    assert not history.fold()


def test_two_reports_in_a_row_become_one_message():
    history = History("system", "task")
    history.add_report("first")
    history.add_reply("reply")
    history.add_report("second")
    history.add_report("third")

    roles = [message.role for message in history.messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert history.messages[1].content == "task\n\nfirst"
    assert history.messages[3].content == "second\n\nthird"
