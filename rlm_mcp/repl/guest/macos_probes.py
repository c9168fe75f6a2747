"""What the macOS box tries before it is believed.

Seatbelt lets a socket be made and judges what is done with it. It judges a program after its path
was found, so a real one is tried, at the very end: were it let through, there would be no hello.
It lets everybody ask whether a process exists, so a real signal is sent, one that is ignored.
"""

import _socket
import ctypes
import errno
import os
import signal

from .kernel import failed, libc
from .probes import NOBODY_LISTENS, Deeds, connect, fork

SPARE_NAME = f"/private/tmp/.rlm-mcp-{os.getpid()}"
# sysctl(3): arguments and environment of a process, which any of the same user may read.
CTL_KERN, KERN_PROCARGS2 = 1, 49
ALWAYS_THERE = b"com.apple.system.opendirectoryd.libinfo"


def _write() -> None:
    os.close(os.open(SPARE_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(SPARE_NAME)  # noqa: PTH108 - the bare call is meant


def _listen() -> None:
    spare = _socket.socket()
    try:
        spare.bind(("127.0.0.1", 0))
        spare.listen(1)
    finally:
        spare.close()


def _read_environment_of_host() -> None:
    name = (ctypes.c_int * 3)(CTL_KERN, KERN_PROCARGS2, os.getppid())
    size = ctypes.c_size_t(0)
    if libc.sysctl(name, len(name), None, ctypes.byref(size), None, ctypes.c_size_t(0)) < 0:
        raise failed()


def _look_up() -> None:
    ours, theirs = ctypes.c_uint.in_dll(libc, "bootstrap_port"), ctypes.c_uint()
    if libc.bootstrap_look_up(ours, ALWAYS_THERE, ctypes.byref(theirs)) != 0:
        raise PermissionError(errno.EPERM, "launchd gives no such service")


DEEDS: Deeds = {
    "read a file": lambda: os.close(os.open("/", os.O_RDONLY)),
    "write a file": _write,
    "list a folder": lambda: os.listdir("/"),  # noqa: PTH208 - the bare call is meant
    "stat a file": lambda: os.stat("/"),  # noqa: PTH116 - likewise
    "connect to a port": lambda: connect(_socket.AF_INET, _socket.SOCK_STREAM, NOBODY_LISTENS),
    "send to a port": lambda: connect(_socket.AF_INET, _socket.SOCK_DGRAM, NOBODY_LISTENS),
    "listen at a port": _listen,
    "connect to a local socket": lambda: connect(
        _socket.AF_UNIX, _socket.SOCK_STREAM, "/private/var/run/mDNSResponder"
    ),
    "reach a system service": _look_up,
    "read the host's environment": _read_environment_of_host,
    "signal a process": lambda: os.kill(os.getppid(), signal.SIGURG),
    "fork": fork,
    "execute a program": lambda: os.execve("/usr/bin/false", ["false"], {}),  # noqa: S606 - meant
}
