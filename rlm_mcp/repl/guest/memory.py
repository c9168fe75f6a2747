"""What is kept aside while a cell runs, so that after it there is room to go on."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

RESERVE_BYTES = 16 << 20
DESCRIPTORS = 4
# Bound once: code may patch the modules.
_map, _duplicate, _close = mmap.mmap, os.dup, os.close


@contextmanager
def kept_aside(descriptor: int) -> Iterator[None]:
    """Address space to say what the cell did, and places for the descriptors the host sends next.

    Pages nobody writes to count against the limit and cost no memory. They are taken only where as
    many are left: the cell may be the one that frees some. `descriptor` is duplicated.
    """
    pages: list[mmap.mmap] = []
    places: list[int] = []
    with suppress(BaseException):  # an audit hook may raise anything
        _map(-1, 2 * RESERVE_BYTES).close()
        pages.append(_map(-1, RESERVE_BYTES))
    with suppress(OSError):
        places.extend(_duplicate(descriptor) for _ in range(DESCRIPTORS))
    try:
        yield
    finally:
        for page in pages:
            page.close()
        for place in places:
            with suppress(OSError):
                _close(place)
