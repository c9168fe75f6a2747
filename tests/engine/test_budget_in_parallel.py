"""Tokens and money hold however many calls are asked at a time: one call too many at the most."""

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm_mcp.engine.calls import Calls, CallSite
from rlm_mcp.engine.ledger import Admission, Ledger
from rlm_mcp.llm.prices import Price
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply, count_tokens
from rlm_mcp.types import Budget, Message, Usage

pytestmark = pytest.mark.anyio

PRICE = Price(1_000, 10_000)  # a token in is 0.001, one out 0.01
REPLY_TOKENS = 40
children = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, REPLY_TOKENS), st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


class Deaf:
    def emit(self, event):
        pass


class Children:
    """Callers in parallel, each with its prompt, its reply, and how late that comes."""

    def __init__(self, sizes, budget):
        self.sizes = sizes
        self.model = ScriptedModel(self.reply, slots=100, price=PRICE)
        self.calls = Calls(Ledger(budget), Deaf())
        self.refused = []
        self.in_flight = self.most_in_flight = 0

    async def reply(self, messages):
        _, tokens, late = self.sizes[int(messages[-1].content.split()[0])]
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        for _ in range(late):
            await anyio.lowlevel.checkpoint()
        self.in_flight -= 1
        return ScriptedReply("ab, " * tokens)

    def prompt(self, number):
        return f"{number} " + "ab " * self.sizes[number][0]

    async def ask(self, number):
        messages = [Message("user", self.prompt(number))]
        node = str(number % 3)
        admission = await self.calls.admit(node, "sub", self.model, messages, REPLY_TOKENS)
        if isinstance(admission, Admission):
            site = CallSite(f"s{number}", 1, admission)
            await self.calls.ask(self.model, messages, site, REPLY_TOKENS)
        else:
            self.refused.append(admission)

    async def play(self):
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for number in range(len(self.sizes)):
                    tasks.start_soon(self.ask, number)

    def tokens(self, number):
        return count_tokens(self.prompt(number)), self.sizes[number][1]

    def largest(self):
        return max(sum(self.tokens(number)) for number in range(len(self.sizes)))

    def dearest(self):
        return max(PRICE.cost(*self.tokens(number), None) for number in range(len(self.sizes)))


async def played(sizes, budget):
    asked = Children(sizes, budget)
    await asked.play()
    return asked


@settings(max_examples=60, deadline=None)
@given(children, st.integers(1, 4_000))
def test_children_in_parallel_overspend_tokens_by_no_more_than_one_call(sizes, limit):
    asked = anyio.run(played, sizes, Budget(calls=None, tokens=limit))

    spent = asked.calls.ledger.spent.tokens
    assert spent < limit + asked.largest()
    assert bool(asked.refused) == (spent >= limit and asked.model.ledger.calls < len(sizes))
    assert set(asked.refused) <= {"tokens"}


@settings(max_examples=60, deadline=None)
@given(children, st.floats(0.001, 5.0))
def test_children_in_parallel_overspend_money_by_no_more_than_one_call(sizes, limit):
    asked = anyio.run(played, sizes, Budget(calls=None, cost=limit))

    spent = asked.calls.ledger.spent.cost
    assert spent < limit + asked.dearest()
    assert bool(asked.refused) == (spent >= limit and asked.model.ledger.calls < len(sizes))
    assert set(asked.refused) <= {"cost"}


@pytest.mark.parametrize("limits", [{}, {"cost": 1_000.0}, {"tokens": 1_000_000}])
async def test_far_from_a_limit_no_child_waits_for_another(limits):
    asked = await played([(10, 5, 3)] * 20, Budget(calls=None, **limits))

    assert asked.most_in_flight == 20
    assert not asked.refused


async def test_a_limit_smaller_than_one_call_may_use_still_admits_one_at_a_time():
    asked = await played([(10, 1, 3)] * 20, Budget(calls=None, cost=0.2))

    assert asked.most_in_flight == 1
    assert asked.model.ledger.calls > 1
    assert asked.refused


async def test_who_waits_for_room_leaves_when_the_run_is_stopped_and_the_room_stays_free():
    ledger = Ledger(Budget(tokens=100))
    first = await ledger.admit("", "sub")
    with anyio.move_on_after(0) as scope:
        await ledger.admit("", "sub", Usage(output_tokens=101))
    ledger.settle(first, "m", ledger.spent)

    assert scope.cancelled_caught
    with anyio.fail_after(5):
        assert isinstance(await ledger.admit("", "sub"), Admission)


async def test_a_batch_of_code_costs_no_more_than_the_run_may_cost_and_one_call(bench):
    sub = ScriptedModel(lambda _: "yes " * 50, name="sub", slots=16, price=PRICE)
    program = "v = llm_query_batched([f'{i} ' + 'ab ' * 700 for i in range(64)])"
    root = [f"```repl\n{program}\n```", "FINAL(done)"]

    answer = await bench.ask(ScriptedModel(root, price=Price(0, 0)), sub=sub, cost=10.0)

    each = answer.sub.cost / answer.sub.calls
    assert 10.0 <= answer.sub.cost < 10.0 + 1.1 * each
