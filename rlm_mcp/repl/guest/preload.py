"""What a guest imports before it is locked: compiled modules, which no locked guest can load."""

import contextlib
import importlib
import sys
import time
from collections.abc import Sequence

# The others come from the program's file when code imports them.
EXTENSIONS = [
    "_bisect", "_blake2", "_bz2", "_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp",
    "_codecs_kr", "_codecs_tw", "_contextvars", "_csv", "_datetime", "_decimal", "_elementtree",
    "_heapq", "_json", "_lsprof", "_lzma", "_md5", "_multibytecodec", "_opcode", "_pickle",
    "_posixsubprocess", "_queue", "_random", "_sha1", "_sha2", "_sha256", "_sha3", "_sha512",
    "_socket", "_statistics", "_struct", "_typing", "_uuid", "_zoneinfo", "array", "binascii",
    "cmath", "fcntl", "grp", "math", "mmap", "pyexpat", "regex", "resource", "select", "termios",
    "unicodedata", "zlib",
]  # fmt: skip
ON_WINDOWS = ["_asyncio", "_overlapped", "_winapi", "_wmi", "msvcrt", "winreg"]


def load(more: Sequence[str] = ()) -> None:
    """Import them; afterwards nothing looks for a module in a folder any more."""
    for name in (*EXTENSIONS, *more):
        # Which of them exist differs from version to version and build to build.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if hasattr(time, "tzset"):
        time.tzset()
    time.localtime()
    sys.path.clear()
    sys.path_hooks.clear()
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "PathFinder"
    ]
