"""Code as tags, JSON actions, tool calls and channels (rows 4, 5 and 9)."""

import json

from rlm_mcp.evals.policy import Policy, fence, speaks
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.script import ScriptedReply


def _action(code: str) -> str:
    return json.dumps({"thought": "I run it.", "action": "python", "action_input": code})


def _hermes(code: str) -> str:
    call = {"name": "python", "arguments": {"code": code}}
    return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"


def _coder(code: str) -> str:
    return (
        "<tool_call>\n<function=python>\n<parameter=code>\n"
        f"{code}\n</parameter>\n</function>\n</tool_call>"
    )


def _mistral(code: str) -> str:
    return f"[TOOL_CALLS]{json.dumps([{'name': 'python', 'arguments': {'code': code}}])}"


def _glm(code: str) -> str:
    return (
        f"<tool_call>python\n<arg_key>code</arg_key>\n<arg_value>{code}</arg_value>\n</tool_call>"
    )


def _kimi(code: str) -> str:
    return (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.python:0"
        f"<|tool_call_argument_begin|>{json.dumps({'code': code})}"
        "<|tool_call_end|><|tool_calls_section_end|>"
    )


def _deepseek(code: str) -> str:
    return (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>python\n"
        f"{fence(json.dumps({'code': code}), 'json')}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    )


def _react(code: str) -> str:
    return f"Thought: I should run code.\nAction: python\nAction Input:\n{code}"


def _json_steps(code: str) -> str:
    if not code.startswith("FINAL"):
        return fence(json.dumps({"tool": "run_code", "args": {"code": code}}), "json")
    return fence(json.dumps({"tool": "final_answer", "args": {"answer": "total"}}), "json")


def _structured(code: str, *, text: str | None = None) -> ScriptedReply:
    function = {"name": "python", "arguments": json.dumps({"code": code})}
    message = {
        "role": "assistant",
        "content": text,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    return ScriptedReply(raw=json.dumps({"choices": [choice]}).encode())


def _named_call(code: str) -> ScriptedReply:
    """A call of one of the REPL's own functions; the answer as one of `final_answer`."""
    if code.startswith("FINAL"):
        function = {"name": "FINAL_VAR", "arguments": '{"name": "total"}'}
    else:
        function = {"name": "repl", "arguments": json.dumps({"code": code})}
    message = {"role": "assistant", "content": "", "tool_calls": [{"function": function}]}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return ScriptedReply(raw=json.dumps({"choices": [choice]}).encode())


def _harmony(code: str) -> str:
    return (
        "<|channel|>analysis<|message|>I might print(1) or FINAL(1).<|end|>"
        "<|start|>assistant<|channel|>commentary to=python <|constrain|>json<|message|>"
        f"{json.dumps({'code': code})}<|call|>"
    )


def _harmony_final(code: str) -> str:
    return (
        f"<|channel|>analysis<|message|>{fence('FINAL(1)')}<|end|>"
        f"<|start|>assistant<|channel|>final<|message|>{fence(code)}<|return|>"
    )


POLICIES = (
    Policy("tag_code", 4, speaks(lambda code: f"<code>\n{code}\n</code>")),
    Policy("tag_python", 4, speaks(lambda code: f"I look.\n<python>\n{code}\n</python>")),
    Policy("tag_execute", 4, speaks(lambda code: f"<execute_python>{code}</execute_python>")),
    Policy("tag_code_unclosed", 4, speaks(lambda code: f"<code>\n{code}\n")),
    Policy("json_action", 4, speaks(_action)),
    Policy("json_action_in_a_block", 4, speaks(_json_steps)),
    Policy("call_hermes", 4, speaks(_hermes)),
    Policy("call_qwen_coder", 4, speaks(_coder)),
    Policy("call_mistral", 4, speaks(_mistral)),
    Policy("call_llama", 4, speaks(lambda code: f"<|python_tag|>{code}")),
    Policy("call_glm", 4, speaks(_glm)),
    Policy("call_kimi", 4, speaks(_kimi)),
    Policy("call_deepseek", 4, speaks(_deepseek)),
    Policy("call_react", 4, speaks(_react)),
    Policy("tool_calls", 5, speaks(_structured), quirks=Quirks()),
    Policy(
        "tool_calls_beside_text",
        5,
        speaks(lambda code: _structured(code, text="I run it.")),
        quirks=Quirks(),
    ),
    Policy("tool_calls_of_the_repl", 5, speaks(_named_call), quirks=Quirks()),
    Policy("harmony_commentary", 9, speaks(_harmony)),
    Policy("harmony_final", 9, speaks(_harmony_final)),
    Policy("harmony_tokens_at_the_end", 9, speaks(lambda code: f"{fence(code)}<|return|>")),
)
