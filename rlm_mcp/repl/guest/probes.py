"""Trying what is forbidden: a box is believed only after the kernel has refused all of it."""

import _socket
import errno
import os
from collections.abc import Callable, Mapping

Deeds = Mapping[str, Callable[[], object]]
REFUSALS = {errno.EPERM, errno.EACCES}
NOBODY_LISTENS = ("127.0.0.1", 9)
WAIT_S = 1.0


def run(deeds: Deeds) -> list[tuple[str, bool]]:
    """Each deed and whether the kernel refused it."""
    return [(name, _refused(deed)) for name, deed in deeds.items()]


def fork() -> None:
    """A deed: become two processes."""
    if os.fork() == 0:
        os._exit(0)


def connect(family: int, kind: int, address: tuple[str, int] | str) -> None:
    """A deed: reach an address."""
    spare = _socket.socket(family, kind)
    try:
        spare.settimeout(WAIT_S)
        spare.connect(address)
    finally:
        spare.close()


def _refused(deed: Callable[[], object]) -> bool:
    try:
        deed()
    except OSError as error:
        return error.errno in REFUSALS
    return False
