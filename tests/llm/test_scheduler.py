"""Whose turn it is at an endpoint: fair between sessions and runs, and no slot is ever lost."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm_mcp.errors import EndpointBusy, EndpointFailed, EndpointUnreachable, ReplyEmpty
from rlm_mcp.llm.scheduler import Asker, Gate, slot

pytestmark = pytest.mark.anyio

PAUSE_S = 3600.0


async def settle() -> None:
    """Let every task go on as far as it can: none here waits for anything but another."""
    for _ in range(8):
        await anyio.lowlevel.checkpoint()


@dataclass(eq=False)
class Caller:
    """Holds a slot from its turn until it is told to end, with an error or without."""

    gates: tuple[Gate, ...]
    asker: Asker = field(default_factory=Asker)
    gate: Gate | None = None
    error: Exception | None = None
    told: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    has_ended: bool = False

    async def hold(self) -> None:
        with self.scope, suppress(EndpointBusy, EndpointFailed, EndpointUnreachable, ReplyEmpty):
            async with slot(self.gates, self.asker) as self.gate:
                await self.told.wait()
                if self.error is not None:
                    raise self.error
        self.has_ended = True

    def end(self, error: Exception | None = None) -> None:
        self.error = error
        self.told.set()

    @property
    def has_slot(self) -> bool:
        return self.gate is not None and not self.has_ended

    @property
    def waits(self) -> bool:
        return self.gate is None and not self.has_ended


async def order_of_turns(slots, askers, later=()):
    """Who has a slot when, of calls that end one after the other; `later` come after the first."""
    gate, turns, callers = Gate(slots), [], []

    async def call(asker):
        async with slot([gate], asker):
            turns.append(asker)
            if len(turns) == slots:
                callers.extend(later)
                for each in later:
                    tasks.start_soon(call, each)
            await settle()

    async with anyio.create_task_group() as tasks:
        for asker in askers:
            tasks.start_soon(call, asker)
    return turns


async def test_one_call_of_another_run_waits_for_no_batch_of_a_thousand():
    batch, single = Asker("s", "batch"), Asker("s", "single")

    turns = await order_of_turns(4, [batch] * 1000, [single])

    assert turns.index(single) <= 4 + 4  # of those under way each ends, then it is its turn
    assert len(turns) == 1001


async def test_a_session_with_many_runs_has_the_same_share_as_one_with_one():
    many = [Asker("many", f"run {number}") for number in range(5)]
    one = Asker("one", "run")

    turns = await order_of_turns(1, [each for each in many for _ in range(10)] + [one] * 20)

    while_both_wait = turns[1 : 1 + 40]
    sessions = [asker.session for asker in while_both_wait]
    assert all(len(list(same)) == 1 for _, same in groupby(sessions))
    shares = Counter(asker.run for asker in while_both_wait if asker.session == "many")
    assert max(shares.values()) - min(shares.values()) <= 1


async def test_in_a_run_who_came_first_is_first():
    gate, turns = Gate(1), []

    async def call(number):
        async with slot([gate], Asker("s", "r")):
            turns.append(number)
            await settle()

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(call, number)
    assert turns == list(range(10))


async def test_an_overload_halves_once_for_all_in_flight_and_successes_win_back():
    gate = Gate(8)
    async with anyio.create_task_group() as tasks:
        callers = [Caller((gate,)) for _ in range(8)]
        for caller in callers:
            tasks.start_soon(caller.hold)
        await settle()
        for caller in callers:
            caller.end(EndpointBusy("full", "wait"))
    assert gate.free == 4
    for _ in range(4 + 5 + 6 + 7):
        assert gate.free < 8
        async with slot([gate], Asker()):
            pass
    assert gate.free == 8


async def test_of_several_the_one_with_most_free_slots_is_taken_then_whichever_is_free_first():
    small, large = Gate(1), Gate(3)
    callers = [Caller((small, large)) for _ in range(5)]
    async with anyio.create_task_group() as tasks:
        for caller in callers:
            tasks.start_soon(caller.hold)
            await settle()
        assert [caller.gate for caller in callers] == [large, large, small, large, None]
        callers[2].end()
        await settle()
        assert callers[4].gate is small
        for caller in callers:
            caller.end()
    assert (small.free, large.free) == (1, 3)


async def test_who_waits_at_a_gate_that_is_put_aside_goes_to_the_others():
    gone, there = Gate(1), Gate(1)
    holders = [Caller((gone,)), Caller((there,))]
    waiting = [Caller((gone, there)) for _ in range(2)]
    only = Caller((gone,))
    async with anyio.create_task_group() as tasks:
        for caller in (*holders, *waiting, only):
            tasks.start_soon(caller.hold)
            await settle()
        gone.put_aside(PAUSE_S)
        holders[0].end()
        await settle()
        assert [caller.gate for caller in waiting] == [None, None]
        assert only.gate is gone
        for caller in (holders[1], *waiting, only):
            caller.end()
            await settle()
    assert [caller.gate for caller in waiting] == [there, there]


async def test_a_slot_that_is_given_in_the_moment_of_a_cancellation_is_given_on():
    gate = Gate(1)
    holder, cancelled, next_one = (Caller((gate,)) for _ in range(3))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(holder.hold)
        await settle()
        # A scope of anyio waits for the task to go on; a library caller's own task does not.
        cancelled_task = asyncio.ensure_future(cancelled.hold())
        await settle()
        tasks.start_soon(next_one.hold)
        await settle()
        gate.resize(2)
        cancelled_task.cancel()
        await settle()
        assert cancelled_task.cancelled()
        assert (cancelled.gate, next_one.gate, gate.free) == (None, gate, 0)
        holder.end()
        next_one.end()
    assert gate.free == 2


async def test_who_was_sent_from_one_gate_to_another_and_back_is_not_forgotten():
    first, second = Gate(1), Gate(1)
    holders, waiting = [Caller((first,)), Caller((second,))], Caller((first, second))
    async with anyio.create_task_group() as tasks:
        for caller in (*holders, waiting):
            tasks.start_soon(caller.hold)
            await settle()
        first.put_aside(0.0)
        second.put_aside(PAUSE_S)
        for caller in (*holders, waiting):
            caller.end()
        await settle()
        assert waiting.gate is first


ERRORS = [
    None,
    EndpointBusy("full", "wait"),
    EndpointFailed("broke", "look"),
    EndpointUnreachable("gone", "start it"),
    ReplyEmpty("nothing", "ask"),
]
ACTIONS = st.one_of(
    st.tuples(
        st.just("ask"),
        st.builds(Asker, st.sampled_from("ab"), st.sampled_from("12")),
        st.sampled_from([(0,), (1,), (0, 1), (0, 1, 2)]),
    ),
    st.tuples(st.just("end"), st.integers(0, 30), st.sampled_from(ERRORS)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("resize"), st.integers(0, 2), st.integers(1, 4)),
    st.tuples(st.just("aside"), st.integers(0, 2), st.sampled_from([0.0, PAUSE_S])),
)


def act(action, gates, callers, tasks):
    match action:
        case "ask", asker, wanted:
            callers.append(Caller(tuple(gates[n] for n in wanted), asker))
            tasks.start_soon(callers[-1].hold)
        case "end", number, error:
            holding = [caller for caller in callers if caller.has_slot]
            if holding:
                holding[number % len(holding)].end(error)
        case "cancel", number:
            waiting = [caller for caller in callers if caller.waits]
            alive = [caller for caller in callers if not caller.has_ended]
            for among in filter(None, [waiting if number % 4 else alive]):
                among[number % len(among)].scope.cancel()
        case "resize", number, slots:
            gates[number].resize(slots)
        case "aside", number, seconds:
            gates[number].put_aside(seconds)


def check(callers, put_aside):
    """Nobody waits where there is room; who was sent away from a gate waits at a full one."""
    for caller in callers:
        if caller.waits:
            full = [gate.free <= 0 for gate in caller.gates]
            assert any(full) if put_aside else all(full)


async def play(actions):
    gates, callers = [Gate(2), Gate(1), Gate(3)], []
    async with anyio.create_task_group() as tasks:
        for action, settles in actions:
            act(action, gates, callers, tasks)
            if settles:  # else the next strikes in the same moment
                await settle()
                check(callers, any(kind == "aside" for (kind, *_), _ in actions))
        for _ in range(len(callers) + 1):
            await settle()
            for caller in callers:
                caller.end()
        assert all(caller.has_ended for caller in callers)
    for gate in gates:
        gate.resize(gate.slots)
        assert gate.free == gate.slots


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ACTIONS, st.booleans()), min_size=10, max_size=40))
def test_whatever_is_cancelled_fails_or_changes_no_slot_is_lost_and_nobody_forgotten(actions):
    anyio.run(play, actions)
