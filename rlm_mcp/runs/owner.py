"""Which process has a run."""

import os

from rlm_mcp.runs.expiry import is_alive
from rlm_mcp.runs.journal import RunRow


def is_elsewhere(row: RunRow) -> bool:
    """Whether another process that still lives has the run."""
    return row.pid != os.getpid() and bool(is_alive(row.pid))
