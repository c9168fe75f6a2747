"""The macOS box from inside: import first, then enter Seatbelt for ever, then prove it holds.

The profile is given as text, as Chromium and Codex do; see sandbox_init(3), whose documentation
calls it deprecated and which macOS itself goes on using. What the profile denies beyond its default
was found by others to need saying: process information (the arguments and the environment of any
process of the same user), the machine's identifier, notifications to other processes.

What is not stopped here, as far as known: memory is watched by the host and not limited by the
kernel (RLIMIT_AS does nothing); code can be mapped executable; System V shared memory can be made
and outlives the guest; a notification may reach another process over the connection that the C
library opened before; whether a process of some number exists can be asked. The guest ends when
its wire does, which it sees only while Python runs: a cell that is stuck in C code outlives a host
that was killed, locked in as it is, until that code ends.
"""

import contextlib
import ctypes
import errno
import os

from . import macos_probes, preload, probes
from .kernel import libc, limit_memory, limit_resources
from .lines import Line
from .wire import Message

PROFILE = """(version 1)
(deny default)
(allow signal (target self))
(deny process-info*)
(allow process-info-pidinfo (target self))
(deny iokit-get-properties)
(deny darwin-notification-post)
"""
PROFILE_IS_TEXT = 0


def lock(setup: Message, line: Line) -> Message:
    """Give up everything a cell has no need of; the box's part of the hello.

    Raises:
        OSError: a layer cannot be had; nothing may run then.
    """
    preload.load()
    _close_all_but(line.descriptors)
    limit_resources()
    _enter(PROFILE)
    memory, space_bytes = limit_memory(setup["memory_bytes"])
    return {
        "layers": ["Seatbelt", "no files", "no network", "no processes", memory],
        "probes": probes.run(macos_probes.DEEDS),
        "space_bytes": space_bytes,
    }


def _close_all_but(descriptors: tuple[int, ...]) -> None:
    os.umask(0o077)
    for number in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - names are all there is
        if number > 2 and number not in descriptors:
            # The listing's own is closed already.
            with contextlib.suppress(OSError):
                os.close(number)


def _enter(profile: str) -> None:
    error = ctypes.c_char_p()
    enter = libc.sandbox_init
    enter.argtypes = (ctypes.c_char_p, ctypes.c_uint64, ctypes.POINTER(ctypes.c_char_p))
    if enter(profile.encode(), PROFILE_IS_TEXT, ctypes.byref(error)) != 0:
        said = (error.value or b"no reason given").decode("utf-8", "replace")
        raise PermissionError(
            errno.EPERM,
            f"Seatbelt takes no sandbox inside another one, and this host may be in one ({said})",
        )
