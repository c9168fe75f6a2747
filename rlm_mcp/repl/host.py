"""Hosting one guest: start it, have its box proved, map contexts, pass on what it says."""

import logging
import signal
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol, Self

import anyio
from anyio.abc import TaskGroup

from rlm_mcp.errors import ReplUnavailable, SandboxUnavailable
from rlm_mcp.repl import boxes
from rlm_mcp.repl.child import Child
from rlm_mcp.repl.guest.wire import BadFrame, Message
from rlm_mcp.repl.messages import Call, Done, Hello, Refused, frame_limit, parse
from rlm_mcp.repl.program import Program
from rlm_mcp.repl.supply import open_all, space_bytes, supply
from rlm_mcp.types import ContextInfo, ReplLimits

START_S = 30.0
UNREAD_MESSAGES = 4
THREADS = 512
COUNT_EVERY_S = 1.0
REASON_CHARS = 500

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Who wants to know what a guest says and that it has ended."""

    def heard(self, said: Call | Done) -> None:
        """The guest says something. Raises BadFrame if it is out of turn."""

    def ended(self, guest: "HostedGuest", reason: str) -> None:
        """The guest is gone; why, in words that follow `the REPL's process`."""


class HostedGuest:
    """A guest from its start to its end, under the limits it was started with."""

    def __init__(self, box: str, child: Child, limits: ReplLimits, listener: Listener) -> None:
        self.box = box
        self.limits = limits
        self.enforced: tuple[str, ...] = ()
        self.python = ""
        self.gone = anyio.Event()
        self._child = child
        self._listener = listener
        self._greeted = anyio.Event()
        self._greeting: Hello | Refused | None = None
        self._end_reason: str | None = None
        self._space_bytes = 0

    @classmethod
    async def start(
        cls, box: str, program: Program, limits: ReplLimits, listener: Listener, tasks: TaskGroup
    ) -> Self:
        """Start a guest that lives in `tasks`, and wait until it has proved its box.

        Raises:
            SandboxUnavailable: less is enforced than the box promises.
            ReplUnavailable: it does not start.
        """
        rules = boxes.load(box)
        rules.require()
        child = Child(await rules.start(program), frame_limit(limits))
        guest = cls(box, child, limits, listener)
        tasks.start_soon(guest._serve)
        guest.send({"t": "setup", "box": box, "memory_bytes": limits.memory_bytes})
        try:
            hello = await guest._hello()
            guest.enforced = rules.proved(hello)
        except BaseException:
            guest.kill("was refused")
            raise
        guest.python = hello.python
        guest._space_bytes = hello.space_bytes
        return guest

    async def map(self, contexts: Sequence[ContextInfo]) -> None:
        """Give it these contexts in place of those it had.

        Raises:
            ReplUnavailable: a snapshot is not on the disk as it was made.
        """
        opened = await open_all(contexts)
        if self._space_bytes:
            # What was mapped before stays mapped: variables may still hold it.
            self._space_bytes += space_bytes(opened)
            self._child.grow(self._space_bytes)
        supply(self._child, contexts, opened)

    def send(self, message: Message) -> None:
        """Put a frame behind those to be written."""
        if self._child.unread_bytes > UNREAD_MESSAGES * self.limits.message_bytes:
            self.kill("was killed: it does not read its answers")
        else:
            self._child.send(message)

    def interrupt(self) -> None:
        """Have user code see a KeyboardInterrupt."""
        self._child.interrupt()

    def kill(self, reason: str) -> None:
        """End it; the listener then hears this reason."""
        self._blame(reason)
        self._child.kill()

    def _blame(self, reason: str) -> None:
        self._end_reason = self._end_reason or reason[:REASON_CHARS]

    async def _serve(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._child.write)
                group.start_soon(self._count_threads)
                await self._listen()
                group.cancel_scope.cancel()
        except Exception:  # whatever one guest provokes must not end the others
            logger.exception("a REPL's process is ended: serving it failed")
            self._blame("was ended: serving it failed; the server's log says why")
        finally:
            with anyio.CancelScope(shield=True):
                status = await self._child.end()
            self._greeted.set()
            self.gone.set()
            self._listener.ended(self, self._end_reason or f"ended by itself ({_words(status)})")

    async def _listen(self) -> None:
        try:
            async with aclosing(self._child.read()) as messages:
                async for message in messages:
                    self._hear(parse(message, self.limits))
        except BadFrame as error:
            self._blame(f"broke the protocol and was ended: {error}")

    async def _count_threads(self) -> None:
        """No limit of the kernel holds for root's threads."""
        while (count := self._child.threads()) is not None:
            if count > THREADS:
                self.kill(f"was killed: it had {count:,} threads, and {THREADS} are allowed")
            await anyio.sleep(COUNT_EVERY_S)

    def _hear(self, said: Hello | Refused | Call | Done) -> None:
        if isinstance(said, Call | Done):
            if not isinstance(self._greeting, Hello):
                raise BadFrame("it speaks before its hello")
            self._listener.heard(said)
        elif self._greeting is not None:
            raise BadFrame("a second hello")
        else:
            self._greeting = said
            self._greeted.set()

    async def _hello(self) -> Hello:
        with anyio.move_on_after(START_S):
            await self._greeted.wait()
        if isinstance(self._greeting, Hello):
            return self._greeting
        if isinstance(self._greeting, Refused):
            raise SandboxUnavailable(
                f"The {self.box} box cannot lock itself: {self._greeting.error}.", boxes.HINT
            )
        raise ReplUnavailable(
            f"The REPL's process {self._end_reason or 'did not start, or not in time'}.",
            "Check that this Python works and that memory is left, then try again.",
        )


def _words(status: int | None) -> str:
    if status is None:
        return "it is not known how"
    if status < 0:
        return signal.strsignal(-status) or f"signal {-status}"
    return f"exit status {status}"
