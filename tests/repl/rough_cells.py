"""A session of good and bad cells, checked by value after each: only the bad one may be lost.

A good cell counts `n` up, keeps its square and moves a generator on. A bad cell ends badly; one
that loses its process spoils those variables first, so that a trace of it would be seen. What they
should be is computed here beside it.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from repl_driver import LIMITS, Driver

SESSION_LIMITS = replace(LIMITS, cell_s=0.25, memory_bytes=256 << 20)
BEGIN = (
    "n, squares = 0, []\n"
    "def count():\n    i = 0\n    while True:\n        i += 1\n        yield i\n"
    "steps = count()"
)
GOOD = "n += 1\nsquares.append(n * n)\nstep = next(steps)"
LOOK = "n, len(squares), sum(squares), step"
SPOIL = "n, squares, step = -1, ['spoilt'], -1\nfor _ in range(99): next(steps)\n"
KEEPS = {
    "raises": "raise ValueError('bad')",
    "raises from deep below": "def f(): f()\nf()",
    "is no Python": "def broken(:",
    "exits politely": "raise SystemExit(3)",
    "allocates at once": "'x' * (4 << 30)",
    "allocates in pieces": (
        "def f():\n    held = []\n    while True: held.append(bytes(1 << 20))\nf()"
    ),
    "loops": "while True: pass",
    "sleeps": "import time\ntime.sleep(60)",
    "searches for ever": "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",
    "prints for ever": "while True: print('again')",
}
LOSES = {
    "ends its process": "import os\nos._exit(3)",
    "aborts": "import os\nos.abort()",
    "crashes in C": (
        "import gc\ngc.unfreeze()\n"
        "libc = next(o for o in gc.get_objects() if type(o).__name__ == 'CDLL')\n"
        "libc.memset(1, 0, 1)"
    ),
    "breaks the protocol": "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'x' * 99)\n"
    "    except OSError: pass\nwhile True: pass",
    "loops in C": "import itertools\n-1 in itertools.count()",
    "lets nothing interrupt it": (
        "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass"
    ),
    "blocks the signal": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {2})\nwhile True: pass"
    ),
}
ENDED, DIED = frozenset({"error", "interrupted", "memory"}), frozenset({"died"})
ENDINGS = {**dict.fromkeys(KEEPS, ENDED), **dict.fromkeys(LOSES, DIED), None: frozenset({"ok"})}
# They run until they are stopped or even killed, so they are drawn less often.
SLOW = {
    "loops": 0.3, "sleeps": 0.3, "searches for ever": 0.3, "prints for ever": 0.3,
    "loops in C": 0.1, "lets nothing interrupt it": 0.1, "blocks the signal": 0.1,
}  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What came of a session. `wrong` are values that were not as computed here."""

    cells: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    started_again: int = 0


async def soak(repl: Driver, names: list[str | None]) -> Tally:
    """Run these cells, None being a good one, and look at the variables after each bad one."""
    tally, n = Tally(), 0
    await repl.run(BEGIN)
    for number, name in enumerate([None, *names]):
        code = GOOD if name is None else KEEPS.get(name) or SPOIL + LOSES[name]
        result = await repl.run(code)
        tally.cells[f"{name or 'good'}: {result.status}"] += 1
        if result.status not in ENDINGS[name]:
            tally.wrong.append(f"cell {number}, {name or 'good'}: {result}")
        n += name is None
        if name is not None:
            tally.started_again += result.lost
            seen = await repl.run(LOOK)
            expected = str((n, n, sum(i * i for i in range(n + 1)), n))
            if seen.output.strip() != expected:
                tally.wrong.append(f"after cell {number}, {name}: {seen}, not {expected}")
    return tally


def draw(count: int, seed: int) -> list[str | None]:
    """Half of them good; of the others every kind at least once, if there are so many."""
    kinds = [*KEEPS, *LOSES]
    dice = random.Random(seed)
    dice.shuffle(kinds)
    weights = [SLOW.get(kind, 1.0) for kind in kinds]
    bad = [*kinds, *dice.choices(kinds, weights, k=count)][: count // 2]
    names = [*bad, *[None] * (count - len(bad))]
    dice.shuffle(names)
    return names


def living(sessions: set[int]) -> set[int]:
    """The processes of these sessions."""
    return {pid for pid, (_, session) in _processes().items() if session in sessions}


def sessions_below() -> set[int]:
    """The sessions of this process's descendants: every guest has its own."""
    table, below = _processes(), {os.getpid()}
    while more := {pid for pid, (parent, _) in table.items() if parent in below} - below:
        below |= more
    return {table[pid][1] for pid in below} - {os.getsid(0)}


def _processes() -> dict[int, tuple[int, int]]:
    """Parent and session of every process. See proc_pid_stat(5)."""
    return dict(_entries())


def _entries() -> Iterator[tuple[int, tuple[int, int]]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        yield int(folder.name), (int(fields[1]), int(fields[3]))


def descriptors() -> int:
    """How many this process holds."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
