"""The README's lines, run in a folder by an installed command: `readme.py COMMAND README FOLDER`.

Its model is scripted. The Python program of the README runs, too.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import anyio

from rlm_mcp.llm.scripted import serve

COMMAND, README, FOLDER = sys.argv[1:]
TEXT = Path(README).read_text(encoding="utf-8")
DEADLINE_S = 240
# That of a fresh environment, and that of a developer, are run by the check that runs this.
OTHERS = "python3 -m venv "
# A scripted model solves little of what `grade` sets, and nobody is there to say yes to `install`.
MAY_END_WITH = {"grade": {0, 1}, "install": {2}}


def answers(messages):
    """Any question: the code answers with what it was asked about."""
    if messages[0].role != "system":
        return "yes"
    return "```repl\nFINAL(f'{len(files)} files, the first {next(iter(files))}:1')\n```"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


async def run(arguments, url, codes):
    """One command, to its end."""
    ended = await anyio.run_process(
        arguments,
        cwd=FOLDER,
        env=os.environ | {"RLM_API_URL": url},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        check=False,
    )
    said = ended.stdout.decode()
    assert ended.returncode in codes, f"{arguments} ended with {ended.returncode}:\n{said}"


async def main():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    ours = [shlex.split(line) for line in lines if not line.startswith(OTHERS)]
    assert {line[0] for line in ours} == {"rlm-mcp"}, ours
    with anyio.fail_after(DEADLINE_S):
        async with serve(answers) as server:
            for _, *arguments in ours:
                codes = MAY_END_WITH.get(arguments[0], {0})
                await run([COMMAND, *arguments], server.url, codes)
            for program in blocks("python"):
                await run([sys.executable, "-P", "-c", program], server.url, {0})
    print(f"{len(ours)} commands and {len(blocks('python'))} program end as they should")


anyio.run(main)
