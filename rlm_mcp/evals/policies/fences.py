"""Code in fences of many kinds, in broken ones, and in none (rows 1, 2, 3 and 23)."""

from rlm_mcp.evals.policy import Policy, begins, fence, speaks

_PROMPT = ">>> "


def _indented(code: str) -> str:
    return "\n".join("    " + line for line in fence(code, "python").splitlines())


def _in_list(code: str) -> str:
    body = "\n".join("   " + line for line in fence(code, "python").splitlines())
    return f"1. Run this:\n\n{body}\n\n2. Then look at what it prints."


def _session(code: str) -> str:
    lines = [("... " if line.startswith(" ") else _PROMPT) + line for line in code.splitlines()]
    return fence("\n".join(lines), "python")


def _with_ticks(code: str) -> str:
    note = '"""How it is done:\n```sql\nSELECT sum(ms)\n```\n"""'
    return fence(f"note = {note}\n{code}", "python")


def _with_inner_block(code: str) -> str:
    return fence(f'doc = "Usage:\\n"\ndoc += """\n```\nrun()\n```\n"""\n{code}')


_TAGS = {
    "python": "python",
    "py": "py",
    "python3": "Python3",
    "upper": "PYTHON",
    "ipython": "ipython",
    "braces": "{.python}",
    "titled": 'python title="solve.py"',
    "numbered": "python {linenos=true}",
}

POLICIES = (
    *(
        Policy(f"fence_{name}", 1, speaks(lambda code, tag=tag: fence(code, tag)))  # type: ignore[misc]  # bound early
        for name, tag in _TAGS.items()
    ),
    Policy("fence_bare", 1, speaks(lambda code: fence(code, ""))),
    Policy("fence_tilde", 1, speaks(lambda code: f"~~~python\n{code}\n~~~")),
    Policy("fence_four_ticks", 1, speaks(lambda code: f"````python\n{code}\n````")),
    Policy("fence_indented", 1, speaks(_indented)),
    Policy("fence_in_list", 1, speaks(_in_list)),
    Policy("fence_crlf", 1, speaks(lambda code: fence(code, "python").replace("\n", "\r\n"))),
    Policy("fence_prompts", 1, speaks(_session)),
    Policy("fence_unclosed", 2, speaks(lambda code: f"Let me look.\n```python\n{code}")),
    Policy("fence_closed_inline", 2, speaks(lambda code: f"```python\n{code}```")),
    Policy(
        "fence_on_one_line",
        2,
        speaks(lambda code: f"```python {'; '.join(code.split(chr(10)))} ```"),
    ),
    Policy(
        "fence_unclosed_with_prose",
        2,
        speaks(lambda code: f"```python\n{code}\nThis prints the number I need."),
        lesson="SyntaxError",
    ),
    Policy("raw_code", 3, speaks(lambda code: code)),
    Policy("raw_code_behind_a_word", 3, speaks(lambda code: f"python\n{code}")),
    Policy(
        "raw_code_behind_prose",
        3,
        speaks(lambda code: f"I compute it:\n\n{code}"),
        expects="flagged",
    ),
    Policy(
        "code_in_single_ticks",
        3,
        speaks(lambda code: f"I run `{'; '.join(code.split(chr(10)))}`."),
        expects="flagged",
    ),
    Policy(
        "shell_block",
        1,
        begins(lambda _: fence("grep -c ERROR context.txt", "bash")),
        expects="flagged",
    ),
    Policy(
        "json_block_beside_code",
        1,
        speaks(lambda code: fence('{"total": 1}', "json") + "\n" + fence(code, "python")),
    ),
    Policy(
        "diff_block_beside_code",
        1,
        speaks(lambda code: fence("-total = 0\n+total = 1", "diff") + "\n" + fence(code)),
    ),
    Policy("ticks_in_a_string", 23, speaks(_with_ticks)),
    Policy("block_in_a_string", 23, speaks(_with_inner_block)),
    Policy(
        "block_in_an_f_string",
        23,
        speaks(lambda code: fence(f"x = f'''\n```python\nprint(1)\n```\n'''\n{code}", "python")),
    ),
)
