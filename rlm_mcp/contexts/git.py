"""Git on repositories that may be hostile: it runs nothing they configure and fetches nothing."""

import os
import subprocess
import time
from collections.abc import Sequence

from rlm_mcp.contexts.listing import Tick

_POLL_S = 0.2
_COMMAND = ("git", "-c", "core.fsmonitor=false", "-c", "safe.bareRepository=explicit")
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    # Git before 2.45 fetches missing objects all the same, by a command the repository names.
    "GIT_ALLOW_PROTOCOL": "none",
    # Of one allocation: rules of any size are read at once.
    "GIT_ALLOC_LIMIT": "512m",
    # Its words are read here.
    "LC_ALL": "C",
}


def output(arguments: Sequence[str], folder: str, most_s: float, tick: Tick) -> bytes | None:
    """What git prints; None if it refuses, or takes longer than `most_s` seconds.

    Raises:
        OSError: there is no git.
    """
    until_s = time.monotonic() + most_s
    with start(arguments, folder) as asked:
        try:
            while True:
                try:
                    printed = asked.communicate(timeout=_POLL_S)[0]
                except subprocess.TimeoutExpired:
                    tick()
                    if time.monotonic() > until_s:
                        asked.kill()
                else:
                    return printed if asked.returncode == 0 else None
        except BaseException:
            asked.kill()
            raise


def start(
    arguments: Sequence[str], folder: str, *, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Git at work in `folder`; what it prints comes through a pipe.

    Raises:
        OSError: there is no git.
    """
    own = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return subprocess.Popen(
        [*_COMMAND, *arguments],
        cwd=folder,
        env=own | _ENVIRONMENT,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
