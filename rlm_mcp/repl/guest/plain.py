"""The plain box from inside: nothing is locked; memory is limited where the system can."""

from .kernel import die_with_parent, limit_memory
from .wire import Message


def lock(setup: Message, _channel: int) -> Message:
    """Tie the process to its parent and limit its memory; the box's part of the hello."""
    die_with_parent()
    layer, space_bytes = limit_memory(setup["memory_bytes"])
    return {"layers": [layer], "probes": [], "space_bytes": space_bytes}
