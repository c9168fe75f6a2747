"""Hosting one guest: start it, have its box proved, map contexts, run cells, roll it back."""

import logging
import signal
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol, Self

import anyio
from anyio.abc import TaskGroup

from rlm_mcp.errors import ReplUnavailable, SandboxUnavailable
from rlm_mcp.repl import boxes, watch
from rlm_mcp.repl.child import Child
from rlm_mcp.repl.gate import ForkGate
from rlm_mcp.repl.guest.wire import BadFrame, Message
from rlm_mcp.repl.keeper import Keeper
from rlm_mcp.repl.lifeline import Lifeline, adopt_orphans, buried, end_children, reap
from rlm_mcp.repl.messages import Call, Done, Gate, Hello, Refused, Said, frame_limit, parse
from rlm_mcp.repl.program import Program
from rlm_mcp.repl.supply import open_all, space_bytes, supply
from rlm_mcp.types import ContextInfo, ReplLimits

START_S = 30.0
UNREAD_MESSAGES = 4
REASON_CHARS = 500
# The memory of a copy is bounded by the guest's: beyond this share of its limit there is none.
COPIED_SHARE = 0.6
COPIES = (
    "Loaded texts were copied into the REPL's memory and count against its limit: this Python's str"
    " is laid out in a way we do not know."
)

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Who wants to know what a guest says and what becomes of it.

    Reasons are words that follow `the REPL's process`.
    """

    def heard(self, said: Call | Done) -> None:
        """The guest says something. Raises BadFrame if it is out of turn."""

    def exceeded(self, reason: str) -> None:
        """It uses more than it may; what runs is to be stopped."""

    def rolled_back(self, reason: str) -> None:
        """The cell's process is gone; the guest is as it was before the cell."""

    def ended(self, reason: str) -> None:
        """The guest is gone."""


