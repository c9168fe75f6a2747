"""Thinking that comes alone, too long, or with code and answers in it (rows 6, 7 and 8)."""

from rlm_mcp.evals.policy import Policy, Scene, fence, good, speaks
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.script import Said, ScriptedReply

_LONG = "Wait, let me consider this once more. " * 700  # 6,650 scripted tokens
_DECOY = fence("print(4242)") + "\nand then FINAL(4242).\n" + fence("FINAL(4242)")


def _grows(scene: Scene) -> Said:
    return ScriptedReply(good(scene), reasoning=_LONG)


def _endless(_: Scene) -> Said:
    return ScriptedReply(reasoning=_LONG * 4)


def _cut_in_the_tag(scene: Scene) -> Said:
    if scene.turn == 1:
        return ScriptedReply(f"<think>{_LONG[:400]}{fence('FINAL(4242)')}", finish_reason="length")
    return good(scene)


def _alone_once(scene: Scene) -> Said:
    return ScriptedReply(reasoning="I need to add it up.") if scene.turn == 1 else good(scene)


POLICIES = (
    Policy(
        "reasoning_holds_the_code",
        6,
        speaks(lambda code: ScriptedReply(reasoning=f"I run this.\n{fence(code)}")),
        quirks=Quirks(),
    ),
    Policy(
        "reasoning_holds_the_code_as_python",
        6,
        speaks(lambda code: ScriptedReply(reasoning=f"So:\n{fence(code, 'python')}")),
        quirks=Quirks(thinking="reasoning"),
    ),
    Policy("reasoning_alone_once", 6, _alone_once, lesson="empty|no code block", quirks=Quirks()),
    Policy(
        "reasoning_alone_always",
        6,
        lambda _: ScriptedReply(reasoning="I need to add it up."),
        lesson="empty|no code block",
        expects="flagged",
    ),
    Policy("thinking_needs_more_tokens", 7, _grows),
    Policy("thinking_without_end", 7, _endless, lesson="cut at its limit", expects="never"),
    Policy("thinking_cut_in_its_tag", 7, _cut_in_the_tag, turns=3),
    Policy("think_with_decoys", 8, speaks(lambda code: f"<think>{_DECOY}</think>\n{fence(code)}")),
    Policy("think_unopened", 8, speaks(lambda code: f"{_DECOY}\n</think>\n{fence(code)}")),
    Policy(
        "think_twice",
        8,
        speaks(lambda code: f"<think>a</think>\n<think>{_DECOY}</think>\n\n{fence(code)}"),
    ),
    Policy(
        "thinking_tag",
        8,
        speaks(lambda code: f"<thinking>\n{_DECOY}\n</thinking>\n{fence(code, 'python')}"),
    ),
    Policy(
        "reasoning_with_decoys",
        8,
        speaks(lambda code: ScriptedReply(fence(code), reasoning=_DECOY)),
        quirks=Quirks(),
    ),
    Policy(
        "think_unclosed",
        8,
        speaks(lambda code: f"<think>I should run this.\n{fence(code)}"),
        expects="flagged",
    ),
)
