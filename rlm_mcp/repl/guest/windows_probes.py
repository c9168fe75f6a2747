"""What the Windows box tries before it is believed.

An AppContainer may read Windows itself and installed programs, as all of its kind may. What it must
not reach is what belongs to the user, so a file is tried that stands in the user's folder.
"""

import _socket
import ctypes
import errno
import importlib
import os
import sys
from typing import Any

from .probes import NOBODY_LISTENS, Deeds, connect

OUTSIDE = "outside.txt"
# Documentation's own network, RFC 5737: nothing is sent there, connecting alone is judged.
FAR_AWAY = ("192.0.2.1", 9)
SPARE_KEY = r"Software\rlm-mcp-probe"
VM_READ, DUPLICATE_HANDLE = 0x0010, 0x0040
MEM_COMMIT, MEM_RESERVE = 0x1000, 0x2000
PAGE_READWRITE, PAGE_EXECUTE_READWRITE = 0x04, 0x40
PAGE_BYTES = 4096
loader: Any = ctypes


def deeds(memory_bytes: int) -> Deeds:
    """All of them; no process may hold that much memory."""
    folder = os.path.dirname(os.path.dirname(sys.executable))  # noqa: PTH120 - no pathlib yet
    return {
        "read a file": lambda: os.close(os.open(f"{folder}\\{OUTSIDE}", os.O_RDONLY)),
        "write a file": lambda: _write(f"{folder}\\probe-{os.getpid()}"),
        "list a folder": lambda: os.listdir(folder),  # noqa: PTH208 - the bare call is meant
        "connect to a port": lambda: connect(_socket.AF_INET, _socket.SOCK_STREAM, NOBODY_LISTENS),
        "send to a port": lambda: connect(_socket.AF_INET, _socket.SOCK_DGRAM, FAR_AWAY),
        "start a process": lambda: os.spawnv(os.P_NOWAIT, sys.executable, ["python"]),  # noqa: S606 - meant
        "open a process": _open_host,
        "write to the registry": _write_to_registry,
        "make memory executable": lambda: _allocate(PAGE_BYTES, PAGE_EXECUTE_READWRITE),
        "exceed the memory": lambda: _allocate(memory_bytes, PAGE_READWRITE),
    }


def _write(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.unlink(path)  # noqa: PTH108 - the bare call is meant


def _open_host() -> None:
    opening = loader.WinDLL("kernel32").OpenProcess
    opening.argtypes = (ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint32)
    opening.restype = ctypes.c_void_p
    if not opening(VM_READ | DUPLICATE_HANDLE, 0, os.getppid()):
        raise PermissionError(errno.EACCES, "the host's process")


def _write_to_registry() -> None:
    winreg = importlib.import_module("winreg")
    winreg.CloseKey(winreg.CreateKey(winreg.HKEY_CURRENT_USER, SPARE_KEY))
    winreg.DeleteKey(winreg.HKEY_CURRENT_USER, SPARE_KEY)


def _allocate(size: int, protection: int) -> None:
    allocating = loader.WinDLL("kernel32").VirtualAlloc
    allocating.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint32)
    allocating.restype = ctypes.c_void_p
    if not allocating(None, size, MEM_COMMIT | MEM_RESERVE, protection):
        raise PermissionError(errno.EACCES, "memory")
