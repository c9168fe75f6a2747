"""How a model is run on this machine: threads, window and slots, from memory and the model's size.

A run reads much and asks much at a time, so a window comes first, then slots beside it.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.errors import ModelUnusable
from rlm_mcp.llm.embedded.gguf import ModelFile

WINDOWS = (32_768, 16_384, 8192, 4096)
SLOTS = (4, 2, 1)
_GB = 1e9
_ROOM_BYTES = 512 << 20
_SPARED = 0.1
_UNKNOWN_CACHE_BYTES = 256 << 10
# A thread waits for the others after every layer: below this it costs more than it brings.
_THREAD_BYTES = 64 << 20
_PROMPTS_SHARE, _MOST_PROMPTS_BYTES = 4, 2 << 30
_CPU, _CGROUP = Path("/sys/devices/system/cpu"), Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to run on; `memory_bytes` None: it does not tell."""

    memory_bytes: int | None
    threads: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What the settings ask for, None where they leave it to us: tokens a slot, slots."""

    window_tokens: int | None = None
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a server is started: every slot has `window_tokens` of its own.

    `prompts_bytes` is memory for the prompts of slots that have gone on to others.
    """

    window_tokens: int
    slots: int
    threads: int
    prompts_bytes: int


def plan(model: ModelFile, machine: Machine, wish: Wish) -> Plan:
    """The largest window that fits with as many slots as fit beside it, up to 32,768 by 4.

    Raises:
        ModelUnusable: the model does not fit the memory even with the least, or not as wished.
    """
    longest = model.trained_tokens or WINDOWS[0]
    windows = [wish.window_tokens or min(each, longest) for each in WINDOWS]
    threads = max(1, min(machine.threads, 1 + model.size_bytes // _THREAD_BYTES))
    for window in dict.fromkeys(windows):
        for slots in (wish.slots,) if wish.slots else SLOTS:
            needed = _needed(model, window * slots)
            room = None if machine.memory_bytes is None else machine.memory_bytes - needed
            if room is None or room >= 0:
                spare = min(_MOST_PROMPTS_BYTES, (room or 0) // _PROMPTS_SHARE)
                return Plan(window, slots, threads, spare)
    least = _needed(model, min(windows) * (wish.slots or 1))
    free = machine.memory_bytes or 0
    raise ModelUnusable(
        f"{model.path.name} needs {least / _GB:.1f} GB of memory with a window of"
        f" {min(windows):,} tokens; {free / _GB:.1f} GB are free.",
        "Close other programs, or take a smaller model or a stronger quantization of it.",
    )


def this_machine(device_bytes: int = 0) -> Machine:
    """What is free here now; `device_bytes` is the free memory of graphics cards."""
    free = _free_bytes()
    memory = None if free is None else round(free * (1 - _SPARED)) + device_bytes
    return Machine(memory, _threads())


def _needed(model: ModelFile, tokens: int) -> int:
    return model.size_bytes + tokens * (model.cache_bytes or _UNKNOWN_CACHE_BYTES) + _ROOM_BYTES


def _free_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    if sys.platform != "linux":
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    told = dict(line.split(":") for line in _text(Path("/proc/meminfo")).splitlines())
    free = int(told["MemAvailable"].split()[0]) << 10
    limit, used = _text(_CGROUP / "memory.max"), _text(_CGROUP / "memory.current")
    if limit.isdecimal() and used.isdecimal():
        # Files read lately count as used, and are given up when memory is wanted: the model too.
        parts = dict(line.split() for line in _text(_CGROUP / "memory.stat").splitlines())
        files = sum(int(parts.get(f"{kind}_file", 0)) for kind in ("active", "inactive"))
        free = min(free, max(0, int(limit) - int(used) + files))
    return free


def _threads() -> int:
    """Cores that may be used; a second thread of the same core brings nothing."""
    if sys.platform != "linux":
        return max(1, (os.cpu_count() or 2) // 2)
    allowed = os.sched_getaffinity(0)
    siblings = {
        _text(_CPU / f"cpu{each}/topology/thread_siblings_list") or str(each) for each in allowed
    }
    quota, _, period = _text(_CGROUP / "cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        return max(1, min(len(siblings), int(quota) // int(period)))
    return len(siblings)


def _text(path: Path) -> str:
    """What a file of the kernel says, nothing if it is not there."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
