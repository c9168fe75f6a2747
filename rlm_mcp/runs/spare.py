"""Room for the day the disk is full: removing runs takes some, and gives back far more.

SQLite can neither open nor write a journal where nothing can be written beside it.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

NAME = "spare"
BYTES = 4 << 20
# Taken only where it makes no difference.
AMPLE_BYTES = 16 * BYTES


def keep_spare(journal: Path) -> None:
    """Take the room beside a journal large enough to be worth it, unless the disk is short of it.

    It is not there for others to see: what cannot be taken now is taken another time.
    """
    spare = journal.with_name(NAME)
    with suppress(OSError):
        if journal.stat().st_size < BYTES or spare.exists():
            return
        if shutil.disk_usage(spare.parent).free < AMPLE_BYTES:
            return
        try:
            with os.fdopen(os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as to:
                to.write(os.urandom(BYTES))  # what a file system may pack would be no room
        except OSError:
            spare.unlink(missing_ok=True)


def give_spare_up(journal: Path) -> None:
    """Free the room, for who is about to remove runs."""
    with suppress(OSError):
        journal.with_name(NAME).unlink(missing_ok=True)
