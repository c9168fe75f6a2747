"""The README says what is true: its tables are generated, its commands and programs run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from pydantic_core import PydanticUndefined

from rlm_mcp.cli import demo_script
from rlm_mcp.cli.demo import SCRIPTED
from rlm_mcp.clients.links import table as clients_table
from rlm_mcp.evals.policies import policies
from rlm_mcp.llm.scripted import serve
from rlm_mcp.server.tools import TOOLS
from rlm_mcp.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MOST_LINES = 400
TRIED = ("rlm-mcp doctor --endpoint", "rlm-mcp grade")
INSTALL = "rlm-mcp install"
UPDATE_GOLDEN = bool(os.environ.get("RLM_UPDATE_GOLDEN"))
DEFAULTS = {"home": "the system's folder for user data"}


def tools_table():
    rows = []
    for name, tool in TOOLS.items():
        arguments = ", ".join(f"`{field}`" for field in tool.takes.model_fields)
        rows.append(f"| `{name}` | {arguments} | {tool.description} |")
    return ["| tool | arguments | what it is for |", "|---|---|---|", *rows]


def settings_table():
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in {None, PydanticUndefined} else f"`{field.default}`"
        rows.append(
            f"| `{PREFIX}{name.upper()}` | {DEFAULTS.get(name, default)} | {field.description} |"
        )
    return ["| setting | default | meaning |", "|---|---|---|", *rows]


@pytest.mark.parametrize(
    ("name", "table"),
    [("clients", clients_table), ("tools", tools_table), ("settings", settings_table)],
)
def test_the_tables_are_those_of_the_code(name, table):
    text = README.read_text(encoding="utf-8")
    marks = re.compile(rf"(<!-- {name}: [^\n]*-->\n)(.*?)(<!-- /{name} -->)", re.DOTALL)
    wanted = marks.sub(lambda found: found[1] + "\n".join(table()) + "\n" + found[3], text)

    if UPDATE_GOLDEN:
        README.write_text(wanted, encoding="utf-8")

    assert README.read_text(encoding="utf-8") == wanted


def test_it_is_short_and_its_links_lead_somewhere():
    text = README.read_text(encoding="utf-8")
    headings = {
        line.lstrip("# ").lower().replace(" ", "-").replace(",", "")
        for line in text.splitlines()
        if line.startswith("#")
    }

    assert text.count("\n") < MOST_LINES
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith("#"):
            assert link[1:] in headings
        elif not link.startswith("https://"):
            assert (ROOT / link).exists(), link


def test_it_counts_the_misbehaving_models_right():
    assert f"plays {len(policies())} misbehaving" in README.read_text(encoding="utf-8")


def test_the_run_it_shows_is_one_of_the_demo():
    shown = block("text", 0).splitlines()
    code = [line[4:] for line in shown if line.startswith("  │ ")]
    script = "".join(demo_script.TURNS).splitlines()

    assert shown[0] == SCRIPTED
    assert code
    assert [line for line in code if line not in script] == []
    labels = [line.split()[0] for line in shown if re.match(r"[a-z]+ ", line)]
    assert labels == ["load", "ask", "turn", "turn", "answer", "citations", "cost"]


def test_the_two_commands_are_those_that_the_check_runs():
    text = README.read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv .*$", text, re.MULTILINE)

    assert [command.split("/")[-1] for command in commands] == ["rlm-mcp demo", "pytest"]
    assert "grep -m1 -E '^python3 -m venv .*pytest' README.md" in (ROOT / ".ci" / "run").read_text(
        encoding="utf-8"
    )


def answers(messages):
    """Any question: the code answers with what it was asked about."""
    if messages[0].role != "system":
        return "yes"
    return "```repl\nFINAL(f'{len(files)} files, the first {next(iter(files))}:1')\n```"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "command",
    [
        line
        for line in README.read_text(encoding="utf-8").splitlines()
        if line.startswith("rlm-mcp ask ")
    ],
)
async def test_its_commands_run(command):
    arguments = shlex.split(command)[1:]

    code, out = await run("-m", "rlm_mcp", *arguments)

    assert code == 0
    assert re.match(r"\d+ files, the first \S+:1\n", out)


def test_every_command_of_its_blocks_is_one_that_a_test_runs():
    blocks = re.findall(
        r"^```sh\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    commands = [line for block in blocks for line in block.splitlines()]
    # The two that begin with an environment are run by the check itself, in a fresh one.
    known = (r"python3 -m venv ", r"rlm-mcp ask ", *(f"{line}$" for line in (*TRIED, INSTALL)))

    assert [line for line in commands if not re.match("|".join(known), line)] == []


@pytest.mark.anyio
async def test_its_set_up_of_clients_shows_first_what_it_would_add(tmp_path):
    (tmp_path / ".cursor").mkdir()
    home = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}

    with anyio.fail_after(60):
        shown = await anyio.run_process(
            [sys.executable, "-m", *INSTALL.replace("-", "_", 1).split()], env=home, check=False
        )

    assert INSTALL in README.read_text(encoding="utf-8").splitlines()
    assert '+  "mcpServers": {' in shown.stdout.decode().splitlines()
    assert list((tmp_path / ".cursor").iterdir()) == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("command", "words"), [(TRIED[0], "window"), (TRIED[1], "solved")], ids=TRIED
)
async def test_the_commands_that_try_a_model_run(command, words):
    assert command in README.read_text(encoding="utf-8").splitlines()

    _, out = await run("-m", "rlm_mcp", *command.split()[1:])

    assert words in out


@pytest.mark.anyio
async def test_its_program_runs():
    code, out = await run("-c", block("python", 0))

    assert code == 0
    assert "__init__.py 1 " in out


async def run(*arguments):
    async with serve(answers) as server:
        with anyio.fail_after(60):
            ran = await anyio.run_process(
                [sys.executable, *arguments],
                env=os.environ | {"RLM_API_URL": server.url},
                cwd=ROOT,
                stderr=subprocess.PIPE,
                check=False,
            )
    return ran.returncode, ran.stdout.decode()


def block(language, number):
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[number]


def test_the_client_configuration_has_the_shape_each_client_reads():
    config = json.loads((ROOT / "mcp.json.example").read_text(encoding="utf-8"))
    claude, code = config["mcpServers"]["rlm"], config["servers"]["rlm"]

    assert set(config) == {"mcpServers", "servers", "inputs"}
    assert set(claude) == {"command", "args", "env"}
    assert set(code) == {"type", "command", "args", "env"}
    assert code["type"] == "stdio"
    inputs = {each["id"]: each for each in config["inputs"]}
    for server in (claude, code):
        assert Path(server["command"]).is_absolute()
        for key, value in server["env"].items():
            asked = re.fullmatch(r"\$\{input:(.+)\}", value)
            given = "a key" if asked and inputs[asked[1]]["password"] else value
            Settings.load({key: given})
