"""Whose turn it is: the slots of every endpoint, shared out fairly between sessions and runs."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf

import anyio

from rlm_mcp.errors import EndpointBusy, EndpointError, PromptTooLong, ReplyEmpty
from rlm_mcp.llm.refusals import WindowShared

# One or two failures in a row may be about a closed line or a prompt; more are about the server.
_LOST_AFTER = 3


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf a model is asked: a run of a session; without either, the program's own."""

    session: str = ""
    run: str = ""


@dataclass(eq=False, slots=True)
class _Turn:
    """A wait for a slot at any one of `gates`; `gate` is the one that gave it."""

    asker: Asker
    gates: tuple["Gate", ...]
    gate: "Gate | None" = None
    came: anyio.Event = field(default_factory=anyio.Event)


class _Line:
    """Those who wait. Sessions take turns, in a session its runs, in a run who came first."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, OrderedDict[str, OrderedDict[_Turn, None]]] = OrderedDict()

    def __iter__(self) -> Iterator[_Turn]:
        for runs in self._sessions.values():
            for turns in runs.values():
                yield from turns

    def add(self, turn: _Turn) -> None:
        """Put it behind the others of its run."""
        runs = self._sessions.setdefault(turn.asker.session, OrderedDict())
        runs.setdefault(turn.asker.run, OrderedDict())[turn] = None

    def remove(self, turn: _Turn) -> None:
        """Take it out, if it is in."""
        runs = self._sessions.get(turn.asker.session, OrderedDict())
        turns = runs.get(turn.asker.run, OrderedDict())
        turns.pop(turn, None)
        if not turns:
            runs.pop(turn.asker.run, None)
        if not runs:
            self._sessions.pop(turn.asker.session, None)

    def first(self) -> _Turn | None:
        """Whose turn it is; its session and its run go to the end of theirs. None if none waits."""
        if not self._sessions:
            return None
        session, runs = next(iter(self._sessions.items()))
        run, turns = next(iter(runs.items()))
        runs.move_to_end(run)
        self._sessions.move_to_end(session)
        return next(iter(turns))


class Gate:
    """How many requests an endpoint is given at a time: `slots`, less while it cannot take them.

    The limit is halved when the endpoint says it is overloaded, once for all requests that were in
    flight together; it is one more again after as many successes as it then is. Whoever waits at
    a gate that has a free slot gets it: there is a free slot or a line, never both.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._limit = slots
        self._taken = 0
        self._line = _Line()
        self._halvings = 0
        self._successes = 0
        self._failures = 0
        self._closed_until = -inf

    @property
    def free(self) -> int:
        """Slots that nobody has; negative while more are out than there now are."""
        return self._limit - self._taken

    @property
    def is_open(self) -> bool:
        """Whether it is not put aside now."""
        return anyio.current_time() >= self._closed_until

    @property
    def is_lost(self) -> bool:
        """Whether its last requests failed, three or more in a row."""
        return self._failures >= _LOST_AFTER

    def resize(self, slots: int) -> None:
        """Set the slots the endpoint has, as found out anew."""
        self.slots = slots
        self._set(slots)

    def put_aside(self, seconds: float) -> None:
        """Close it to those who may go elsewhere; a lost one takes one request at first then."""
        self._closed_until = anyio.current_time() + seconds
        if self.is_lost:
            self._set(1)
        for turn in list(self._line):
            elsewhere = [gate for gate in turn.gates if gate is not self and gate.is_open]
            if elsewhere:
                self._line.remove(turn)
            for gate in elsewhere:
                gate.wait(turn)

    def reopen(self) -> None:
        """Take it that the endpoint is there again; how much it can take it must show anew."""
        self._closed_until = -inf
        self._failures = 0

    def wait(self, turn: _Turn) -> None:
        """Take a place in the line, or a slot if there is one."""
        if turn.gate is None:
            self._line.add(turn)
            self._serve()

    def leave(self, turn: _Turn) -> None:
        """Give up a place in the line."""
        self._line.remove(turn)

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Use a slot that was given, and give it back; learn from how the request ends.

        Raises:
            PromptTooLong: the endpoint's shared context overflowed with this request alone in it.
        """
        before, alone = self._halvings, self._limit == 1
        try:
            yield
        except EndpointBusy as error:
            if alone and isinstance(error, WindowShared):
                raise PromptTooLong(
                    f"The prompt does not fit the model's window at {error.url}.",
                    "Send less text at a time, or start the server with a larger context.",
                    url=error.url,
                ) from error
            if before == self._halvings:
                self._halvings += 1
                self._set(self._limit // 2)
            raise
        except (PromptTooLong, ReplyEmpty):
            self._failures = 0
            raise
        except EndpointError:
            self._failures += 1
            raise
        else:
            self._succeed()
        finally:
            self.give_back()

    def take(self) -> None:
        """Have one slot less to give."""
        self._taken += 1

    def give_back(self) -> None:
        """Have one slot more to give; the next in line gets it."""
        self._taken -= 1
        self._serve()

    def _succeed(self) -> None:
        self._failures = 0
        self._successes += 1
        if self._successes >= self._limit < self.slots:
            self._set(self._limit + 1)

    def _set(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._successes = 0
        self._serve()

    def _serve(self) -> None:
        while self.free > 0 and (turn := self._line.first()) is not None:
            for gate in turn.gates:
                gate.leave(turn)
            self.take()
            turn.gate = self
            turn.came.set()


@asynccontextmanager
async def slot(gates: Sequence[Gate], asker: Asker) -> AsyncIterator[Gate]:
    """Hold one slot of one of these gates for one attempt: of the one with the most free now.

    Of those with equally many it is the first. Where there is none, the next one that comes free
    anywhere is given in turn. A wait that is cancelled loses nothing of it.

    Raises:
        PromptTooLong: the endpoint's shared context overflowed with this request alone in it.
    """
    gate = max(gates, key=_free)
    if gate.free > 0:
        gate.take()
    else:
        gate = await _wait(_Turn(asker, tuple(gates)))
    async with gate.attempt():
        yield gate


async def _wait(turn: _Turn) -> Gate:
    for gate in turn.gates:
        gate.wait(turn)
    try:
        await turn.came.wait()
    except BaseException:
        for gate in turn.gates:
            gate.leave(turn)
        if turn.gate is not None:
            turn.gate.give_back()
        raise
    assert turn.gate is not None
    return turn.gate


def _free(gate: Gate) -> int:
    return gate.free
