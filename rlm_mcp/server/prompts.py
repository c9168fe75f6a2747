"""Prompts that people pick in their host: which tools its model calls, in which order."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp import MCPError, types

from rlm_mcp.server.app import App
from rlm_mcp.server.sessions import Request
from rlm_mcp.server.suggestions import own_session

Given = dict[str, str]

UNTIL_DONE = (
    "If its `status` is `running`, call get_answer with its `run_id` until it is `done`. Do not"
    " ask the same question again: that would start a second run."
)
CHECKED = (
    "Look at `stopped_by`: if it is not `answer`, a limit ended the run and `next` says how to go"
    " on. Look at `citations`: before you rely on a place whose `found` is false or whose `check`"
    " is `unverified`, read it yourself."
)

CODEBASE = """\
Answer a question about a codebase with the tools of rlm-mcp. Do not read it file by file: it may \
be far larger than your context window.

Question: {question}
Codebase: {source}

{load}
2. Call rlm_query with {asked}.
   It takes seconds to minutes. {until_done}
3. {checked}
4. If something the user needs is still open, ask once more in the same session, with a question \
complete in itself: what the first run found is still in its variables.

Then answer: the answer first, then the places it rests on as path:line. Say what was not found or \
not verified, and do not fill it in."""

LOG = """\
Find out from a log what went wrong, with the tools of rlm-mcp. Do not page through the log \
yourself: it may be far larger than your context window.

Problem: {problem}
Log: {source}

{load}
2. Call rlm_query with {survey}.
   It takes seconds to minutes. {until_done}
3. Call rlm_query in the same session with {cause}. Its code still has the lines that the first \
run picked out.
4. {checked}

Then report: when it began and when it ended, the cause with the lines that prove it as path:line, \
how often it happened, and what followed from it. Keep what the log says apart from what you \
conclude, and name what it does not tell."""

TRACE = """\
Explain to the user what a run of rlm-mcp did and whether its answer can be trusted.

Run: {run_id}

1. Call get_trace with {trace}. While `next` names a page, call for it. If a step that matters is \
cut, call get_trace with detail="full" for the whole of it.
2. Call get_costs with {costs}.
3. Call get_answer with {answer} for the citations and how well each was verified. \
It waits for a run that is still at work; wait_s=0 does not wait.

Then explain, in this order:
- what was asked, and the answer in a sentence;
- how the run got there, turn by turn: what its code looked for, what it found, what sub-models \
were asked;
- what the answer rests on: which of its claims were computed or quoted, and which a model only \
said;
- errors, retries and text that nobody read;
- what it cost, and how to ask so that it takes less or finds more."""

SURVEY = (
    "List the kinds of errors and warnings in this log: for each an example line, how often it"
    " occurs, and its first and last time. Say at which times their number changes sharply."
    " Compute the counts with code over all lines."
)
CAUSE = (
    "Find the cause: the first sign of it, the events in the minutes before, and what followed."
    " Quote each line that the finding rests on with its path:line and time."
)
ROTATED = " Are there older parts beside it, like app.log.1? `rotated:PATH` loads them all as one."
ANY_PROBLEM = "Not named. Find what failed, when it began and why."


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as clients see it, and the function that writes its text."""

    shown: types.Prompt
    write: Callable[[App, Request, Given], Awaitable[str]]


