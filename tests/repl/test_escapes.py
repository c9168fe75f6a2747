"""Every attempt to get out of the Linux box is stopped, whoever runs the host."""

import json
import os
import platform
import sys
from pathlib import Path

import anyio
import pytest
from escape_host import IMPOSSIBLE
from escapes import ATTEMPTS, DEADLY, NEXT, UNSURE

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import boxes

pytestmark = pytest.mark.anyio

NOBODY = "65534"
HOST = Path(__file__).with_name("escape_host.py")
NAMES = {f"{kind}: {name}" for kind, attempts in ATTEMPTS.items() for name in attempts}


@pytest.fixture
def attempts():
    """Gives a function that has all attempts made: what got through."""
    if platform.machine() != "x86_64":
        pytest.skip("the raw system call numbers are those of x86-64")
    try:
        boxes.load("linux").require()
    except SandboxUnavailable as refusal:
        pytest.skip(refusal.message)

    async def make(*arguments: str) -> set[str]:
        command = [sys.executable, str(HOST), *arguments]
        with anyio.fail_after(240):
            ended = await anyio.run_process(command, check=False)
        if ended.returncode == IMPOSSIBLE:
            pytest.skip(f"nobody cannot run a host here: {ended.stderr.decode()}")
        assert ended.returncode == 0, ended.stderr.decode()
        through = json.loads(ended.stdout)
        return {f"{kind}: {name}" for kind, names in through.items() for name in names}

    return make


@pytest.fixture
def score(capsys):
    """Prints how many of the attempts were stopped, past pytest's capture, and gives that text."""

    def tell(who: str, through: set[str]) -> str:
        text = f"{len(NAMES - through)}/{len(NAMES)} stopped"
        with capsys.disabled():
            print(f"\n{text} ({who})")
        return text

    return tell


def test_there_are_attempts_of_every_class_and_each_is_code():
    assert len(NAMES) >= 60
    assert all(len(attempts) >= 3 for attempts in ATTEMPTS.values())
    assert {*DEADLY, *UNSURE} <= NAMES
    for attempts in ATTEMPTS.values():
        for name, code in attempts.items():
            for cell in code.split(NEXT):
                compile(cell, name, "exec")


async def test_every_attempt_is_stopped(attempts, score):
    through = await attempts("linux")
    assert (through, score(f"user {os.geteuid()}", through)) == (
        set(),
        f"{len(NAMES)}/{len(NAMES)} stopped",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_every_attempt_of_an_ordinary_user_is_stopped(attempts, score):
    through = await attempts("linux", NOBODY)
    assert (through, score(f"user {NOBODY}", through)) == (
        set(),
        f"{len(NAMES)}/{len(NAMES)} stopped",
    )


def is_filtered() -> bool:
    status = Path("/proc/self/status")
    return status.exists() and "\nSeccomp:\t0\n" not in status.read_text(encoding="utf-8")


@pytest.mark.skipif(is_filtered(), reason="what runs these tests refuses system calls itself")
async def test_without_a_box_the_attempts_succeed(attempts):
    through = await attempts("plain", *([NOBODY] if os.geteuid() == 0 else []))
    assert NAMES - through - set(UNSURE) == set()
