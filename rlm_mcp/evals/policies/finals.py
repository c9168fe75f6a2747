"""Answers given too early, in other words, or not at all (rows 13 to 19 and 21)."""

from rlm_mcp.evals.policy import Policy, Scene, begins, ends, ends_with, fence

_ASKS = "no code block|call FINAL"
_EXAMPLE = "example, not an answer|placeholder"


def _beside(final: str, row: int, name: str, lesson: str = "beside the code|placeholder") -> Policy:
    """Writes a finish next to the code, then does so again and again."""
    return Policy(
        name,
        row,
        lambda scene: f"{fence(scene.trial.work)}\n\nThen I finish:\n\n{final}",
        lesson,
        expects="flagged",
    )


def _block(code: str, name: str, row: int, lesson: str = "NameError|call FINAL") -> Policy:
    """Works, then ends with a block of this code, which is to be taken."""
    return Policy(name, row, ends_with(fence(code)), lesson)


def _hollow(code: str, name: str, row: int, lesson: str) -> Policy:
    """Works, then ends with a block of this code, which holds no answer."""
    return Policy(name, row, ends_with(fence(code)), lesson, expects="flagged")


def _plan(scene: Scene) -> str:
    plan = "My plan: compute the sum, then I will call FINAL(total) or FINAL_VAR(total).\n\n"
    return plan + (fence("FINAL(total)") if scene.shown else fence(scene.trial.work))


def _numbered_plan(scene: Scene) -> str:
    plan = "1. Add it up.\n2. Look at the output.\n3. FINAL(answer)\n\n"
    return plan + (fence("FINAL(total)") if scene.shown else fence(scene.trial.work))


def _placeholder(scene: Scene) -> str:
    return f"{fence(scene.trial.work)}\n\n{fence('FINAL(<the sum printed above>)', '')}"


def _not_ready(scene: Scene) -> str:
    return fence('answer["ready"] = True') if scene.turn == 1 else fence(_READY.format(scene=scene))


_READY = '{scene.trial.work}\nanswer["content"] = total\nanswer["ready"] = True'
_WORDY = "I went through all lines. The sum of ms over the ERROR lines is GOLD."

POLICIES = (
    _beside("FINAL(<the sum printed above>)", 13, "placeholder_in_brackets"),
    _beside('FINAL("value printed above")', 13, "placeholder_in_words"),
    _beside("FINAL(the answer in words)", 13, "placeholder_of_the_prompt", "example|beside"),
    Policy("placeholder_block", 13, begins(_placeholder), "example|beside|SyntaxError"),
    _hollow('FINAL("<answer>")', "placeholder_string", 13, _EXAMPLE),
    _hollow('FINAL("[insert the sum here]")', "placeholder_insert", 13, _EXAMPLE),
    _hollow('FINAL("the value printed above")', "placeholder_above", 13, _EXAMPLE),
    Policy("final_in_plan", 14, _plan),
    Policy("final_in_numbered_plan", 14, _numbered_plan),
    Policy(
        "final_quoted_in_prose",
        14,
        ends_with(
            'When done I would write "FINAL(GUESS)". First the real one:\n' + fence("FINAL(total)")
        ),
    ),
    _block("FINAL_VAR(total)", "final_var_unquoted", 15),
    _block('FINAL_VAR("total")', "final_var_in_code", 15),
    Policy("final_var_in_text", 15, ends_with("FINAL_VAR(total)")),
    Policy("final_name_in_text", 15, ends_with("FINAL(total)")),
    _block('FINAL("total")', "name_as_string", 16),
    Policy("name_as_string_in_text", 16, ends_with('FINAL("total")')),
    _block("FINAL('{total}')", "name_in_braces", 16, _EXAMPLE),
    _block('answer["content"] = "total"; answer["ready"] = True', "name_in_answer", 16),
    _block('FINAL_VAR("totl")', "wrong_name_near", 17, "no variable"),
    _hollow("FINAL(totals)", "wrong_name_in_code", 17, "NameError"),
    Policy("wrong_name_in_text", 17, ends_with("FINAL_VAR(the_total)"), "no variable"),
    _hollow('FINAL_VAR("result")', "wrong_name_far", 17, "no variable"),
    _block("SUBMIT(total)", "submit", 18),
    _block("SUBMIT(answer=total)", "submit_field", 18),
    _block("final_answer(total)", "final_answer_call", 18),
    _block("submit_answer(total)", "submit_answer_call", 18),
    _block("finish(total)", "finish_call", 18),
    _block("answer.content = total\nanswer.ready = True", "answer_attributes", 18),
    _block("answer = total", "answer_bound", 18, _ASKS),
    _block("FINAL = total", "final_bound", 18, "FINAL.* overwritten"),
    _hollow("return total", "return_total", 18, "SyntaxError"),
    _block('print("FINAL(GOLD)")', "final_printed", 18, _ASKS),
    _block('print(f"FINAL_ANSWER: {total}")', "final_answer_printed", 18, _ASKS),
    Policy("boxed", 18, ends_with(r"The sum is $\boxed{GOLD}$.")),
    Policy("final_answer_tag", 18, ends_with("<final_answer>GOLD</final_answer>")),
    Policy("answer_tag", 18, ends_with("<answer>GOLD</answer>")),
    Policy("final_colon", 18, ends_with("FINAL ANSWER: GOLD")),
    Policy("final_bold", 18, ends_with("**Final Answer:** **GOLD**")),
    Policy("final_json", 18, ends_with('{"final_answer": "GOLD"}')),
    Policy("final_json_number", 18, ends_with('{"answer": GOLD}')),
    Policy("prose", 19, ends_with(_WORDY), _ASKS),
    Policy("prose_bold", 19, ends_with("The answer is **GOLD**."), _ASKS),
    Policy("prose_number", 19, ends_with("GOLD"), _ASKS),
    Policy(
        "prose_without_looking",
        19,
        lambda scene: f"The sum is {scene.trial.guess}.",
        _ASKS,
        expects="flagged",
    ),
    _hollow('FINAL("")', "final_empty", 21, "FINAL was empty"),
    _hollow("FINAL(None)", "final_none", 21, "FINAL was empty|None"),
    _hollow("FINAL()", "final_without_value", 21, "TypeError|FINAL was empty"),
    Policy("ready_before_content", 21, _not_ready, "answer|content"),
    Policy(
        "final_text_empty", 21, ends_with("FINAL()"), "FINAL was empty|TypeError", expects="flagged"
    ),
    Policy(
        "two_finals", 14, ends(lambda scene: fence(f"FINAL({scene.trial.guess!r})\nFINAL(total)"))
    ),
)
