"""Watching what a guest uses: threads everywhere, memory where the system itself sets no limit.

A look every tenth of a second is no wall: between two looks a process may take what the machine can
hand out in that time. So there are two thresholds, and the machine needs some memory to spare.
"""

import contextlib
import ctypes
import mmap
import os
import sys
from dataclasses import dataclass

THREADS = 512
USER_TICKS_AT, THREADS_AT = 11, 17
STAT_BYTES = 4096
THREADS_EVERY_S, MEMORY_EVERY_S = 1.0, 0.1
KILLED_AT = 1.25
PROC_PIDTASKINFO = 4
RUSAGE_V0 = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has: threads, and bytes of memory that it does not share with files.

    `cpu_ticks` is the time it has computed, in the system's clock ticks; None if that is not told.
    """

    threads: int
    memory_bytes: int
    cpu_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class Excess:
    """More than is allowed. `fatal`: past being asked to stop."""

    reason: str
    fatal: bool


def usage(pid: int) -> Usage | None:
    """What that process of ours uses; None where it is gone or the system does not tell."""
    if sys.platform == "linux":
        return _linux(pid)
    if sys.platform == "darwin":
        return _darwin(pid)
    return None


def heap_bytes(pid: int) -> int:
    """Memory of that process of ours that it does not share with files; 0 where that is not told.

    On Linux one look at /proc instead of the two of `usage`: it is taken before every cell.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return _heap_bytes(pid)
        return 0
    used = usage(pid)
    return used.memory_bytes if used else 0


def excess(used: Usage, memory_bytes: int | None) -> Excess | None:
    """What is too much. `memory_bytes` is the limit to be held here, None where the system does."""
    if used.threads > THREADS:
        return Excess(f"it had {used.threads:,} threads, and {THREADS} are allowed", fatal=True)
    if memory_bytes is None or used.memory_bytes <= memory_bytes:
        return None
    reason = f"it used {used.memory_bytes >> 20:,} MB, and {memory_bytes >> 20:,} MB are allowed"
    return Excess(reason, fatal=used.memory_bytes > KILLED_AT * memory_bytes)


def _linux(pid: int) -> Usage | None:
    """See proc_pid_stat(5)."""
    try:
        stat, heap_bytes = _read(f"/proc/{pid}/stat"), _heap_bytes(pid)
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    ticks = int(fields[USER_TICKS_AT]) + int(fields[USER_TICKS_AT + 1])
    return Usage(int(fields[THREADS_AT]), heap_bytes, ticks)


def _heap_bytes(pid: int) -> int:
    """See proc_pid_statm(5)."""
    _, resident, shared, *_ = map(int, _read(f"/proc/{pid}/statm").split())
    return (resident - shared) * mmap.PAGESIZE


def children(pid: int) -> set[int]:
    """The living processes that the main thread of that one started. See proc_tid_children(5).

    Linux only; the kernel may have been built without.
    """
    listed = _read(f"/proc/{pid}/task/{pid}/children").split()
    return {int(child) for child in listed if _state(int(child)) not in b"ZX"}


def _state(pid: int) -> bytes:
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0]
    except OSError:
        return b"X"


def _read(path: str) -> bytes:
    # Before every cell: a file object would take five times as long.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = b""
        while piece := os.read(descriptor, STAT_BYTES):
            content += piece
        return content
    finally:
        os.close(descriptor)


class ResourceUsage(ctypes.Structure):
    """`struct rusage_info_v0` of sys/resource.h; the footprint is what Activity Monitor shows."""

    _fields_ = (
        ("uuid", ctypes.c_uint8 * 16),
        ("user_time", ctypes.c_uint64),
        ("system_time", ctypes.c_uint64),
        ("package_idle_wakeups", ctypes.c_uint64),
        ("interrupt_wakeups", ctypes.c_uint64),
        ("page_ins", ctypes.c_uint64),
        ("wired_size", ctypes.c_uint64),
        ("resident_size", ctypes.c_uint64),
        ("physical_footprint", ctypes.c_uint64),
        ("start_time", ctypes.c_uint64),
        ("exit_time", ctypes.c_uint64),
    )


class TaskUsage(ctypes.Structure):
    """`struct proc_taskinfo` of sys/proc_info.h."""

    _fields_ = (
        ("sizes_and_times", ctypes.c_uint64 * 6),
        ("counters", ctypes.c_int32 * 9),
        ("threads", ctypes.c_int32),
        ("running", ctypes.c_int32),
        ("priority", ctypes.c_int32),
    )


def _darwin(pid: int) -> Usage | None:
    """See libproc.h: `proc_pid_rusage` gives 0, `proc_pidinfo` the bytes it wrote."""
    system = ctypes.CDLL(None)
    resources, task = ResourceUsage(), TaskUsage()
    system.proc_pidinfo.argtypes = (
        ctypes.c_int, ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_int,
    )  # fmt: skip
    written = system.proc_pidinfo(pid, PROC_PIDTASKINFO, 0, ctypes.byref(task), ctypes.sizeof(task))
    told = system.proc_pid_rusage(pid, RUSAGE_V0, ctypes.byref(resources))
    if written != ctypes.sizeof(task) or told != 0:
        return None
    return Usage(task.threads, resources.physical_footprint)
