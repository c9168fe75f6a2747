"""Code and answers in the ways models were trained to write them mean what they say."""

import importlib

import pytest

from rlm_mcp.engine.dialects import FUNCTIONS, form_of
from rlm_mcp.engine.replies import TextFinal, parse, strip_thinking
from rlm_mcp.llm.scripted import ScriptedModel
from rlm_mcp.repl import toolbox

PRINT = "print(context[:100])"
THOUGHT = "<|channel|>analysis<|message|>Hm. FINAL(41)<|end|><|start|>assistant"
SPOKEN = "<|channel|>final<|message|>"
TO_PYTHON = "<|channel|>commentary to=functions.python <|constrain|>json<|message|>"
FUNCTION = f"<function=python>\n<parameter=code>\n{PRINT}\n</parameter>\n</function>"


def read(reply):
    return parse(strip_thinking(reply))


def code_of(reply):
    return [code.strip() for code in read(reply).code]


KIMI = "<|tool_call_begin|>functions.python:0<|tool_call_argument_begin|>"


@pytest.mark.parametrize(
    "reply",
    [
        f"<code>\n{PRINT}\n</code>",
        f"Let me look.\n<code>{PRINT}</code>\nDone.",
        f"<python>\n{PRINT}\n</python>",
        f"<execute_python>\n{PRINT}\n</execute_python>",
        f"<tool_code>\n{PRINT}",
        f'<tool_call>\n{{"name": "python", "arguments": {{"code": "{PRINT}"}}}}\n</tool_call>',
        f'I look.\n<tool_call>{{"name": "repl", "arguments": {{"code": "{PRINT}"}}}}',
        f'<tool_call>{{"name": "x", "arguments": "{{\\"code\\": \\"{PRINT}\\"}}"}}</tool_call>',
        f"<tool_call>\n{FUNCTION}\n</tool_call>",
        f"<tool_call>python\n<arg_key>code</arg_key>\n<arg_value>{PRINT}</arg_value>\n</tool_call>",
        f'{KIMI}{{"code": "{PRINT}"}}<|tool_call_end|>',
        f"Thought: I look.\nAction: python\nAction Input: {PRINT}\nObservation: 12",
        f'Action: run\nAction Input: {{"code": "{PRINT}"}}',
        f"```python {PRINT} ```",
        f"python\n{PRINT}",
        f'[TOOL_CALLS][{{"name": "python", "arguments": {{"code": "{PRINT}"}}}}]',
        f"<|python_tag|>{PRINT}",
        f'{{"code": "{PRINT}"}}',
        f'{{"thought": "look", "code": "{PRINT}"}}',
        f'{{"action": "python", "action_input": "{PRINT}"}}',
        f'{{"tool": "repl", "input": {{"code": "{PRINT}"}}}}',
        f'```json\n{{"name": "python", "arguments": {{"code": "{PRINT}"}}}}\n```',
        f'{{"function": {{"name": "python", "arguments": {{"code": "{PRINT}"}}}}}}',
        PRINT,
        f"# look first\n{PRINT}",
        f'{THOUGHT}{TO_PYTHON}{{"code": "{PRINT}"}}<|call|>',
        f"<|channel|>analysis to=python code<|message|>{PRINT}<|call|>",
        f"{THOUGHT}{SPOKEN}```repl\n{PRINT}\n```<|return|>",
    ],
)
def test_code_is_run_whatever_it_stands_in(reply):
    assert [line for line in "\n".join(code_of(reply)).splitlines() if line[0] != "#"] == [PRINT]
    assert read(reply).final is None


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ('<tool_call>{"name": "grep", "arguments": {"pattern": "x"}}', "grep(pattern='x')"),
        ('{"name": "llm_query", "arguments": {"prompt": "Why?"}}', "llm_query(prompt='Why?')"),
    ],
)
def test_a_call_of_a_function_of_the_repl_is_that_call(reply, code):
    assert code_of(reply) == [f"print({code})"]


@pytest.mark.parametrize(
    "reply",
    [
        '<tool_call>{"name": "FINAL", "arguments": {"answer": "42"}}</tool_call>',
        '{"name": "final_answer", "arguments": {"answer": "42"}}',
        '{"action": "submit", "action_input": "42"}',
    ],
)
def test_a_call_that_submits_is_a_finish_in_code(reply):
    assert code_of(reply) == ["FINAL('42')"]


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (r"So it is \boxed{42}.", "42"),
        (r"\boxed{41} no, \boxed{\text{forty-two}}", "forty-two"),
        (r"\boxed{a_{1} + b}", "a_{1} + b"),
        (f"{THOUGHT}{SPOKEN}FINAL(42)<|return|>", "42"),
    ],
)
def test_an_answer_in_a_box_or_a_channel_is_taken(reply, answer):
    assert read(reply).final == TextFinal("FINAL", answer)


@pytest.mark.parametrize(
    "reply",
    [
        "yes",
        "It is in app.py.",
        "x = 1",
        "Answer: yes",
        "result(s) found",
        '{"answer": 42}',
        '{"name": "weather", "arguments": {"city": "Rome"}}',
        "<tool_call>{broken</tool_call>",
        "Use <code>print(1)</code> for that.",
        "<code>is no Python</code>",
        r"\boxed{}",
        r"\boxed{...}",
        r"\boxed{never closed",
        THOUGHT,
    ],
)
def test_what_only_looks_like_it_is_neither_code_nor_an_answer(reply):
    assert (read(reply).code, read(reply).final) == ((), None)


def test_beside_a_block_of_python_nothing_else_is_run():
    assert code_of(f"```repl\n{PRINT}\n```\n<tool_call>{FUNCTION}</tool_call>") == [PRINT]


def test_a_sub_models_channels_are_no_part_of_what_it_says():
    assert strip_thinking(f"{THOUGHT}{SPOKEN}Yes.") == "Yes."
    assert strip_thinking(SPOKEN) == ""


@pytest.mark.parametrize(
    "text",
    ["It has `<|channel|>` marks.", f"Such as {THOUGHT}{SPOKEN}Yes.", "<|channel|> is a mark."],
)
def test_a_reply_that_speaks_of_channels_stays_whole(text):
    assert strip_thinking(text) == text


def test_every_helper_of_the_repl_may_be_called_as_a_tool():
    modules = [source.stem for source in toolbox.FOLDER.glob("[a-z]*.py")]
    helpers = [importlib.import_module(f"rlm_mcp.repl.guest.helpers.{name}") for name in modules]
    assert len(helpers) > 3
    assert {name for helper in helpers for name in helper.__all__} <= FUNCTIONS


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Look:\n```python\nprint(1)\n```", "```python\n{code}\n```"),
        ("```repl\nprint(1)\n```", "```repl\n{code}\n```"),
        ("<code>\nprint(1)\n</code>", "<code>\n{code}\n</code>"),
        ('{"code": "print(1)"}', None),
        ("I speak of <code> only.", None),
    ],
)
def test_the_form_in_which_code_came_is_known(text, form):
    assert form_of(text) == form


@pytest.mark.anyio
async def test_a_model_that_forgets_code_is_shown_its_own_form_of_it(bench):
    root = ScriptedModel(["<code>\nx = 1\n</code>", "Let me think.", "<code>\nFINAL(1)\n</code>"])

    await bench.ask(root)

    assert "<code>\nprint(len(context))\n</code>" in root.requests[-1][-1].content
