"""The skill for coding agents says what is true: each of its commands runs, each code is one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from rlm_mcp.cli import outcome
from rlm_mcp.llm.scripted import serve

pytestmark = pytest.mark.anyio

SKILL = Path(__file__).parents[1] / "examples" / "skill" / "SKILL.md"
TEXT = SKILL.read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]
MOST_LINES = 100


def answers(messages):
    return "```repl\nFINAL(f'{len(context)} characters')\n```"


@pytest.fixture
def desk(tmp_path):
    """A folder with what the skill asks about, and the command on the path of a shell."""
    place = tmp_path / "desk"
    (place / "src").mkdir(parents=True)
    (place / "src" / "app.py").write_text("print(1)\n", encoding="utf-8")
    (place / "app.log").write_text("10:00 started\n", encoding="utf-8")
    command = place / "bin" / "rlm-mcp"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rlm_mcp "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(place)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    return place


async def test_every_command_of_the_skill_runs(desk):
    run_id = None
    assert len([line for line in COMMANDS if "rlm-mcp ask" in line]) == 5
    async with serve(answers) as model:
        path = f"{desk / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"RLM_API_URL": model.url, "PATH": path}
        for line in sorted(COMMANDS, key=lambda line: "RUN" in line):
            command = line.replace("RUN", run_id) if "RUN" in line else line
            with anyio.fail_after(120):
                ran = await anyio.run_process(
                    ["sh", "-c", command], cwd=desk, env=environment, check=False
                )
            out = ran.stdout.decode()
            assert ran.returncode == 0, (line, out, ran.stderr.decode())
            assert out.strip(), line
            if "--json" in line:
                result = json.loads(out)
                run_id = result["run_id"]

    assert result["answer"].endswith(" characters")
    told = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert told
    assert set(told) <= result.keys()


def test_its_exit_codes_are_those_of_the_command():
    told = [int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)]

    assert told == [outcome.ANSWERED, outcome.FAILED, 2, outcome.SPENT, outcome.INTERRUPTED]


def test_an_agent_can_load_it():
    _, front, body = TEXT.split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in front.splitlines())

    # The format of Agent Skills: a name of its folder's kind, and at most 1,024 characters.
    assert re.fullmatch(r"[a-z0-9-]{1,64}", fields["name"])
    assert 0 < len(fields["description"]) <= 1024
    assert ": " not in fields["description"]  # a plain YAML scalar ends there
    assert TEXT.count("\n") < MOST_LINES
    assert body.strip()
