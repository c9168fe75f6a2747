"""A cell that breaks what all Python code stands on breaks no cell after it."""

from dataclasses import replace

import anyio
import pytest
from repl_driver import LIMITS, Driver

from rlm_mcp.repl.local import LocalBackend

pytestmark = [pytest.mark.anyio, pytest.mark.needs("cpython")]

NAMES_TAKEN = {
    "_socket": "socket CMSG_SPACE SOL_SOCKET SCM_RIGHTS AF_UNIX",
    "_thread": "start_new_thread get_ident allocate_lock",
    "array": "array",
    "ast": "parse Expr Expression PyCF_ONLY_AST",
    "contextlib": "suppress contextmanager ExitStack",
    "gc": "collect callbacks",
    "linecache": "cache",
    "mmap": "mmap",
    "os": "fork waitpid close _exit read write dup fdopen",
    "signal": "pthread_sigmask SIG_SETMASK SIG_BLOCK SIGINT",
    "sys": "settrace setprofile modules _current_frames",
    "time": "sleep monotonic",
    "warnings": "filters catch_warnings simplefilter",
}
TAKE_NAMES = """
import importlib
for name in "{names}".split():
    setattr(importlib.import_module("{module}"), name, None)
"""
RAISE_LATER = """
import sys
def raising(frame, event, argument):
    if frame.f_code.co_filename[:5] != "<cell":
        raise ValueError(event)
    return raising
"""
HANG_LATER = """
import gc, sys
def hanging(*_):
    frame = sys._getframe()
    while frame:
        if frame.f_code.co_name in ("_goes_on", "_look", "_stop_threads"):
            while True: pass
        frame = frame.f_back
"""
POISONS = {
    **{
        f"names of {module}": TAKE_NAMES.format(module=module, names=names)
        for module, names in NAMES_TAKEN.items()
    },
    "no built-in names": "import builtins; vars(builtins).clear()",
    "other built-in types": (
        "import builtins\n"
        "builtins.len = builtins.list = builtins.set = builtins.isinstance = builtins.str = None"
    ),
    "no classes, no imports": (
        "import builtins; builtins.__build_class__ = builtins.__import__ = None"
    ),
    "built-in names of the namespace": "globals()['__builtins__'] = {}",
    "an empty namespace": (
        "def leave(names, kept):\n    names.clear()\n    names['kept'] = kept\n"
        "leave(globals(), kept)"
    ),
    "no modules": "import sys; sys.modules.clear()",
    "no warnings": "import sys; del sys.modules['warnings']",
    "warnings that are errors": "import warnings; warnings.simplefilter('error')",
    "a trace that raises": f"{RAISE_LATER}sys.settrace(raising)",
    "a profile that raises": f"{RAISE_LATER}sys.setprofile(raising)",
    "a trace that never ends": f"{HANG_LATER}sys.settrace(hanging)",
    "a profile that never ends": f"{HANG_LATER}sys.setprofile(hanging)",
    "a collection that never ends": (
        f"{HANG_LATER}gc.callbacks.append(hanging); gc.set_threshold(1)"
    ),
    "a repr that traces": (
        f"{RAISE_LATER}class Tracing:\n    def __repr__(self):\n"
        "        sys.settrace(raising); sys.setprofile(raising)\n        return ''\nx = Tracing()"
    ),
    "an audit of sockets": (
        "import sys\ndef audit(event, arguments):\n"
        "    if event.startswith(('socket', 'os.fork', 'mmap')): raise ValueError(event)\n"
        "sys.addaudithook(audit)"
    ),
    "no output": "import sys; sys.stdout = sys.__stdout__ = sys.stderr = None",
    "no descriptors": (
        "import os\ntaken = []\ntry:\n    for _ in range(64): taken.append(os.dup(0))\n"
        "except OSError: pass"
    ),
}
NEXT = """
import sys
class Point:
    def __init__(self): self.x = kept
point = [Point().x for _ in range(2)]
len(point), isinstance(kept, int), kept
"""


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
async def test_the_cells_after_a_poisoned_one_work_and_have_its_variables(repl, poison):
    await repl.run("kept = 1")
    with anyio.fail_after(30):
        await repl.run(poison)
        for _ in range(2):
            assert await repl.value(NEXT) == "(2, True, 1)"


@pytest.mark.needs("checkpoints")
@pytest.mark.parametrize("poison", ["_socket", "array", "os", "warnings", "_thread", "sys"])
async def test_a_poisoned_repl_still_restores_its_variables(repl, poison):
    await repl.run("kept = 1; steps = iter(range(9)); next(steps)")
    await repl.run(TAKE_NAMES.format(module=poison, names=NAMES_TAKEN[poison]))
    assert (await repl.run("next(steps); import posix; posix._exit(9)")).status == "died"
    assert await repl.value("kept, next(steps)") == "(1, 1)"


@pytest.mark.needs("interrupts")
async def test_a_signal_that_one_cell_held_back_interrupts_the_next(cache, box):
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        await driver.open(limits=replace(LIMITS, cell_s=0.5))
        await driver.run("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))")
        stopped = await driver.run("kept = 1\nwhile True: pass")
        assert (stopped.status, await driver.value("kept")) == ("interrupted", "1")


@pytest.mark.needs("os", "mapped contexts")
async def test_code_that_holds_every_descriptor_still_gets_new_contexts(repl, snapshot):
    await repl.run(POISONS["no descriptors"])
    for text in ("first", "second"):
        await repl.open(contexts=[snapshot({"a": text})])
        assert await repl.value("len(taken) > 0, context[:]") == f"(True, {text!r})"


@pytest.mark.needs("one process", "checkpoints")
async def test_a_cell_that_frees_memory_runs_where_none_is_left(cache, box):
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        await driver.open(limits=replace(LIMITS, memory_bytes=128 << 20))
        await driver.run(
            "held = []\nfor size in (1 << 20, 1 << 16, 1 << 12):\n    try:\n"
            "        while True: held.append(bytearray(size))\n    except MemoryError: pass"
        )
        assert (await driver.run("held.clear()")).status == "ok"
        assert await driver.value("held") == "[]"
