"""The keeper: a process that ends the guests when the host is gone, however it went.

A guest asks the kernel to end with its host. Code that takes a checkpoint's fork for itself, or
spoils what a copy does when it takes over, gets a process that did not ask. The keeper runs none of
that code: it waits for the host's end of a pipe to close and then ends the groups it was told of.
"""

import contextlib
import os
import subprocess
import sys

import anyio
from anyio.abc import Process

END_S = 5.0
PROGRAM = """
import os, signal
groups, rest = set(), b""
while chunk := os.read(0, 4096):
    *lines, rest = (rest + chunk).split(b"\\n")
    for line in lines:
        (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Keeper:
    """Knows the process groups that must not outlive this process."""

    def __init__(self) -> None:
        self._started: Process | None = None
        self._pipe = -1

    async def start(self) -> None:
        """Start it, unless it runs. May raise OSError."""
        if self._started is not None:
            return
        theirs, self._pipe = os.pipe()
        try:
            self._started = await anyio.open_process(
                [sys.executable, "-I", "-S", "-c", PROGRAM],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )
        finally:
            os.close(theirs)

    def keep(self, group: int) -> None:
        """End that process group when this process is gone."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """It has ended; its number may be given again."""
        self._tell(f"-{group}\n")

    async def aclose(self) -> None:
        """Let it end."""
        if self._started is not None:
            os.close(self._pipe)
            with anyio.move_on_after(END_S, shield=True):
                await self._started.wait()
            self._started = None

    def _tell(self, line: str) -> None:
        if self._started is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._pipe, line.encode())
