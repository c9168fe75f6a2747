import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import anyio
import pytest

from rlm_mcp.clients.handshake import handshake
from rlm_mcp.errors import NotAnMcpServer, ServerEnded, ServerMissing, ServerSilent
from rlm_mcp.server.tools import TOOLS

pytestmark = pytest.mark.anyio

WITHIN_S = 60.0
SOON_S = 0.5
# A server of a few lines that speaks as it is told to: `replies` in turn, one to each request.
PLAYED = """
import json, os, sys
print(os.getpid(), file=open({pids!r}, "w"), flush=True)
{before}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        print(json.dumps({{"jsonrpc": "2.0", "id": asked["id"], **REPLIES.pop(0)}}), flush=True)
{after}
"""
HELLO = {
    "result": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "serverInfo": {"name": "played", "version": "7"},
    }
}


class Stage:
    """Plays servers in child processes, and knows whether they still run."""

    def __init__(self, folder):
        self.pids = folder / "pid"

    def command(self, *replies, before="", after=""):
        program = PLAYED.format(pids=str(self.pids), before=before, after=after)
        return [sys.executable, "-c", f"REPLIES = {list(replies)!r}\n{program}"]

    def is_playing(self):
        try:
            os.kill(int(self.pids.read_text(encoding="utf-8")), 0)
        except ProcessLookupError:
            return False
        return True


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def tools(*names, further=None):
    listed = {"tools": [{"name": name, "inputSchema": {}} for name in names]}
    return {"result": listed | ({"nextCursor": further} if further else {})}


async def test_our_own_server_tells_all_and_says_nothing_beside_the_protocol():
    met = await handshake([sys.executable, "-m", "rlm_mcp"], os.environ, WITHIN_S)

    assert met.tools == tuple(TOOLS)
    assert (met.name, met.version) == ("rlm-mcp", version("rlm-mcp"))
    assert met.protocol == "2025-11-25"
    assert met.stray == ()
    assert 0 < met.seconds < WITHIN_S


async def test_the_child_has_the_environment_given_and_no_other():
    program = "import os, sys; print(sorted(os.environ), file=sys.stderr)"

    with pytest.raises(ServerEnded) as caught:
        await handshake([sys.executable, "-c", program], {"RLM_MODEL": "x"}, WITHIN_S)

    assert "RLM_MODEL" in caught.value.message
    assert "PATH" not in caught.value.message


async def test_lines_that_are_not_the_protocol_are_kept_and_do_no_harm(stage):
    noise = "print('Welcome!'); print('42', flush=True); print('to be seen', file=sys.stderr)"

    met = await handshake(
        stage.command(HELLO, tools("a"), before=noise), os.environ, timeout_s=WITHIN_S
    )

    assert met.stray == ("Welcome!", "42")
    assert met.stderr == "to be seen"
    assert met.protocol == "2025-06-18"


async def test_the_list_of_tools_is_read_to_its_last_page(stage):
    met = await handshake(
        stage.command(HELLO, tools("a", "b", further="2"), tools("c")), os.environ, WITHIN_S
    )

    assert met.tools == ("a", "b", "c")


async def test_a_server_that_does_not_end_by_itself_is_ended(stage):
    forever = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"

    met = await handshake(stage.command(HELLO, tools("a"), after=forever), os.environ, WITHIN_S)

    assert met.tools == ("a",)
    assert not stage.is_playing()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")
async def test_what_the_server_had_started_ends_with_it(stage, tmp_path):
    pid = tmp_path / "grandchild"
    start = (
        "import subprocess; started = subprocess.Popen([sys.executable, '-c',"
        f" 'import time; time.sleep(600)']); print(started.pid, file=open({str(pid)!r}, 'w'))"
    )

    await handshake(stage.command(HELLO, tools("a"), before=start), os.environ, WITHIN_S)

    with anyio.fail_after(WITHIN_S):
        while is_alive(int(pid.read_text(encoding="utf-8"))):
            await anyio.sleep(0.01)


def is_alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


@pytest.mark.parametrize("path", ["no-such-program", "/no/such/program", "."])
async def test_a_command_that_cannot_be_started_is_told(path):
    with pytest.raises(ServerMissing) as caught:
        await handshake([path], os.environ, WITHIN_S)

    assert caught.value.message.startswith(f"{path} cannot be started: ")
    assert "absolute path" in caught.value.hint


async def test_a_server_that_ends_is_told_with_its_code_and_its_last_words():
    program = "import sys; sys.exit('There is no setting RLM_ROOT.')"

    with pytest.raises(ServerEnded) as caught:
        await handshake([sys.executable, "-c", program], os.environ, WITHIN_S)

    assert "exit code 1 before it had answered: There is no setting RLM_ROOT." in str(caught.value)


async def test_our_server_with_a_setting_that_cannot_work_says_which():
    environment = os.environ | {"RLM_MAX_TURNS": "many"}

    with pytest.raises(ServerEnded) as caught:
        await handshake([sys.executable, "-m", "rlm_mcp"], environment, WITHIN_S)

    assert "RLM_MAX_TURNS: Input should be" in caught.value.message


async def test_a_silent_server_is_told_and_ended(stage):
    silent = "import time\nwhile True: time.sleep(600)"

    with pytest.raises(ServerSilent) as caught:
        await handshake(stage.command(before=silent), os.environ, SOON_S)

    assert "not answered within 0.5 s" in caught.value.message
    assert not stage.is_playing()


@pytest.mark.parametrize(
    "replies",
    [
        ({"error": {"code": -32601, "message": "unknown method"}},),
        ({"result": {"protocolVersion": "2025-06-18"}}, tools("a")),
        (HELLO, {"result": {"tools": [{}]}}),
    ],
)
async def test_answers_that_are_not_mcp_are_told(stage, replies):
    with pytest.raises(NotAnMcpServer) as caught:
        await handshake(stage.command(*replies), os.environ, WITHIN_S)

    assert json.dumps("unknown method") in caught.value.message or "lack" in caught.value.message
    assert not stage.is_playing()


async def test_a_program_that_speaks_something_else_is_told_by_its_first_line(stage):
    other = "print('220 mail.example ready', flush=True)\nimport time\ntime.sleep(600)"

    with pytest.raises(NotAnMcpServer) as caught:
        await handshake(stage.command(before=other), os.environ, 3 * SOON_S)

    assert "220 mail.example ready" in caught.value.message


async def test_a_caller_that_gives_up_leaves_no_child(stage):
    silent = "import time\nwhile True: time.sleep(600)"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(handshake, stage.command(before=silent), os.environ, WITHIN_S)
        with anyio.fail_after(WITHIN_S):
            while not (stage.pids.exists() and stage.pids.read_text(encoding="utf-8").strip()):
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()

    assert not stage.is_playing()
