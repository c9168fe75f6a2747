"""What the script of a run stands on: the names its code had, answered from the journal.

`rlm-mcp traces show RUN --code` writes such a script. It is run by Python itself, with the rights
of who runs it and outside of any sandbox; what it asks models was answered when the run was at
work. Something that was not asked then (a prompt with the time in it, say) has no answer.
"""

import ast
import importlib
import pkgutil
import random
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import anyio

from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.engine.replay import UNKNOWN, Answers, answers_of
from rlm_mcp.events import RunStarted
from rlm_mcp.repl.guest import helpers
from rlm_mcp.repl.guest.calls import Calls, Failed, Queries
from rlm_mcp.repl.guest.contexts import Context, names_of
from rlm_mcp.repl.guest.finals import Finals
from rlm_mcp.repl.guest.habits import AWAITED, awaited, tree_of
from rlm_mcp.repl.guest.main import SEED
from rlm_mcp.repl.guest.show import user_names, variable
from rlm_mcp.replaying import at_last
from rlm_mcp.runs.journal import FILE, Journal
from rlm_mcp.settings import Settings
from rlm_mcp.types import ContextInfo, SubRequest

NAMES = (
    "context", "contexts", "files", "lines", "llm_query", "llm_query_batched", "rlm_query",
    "rlm_query_batched", "FINAL", "FINAL_VAR", "SHOW_VARS", "answer",
)  # fmt: skip


class Rerun:
    """The names that the code of a run had in its REPL, put into a script's namespace.

    Raises:
        UnknownRun: the journal in `RLM_HOME` has none of that id.
        UnknownContext: a text it was asked about is no longer stored.
    """

    def __init__(self, run_id: str, namespace: dict[str, Any]) -> None:
        answers, contexts = anyio.run(_recorded, run_id)
        self._namespace = namespace
        self._finals = Finals(namespace, self._mine)
        self._names: dict[str, Any] = {
            **_lent(),
            **self._finals.other_names,
            **names_of(contexts),
            **Queries(_Recorded(answers)).functions,
            **self._finals.functions,
            "SHOW_VARS": self._show,
        }
        namespace.update(self._names)
        namespace[AWAITED] = awaited
        self._finals.begin(sys.maxsize, fresh_answer=True)
        random.seed(SEED)

    def run(self, code: str) -> None:
        """Run code as the REPL did: what it raises is told, and what follows goes on."""
        try:
            tree, notes = tree_of(code, "<cell>", self._names)
            for note in notes:
                sys.stdout.write(f"{note}\n")
            exec(compile(tree, "<cell>", "exec", dont_inherit=True), self._namespace)  # noqa: S102 - its job
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code may raise anything
            sys.stdout.write(f"{type(error).__name__}: {error}\n")

    def end(self) -> None:
        """Print the answer that the code has given, if it has."""
        final, _ = self._finals.end()
        if final is not None:
            sys.stdout.write(f"{final[0]}\n")

    def _mine(self) -> list[str]:
        given = {name: self._names[name] for name in self._names if self._is_given(name)}
        return user_names(self._namespace, {**given, "answer": None})

    def _is_given(self, name: str) -> bool:
        return self._namespace.get(name) is self._names[name]

    def _show(self) -> None:
        """Print the variables that the code has bound."""
        for name in self._mine():
            _, kind, size, preview = variable(name, self._namespace[name])
            length = "" if size is None else f"[{size:,}]"
            sys.stdout.write(f"{name}: {kind}{length} = {preview}\n")


class _Recorded(Calls):
    """Calls whose answers were recorded."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def ask(self, kind: str, requests: list[list[str | None]], *, batched: bool) -> list[Any]:  # noqa: ARG002 - as the guest's
        """See `Calls.ask`."""
        replies: list[str | Failed] = []
        for prompt, context, model in requests:
            reply = self._answers.reply(kind, SubRequest(prompt or "", context, model))
            if reply is None or reply.text is None:
                replies.append(Failed(UNKNOWN if reply is None else reply.error or ""))
            else:
                replies.append(reply.text)
        return replies


def is_plain(code: str) -> bool:
    """Whether Python makes of code what the REPL made, also where it stands among other code."""
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(code, "<cell>", "exec", dont_inherit=True)
            plain = ast.parse(code)
            tree, _ = tree_of(code, "<cell>", [*NAMES, *_lent()])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    inside = {
        id(node)
        for function in ast.walk(plain)
        if isinstance(function, functions)
        for node in ast.walk(function)
    }
    # These must stand before all else in a file.
    bound_to_its_place = any(
        (isinstance(node, ast.Global) and id(node) not in inside)
        or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        for node in ast.walk(plain)
    )
    return not bound_to_its_place and ast.dump(tree) == ast.dump(plain)


async def _recorded(run_id: str) -> tuple[Answers, list[Context]]:
    settings = Settings.load()
    home = settings.home.expanduser()
    async with Journal.open(home / FILE) as journal:
        await journal.run(run_id)
        events = at_last([row.event for row in await journal.whole_events(run_id)])
    started = events[0]
    assert isinstance(started, RunStarted)
    answers = answers_of(events, started, settings.max_output_tokens)
    store = ContextStore(home)
    return answers, _read([store.get(each, name=name) for each, name in started.contexts])


def _read(contexts: Sequence[ContextInfo]) -> list[Context]:
    return [
        Context(
            info.name,
            info.blob.read_bytes().decode(info.kind.codec, "surrogatepass"),
            info.manifest.read_bytes(),
        )
        for info in contexts
    ]


def _lent() -> dict[str, Any]:
    found = {}
    for each in pkgutil.iter_modules(helpers.__path__):
        module = importlib.import_module(f"{helpers.__name__}.{each.name}")
        found.update({name: getattr(module, name) for name in module.__all__})
    return found
