"""Which process has a run, and whether it still lives."""

import os

from rlm_mcp.runs.journal import RunRow


def is_elsewhere(row: RunRow) -> bool:
    """Whether another process that still lives has the run."""
    return row.pid != os.getpid() and _alive(row.pid)


def _alive(pid: int) -> bool:
    if os.name == "nt":  # there, os.kill ends the process it is asked about
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
