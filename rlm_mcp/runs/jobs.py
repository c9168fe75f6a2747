"""Runs at work in this process, waited for and cancelled. They outlive the call that asked."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from rlm_mcp.errors import RlmError, RunBroken
from rlm_mcp.runs.standing import may_go_on
from rlm_mcp.runs.status import RunStatus
from rlm_mcp.types import Answer, StoppedBy

KEEP_ENDED = 100

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """One run of this process. `outcome` is None while it works; `stop` ends it, and says why."""

    run_id: str
    session: str
    status: RunStatus
    stop: Callable[[StoppedBy], None]
    outcome: Answer | RlmError | None = None
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def may_go_on(self) -> bool:
        """Whether it was stopped by what it did not do itself: it can be resumed."""
        return may_go_on(self.outcome)

    def cancel(self) -> None:
        """End it because whoever asked wants no answer any more."""
        self.stop("cancelled")

    def answer(self) -> Answer:
        """What it has come to, once it has ended.

        Raises:
            RlmError: it failed.
        """
        if isinstance(self.outcome, RlmError):
            raise self.outcome
        assert self.outcome is not None
        return self.outcome

    async def wait(self, seconds: float) -> Answer | RlmError | None:
        """The outcome, None if there is none within `seconds`."""
        with anyio.move_on_after(seconds):
            await self.ended.wait()
        return self.outcome


@dataclass(slots=True)
class Jobs:
    """All runs of this process, the newest ended ones included. `tasks` owns their work.

    `resuming` is held by who looks whether a run may go on, until it does.
    """

    tasks: TaskGroup
    resuming: anyio.Lock = field(default_factory=anyio.Lock)
    _jobs: dict[str, Job] = field(default_factory=dict)

    def start(self, job: Job, work: Callable[[], Awaitable[Answer]]) -> None:
        """Begin a run."""
        self._jobs[job.run_id] = job
        self.tasks.start_soon(self._work, job, work)

    def find(self, run_id: str) -> Job | None:
        """The run of that id, if this process has it."""
        return self._jobs.get(run_id)

    def working(self, session: str | None = None) -> list[Job]:
        """The runs at work, of that session or of all."""
        working = [job for job in self._jobs.values() if job.outcome is None]
        return [job for job in working if session in {None, job.session}]

    async def stop(self, by: StoppedBy, session: str | None = None) -> None:
        """End the runs at work, and wait until they have written down the best they had."""
        working = self.working(session)
        for job in working:
            job.stop(by)
        for job in working:
            await job.ended.wait()

    async def _work(self, job: Job, work: Callable[[], Awaitable[Answer]]) -> None:
        try:
            job.outcome = await work()
        except RlmError as error:
            job.outcome = error
        except Exception as error:
            # A run outlives the tool call that asked, so the call's outer edge is here: one broken
            # run must not end the others.
            log.exception("run %s broke", job.run_id)
            job.outcome = RunBroken(
                f"Run {job.run_id} broke: {type(error).__name__}: {error}.",
                "This is a fault of rlm-mcp. get_trace shows how far it came; ask again.",
            )
        finally:
            job.ended.set()
            self._forget()

    def _forget(self) -> None:
        """Drop the oldest ended runs; the journal still has them."""
        ended = [job.run_id for job in self._jobs.values() if job.outcome is not None]
        for run_id in ended[:-KEEP_ENDED]:
            del self._jobs[run_id]
