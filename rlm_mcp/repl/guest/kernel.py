"""System calls a box makes about its own process, through the C library.

Windows has none of these; there this module is only imported.
"""

import ctypes
import io
import mmap
import os
import signal
import sys

if sys.platform != "win32":
    import resource

    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long

PR_SET_PDEATHSIG = 1
OPEN_FILES = 64


def failed() -> OSError:
    """What the last call through `libc` ended with."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def prctl(option: int, *arguments: int) -> None:
    """Change this process, as the manual says of prctl; may raise OSError."""
    words = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *words) < 0:
        raise failed()


def system_call(number: int, *arguments: "int | ctypes.Array[ctypes.c_char] | None") -> int:
    """A system call by its number; buffers are handed over by address. May raise OSError."""
    words = [ctypes.c_void_p(value) if isinstance(value, int) else value for value in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise failed()
    return result


def die_with_parent() -> None:
    """SIGKILL for this process once the host's thread that started it has ended."""
    if sys.platform == "linux":
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_memory(limit_bytes: int) -> tuple[str, int]:
    """Bound what is allocated from now on; gives the layer in words and the limit that stands.

    Only the soft limit is set: the host raises it by the size of every context it maps. Where there
    is none the host watches, and on Windows it has set one.
    """
    if sys.platform != "linux":
        held_by = "its job" if sys.platform == "win32" else "being watched"
        return f"memory {limit_bytes >> 20:,} MB, by {held_by}", 0
    with io.open_code("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    space_bytes = pages * mmap.PAGESIZE + limit_bytes
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        space_bytes = min(space_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (space_bytes, hard))
    return f"memory {limit_bytes >> 20:,} MB", space_bytes


def limit_resources() -> None:
    """No core, no file written, nothing locked in memory, few descriptors."""
    for name, most in (("CORE", 0), ("FSIZE", 0), ("MEMLOCK", 0), ("NOFILE", OPEN_FILES)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
