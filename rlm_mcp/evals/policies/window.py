"""Too much text for the window, and servers that are strict about the chat (rows 30, 34 and 35)."""

from collections.abc import Sequence

from rlm_mcp.evals.policy import Act, Policy, Scene, begins, fence, good
from rlm_mcp.evals.trials import Trial, read
from rlm_mcp.llm.script import Said, Script, ScriptedReply
from rlm_mcp.types import Message

_WHOLE = fence("print(context)")


def _then_works(scene: Scene) -> str:
    return _WHOLE if scene.turn == 1 else good(scene)


def _slices(scene: Scene) -> str:
    """Prints the text page by page for five turns."""
    at = scene.turn * 8_000
    return fence(f"print(context[{at}:{at + 8_000}])") if scene.turn <= 5 else good(scene)


def _prints_beside(scene: Scene) -> str:
    return fence("FINAL(total)") if scene.shown else fence(f"print(context)\n{scene.trial.work}")


def _strict(act: Act, wrong: str) -> Act:
    """Refuses a chat as strict templates do; `wrong` is what the server says."""

    def answer(scene: Scene) -> Said:
        roles = [message.role for message in scene.messages if message.role != "system"]
        turns = ["user", "assistant"] * len(roles)
        if roles != turns[: len(roles)] or roles[-1] != "user":
            return ScriptedReply(wrong, status=400)
        return act(scene)

    return answer


def _cutting(scene: Scene) -> Said:
    """A server that keeps the last 4,096 tokens and says nothing."""
    size = sum(len(message.content) for message in scene.messages) // 4
    return ScriptedReply(_then_works(scene), prompt_tokens=min(size, 2_048))


def _small_leaf(trial: Trial) -> Script:
    def answer(messages: Sequence[Message]) -> Said:
        if len(messages[-1].content) > 4_000:
            words = "the request exceeds the available context size (1024 tokens)"
            return ScriptedReply(words, status=400)
        return trial.leaf(messages)

    return answer


def _whole_to_leaf(scene: Scene) -> str:
    if scene.turn > 1:
        return fence("FINAL(total)")
    return fence(
        'import re\nsaid = llm_query("List the ids of late tickets.", context)\n'
        'total = len(set(re.findall(r"T\\d{3}", said)))\nprint(total)'
    )


_ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."
_TRAILING = "Cannot have 2 or more assistant messages at the end of the list"

POLICIES = (
    Policy("prints_all_once", 30, _then_works, turns=3),
    Policy("prints_all_each_time", 30, _prints_beside),
    Policy(
        "prints_all_for_ever",
        30,
        lambda _: _WHOLE,
        r"slice|grep|print only|same as in turn",
        expects="flagged",
    ),
    Policy("prints_page_after_page", 30, _slices, turns=7),
    Policy("small_window", 34, _slices, window_tokens=6_000, turns=7),
    Policy("cut_by_the_server", 34, _cutting, turns=3),
    Policy(
        "sub_prompt_too_long",
        34,
        _whole_to_leaf,
        r"exceeds|split|fit|window",
        expects="flagged",
        trial=read,
        leaf=_small_leaf,
    ),
    Policy(
        "roles_must_alternate",
        35,
        _strict(begins(lambda scene: fence(scene.trial.work)), _ALTERNATE),
    ),
    Policy(
        "roles_must_alternate_after_prose",
        35,
        _strict(
            lambda scene: "Let me think about it." if scene.turn == 1 else good(scene), _ALTERNATE
        ),
        turns=3,
    ),
    Policy("no_trailing_assistant", 35, _strict(good, _TRAILING)),
)
