"""Trying what is forbidden: the box is believed only after the kernel has refused all of it."""

import _socket
import ctypes
import errno
import mmap
import os
import resource
from collections.abc import Callable

from .kernel import failed, libc, system_call

REFUSALS = {errno.EPERM, errno.EACCES}
IO_URING_SETUP = 425


def _open(path: str, flags: int) -> None:
    os.close(os.open(path, flags))


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _check(result: int) -> None:
    if result < 0:
        raise failed()


def _raise_limit() -> None:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))
    except ValueError as error:  # what the resource module makes of EPERM
        raise PermissionError(errno.EPERM, str(error)) from None


# A bogus path: ENOENT would say that execve was reached.
PROBES: dict[str, Callable[[], object]] = {
    "read a file": lambda: _open("/", os.O_RDONLY),
    "write a file": lambda: _open("/tmp", os.O_TMPFILE | os.O_WRONLY),  # noqa: S108 - unnamed
    "list a folder": lambda: os.listdir("/"),  # noqa: PTH208 - the bare call is meant
    "stat a file": lambda: os.stat("/"),  # noqa: PTH116 - likewise
    "open a network socket": lambda: _socket.socket().close(),
    "open a local socket": lambda: _socket.socket(_socket.AF_UNIX).close(),
    "fork": _fork,
    "execute a program": lambda: _check(libc.execve(b"/nowhere/at/all", None, None)),
    "signal a process": lambda: os.kill(os.getppid(), 0),
    "trace a process": lambda: _check(libc.ptrace(0, 0, None, None)),
    "map executable memory": lambda: mmap.mmap(-1, 1, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "change a limit": _raise_limit,
    "change namespaces": lambda: _check(libc.unshare(0)),
    "set up io_uring": lambda: system_call(IO_URING_SETUP, 0, None),
}


def run() -> list[tuple[str, bool]]:
    """Each deed and whether the kernel refused it."""
    ctypes.set_errno(0)
    return [(name, _refused(deed)) for name, deed in PROBES.items()]


def _refused(deed: Callable[[], object]) -> bool:
    try:
        deed()
    except OSError as error:
        return error.errno in REFUSALS
    return False
