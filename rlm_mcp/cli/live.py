"""One line on standard error that says what is happening now, on a terminal only."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

from rlm_mcp.cli.screen import harmless
from rlm_mcp.contexts.ingest import LoadProgress
from rlm_mcp.runs.jobs import Job

if TYPE_CHECKING:
    from rich.status import Status

REFRESH_S = 0.25


class LiveLine:
    """The line, or nothing where nobody would see it. Make it with `live_line`."""

    def __init__(self, status: "Status | None") -> None:
        self._status = status

    def say(self, text: str) -> None:
        """Show `text` in place of what was there. May be called from any thread."""
        if self._status is not None:
            from rich.text import Text

            self._status.update(Text(harmless(text), no_wrap=True, overflow="ellipsis"))

    def loading(self, progress: LoadProgress) -> None:
        """Show how far a load is."""
        files = f"{progress.files_read:,} of {progress.files_total:,} files"
        self.say(f"loading {files} · {progress.bytes_read / 1e6:.0f} MB")

    async def follow(self, job: Job) -> None:
        """Show what a run is doing until it has ended."""
        while not job.ended.is_set():
            self.say(job.status.line())
            with anyio.move_on_after(REFRESH_S):
                await job.ended.wait()


@contextmanager
def live_line(*, quiet: bool) -> Iterator[LiveLine]:
    """The line while the block runs; it is gone afterwards."""
    if quiet or not sys.stderr.isatty():
        yield LiveLine(None)
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield LiveLine(status)
