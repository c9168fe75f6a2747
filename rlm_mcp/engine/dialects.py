"""Other ways models have of giving code, rewritten as the fenced block they stand for.

Tags, tool calls as text (Hermes, Mistral, Llama 3, Qwen3-Coder), JSON actions, and the channels of
the harmony format (openai/harmony). What a model was trained to write it writes, whatever it is
asked for; each of these says plainly what it means.
"""

import json
import re
from typing import Any

from rlm_mcp.engine.fences import PYTHON_TAGS, find_fences, syntax_of

_CHANNEL = re.compile(
    r"<\|channel\|>\s*(?P<channel>\w++)(?P<to>[^<]*+)(?:<\|constrain\|>[^<]*)?<\|message\|>"
    r"(?P<body>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_TAGGED = re.compile(
    r"^[ \t]*<(?P<tag>code|python|repl|tool_code|execute(?:_python|_ipython)?)>[ \t]*\n?"
    r"(?P<body>.*?)(?:</(?P=tag)>|\Z)",
    re.DOTALL | re.MULTILINE,
)
_CALL = re.compile(
    r"<tool_call>\s*+(?P<json>\{(?:(?!</?tool_call>).)*+)(?:</tool_call>)?"
    r"|(?:<tool_call>\s*+)?<function=(?P<name>[\w.]++)>"
    r"(?P<fields>(?:(?!</?function\b).)*+)(?:</function>)?(?:\s*+</tool_call>)?"
    r"|\[TOOL_CALLS\]\s*+(?P<list>\[(?:(?!\[TOOL_CALLS\]).)*+)"
    r"|<\|python_tag\|>(?P<python>.*)\Z",
    re.DOTALL,
)
_GLM = re.compile(
    r"<tool_call>\s*+(?P<name>[\w.]++)\s*+(?P<fields><arg_key>(?:(?!</?tool_call>).)*+)"
    r"(?:</tool_call>)?",
    re.DOTALL,
)
_GLM_FIELD = re.compile(
    r"<arg_key>(?P<name>[^<]*+)</arg_key>\s*+<arg_value>(?P<value>.*?)(?:</arg_value>|\Z)",
    re.DOTALL,
)
_KIMI = re.compile(
    r"<\|tool_call_begin\|>\s*+(?:functions\.)?(?P<name>\w++)(?::\d++)?\s*+"
    r"<\|tool_call_argument_begin\|>(?P<json>(?:(?!<\|tool_call).)*+)(?:<\|tool_call_end\|>)?",
    re.DOTALL,
)
_REACT = re.compile(
    r"^[ \t]*Action:[ \t]*(?P<name>\w++)[ \t]*\n\s*+Action Input:\s*+"
    r"(?P<input>(?:(?!^[ \t]*(?:Observation|Thought|Action):).)*+)",
    re.DOTALL | re.MULTILINE,
)
_ONE_LINE = re.compile(
    r"^[ \t]*`{3}(?:repl|python3?|py)[ \t]++(?P<code>[^`\n]++)`{3}[ \t]*$", re.MULTILINE
)
_NAMED = re.compile(r"\A\s*+(?:repl|python3?|py)[ \t]*\n(?P<code>.*)\Z", re.DOTALL)
_FIELD = re.compile(
    r"<parameter=(?P<name>\w+)>\n?(?P<value>.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL
)
_DECODER = json.JSONDecoder(strict=False)
_NAME_KEYS = ("name", "tool", "action", "function", "tool_name")
_VALUE_KEYS = ("arguments", "parameters", "args", "input", "action_input", "tool_input", "kwargs")
_CODE_KEYS = ("code", "python", "source", "script", "command", "cmd")
_ANSWER_KEYS = ("answer", "final_answer", "result", "output", "value", "text", "response")
_FINISHES = frozenset({"final", "final_answer", "finalanswer", "finish", "submit", "answer"})
FUNCTIONS = frozenset(
    {
        "llm_query", "llm_query_batched", "rlm_query", "rlm_query_batched", "SHOW_VARS", "grep",
        "FINAL_VAR", "read", "outline", "symbols", "refs", "chunks", "between", "events", "rate",
        "parse_time", "templates", "diff_windows", "help",
    }
)  # fmt: skip


def without_channels(text: str) -> str:
    """What a reply in channels says aloud; its analysis is thinking, its calls become code.

    A reply that does not begin with one of the format's marks speaks of them, and stays.
    """
    if not text.lstrip().startswith("<|") or not _CHANNEL.search(text):
        return text
    said: list[str] = []
    for part in _CHANNEL.finditer(text):
        body = part["body"].strip()
        if "to=" in part["to"]:
            said.append(_fence(_code_of_body(part["to"], body) or body))
        elif part["channel"] != "analysis":
            said.append(body)
    return "\n\n".join(part for part in said if part.strip())


