"""The Linux box from inside: import first, then give every right away, then prove it is gone."""

import contextlib
import ctypes
import importlib
import os
import resource
import sys
import time

from . import landlock, probes, seccomp
from .kernel import die_with_parent, failed, libc, limit_memory, prctl
from .wire import Message

PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 24, 38
CAPABILITIES = 64
CAPABILITY_VERSION_3 = 0x20080522
OPEN_FILES = 64
# No page can be made executable later, so compiled modules load now; the others when imported.
EXTENSIONS = [
    "_bisect", "_blake2", "_bz2", "_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp",
    "_codecs_kr", "_codecs_tw", "_contextvars", "_csv", "_datetime", "_decimal", "_elementtree",
    "_heapq", "_json", "_lsprof", "_lzma", "_md5", "_multibytecodec", "_opcode", "_pickle",
    "_posixsubprocess", "_queue", "_random", "_sha1", "_sha2", "_sha256", "_sha3", "_sha512",
    "_socket", "_statistics", "_struct", "_typing", "_uuid", "_zoneinfo", "array", "binascii",
    "cmath", "fcntl", "grp", "math", "mmap", "pyexpat", "regex", "resource", "select", "termios",
    "unicodedata", "zlib",
]  # fmt: skip


def lock(setup: Message, channel: int) -> Message:
    """Give up everything a cell has no need of; the box's part of the hello.

    Raises:
        OSError: a layer cannot be had; nothing may run then.
    """
    _load()
    _close_all_but(channel)
    _be_first_to_go()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _drop_capabilities()
    prctl(PR_SET_DUMPABLE, 0)
    die_with_parent()
    memory, space_bytes = limit_memory(setup["memory_bytes"])
    _limit()
    version = landlock.abi()
    if version:
        landlock.install(version)
    seccomp.install()
    layers = ["seccomp", *([f"landlock {version}"] if version else []), "no capabilities"]
    layers += ["no files", "no network", "no processes", "no executable memory", memory]
    return {"layers": layers, "probes": probes.run(), "space_bytes": space_bytes}


def _load() -> None:
    for name in EXTENSIONS:
        # Which of them exist differs from version to version and build to build.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # The C library loads it when the first thread ends.
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")
    time.tzset()
    time.localtime()
    sys.path.clear()
    sys.path_hooks.clear()
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "PathFinder"
    ]


def _be_first_to_go() -> None:
    """When memory runs out the kernel ends a guest and not the host."""
    with contextlib.suppress(OSError):
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"1000")
        os.close(score)


def _close_all_but(channel: int) -> None:
    os.umask(0o077)
    os.closerange(3, channel)
    os.closerange(channel + 1, max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], channel + 2))


def _drop_capabilities() -> None:
    for capability in range(CAPABILITIES):
        # Refused without CAP_SETPCAP, and needless then.
        with contextlib.suppress(OSError):
            prctl(PR_CAPBSET_DROP, capability)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) < 0:
        raise failed()


def _limit() -> None:
    for name, most in (("CORE", 0), ("FSIZE", 0), ("MEMLOCK", 0), ("NOFILE", OPEN_FILES)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
