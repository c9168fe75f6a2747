"""Which process has a session, and so its runs: the one that holds its lock, while it lives.

A process number would not do: after a restart another process has it, and in containers each
server may have the same.
"""

import sqlite3
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from rlm_mcp.errors import RunElsewhere
from rlm_mcp.runs.alone import is_locked, locked
from rlm_mcp.runs.writer import guarded

FOLDER = "sessions"
PATIENCE_S = 1.0  # longer than a sweep, here or elsewhere, has a session that is free


class Holds:
    """The sessions that this process has; a lock for each, on a file of that name in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, sqlite3.Connection] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let others have all sessions."""
        with anyio.CancelScope(shield=True):
            for session in list(self._held):
                await self.drop(session)

    async def take(self, session: str) -> None:
        """Have the session until `drop`, or the end of this process.

        Raises:
            RunElsewhere: another process has it.
            JournalFailed: the data folder cannot be written.
        """
        hold = await guarded(partial(_taken, self._folder / session))
        if hold is None:
            raise RunElsewhere(
                f"Session {session} is in the hands of another server process.",
                "Go on there, or end that process first.",
            )
        self._held[session] = hold

    async def drop(self, session: str) -> None:
        """Let others have the session. Nothing happens if it is not held here."""
        hold = self._held.pop(session, None)
        if hold is not None:
            await anyio.to_thread.run_sync(hold.close)

    async def is_elsewhere(self, session: str) -> bool:
        """Whether another process that still lives has the session.

        One that only sweeps has it for a moment, and is waited for.

        Raises:
            JournalFailed: the data folder cannot be read.
        """
        return session not in self._held and await guarded(
            partial(is_locked, self._folder / session, PATIENCE_S)
        )

    async def sweep(self) -> None:
        """Remove the files of sessions that nobody has."""
        await anyio.to_thread.run_sync(_sweep, self._folder)


def _taken(path: Path) -> sqlite3.Connection | None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while (hold := locked(path, timeout_s=PATIENCE_S)) is not None and not path.exists():
        hold.close()  # it was swept away before it was locked
    return hold


def _sweep(folder: Path) -> None:
    for path in list(folder.glob("*")):
        with suppress(sqlite3.Error, OSError):
            hold = locked(path)
            if hold is not None:
                try:
                    path.unlink()
                finally:
                    hold.close()
