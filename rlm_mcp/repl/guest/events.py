"""Interrupts on Windows, where no signal can be sent: the host sets an event.

A thread of Windows' own waits for it and calls `PyErr_SetInterrupt`, which may be called without
the GIL, as its documentation says. A cell that sleeps or waits for a lock sees the interrupt only
afterwards; then the host kills.
"""

import ctypes
import sys
from typing import Any

EVENT_ARGUMENT = 3
INFINITE = 0xFFFFFFFF
WT_EXECUTEINWAITTHREAD = 0x00000004
loader: Any = ctypes


def await_interrupts() -> None:
    """From now on the event whose number this process was given interrupts it.

    Raises:
        OSError: Windows does not let it.
    """
    waiting = loader.WinDLL("kernel32", use_last_error=True).RegisterWaitForSingleObject
    waiting.argtypes = (
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32,
    )  # fmt: skip
    event = int(sys.argv[EVENT_ARGUMENT])
    interrupt = ctypes.cast(ctypes.pythonapi.PyErr_SetInterrupt, ctypes.c_void_p)
    wait = ctypes.c_void_p()
    if not waiting(ctypes.byref(wait), event, interrupt, None, INFINITE, WT_EXECUTEINWAITTHREAD):
        raise loader.WinError(loader.get_last_error())
