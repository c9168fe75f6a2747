"""The Linux box from inside: import first, then give every right away, then prove it is gone."""

import contextlib
import ctypes
import os
import resource

from . import landlock, linux_probes, preload, probes, seccomp
from .arrival import reserve
from .kernel import die_with_parent, failed, libc, limit_memory, limit_resources, prctl
from .lines import Line
from .wire import Message, pack

PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 24, 38
CAPABILITIES = 64
CAPABILITY_VERSION_3 = 0x20080522


def lock(setup: Message, line: Line) -> Message:
    """Give up everything a cell has no need of; the box's part of the hello.

    Raises:
        OSError: a layer cannot be had; nothing may run then.
    """
    _load()
    _close_all_but(line.descriptors)
    _be_first_to_go()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _drop_capabilities()
    prctl(PR_SET_DUMPABLE, 0)
    die_with_parent()
    if not line.passes_descriptors:
        reserve()
    memory, space_bytes = limit_memory(setup["memory_bytes"])
    limit_resources()
    version = landlock.abi()
    if version:
        landlock.install(version)
    gated = line.passes_descriptors and _hand_over_the_gate(line)
    seccomp.install(gated=gated)
    layers = ["seccomp", *([f"landlock {version}"] if version else []), "no capabilities"]
    layers += ["no files", "no network", "no processes", "no executable memory", memory]
    return {
        "layers": layers,
        "probes": probes.run(linux_probes.DEEDS),
        "space_bytes": space_bytes if line.passes_descriptors else 0,
        "checkpoints": gated,
    }


def _load() -> None:
    """No page can be made executable later."""
    preload.load()
    # The C library loads it when the first thread ends.
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")


def _be_first_to_go() -> None:
    """When memory runs out the kernel ends a guest and not the host."""
    with contextlib.suppress(OSError):
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"1000")
        os.close(score)


def _close_all_but(descriptors: tuple[int, ...]) -> None:
    os.umask(0o077)
    last = max(2, *descriptors)
    for number in range(3, last):
        if number not in descriptors:
            with contextlib.suppress(OSError):
                os.close(number)
    os.closerange(last + 1, max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], last + 2))


def _hand_over_the_gate(line: Line) -> bool:
    """Let the host decide on forks, as checkpoints need one a cell; False if the kernel cannot."""
    try:
        gate = seccomp.gate()
    except OSError:
        return False
    line.write(pack({"t": "gate"}), [gate])
    os.close(gate)
    return True


def _drop_capabilities() -> None:
    for capability in range(CAPABILITIES):
        # Refused without CAP_SETPCAP, and needless then.
        with contextlib.suppress(OSError):
            prctl(PR_CAPBSET_DROP, capability)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) < 0:
        raise failed()
