"""The journal's bill is that of the model server, call by call, whatever happens to the calls."""

import random
from collections import Counter

import anyio
import anyio.lowlevel
import pytest

from rlm_mcp.llm.scripted import ScriptedReply, count_tokens, serve
from rlm_mcp.rules import Keeping
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.types import Budget

pytestmark = pytest.mark.anyio

AT_ONCE = {"retry-after": "0"}
FIRST = {
    "ok": "fine",
    "busy": ScriptedReply("full", status=503, headers=AT_ONCE),
    "broken": ScriptedReply("oops", status=500, headers=AT_ONCE),
    "down": ScriptedReply("oops", status=500, headers=AT_ONCE),
    "refused": ScriptedReply("no", status=400),
    "spent": ScriptedReply("", reasoning="hm " * 9, finish_reason="length"),
    "silent": ScriptedReply("fine", reports_usage=False),
    "hanging": ScriptedReply(fault="hang"),
}
PRICES = {"price_in": 1.0, "price_out": 2.0, "sub_price_in": 1.0, "sub_price_out": 2.0}
OUTCOMES = {"down": "failed", "refused": "failed", "spent": "failed", "hanging": "cancelled"}


class Moody:
    """A sub-model whose prompts say how it takes them; what it retries it answers."""

    def __init__(self):
        self.asked = Counter()
        self.hanging = anyio.Event()

    def __call__(self, messages):
        kind = messages[-1].content.split()[0]
        self.asked[messages[-1].content] += 1
        if kind == "hanging":
            self.hanging.set()
        again = self.asked[messages[-1].content] > 1 and kind in {"busy", "broken"}
        return "fine" if again else FIRST[kind]


def coder(messages):
    """A root model that takes the question for the code it is to write."""
    question = messages[1].content.rpartition("Question:\n")[2]
    return f"```repl\n{question}\n```"


def drawn(seed):
    """Prompts of every kind, some of them often, in any order; none that hangs."""
    draw = random.Random(seed)
    kinds = [kind for kind in FIRST if kind != "hanging"]
    kinds += draw.choices(kinds, k=draw.randrange(30))
    draw.shuffle(kinds)
    return [f"{kind} {number}" for number, kind in enumerate(kinds)]


@pytest.mark.parametrize("seed", range(3))
async def test_all_that_was_asked_is_billed_as_the_server_bills_it(seed):
    prompts = drawn(seed)
    moody = Moody()
    async with serve({"big": coder, "small": moody}) as server:
        settings = Settings.load(api_url=server.url, model="big", sub_model="small", **PRICES)
        async with open_service(settings) as service:
            with anyio.fail_after(60):
                session = await service.new_session()
                await service.load(session, (), text="text")
                inner = f"FINAL(llm_query_batched({prompts[1::2]}))"
                code = f"a = llm_query_batched({prompts[::2]})\nFINAL(rlm_query({inner!r}))"
                budget = Budget(depth=2)
                job = await service.start(session, Query(code, budget=budget, strategy="rlm"))
                await service.view(job.run_id, wait_s=50)

                code = f"llm_query_batched({['hanging a', 'hanging b']})"
                job = await service.start(session, Query(code, strategy="rlm"))
                await moody.hanging.wait()
                await service.cancel(job.run_id)
                while server.in_flight:
                    await anyio.lowlevel.checkpoint()

                kept = await service.costs("all")
                await service.journal.expire(Keeping(days=30, bytes=0))
                assert await service.journal.runs() == []
                gone = await service.costs("all")

    agrees(kept, server.ledger, moody)
    assert gone == kept


def agrees(spent, ledger, moody):
    kinds = Counter(prompt.split()[0] for prompt in moody.asked)
    outcomes = Counter({OUTCOMES[kind]: 0 for kind in OUTCOMES})
    for kind, number in kinds.items():
        outcomes[OUTCOMES.get(kind, "ok")] += number
    small, total = spent.by_model["small"], spent.total

    assert (small.failed, small.cancelled) == (outcomes["failed"], outcomes["cancelled"])
    assert small.retried == kinds["busy"] + kinds["broken"] + kinds["down"]
    assert total.usage.calls + total.retried == ledger.calls + ledger.failed
    for model, of in spent.by_model.items():
        bill = ledger.by_model[model]
        answered = of.usage.calls - of.failed - of.cancelled
        assert answered + (kinds["spent"] if model == "small" else 0) == bill.calls
        assert of.usage.calls + of.retried == bill.calls + bill.failed
    assert spent.root == spent.by_model["big"]
    assert set(spent.by_depth) == {0, 1}
    assert sum(of.usage.calls for of in spent.by_depth.values()) == total.usage.calls
    exact(spent, ledger, [prompt for prompt in moody.asked if prompt.startswith("silent")])


def exact(spent, ledger, silent):
    """Tokens are those that the server counts, and our estimate where it tells none."""
    used = spent.total.usage
    over_in = sum(estimate_tokens(prompt) - count_tokens(prompt) for prompt in silent)
    over_out = len(silent) * (estimate_tokens("fine") - count_tokens("fine"))

    assert used.estimated_calls == len(silent)
    assert used.input_tokens == ledger.input_tokens + over_in
    assert used.output_tokens == ledger.output_tokens + over_out
    cost = (used.input_tokens * 1.0 + used.output_tokens * 2.0) / 1e6
    assert used.cost == pytest.approx(cost)
    assert spent.root.usage.input_tokens == ledger.by_model["big"].input_tokens
