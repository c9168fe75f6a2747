"""A session of 2,000 cells, half of them bad: what of it was lost, left behind or leaked.

Usage: python tests/perf/soak.py [CELLS [BOX [SEED]]]
"""

import sys
import tempfile
import time
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1] / "repl"))

from repl_driver import Driver
from rough_cells import (
    SESSION_LIMITS,
    Tally,
    descriptors,
    draw,
    living,
    resident_bytes,
    sessions_below,
    soak,
)

from rlm_mcp.repl.local import LocalBackend

ROUNDS = 10


async def main(cells: int, box: str, seed: int) -> bool:
    before, began = descriptors(), time.monotonic()
    sessions: set[int] = set()
    whole = Tally()
    with tempfile.TemporaryDirectory() as cache:
        async with LocalBackend(Path(cache), box) as backend:
            repl = Driver(backend)
            state = await repl.open(limits=SESSION_LIMITS)
            print(f"{state.box}: {', '.join(state.enforced)}; checkpoints: {state.checkpoints}")
            warm = None
            names, size = draw(cells, seed), -(-cells // ROUNDS)
            for start in range(0, cells, size):
                tally = await soak(repl, names[start : start + size])
                sessions |= sessions_below()
                whole.cells += tally.cells
                whole.wrong += tally.wrong
                whole.started_again += tally.started_again
                warm = warm or resident_bytes()
                print(
                    f"  {whole.cells.total():>5,} cells  {time.monotonic() - began:6.1f} s"
                    f"  host {resident_bytes() >> 20} MB  descriptors {descriptors()}"
                    f"  wrong {len(whole.wrong)}",
                    flush=True,
                )
            grown = resident_bytes() - warm
    left, held = living(sessions), descriptors() - before
    for kind, count in sorted(whole.cells.items()):
        print(f"  {count:>5}  {kind}")
    for wrong in whole.wrong[:10]:
        print(f"  WRONG {wrong}")
    print(
        f"host grew {grown / 1e6:+.1f} MB after the first {100 // ROUNDS} % of the cells;"
        f" processes left: {len(left)}; descriptors left: {held};"
        f" variables lost: {whole.started_again} times; wrong values: {len(whole.wrong)}"
    )
    return not (whole.wrong or whole.started_again or left or held)


if __name__ == "__main__":
    given = sys.argv[1:]
    wanted = (int(given[0]) if given else 2000, given[1] if len(given) > 1 else "auto")
    sys.exit(not anyio.run(main, *wanted, int(given[2]) if len(given) > 2 else 1))