def fenced(text: str) -> str:
    """The reply with code in tags, tool calls and JSON actions as Python blocks.

    One that has a Python block stays as it is: what else it shows is talk.
    """
    text = _ONE_LINE.sub(_parsed, text)
    if any(fence.tag in PYTHON_TAGS for fence in find_fences(text)):
        return text
    whole = _code_of_json(_unfenced(text))
    if whole is not None:
        return _fence(whole)
    if "<" in text or "[TOOL_CALLS]" in text:
        for form, code in ((_GLM, _glm), (_KIMI, _kimi), (_CALL, _called), (_TAGGED, _tagged)):
            text = form.sub(code, text)
    if "Action Input:" in text:
        text = _REACT.sub(_acted, text)
    return _NAMED.sub(_parsed, text)


def form_of(text: str) -> str | None:
    """How a reply gives its code, with `{code}` for it: in which fence or tag; else None."""
    tags = [fence.tag for fence in find_fences(text) if fence.tag in PYTHON_TAGS]
    if tags:
        return f"```{tags[0]}\n{{code}}\n```"
    tagged = _TAGGED.search(text)
    if tagged is None or _tagged(tagged) == tagged[0]:
        return None
    return f"<{tagged['tag']}>\n{{code}}\n</{tagged['tag']}>"


def _fence(code: str) -> str:
    return f"\n```python\n{code.strip(chr(10))}\n```\n"


def _unfenced(text: str) -> str:
    """The only block of a reply that holds JSON or says nothing of its kind; else the reply."""
    blocks = list(find_fences(text))
    return blocks[0].body if len(blocks) == 1 and blocks[0].tag in {"json", ""} else text


def _parsed(found: re.Match[str]) -> str:
    tree = syntax_of(found["code"])
    return found[0] if tree is None or not tree.body else _fence(found["code"])


def _glm(found: re.Match[str]) -> str:
    fields = {each["name"].strip(): each["value"] for each in _GLM_FIELD.finditer(found["fields"])}
    code = _code_of(found["name"], fields)
    return _fence(code) if code else found[0]


def _kimi(found: re.Match[str]) -> str:
    code = _code_of(found["name"], _json(found["json"]))
    return _fence(code) if code else found[0]


def _acted(found: re.Match[str]) -> str:
    given = found["input"].strip()
    code = _code_of(found["name"], _json(given) if given[:1] == "{" else given)
    return _fence(code) if code else found[0]


def _tagged(found: re.Match[str]) -> str:
    tree = syntax_of(found["body"])
    return _fence(found["body"]) if tree is not None and tree.body else found[0]


def _called(found: re.Match[str]) -> str:
    codes: list[str | None]
    if found["python"] is not None:
        codes = [found["python"]]
    elif found["name"] is not None:
        fields = {field["name"]: field["value"] for field in _FIELD.finditer(found["fields"])}
        codes = [_code_of(found["name"], fields)]
    else:
        calls = _json(found["json"] or found["list"])
        codes = [_code_of_call(call) for call in (calls if isinstance(calls, list) else [calls])]
    code = "\n".join(each for each in codes if each)
    return _fence(code) if code else found[0]


def _code_of_body(to: str, body: str) -> str | None:
    arguments = _json(body)
    name = next(iter(to.partition("to=")[2].split()), "").rpartition(".")[2]
    return _code_of(name, arguments) if isinstance(arguments, dict) else None


def _code_of_json(text: str) -> str | None:
    """The code that a reply which is one JSON object means."""
    text = text.strip()
    return _code_of_call(_json(text)) if text[:1] == "{" and text[-1:] == "}" else None


def _code_of_call(call: Any) -> str | None:
    if not isinstance(call, dict):
        return None
    if isinstance(call.get("function"), dict):
        call = call["function"]
    name = next((call[key] for key in _NAME_KEYS if isinstance(call.get(key), str)), None)
    given = next((call[key] for key in _VALUE_KEYS if key in call), None)
    if isinstance(given, str) and name is not None and given.lstrip()[:1] == "{":
        parsed = _json(given)
        given = parsed if isinstance(parsed, dict) else given
    if name is None:
        return _text_at(call, _CODE_KEYS)
    return _code_of(name, call if given is None else given)


def _code_of(name: str, given: Any) -> str | None:
    """The code that a call of a tool means, None if that cannot be told."""
    if name.lower() in _FINISHES:
        answer = _text_at(given, _ANSWER_KEYS) if isinstance(given, dict) else given
        return None if answer is None else f"FINAL({answer!r})"
    if name in FUNCTIONS and isinstance(given, dict):
        named = ", ".join(f"{key}={value!r}" for key, value in given.items() if key.isidentifier())
        return f"print({name}({named}))"
    code = _text_at(given, _CODE_KEYS) if isinstance(given, dict) else given
    return code if isinstance(code, str) and code.strip() else None


def _text_at(given: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((given[key] for key in keys if isinstance(given.get(key), str)), None)


def _json(text: str) -> Any:
    """The JSON value that a text begins with, None if there is none."""
    try:
        return _DECODER.raw_decode(text.strip())[0]
    except (ValueError, RecursionError):
        return None
