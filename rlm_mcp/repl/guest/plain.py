"""The plain box from inside: nothing is locked; memory is limited where the system can."""

import sys

from . import events
from .kernel import die_with_parent, limit_memory
from .lines import Line
from .wire import Message


def lock(setup: Message, line: Line) -> Message:
    """Tie the process to its parent and limit its memory; the box's part of the hello."""
    if sys.platform == "win32":
        events.await_interrupts()
    die_with_parent()
    layer, space_bytes = limit_memory(setup["memory_bytes"])
    return {
        "layers": [layer],
        "probes": [],
        "space_bytes": space_bytes,
        "checkpoints": sys.platform == "linux" and line.passes_descriptors,
    }