async def listed(_: Request, __: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    """All prompts: the same for everyone."""
    return types.ListPromptsResult(prompts=[prompt.shown for prompt in PROMPTS.values()])


async def written(
    app: App, request: Request, params: types.GetPromptRequestParams
) -> types.GetPromptResult:
    """The text of a prompt for these arguments.

    Raises:
        MCPError: there is no such prompt, or an argument is missing or unknown.
    """
    prompt = PROMPTS.get(params.name)
    if prompt is None:
        named = ", ".join(PROMPTS)
        raise MCPError(
            types.INVALID_PARAMS, f"There is no prompt {params.name!r}. There are: {named}."
        )
    given = {name: value for name, value in (params.arguments or {}).items() if value.strip()}
    known = prompt.shown.arguments or []
    for argument in known:
        if argument.required and argument.name not in given:
            raise MCPError(
                types.INVALID_PARAMS,
                f"{params.name} needs `{argument.name}`: {argument.description}",
            )
    if strayed := given.keys() - {argument.name for argument in known}:
        raise MCPError(types.INVALID_PARAMS, f"{params.name} has no argument `{min(strayed)}`.")
    text = types.TextContent(type="text", text=await prompt.write(app, request, given))
    return types.GetPromptResult(
        description=prompt.shown.description,
        messages=[types.PromptMessage(role="user", content=text)],
    )


async def _codebase(app: App, request: Request, given: Given) -> str:
    load, known = await _loading(app, request, given["source"])
    asked = _json({"query": given["question"], **known})
    return CODEBASE.format(**given, load=load, asked=asked, until_done=UNTIL_DONE, checked=CHECKED)


async def _log(app: App, request: Request, given: Given) -> str:
    load, known = await _loading(app, request, given["source"])
    if "contexts" not in known:
        load += ROTATED
    problem = given.get("problem")
    cause = CAUSE if problem is None else f"The problem: {problem.rstrip('.')}. {CAUSE}"
    return LOG.format(
        source=given["source"],
        problem=problem or ANY_PROBLEM,
        load=load,
        survey=_json({"query": SURVEY, **known}),
        cause=_json({"query": cause, **known}),
        until_done=UNTIL_DONE,
        checked=CHECKED,
    )


async def _trace(app: App, request: Request, given: Given) -> str:  # noqa: ARG001 - a prompt takes these three
    run_id = given["run_id"]
    return TRACE.format(
        run_id=run_id,
        trace=_json({"run_id": run_id, "page": 1}),
        costs=_json({"scope": "run", "id": run_id}),
        answer=_json({"run_id": run_id}),
    )


async def _loading(app: App, request: Request, source: str) -> tuple[str, dict[str, Any]]:
    """The first step, and what later steps pass on: a context by name, or the handle to come."""
    session = await own_session(app, request)
    if session is not None and source in {info.name for info in session.contexts}:
        known = {"contexts": [source], "session": session.handle}
        return f"1. The context {source!r} is loaded: load nothing.", known
    step = (
        f"1. Call load_context with {_json({'source': source})}. Keep the `session` it returns"
        " and pass it to every later call. If a file in question is among the `skipped`, say so."
    )
    return step, {"session": "<session>"}


def _json(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False)


def _argument(name: str, title: str, description: str, *, required: bool) -> types.PromptArgument:
    return types.PromptArgument(name=name, title=title, description=description, required=required)


PROMPTS = {
    "ask_codebase": Prompt(
        types.Prompt(
            name="ask_codebase",
            title="Ask about a codebase",
            description="Answer a question about a codebase of any size, with the places as"
            " path:line.",
            arguments=[
                _argument(
                    "source",
                    "Codebase",
                    "Absolute path of a folder, or the name of a loaded context.",
                    required=True,
                ),
                _argument("question", "Question", "What you want to know.", required=True),
            ],
        ),
        _codebase,
    ),
    "investigate_log": Prompt(
        types.Prompt(
            name="investigate_log",
            title="Investigate a log",
            description="Find out from a log of any size what went wrong, when and why.",
            arguments=[
                _argument(
                    "source",
                    "Log",
                    "Absolute path of a file or folder, or the name of a loaded context.",
                    required=True,
                ),
                _argument(
                    "problem",
                    "Problem",
                    "What went wrong, and when, as far as you know.",
                    required=False,
                ),
            ],
        ),
        _log,
    ),
    "explain_trace": Prompt(
        types.Prompt(
            name="explain_trace",
            title="Explain a run",
            description="Explain what a run did, what its answer rests on and what it cost.",
            arguments=[
                _argument("run_id", "Run", "The run_id from a result of rlm_query.", required=True)
            ],
        ),
        _trace,
    ),
}
