"""Models that behave, each in its own way: what they do must cost them no turn."""

from rlm_mcp.evals.policy import Policy, Scene, fence, good
from rlm_mcp.evals.trials import find, read, report, steps
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.script import ScriptedReply


class _Steps:
    """Says these in order; the turns it takes are as many."""

    def __init__(self, *replies: str) -> None:
        self.replies = replies

    def __call__(self, scene: Scene) -> str:
        said = self.replies[min(scene.turn, len(self.replies)) - 1]
        item = scene.trial.item
        return said.replace("WORK", scene.trial.work).replace("GOLD", item.gold)


def _told(name: str, *replies: str) -> Policy:
    return Policy(name, None, _Steps(*replies), turns=len(replies))


_LOOK = "I look at the text first.\n" + fence("print(len(context), context[:400])")
_WORK = fence("WORK")
_PAGE = fence("at = globals().get('at', 0) + 300\nprint(context[at:at + 300])")
_THINK = "<think>The rows are lines; FINAL(1) would be a guess.</think>\n"

POLICIES = (
    Policy("plain", None, good),
    _told("one_block", fence("WORK\nFINAL(total)")),
    _told("one_block_without_print", fence("WORK\nFINAL(total)".replace("print(total)", ""))),
    _told("two_blocks", f"{_WORK}\nand then\n{fence('FINAL(total)')}"),
    _told("text_final", _WORK, "FINAL(GOLD)"),
    _told("text_final_with_words", _WORK, "The output is clear.\n\nFINAL(GOLD)"),
    _told("text_final_var", _WORK, "FINAL_VAR(total)"),
    _told("answer_dict", _WORK, fence('answer["content"] = total\nanswer["ready"] = True')),
    _told("looks_first", _LOOK, _WORK, fence("FINAL(total)")),
    _told(
        "looks_often",
        _LOOK,
        fence("print(context[-400:])"),
        fence("SHOW_VARS()"),
        _WORK,
        fence("FINAL(total)"),
    ),
    _told("pages", _PAGE, _PAGE, _PAGE, _WORK, fence("FINAL(total)")),
    _told("checks_once", _WORK, fence("assert total\nprint(total)"), fence("FINAL(total)")),
    _told("mends_an_error", fence("print(contexts_)"), _WORK, fence("FINAL(total)")),
    _told("thinks_aloud", _THINK + _WORK, _THINK + fence("FINAL(total)")),
    _told(
        "talks_of_final",
        "I will call FINAL(total) once I have it.\n" + _WORK,
        fence("FINAL(total)"),
    ),
    Policy(
        "thinks_apart",
        None,
        lambda scene: ScriptedReply(good(scene), reasoning="I add up."),
        quirks=Quirks(),
    ),
    Policy("plain_over_http", None, good, quirks=Quirks()),
    Policy("searches", None, good, trial=find),
    Policy(
        "searches_with_grep",
        None,
        lambda scene: fence(
            'hit = grep(r"legacy_gateway.port")\nprint(hit)'
            if scene.turn == 1
            else f"FINAL({scene.trial.item.gold!r})"
        ),
        trial=find,
    ),
    Policy("asks_sub_models", None, good, trial=read),
    Policy("follows_steps", None, good, trial=steps),
    Policy("long_answer", None, good, trial=report),
    Policy(
        "long_answer_by_name",
        None,
        lambda scene: fence('FINAL_VAR("total")' if scene.shown else scene.trial.work),
        trial=report,
    ),
)
