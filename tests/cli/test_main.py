import subprocess
import sys

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("heavy", ["mcp", "httpx", "rich", "sqlite3", "rlm_mcp.service"])
def test_the_command_line_loads_only_what_every_command_needs(heavy):
    script = f"import sys, rlm_mcp.cli.main\nprint({heavy!r} in sys.modules)"

    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert ran.stdout == "False\n"


async def test_help_names_every_command_and_where_settings_are(desk):
    code, out, _ = await desk.run("--help")

    assert code == 0
    for words in ("ask", "demo", "doctor", "serve", "traces", "RLM_"):
        assert words in out


async def test_the_version_is_that_of_the_package(desk):
    code, out, _ = await desk.run("--version")

    assert (code, out.split()[0]) == (0, "rlm-mcp")
