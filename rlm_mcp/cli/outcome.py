"""A run's end on a terminal: waited for, interrupted by Ctrl-C, printed, as an exit code."""

import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from rlm_mcp.cli.screen import show
from rlm_mcp.types import Answer, ContextInfo

if TYPE_CHECKING:
    from rlm_mcp.runs.jobs import Job

ANSWERED, FAILED, SPENT, INTERRUPTED = 0, 1, 3, 130


async def settled(job: "Job", *watching: Callable[["Job"], Coroutine[Any, Any, None]]) -> Answer:
    """The run's answer; after Ctrl-C its best so far. Each of `watching` looks on until then.

    Raises:
        RlmError: the run failed.
    """
    async with anyio.create_task_group() as tasks:
        if sys.platform != "win32":
            tasks.start_soon(_cancel_on_interrupt, job)
        for watch in watching:
            tasks.start_soon(watch, job)
        await job.ended.wait()
        tasks.cancel_scope.cancel()
    return job.answer()


async def _cancel_on_interrupt(job: "Job") -> None:
    with anyio.open_signal_receiver(signal.SIGINT) as signals:
        async for _ in signals:
            job.cancel()


def printed(answer: Answer, contexts: Sequence[ContextInfo], *, as_json: bool, quiet: bool) -> int:
    """Print the answer, and below it on standard error how it came about; gives the exit code."""
    from rlm_mcp.cli import report

    if as_json:
        show(report.as_json(answer, contexts))
    elif answer.text:
        show(answer.text)
    if not quiet:
        show("\n".join(report.closing(answer)), err=True)
    return _exit_code(answer)


def _exit_code(answer: Answer) -> int:
    match answer.stopped_by:
        case "answer":
            return ANSWERED
        case "cancelled":
            return INTERRUPTED
        case "endpoint" | "journal" | "server":
            return FAILED
        case _:
            return SPENT
