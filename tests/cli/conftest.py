"""The real command as a child process, and a scripted model for it over HTTP."""

import os
import sys
from contextlib import suppress

import anyio
import pytest

from rlm_mcp.llm.scripted import serve

COMMAND = [sys.executable, "-m", "rlm_mcp"]


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """One data folder for all commands: the guest's program is built once."""
    return tmp_path_factory.mktemp("home")


class Desk:
    """Starts commands. `script` is what the model behind them plays; it may be replaced."""

    def __init__(self, url, home):
        self.environment = os.environ | {"RLM_API_URL": url, "RLM_HOME": str(home)}
        self.environment.pop("COLUMNS", None)  # readline sets it where pytest imports it
        self.script = None
        self.started = []

    async def run(self, *arguments, stdin=b"", **variables):
        """The command's exit code, standard output and standard error."""
        with anyio.fail_after(60):
            ran = await anyio.run_process(
                [*COMMAND, *arguments],
                input=stdin,
                env=self.environment | variables,
                check=False,
            )
        return ran.returncode, ran.stdout.decode(), ran.stderr.decode()

    async def start(self, *arguments, **streams):
        """The command, at work; it is ended with the test."""
        command = [*COMMAND, *arguments]
        self.started.append(await anyio.open_process(command, env=self.environment, **streams))
        return self.started[-1]

    async def end(self):
        for process in self.started:
            with suppress(ProcessLookupError):
                process.kill()
            await process.aclose()


@pytest.fixture
async def desk(home):
    async def play(messages):
        return await desk.script(messages)

    async with serve(play) as server:
        desk = Desk(server.url, home)
        try:
            yield desk
        finally:
            with anyio.CancelScope(shield=True):
                await desk.end()
