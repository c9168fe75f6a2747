"""Files of the data folder are their owner's alone, whatever the folder they lie in allows."""

import os
import stat
from contextlib import suppress
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def close_to_others(path: Path) -> None:
    """Take from others what they may do with a file or folder of ours; nothing if there is none.

    By its name, not by a descriptor: closing one of a SQLite file would drop the locks that this
    process has on it (sqlite.org, "How To Corrupt", 2.2). On Windows the folder's own rights hold.
    """
    with suppress(OSError):
        mode = path.stat().st_mode
        if os.name == "posix" and mode & OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)


def make_closed(path: Path) -> None:
    """Make an empty file that only its owner may open, unless there is one.

    Raises:
        OSError: it cannot be made.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
