"""Replies that are empty, that repeat themselves, or that make up output (rows 10, 11 and 12)."""

from rlm_mcp.evals.policy import Policy, Scene, begins, fence, good
from rlm_mcp.llm.script import Said, ScriptedReply

_STUCK = "The number of lines is the number of lines. "
_EMPTY = r"reply was empty|no code block"


def _one_in_two(scene: Scene) -> Said:
    return "" if scene.turn % 2 else good(scene)


class _Once:
    """Says one thing once, then behaves."""

    def __init__(self, reply: Said) -> None:
        self._reply = reply

    def __call__(self, scene: Scene) -> Said:
        return self._reply if scene.turn == 1 else good(scene)


def _made_up(scene: Scene) -> str:
    guess = scene.trial.guess
    return (
        f"{fence(scene.trial.work)}\n\nOutput (5 characters):\n{guess}\n\n"
        f"{fence(f'FINAL({guess!r})')}"
    )


def _made_up_text(scene: Scene) -> str:
    guess = scene.trial.guess
    return f"{fence(scene.trial.work)}\n\nObservation: {guess}\n\nFINAL({guess})"


def _made_up_dialogue(scene: Scene) -> str:
    guess = scene.trial.guess
    return (
        f"{fence(scene.trial.work)}\n\nUser:\n{fence(guess, 'output')}\n\n"
        f"Assistant: The answer is {guess}.\n\nFINAL({guess})"
    )


POLICIES = (
    Policy("empty_once", 10, _Once(""), lesson=_EMPTY),
    Policy("blank_once", 10, _Once(" \n\n "), lesson=_EMPTY),
    Policy("empty_every_other_time", 10, _one_in_two, lesson=_EMPTY),
    Policy("empty_always", 10, lambda _: "", lesson=_EMPTY, expects="flagged"),
    Policy(
        "loop_once",
        11,
        _Once(ScriptedReply(_STUCK * 2_000, finish_reason="length")),
        lesson="cut at its limit|same as in turn",
    ),
    Policy("loop_that_stops", 11, _Once(_STUCK * 40), lesson=_EMPTY),
    Policy(
        "loop_always",
        11,
        lambda _: ScriptedReply(_STUCK * 2_000, finish_reason="length"),
        lesson="cut at its limit|same as in turn",
        expects="flagged",
    ),
    Policy(
        "loop_inside_code",
        11,
        begins(lambda _: "```repl\n" + "total = 0\n" * 800),
        lesson="cut at its limit|same as in turn",
        expects="flagged",
    ),
    Policy(
        "made_up_output_and_final_block",
        12,
        _made_up,
        "beside|in the same reply|had run",
        expects="flagged",
    ),
    Policy(
        "made_up_output_and_final_text", 12, _made_up_text, "beside the code", expects="flagged"
    ),
    Policy("made_up_dialogue", 12, _made_up_dialogue, "beside the code", expects="flagged"),
    Policy("made_up_output_once", 12, begins(_made_up_text), "beside the code"),
    Policy("refuses_once", 10, _Once("I'm sorry, but I cannot see any text.")),
)
