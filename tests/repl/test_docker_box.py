"""The container box: its command line, and what is said where it cannot be."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from repl_driver import Driver

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import boxes
from rlm_mcp.repl.boxes import docker
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import Cell, ReplLimits

pytestmark = pytest.mark.anyio


def test_the_command_line_gives_a_container_nothing(golden):
    command = docker.command_line("docker", "rlm-name", ReplLimits())
    program = (docker.GUEST_FOLDER / "container.py").read_text(encoding="utf-8")
    assert command[-1] == program
    shown = "\n".join([*command[:-1], "PROGRAM"]) + "\n"
    golden("docker_command.txt", shown.replace(docker.IMAGE, "IMAGE"))


HOST = """
import anyio, sys
from pathlib import Path
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import Cell, ReplLimits, ReplSpec

async def main():
    async with LocalBackend(Path(sys.argv[1]), "docker") as backend:
        await backend.open(ReplSpec("h", 1, (), ReplLimits()))
        await backend.submit("h", 1, Cell("busy", sys.argv[2]))
        print("busy", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture
async def command():
    """The command that runs containers here."""
    try:
        return await docker.available_command()
    except SandboxUnavailable as refusal:
        pytest.skip(refusal.message)


async def containers(command: str) -> set[str]:
    listed = await anyio.run_process([command, "ps", "-a", "--format", "{{.Names}}"])
    return {name for name in listed.stdout.decode().split() if name.startswith("rlm-")}


@pytest.mark.parametrize("code", ["sum(range(10**12))", "while True: pass", "llm_query('x')"])
async def test_no_container_outlives_a_killed_host(cache, command, code):
    before = await containers(command)
    async with await anyio.open_process(
        [sys.executable, "-c", HOST, cache, code], stderr=subprocess.DEVNULL
    ) as host:
        with anyio.fail_after(30):
            assert (await host.stdout.receive()).startswith(b"busy")
            assert await containers(command) > before
            os.kill(host.pid, signal.SIGKILL)
            while await containers(command) > before:
                pass


async def test_no_container_outlives_its_repl(cache, command):
    before = await containers(command)
    async with LocalBackend(cache, "docker") as backend:
        await Driver(backend).open()
        await backend.submit("h", 1, Cell("busy", "sum(range(10**12))"))
        with anyio.fail_after(30):
            await backend.close("h")
            while await containers(command) > before:
                pass


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Commands that fail as the real ones do, alone on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def fail(name: str, said: str) -> None:
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n", encoding="utf-8")
        script.chmod(0o755)

    return fail


async def refusal(cache: Path) -> SandboxUnavailable:
    async with LocalBackend(cache, "docker") as backend:
        with pytest.raises(SandboxUnavailable) as caught:
            await Driver(backend).open()
    return caught.value


async def test_without_a_command_it_says_what_to_install(cache, commands):
    assert "needs docker or podman" in (await refusal(cache)).message


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("docker", "Error response from daemon: No such image: python"),
        ("podman", "Error: inspecting object: python: image not known"),
    ],
)
async def test_a_missing_image_is_not_pulled_but_its_command_told(cache, commands, command, said):
    commands(command, said)
    refused = await refusal(cache)
    assert refused.message == f"{command} does not have the image {docker.IMAGE}."
    assert refused.hint == f"Run `{command} pull {docker.IMAGE}`. {boxes.HINT}"


async def test_a_daemon_that_is_down_is_told_in_its_own_words_and_no_sandbox_is_given_up(
    cache, commands
):
    commands("docker", "Cannot connect to the Docker daemon. Is the docker daemon running?")
    refused = await refusal(cache)

    assert "Is the docker daemon running?" in refused.message
    assert refused.hint == f"Start docker, then try again. {boxes.HINT}"
    assert "RLM_SANDBOX=auto" in refused.hint
    assert "plain" not in refused.hint


@pytest.mark.parametrize(
    ("asked", "hint"), [("linux", boxes.HINT), ("auto", boxes.PLAIN_HINT)], ids=["named", "auto"]
)
def test_only_where_every_sandbox_was_tried_the_one_without_any_is_named(asked, hint):
    refusals = [SandboxUnavailable("It cannot lock itself.", boxes.HINT)]

    assert boxes.none_works(asked, refusals).hint == hint
