"""Code that is broken, endless, or written for another place (rows 22, 24 to 27, 29 and 33)."""

from dataclasses import replace

from rlm_mcp.evals.policy import BUDGET, Policy, Scene, begins, ends, fence, good
from rlm_mcp.evals.trials import read


def _behind(code: str) -> "_Before":
    return _Before(code)


class _Before:
    """Runs a line of its own before the work, every time until the gold is seen."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __call__(self, scene: Scene) -> str:
        if scene.shown:
            return fence("FINAL(total)")
        return fence(f"{self._code}\n{scene.trial.work}")


class _Instead:
    """Runs code that never gives the gold, always."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __call__(self, _: Scene) -> str:
        return fence(self._code)


def _late(scene: Scene) -> str:
    """Fails behind the work; what it had is there for the next block."""
    if scene.turn == 1:
        return fence(f"{scene.trial.work}\nprint(undefined_name)")
    return fence("FINAL(total)")


def _late_unprinted(scene: Scene) -> str:
    work = scene.trial.work.replace("print(total)", "")
    return fence(f"{work}\n1 / 0") if scene.turn == 1 else fence("FINAL(total)")


def _curly(scene: Scene) -> str:
    return good(scene).replace('"', "\u201d")


def _asynchronous(scene: Scene) -> str:
    if scene.shown:
        return fence("FINAL(total)")
    body = "\n".join("    " + line for line in scene.trial.work.splitlines())
    body = body.replace("llm_query_batched", "await llm_query_batched")
    return fence(
        f"import asyncio\nasync def main():\n    global total\n{body}\nasyncio.run(main())"
    )


def _awaiting(scene: Scene) -> str:
    return good(scene).replace("= llm_query_batched", "= await llm_query_batched")


def _importing(scene: Scene) -> str:
    return good(scene).replace("```repl\n", "```repl\nfrom repl import llm_query_batched, FINAL\n")


def _echo(scene: Scene) -> str:
    return good(scene).replace("print(total)", "total")


def _overwriting(scene: Scene) -> str:
    if scene.turn == 1:
        return fence("context = context.splitlines()\nprint(len(context))")
    return good(scene)


_DONE = "Traceback|Error"
_TIME = "seconds|time|limit"
# Each of these takes its whole second of computing: three show what twenty would.
_FEW = replace(BUDGET, errors=3)

POLICIES = (
    Policy("syntax_unclosed", 22, _Instead("print(len(context)"), "SyntaxError", "flagged"),
    Policy("syntax_return", 22, _behind("x = 1\nreturn x"), "SyntaxError", "flagged"),
    Policy("syntax_indent", 22, _behind("if True:\nx = 1"), "IndentationError", "flagged"),
    Policy("syntax_print", 22, _behind('print "start"'), "SyntaxError", "flagged"),
    Policy("curly_quotes", 22, _curly, "SyntaxError"),
    Policy("name_error_always", 22, _behind("print(lines_of_log)"), "NameError", "flagged"),
    Policy("exception_behind_the_work", 24, _late),
    Policy("exception_before_the_print", 24, _late_unprinted),
    Policy("exception_behind_sub_calls", 24, _late_unprinted, trial=read),
    Policy("endless_loop", 25, _Instead("while True: pass"), _TIME, "flagged", budget=_FEW),
    Policy(
        "endless_loop_behind_the_work",
        25,
        ends(lambda _: fence("while True: total")),
        _TIME,
        "flagged",
        budget=_FEW,
    ),
    Policy(
        "endless_regex",
        25,
        _Instead('import re\nre.match(r"(a+)+$", "a" * 40 + "b")'),
        _TIME,
        "flagged",
        budget=_FEW,
    ),
    Policy(
        "endless_print",
        25,
        _Instead("while True: print('x' * 1000)"),
        _TIME,
        "flagged",
        budget=_FEW,
    ),
    Policy(
        "endless_memory",
        25,
        _Instead("x = 'x'\nwhile True: x += x"),
        "memory",
        "flagged",
        budget=_FEW,
    ),
    Policy(
        "sleeps", 25, _Instead("import time\ntime.sleep(10_000)"), _TIME, "flagged", budget=_FEW
    ),
    Policy(
        "sys_exit", 26, begins(lambda scene: fence(f"import sys\n{scene.trial.work}\nsys.exit()"))
    ),
    Policy("quits_first", 26, _behind("exit(0)"), "cell ended there", "flagged"),
    Policy("asks_the_user", 26, _behind('name = input("Which file? ")'), r"input\(\)", "flagged"),
    Policy("installs", 26, _behind("!pip install pandas")),
    Policy("installs_by_magic", 26, _behind("%pip install pandas")),
    Policy("imports_pandas", 26, _behind("import pandas as pd"), "ModuleNotFoundError", "flagged"),
    Policy("forks", 26, _behind("import os\npid = os.fork()"), _DONE, "flagged"),
    Policy(
        "kills_itself", 26, _Instead("import os, signal\nos.kill(os.getpid(), 9)"), _DONE, "flagged"
    ),
    Policy("opens_a_file", 26, _behind('text = open("context.txt").read()'), _DONE, "flagged"),
    Policy(
        "asks_the_network",
        26,
        _behind('import urllib.request\nurllib.request.urlopen("http://127.0.0.1:9/")'),
        _DONE,
        "flagged",
    ),
    Policy("awaits", 27, _awaiting, trial=read),
    Policy("asyncio_run", 27, _asynchronous, "coroutine", trial=read),
    Policy("imports_what_is_given", 27, _importing, trial=read),
    Policy("bare_expression", 29, _echo),
    Policy("overwrites_context", 33, _overwriting, turns=3),
    Policy("overwrites_functions", 33, _behind("print_ = print\nllm_query = None\nFINAL_VAR = 1")),
    Policy("overwrites_builtins", 33, _behind("list = [1]\nstr = 'x'\nsum_ = sum")),
    Policy(
        "deletes_context",
        33,
        ends(lambda scene: fence("del context" if scene.turn == 2 else "FINAL(total)")),
        turns=3,
    ),
)
