"""Sub-calls in the wrong form, far too many, or failing (rows 28, 31 and 32)."""

from collections.abc import Sequence

from rlm_mcp.evals.policy import Policy, begins, fence, good
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
_ASK = '"List the ids of the tickets that complain of late delivery."'


def _asking(name: str, call: str, row: int = 28, lesson: str = "TypeError") -> Policy:
    """Makes its sub-calls so; `call` gives `said`, the replies for `parts`."""
    code = f"{_PARTS}{call}\n{_COUNT}"
    return Policy(name, row, begins(lambda _: fence(code)), lesson, trial=read)


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


def _is_empty(_: Trial) -> Script:
    return lambda _: ""


def _seen(code: str, name: str, lesson: str, leaf: object = None) -> Policy:
    """Counts whatever came back and gives that number in the next turn."""
    return Policy(
        name,
        32,
        lambda scene: fence(code) if scene.turn == 1 else fence("FINAL(total)"),
        lesson,
        expects="flagged",
        trial=read,
        leaf=leaf or _fails_once,  # type: ignore[arg-type]  # either is one
    )


_ONE_BY_ONE = (
    f"{_ROWS}said = []\nfor row in rows:\n"
    '    said.append(llm_query("Does this ticket complain of late delivery? yes or no\\n" + row))\n'
    'total = sum("yes" in str(one) for one in said)\nprint(total)'
)
_ALL_AT_ONCE = (
    f"{_ROWS}said = llm_query_batched(\n"
    '    ["Does this ticket complain of late delivery? yes or no\\n" + row for row in rows])\n'
    'total = sum("yes" in str(one) for one in said)\nprint(total)'
)
_SWALLOWING = (
    f"{_PARTS}said = []\nfor part in parts:\n    try:\n"
    f'        said.append(llm_query({_ASK} + "\\n" + part))\n'
    '    except Exception as error:\n        said.append(f"Error: {error}")\n'
    f"{_COUNT}"
)
_BATCH = f'{_PARTS}said = llm_query_batched([{_ASK} + "\\n" + part for part in parts])\n{_COUNT}'
_TIGHT = Budget(turns=10, calls=60, seconds=40.0, errors=5)
_FEWER = "calls are used up|fewer|group|larger|batch"


POLICIES = (
    _asking(
        "query_keyword_queries", f"said = llm_query_batched(queries=[{_ASK} + p for p in parts])"
    ),
    _asking("query_keyword_items", f"said = llm_query_batched(items=[{_ASK} + p for p in parts])"),
    _asking("query_keyword_messages", f"said = [llm_query(messages={_ASK} + p) for p in parts]"),
    _asking("query_second_positional", f"said = [llm_query({_ASK}, part) for part in parts]"),
    _asking("query_context_keyword", f"said = [llm_query({_ASK}, context=part) for part in parts]"),
    _asking("query_text_keyword", f"said = [llm_query({_ASK}, text=part) for part in parts]"),
    _asking("query_chunk_keyword", f"said = [llm_query({_ASK}, chunk=part) for part in parts]"),
    _asking(
        "query_content_keyword", f"said = [llm_query(prompt={_ASK}, content=p) for p in parts]"
    ),
    _asking(
        "query_sampling_keywords",
        f"said = [llm_query({_ASK} + p, temperature=0, max_tokens=99) for p in parts]",
    ),
    _asking(
        "query_model_of_another_house",
        f'said = [llm_query({_ASK} + p, model="gpt-5-mini") for p in parts]',
        lesson="no model",
    ),
    _asking("query_pairs", f"said = llm_query_batched([({_ASK}, part) for part in parts])"),
    _asking(
        "query_dicts",
        f'said = llm_query_batched([{{"prompt": {_ASK}, "context": p}} for p in parts])',
    ),
    _asking(
        "query_messages",
        f'said = [llm_query([{{"role": "user", "content": {_ASK} + p}}]) for p in parts]',
    ),
    _asking("query_contexts_of_batch", f"said = llm_query_batched({_ASK}, parts)"),
    _asking(
        "query_batch_of_one_text", f'said = [llm_query_batched({_ASK} + "\\n" + p) for p in parts]'
    ),
    _asking("query_batch_for_single", f"said = llm_query([{_ASK} + p for p in parts])"),
    _asking(
        "query_in_threads",
        "from concurrent.futures import ThreadPoolExecutor\n"
        f"with ThreadPoolExecutor(8) as pool:\n"
        f"    said = list(pool.map(lambda p: llm_query({_ASK} + p), parts))",
    ),
    Policy(
        "one_call_a_line",
        31,
        lambda scene: fence("FINAL(total)") if scene.turn > 1 else fence(_ONE_BY_ONE),
        _FEWER,
        expects="flagged",
        trial=read,
        budget=_TIGHT,
    ),
    Policy(
        "one_call_a_line_batched",
        31,
        lambda scene: fence("FINAL(total)") if scene.turn > 1 else fence(_ALL_AT_ONCE),
        _FEWER,
        expects="flagged",
        trial=read,
        budget=_TIGHT,
    ),
    Policy(
        "one_call_a_line_in_reach",
        31,
        begins(lambda _: fence(_ALL_AT_ONCE)),
        trial=read,
        budget=Budget(turns=10, calls=400, seconds=40.0),
    ),
    _seen(_BATCH, "failures_counted", "failed"),
    _seen(_BATCH, "failures_that_stay", "failed", _fails_always),
    _seen(_SWALLOWING, "failures_swallowed", "failed"),
    _seen(_BATCH, "sub_model_says_nothing", "empty reply|failed", _is_empty),
)
