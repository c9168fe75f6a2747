"""Address space kept aside while a cell runs, so that after it there is room to say what it did."""

import contextlib
import mmap
from collections.abc import Iterator

RESERVE_BYTES = 16 << 20


@contextlib.contextmanager
def reserved() -> Iterator[None]:
    """Map pages nobody writes to: they count against the limit and cost no memory.

    Where there is no room even for that, the cell runs without: it may be the one that frees some.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError, MemoryError):
            held.enter_context(mmap.mmap(-1, RESERVE_BYTES))
        yield
