"""A run with everything real but the weights: a scripted model, a guest process, a store."""

import sys
from dataclasses import dataclass, field, replace

import anyio
import pytest

from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.engine.calls import Calls
from rlm_mcp.engine.ledger import Ledger
from rlm_mcp.engine.ports import Ports, Question
from rlm_mcp.engine.run import Run
from rlm_mcp.engine.session import Session
from rlm_mcp.engine.shape import Shape
from rlm_mcp.llm.scripted import ScriptedModel
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import Budget, ReplLimits


@dataclass
class Bench:
    """A session and the models that serve it; `events` is what the last run emitted."""

    store: ContextStore
    backend: LocalBackend
    session: Session
    events: list = field(default_factory=list)
    limits: ReplLimits = field(default_factory=ReplLimits)
    runs: int = 0

    def emit(self, event):
        self.events.append(event)

    async def load(self, text, name=None):
        return self.session.add(await load(self.store, (), text=text, name=name), origin=text)

    def run(self, root, query="What is it?", *, sub=None, schema=None, **budget):
        """A run ready to answer. Scripts are lists of replies or functions of the messages."""
        self.runs += 1
        self.events = []
        root = root if isinstance(root, ScriptedModel) else ScriptedModel(root, name="root")
        sub = sub if isinstance(sub, ScriptedModel) else ScriptedModel(sub or echo, name="sub")
        calls = Calls(Ledger(Budget(**budget)), self)
        ports = Ports(root, sub, calls, self.backend, self.store, self.limits, 1000)
        handle = self.session.handle
        question = Question(
            f"run{self.runs}", "", 0, query, self.session.contexts, handle, handle, 1
        )
        if schema is not None:
            question = replace(question, shape=Shape(schema))
        return Run(question, ports, self.session)

    async def ask(self, root, query="What is it?", **more):
        with anyio.fail_after(30):
            return await self.run(root, query, **more).answer()

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def echo(messages):
    return f"[{messages[-1].content}]"


@pytest.fixture
async def bench(tmp_path, program_cache):
    async with LocalBackend(
        program_cache, "linux" if sys.platform == "linux" else "plain"
    ) as backend:
        yield Bench(ContextStore(tmp_path), backend, Session("ses", 1))
