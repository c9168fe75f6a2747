"""The Windows box from inside: import first, forbid new code, prove what the host has put around.

The host has made this process in an AppContainer and a job; see repl/contained.py. What is left to
do here must come after the imports: `ctypes` itself makes executable memory when it is imported
(https://github.com/python/cpython/pull/154700), which is forbidden from then on.

What is not stopped here, as far as known: reading Windows itself and installed programs; writing to
the AppContainer's own folder, which is deleted with it and has no quota; system calls of the window
manager; any number of threads, but for the memory that they take.
"""

import ctypes
import os
import sys
from typing import Any

from . import events, preload, probes, windows_probes
from .lines import Line
from .wire import Message

# PROCESS_MITIGATION_POLICY and PROCESS_MITIGATION_DYNAMIC_CODE_POLICY of winnt.h.
DYNAMIC_CODE_POLICY = 2
PROHIBIT_DYNAMIC_CODE = 1
# More than the limit, which counts from what an interpreter takes.
BEYOND_BYTES = 256 << 20
loader: Any = ctypes


def lock(setup: Message, _line: Line) -> Message:
    """Give up what is left; the box's part of the hello.

    Raises:
        OSError: a layer cannot be had; nothing may run then.
    """
    _find_compiled_beside_python()
    preload.load(preload.ON_WINDOWS)
    events.await_interrupts()
    _forbid_new_code()
    memory_bytes = setup["memory_bytes"]
    layers = ["AppContainer", "job", "no files of yours", "no network", "no processes"]
    return {
        "layers": [*layers, "no new executable memory", f"memory {memory_bytes >> 20:,} MB"],
        "probes": probes.run(windows_probes.deeds(memory_bytes + BEYOND_BYTES)),
        "space_bytes": 0,
    }


def _find_compiled_beside_python() -> None:
    """The program's file names compiled modules where the host has them; here a copy stands."""
    folder = os.path.dirname(sys.executable)  # noqa: PTH120 - no pathlib yet
    for finder in sys.meta_path:
        paths = getattr(finder, "extensions", {})
        for name, path in paths.items():
            paths[name] = os.path.join(folder, "DLLs", os.path.basename(path))  # noqa: PTH118, PTH119 - likewise


def _forbid_new_code() -> None:
    forbidding = loader.WinDLL("kernel32", use_last_error=True).SetProcessMitigationPolicy
    forbidding.argtypes = (ctypes.c_int32, ctypes.c_void_p, ctypes.c_size_t)
    flags = ctypes.c_uint32(PROHIBIT_DYNAMIC_CODE)
    if not forbidding(DYNAMIC_CODE_POLICY, ctypes.byref(flags), ctypes.sizeof(flags)):
        raise loader.WinError(loader.get_last_error())
