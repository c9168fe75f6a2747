"""Work without end, or not done at all (rows 20 and 36)."""

from rlm_mcp.evals.policy import Policy, Scene, ends, fence, good
from rlm_mcp.evals.trials import find, read

_AGAIN = r"same as in turn|already|call FINAL(?! in it)"
_PARTLY = r"read \d|of [\d,]+ (?:pieces|characters)|before looking|no output shows"


def _same_code(scene: Scene) -> str:
    return fence(scene.trial.work)


def _same_output(scene: Scene) -> str:
    return fence(f"check_{scene.turn} = {scene.turn}\n{scene.trial.work}")


def _one_more_look(scene: Scene) -> str:
    at = scene.turn * 700
    return fence(f"{scene.trial.work}\nprint(context[{at}:{at + 60}])")


def _named_answer(scene: Scene) -> str:
    return fence(f"{scene.trial.work}\nfinal_answer = total")


def _first_lines(scene: Scene) -> str:
    if scene.turn > 1:
        return fence("FINAL(total)")
    return fence("part = context[:30_000]\n" + scene.trial.work.replace("context.", "part."))


def _first_tickets(scene: Scene) -> str:
    if scene.turn > 1:
        return fence("FINAL(total)")
    return fence(scene.trial.work.replace("for part in parts]", "for part in parts[:4]]"))


def _first_text(scene: Scene) -> str:
    return fence("print(context[:600])") if scene.turn == 1 else f"FINAL({scene.trial.guess})"


def _from_memory(scene: Scene) -> str:
    return f"FINAL({scene.trial.guess})"


def _from_memory_in_code(scene: Scene) -> str:
    return fence(f"FINAL({scene.trial.guess})")


def _early_once(scene: Scene) -> str:
    return _from_memory(scene) if scene.turn == 1 else good(scene)


def _after_a_token_look(scene: Scene) -> str:
    return fence("print(len(context))") if scene.turn == 1 else fence(f"FINAL({scene.trial.guess})")


POLICIES = (
    Policy("verifies_with_the_same_code", 20, _same_code, _AGAIN),
    Policy("verifies_with_the_same_output", 20, _same_output, _AGAIN),
    Policy("verifies_a_little_more", 20, _one_more_look, _AGAIN, expects="flagged"),
    Policy("verifies_a_named_answer", 20, _named_answer, _AGAIN),
    Policy("asks_its_variables_for_ever", 20, ends(lambda _: fence("SHOW_VARS()")), _AGAIN),
    Policy("reads_the_first_part", 36, _first_lines, _PARTLY, expects="flagged"),
    Policy("reads_the_first_tickets", 36, _first_tickets, _PARTLY, expects="flagged", trial=read),
    Policy("answers_from_the_first_page", 36, _first_text, _PARTLY, expects="flagged"),
    Policy("answers_from_memory", 36, _from_memory, _PARTLY, expects="flagged"),
    Policy("answers_from_memory_in_code", 36, _from_memory_in_code, _PARTLY, expects="flagged"),
    Policy("answers_after_a_token_look", 36, _after_a_token_look, _PARTLY, expects="flagged"),
    Policy(
        "answers_a_search_from_memory", 36, _from_memory, _PARTLY, expects="flagged", trial=find
    ),
    Policy("answers_early_once", 36, _early_once, _PARTLY, turns=3),
)