class HostedGuest:
    """A guest from its start to its end, under the limits it was started with.

    Its process may change: one that is lost while it runs a cell is replaced by the copy that was
    made before that cell.
    """

    def __init__(self, box: str, child: Child, limits: ReplLimits, keeper: Keeper) -> None:
        self.box = box
        self.limits = limits
        self.enforced: tuple[str, ...] = ()
        self.python = ""
        self.notice = boxes.load(box).NOTICE
        self.checkpoints = False
        self.copy_failed = False
        self.refused: tuple[str, ...] = ()
        self.gone = anyio.Event()
        self.listener: Listener | None = None
        self._child = child
        self._group = child.pid
        self._keeper = keeper
        self._is_ending = False
        self._greeted = anyio.Event()
        self._greeting: Hello | Refused | None = None
        self._end_reason: str | None = None
        self._space_bytes = 0
        self._gate: ForkGate | None = None
        self._lifeline: Lifeline | None = None

    @classmethod
    async def start(
        cls, box: str, program: Program, limits: ReplLimits, tasks: TaskGroup, keeper: Keeper
    ) -> Self:
        """Start a guest that lives in `tasks`, and wait until it has proved its box.

        Raises:
            SandboxUnavailable: less is enforced than the box promises.
            ReplUnavailable: it does not start.
        """
        rules = boxes.load(box)
        rules.require()
        child = Child(await rules.start(program, limits), frame_limit(limits))
        guest = cls(box, child, limits, keeper)
        tasks.start_soon(guest._serve)
        guest.send({"t": "setup", "box": rules.GUEST, "memory_bytes": limits.memory_bytes})
        try:
            hello = await guest._hello()
            guest.enforced = rules.proved(hello)
        except BaseException:
            guest.end("was refused")
            raise
        guest.python, guest.checkpoints = hello.python, hello.checkpoints
        if not hello.in_place and "mapped contexts" not in rules.LACKS:
            guest.notice = " ".join(filter(None, [guest.notice, COPIES]))
        guest.refused = tuple(hello.probes)
        if guest.checkpoints:
            adopt_orphans()
            keeper.keep(guest._group)
        guest._space_bytes = hello.space_bytes
        return guest

    def fits(self, limits: ReplLimits) -> bool:
        """Take these limits on if it can: that of memory holds since its start."""
        if limits.memory_bytes != self.limits.memory_bytes:
            return False
        self.limits = limits
        self._child.expect(frame_limit(limits))
        return True

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
        await supply(self._child, contexts, opened)

    def run(self, cell: Message) -> None:
        """Send a cell. Where that is possible the guest leaves a copy of itself behind first."""
        self._release()
        if self._gate is not None:
            end_children(self._child.pid)
        heap_bytes = watch.heap_bytes(self._child.pid)
        if not self.checkpoints or heap_bytes > COPIED_SHARE * self.limits.memory_bytes:
            self.send({**cell, "lifeline": False})
            return
        try:
            self._lifeline = Lifeline()
        except OSError:  # out of descriptors, here
            self.send({**cell, "lifeline": False})
            return
        if self._gate is not None:
            self._gate.grant(self._child.pid)
        self._child.send({**cell, "lifeline": True}, (self._lifeline.theirs,))

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
        """End its process; a copy may take over. The listener then hears this reason."""
        self._blame(reason)
        self._child.kill()

    def end(self, reason: str) -> None:
        """End it for good."""
        self._is_ending = True
        self._release()
        self.kill(reason)

    def _release(self) -> None:
        if self._gate is not None:
            self._gate.revoke()
        if self._lifeline is not None:
            self._lifeline.release()
            self._lifeline = None

    def _blame(self, reason: str) -> None:
        self._end_reason = self._end_reason or reason[:REASON_CHARS]

    async def _serve(self) -> None:
        """Serve one process after the other until no copy is left to take over."""
        try:
            while await self._serve_child():
                pass
        finally:
            self._child.sweep()
            self._release()
            if self.checkpoints:
                await buried(self._group)
                self._keeper.forget(self._group)
            if self._gate is not None:
                self._gate.close()
            self._greeted.set()
            self.gone.set()
            if self.listener is not None:
                self.listener.ended(self._end_reason or "ended")

    async def _serve_child(self) -> bool:
        """Serve a process until it is gone; whether another one has taken over."""
        child = self._child
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(child.write)
                if child.runs_cells:
                    group.start_soon(self._watch, child)
                if self._gate is not None:
                    group.start_soon(self._gate.serve)
                await self._listen(child, group)
                group.cancel_scope.cancel()
        except* BadFrame as broken:
            self._blame(f"broke the protocol and was ended: {broken.exceptions[0]}")
        except* Exception:  # whatever one guest provokes must not end the others
            logger.exception("a REPL's process is ended: serving it failed")
            self._blame("was ended: serving it failed; the server's log says why")
        finally:
            with anyio.CancelScope(shield=True):
                status = await child.end()
                self._blame(f"ended by itself ({_words(status)})")
        return await self._roll_back()

    async def _roll_back(self) -> bool:
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is None:
            return False
        started = await lifeline.take_over(self._group)
        self.copy_failed = started is None
        if started is None:
            return False
        self._child = Child(started, frame_limit(self.limits))
        if self._is_ending:
            with anyio.CancelScope(shield=True):
                await self._child.end()
            return False
        if self._space_bytes:
            self._child.grow(self._space_bytes)
        reap(self._group)
        reason, self._end_reason = self._end_reason, None
        if self.listener is not None:
            self.listener.rolled_back(reason or "ended")
        return True

    async def _listen(self, child: Child, group: TaskGroup) -> None:
        async with aclosing(child.read()) as messages:
            async for message in messages:
                self._hear(parse(message, self.limits), group)

    async def _watch(self, child: Child) -> None:
        """Hold the limits that the kernel does not: root's threads; memory, where it has none."""
        while (used := watch.usage(child.pid)) is not None:
            limited = self._space_bytes > 0
            too_much = watch.excess(used, None if limited else self.limits.memory_bytes)
            if too_much is not None and too_much.fatal:
                self.kill(f"was killed: {too_much.reason}")
            elif too_much is not None and self.listener is not None:
                self.listener.exceeded(too_much.reason)
            if self._gate is not None:
                end_children(child.pid, moving_only=self._lifeline is not None)
            await anyio.sleep(watch.THREADS_EVERY_S if limited else watch.MEMORY_EVERY_S)

    def _hear(self, said: Said, group: TaskGroup) -> None:
        if isinstance(said, Call | Done):
            if not isinstance(self._greeting, Hello) or self.listener is None:
                raise BadFrame("it speaks before it is spoken to")
            self.listener.heard(said)
            if isinstance(said, Done):
                self._release()
        elif self._greeting is not None:
            raise BadFrame("a second hello")
        elif isinstance(said, Gate):
            descriptor = self._child.passed()
            if descriptor is None or self._gate is not None:
                raise BadFrame("a gate without a descriptor, or a second one")
            self._gate = ForkGate(descriptor)
            group.start_soon(self._gate.serve)
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
