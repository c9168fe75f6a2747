"""The Monty box: an interpreter that has no way to anything, for where no kernel helps.

It is a Python subset of its own; see https://github.com/pydantic/monty.
"""

import importlib.util
import json
import sys

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl.boxes import proved_by_probes
from rlm_mcp.repl.launch import ENVIRONMENT, ISOLATED, Started
from rlm_mcp.repl.messages import Hello
from rlm_mcp.repl.pipes import Piped, PipeWire, open_on_pipes
from rlm_mcp.repl.program import Program
from rlm_mcp.types import Isolation, ReplLimits

PLATFORM: str | None = None
ISOLATION: Isolation = "language"
GUEST = "monty"
NOTICE: str | None = (
    "Model-written code ran in a restricted Python (Monty: no generators, no threads, some modules"
    " missing), held back by the language and not by the operating system."
)
DIALECT: str | None = """\
This REPL is Monty, a subset of Python. It has no `yield`, no `del`, no class inheritance, no
`@property`, no `globals()`, no `input()`, no threads, and instances have no `len()`.
`import` finds only: asyncio, base64, binascii, bisect, collections (no OrderedDict), copy, csv,
dataclasses, datetime, decimal, functools, hashlib, itertools, json, math, random, re, sys, time,
typing, unicodedata.
`files` and `contexts` are plain dicts; there is no `files.at(offset)`, no
`files(glob)` and no `lines`.
Instead of threads use the batched queries; a prompt that failed has None in their list."""
LACKS: frozenset[str] = frozenset(
    {
        "checkpoints", "cpython", "del", "exits", "falsy failures", "file offsets", "helpers",
        "inheritance", "interrupts", "mapped contexts", "near names", "one process", "os", "regex",
        "surrogates", "threads", "views",
    }
)  # fmt: skip
# The path is this process's: the guest imports what the host would.
ENTRY = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop())
from rlm_mcp.repl.monty import main
main.main()
"""


def require() -> None:
    """The package that brings the interpreter.

    Raises:
        SandboxUnavailable: it is not installed.
    """
    if importlib.util.find_spec("pydantic_monty") is None:
        raise SandboxUnavailable(
            "the monty box needs the package pydantic-monty",
            "Install rlm-mcp with its extra `monty`; in a clone: pip install '.[monty]'.",
        )


async def start(_program: Program, _limits: ReplLimits) -> Started:
    """A process of this Python that holds the interpreter, which is a process of its own."""
    path = json.dumps([entry for entry in sys.path if entry])
    command = [sys.executable, *ISOLATED, ENTRY, path]
    child = await open_on_pipes(command, ENVIRONMENT)
    return Started(Piped(child), PipeWire(child), runs_cells=False)


def proved(hello: Hello) -> tuple[str, ...]:
    """The layers; raises SandboxUnavailable unless every forbidden deed was refused."""
    return proved_by_probes(hello)
