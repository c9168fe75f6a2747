"""Sub-calls in the wrong form, far too many, or failing (rows 28, 31 and 32)."""

from collections.abc import Sequence

from rlm_mcp.evals.policy import Act, Expects, Policy, begins, fence
from rlm_mcp.evals.trials import Trial, read
from rlm_mcp.llm.script import Said, Script, ScriptedReply
from rlm_mcp.types import Budget, Message

_ROWS = 'rows = [line for line in context.splitlines() if line.startswith("T")]\n'
_PARTS = _ROWS + 'parts = ["\\n".join(rows[at:at + 40]) for at in range(0, len(rows), 40)]\n'
_COUNT = (
    "import re\n"
    'total = len({each for one in said for each in re.findall(r"T\\d{3}", str(one))})\n'
    "print(total)"
)
_ASK = r'ask = "List the ids of the tickets that complain of late delivery.\n"' + "\n"
_IS_LATE = r'"Does this ticket complain of late delivery? yes or no\n" + row'
_YES = 'total = sum("yes" in str(one) for one in said)\nprint(total)'
_ONE_BY_ONE = f"{_ROWS}said = []\nfor row in rows:\n    said.append(llm_query({_IS_LATE}))\n{_YES}"
_ALL_AT_ONCE = f"{_ROWS}said = llm_query_batched([{_IS_LATE} for row in rows])\n{_YES}"
_BATCH = f"{_PARTS}{_ASK}said = llm_query_batched([ask + part for part in parts])\n{_COUNT}"
_SWALLOWING = (
    f"{_PARTS}{_ASK}said = []\nfor part in parts:\n    try:\n"
    "        said.append(llm_query(ask + part))\n"
    '    except Exception as error:\n        said.append(f"Error: {error}")\n'
    f"{_COUNT}"
)
_TIGHT = Budget(turns=10, calls=60, seconds=40.0, errors=5)
_ROOMY = Budget(turns=10, calls=400, seconds=40.0, errors=5)
_FEWER = "calls are used up|fewer|group|larger|batch"


class _Failing:
    """A sub-model that fails `times` on each prompt with ticket T000 or T120 in it."""

    def __init__(self, trial: Trial, times: int) -> None:
        self._trial = trial
        self._times = times
        self._failed: dict[str, int] = {}

    def __call__(self, messages: Sequence[Message]) -> Said:
        prompt = messages[-1].content
        failed = self._failed.get(prompt, 0)
        if failed < self._times and ("T000:" in prompt or "T120:" in prompt):
            self._failed[prompt] = failed + 1
            return ScriptedReply("bad request: the model would not read this", status=400)
        return self._trial.leaf(messages)


def _fails_once(trial: Trial) -> Script:
    return _Failing(trial, 1)


def _fails_always(trial: Trial) -> Script:
    return _Failing(trial, 1_000)


def _is_silent(_: Trial) -> Script:
    return lambda _: ""


def _asking(name: str, call: str, lesson: str = "TypeError", expects: Expects = "answer") -> Policy:
    """Makes its sub-calls so; `call` gives `said`, the replies for `parts`."""
    code = f"{_PARTS}{_ASK}{call}\n{_COUNT}"
    return Policy(name, 28, begins(lambda _: fence(code)), lesson, expects, trial=read)


def _counting(code: str) -> Act:
    """Gives whatever it counted in the next turn, without a look at it."""
    return lambda scene: fence(code) if scene.turn == 1 else fence("FINAL(total)")


POLICIES = (
    _asking("query_queries", "said = llm_query_batched(queries=[ask + p for p in parts])"),
    _asking("query_items", "said = llm_query_batched(items=[ask + p for p in parts])"),
    _asking("query_second_positional", "said = [llm_query(ask, part) for part in parts]"),
    _asking("query_context", "said = [llm_query(ask, context=part) for part in parts]"),
    _asking("query_text", "said = [llm_query(ask, text=part) for part in parts]"),
    _asking("query_chunk", "said = [llm_query(ask, chunk=part) for part in parts]"),
    _asking("query_content", "said = [llm_query(prompt=ask, content=part) for part in parts]"),
    _asking("query_documents", "said = llm_query_batched([ask] * len(parts), documents=parts)"),
    _asking(
        "query_sampling",
        "said = [llm_query(ask + part, temperature=0, max_tokens=99) for part in parts]",
    ),
    _asking(
        "query_model_of_another_house",
        'said = [llm_query(ask + part, model="gpt-5-mini") for part in parts]',
        "no model",
        "flagged",
    ),
    _asking("query_pairs", "said = llm_query_batched([(ask, part) for part in parts])"),
    _asking(
        "query_dicts",
        'said = llm_query_batched([{"prompt": ask, "context": part} for part in parts])',
    ),
    _asking(
        "query_messages",
        'said = [llm_query([{"role": "user", "content": ask + part}]) for part in parts]',
    ),
    _asking(
        "query_messages_keyword",
        'said = [llm_query(messages=[{"role": "user", "content": ask + p}]) for p in parts]',
    ),
    _asking("query_one_prompt_many_contexts", "said = llm_query_batched(ask, parts)"),
    _asking(
        "query_batch_of_one_text",
        "said = [llm_query_batched(ask + part) for part in parts]",
        expects="flagged",
    ),
    _asking(
        "query_list_for_single",
        "said = llm_query([ask + part for part in parts])",
        expects="flagged",
    ),
    _asking(
        "query_in_threads",
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    said = list(pool.map(lambda part: llm_query(ask + part), parts))",
    ),
    Policy("one_call_a_line", 31, _counting(_ONE_BY_ONE), _FEWER, "flagged", read, budget=_TIGHT),
    Policy(
        "one_call_a_line_batched",
        31,
        _counting(_ALL_AT_ONCE),
        _FEWER,
        "flagged",
        read,
        budget=_TIGHT,
    ),
    Policy("one_call_a_line_in_reach", 31, _counting(_ALL_AT_ONCE), trial=read, budget=_ROOMY),
    Policy("failures_counted", 32, _counting(_BATCH), "failed", "flagged", read, leaf=_fails_once),
    Policy(
        "failures_that_stay", 32, _counting(_BATCH), "failed", "never", read, leaf=_fails_always
    ),
    Policy(
        "failures_swallowed",
        32,
        _counting(_SWALLOWING),
        "failed",
        "flagged",
        read,
        leaf=_fails_once,
    ),
    Policy(
        "sub_model_says_nothing",
        32,
        _counting(_BATCH),
        "empty reply|failed",
        "never",
        read,
        leaf=_is_silent,
    ),
)
