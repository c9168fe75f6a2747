"""What the Linux box tries before it is believed."""

import _socket
import errno
import mmap
import os
import resource

from .kernel import failed, libc, system_call
from .probes import Deeds, fork

IO_URING_SETUP = 425


def _open(path: str, flags: int) -> None:
    os.close(os.open(path, flags))


def _check(result: int) -> None:
    if result < 0:
        raise failed()


def _raise_limit() -> None:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))
    except ValueError as error:  # what the resource module makes of EPERM
        raise PermissionError(errno.EPERM, str(error)) from None


# A bogus path: ENOENT would say that execve was reached.
DEEDS: Deeds = {
    "read a file": lambda: _open("/", os.O_RDONLY),
    "write a file": lambda: _open("/tmp", os.O_TMPFILE | os.O_WRONLY),  # noqa: S108 - unnamed
    "list a folder": lambda: os.listdir("/"),  # noqa: PTH208 - the bare call is meant
    "stat a file": lambda: os.stat("/"),  # noqa: PTH116 - likewise
    "open a network socket": lambda: _socket.socket().close(),
    "open a local socket": lambda: _socket.socket(_socket.AF_UNIX).close(),
    "fork": fork,
    "execute a program": lambda: _check(libc.execve(b"/nowhere/at/all", None, None)),
    "signal a process": lambda: os.kill(os.getppid(), 0),
    "trace a process": lambda: _check(libc.ptrace(0, 0, None, None)),
    "map executable memory": lambda: mmap.mmap(-1, 1, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "change a limit": _raise_limit,
    "change namespaces": lambda: _check(libc.unshare(0)),
    "set up io_uring": lambda: system_call(IO_URING_SETUP, 0, None),
}
