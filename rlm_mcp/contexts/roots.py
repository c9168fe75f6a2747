"""The folders that may be loaded: whatever is named must lie in one of them."""

import os
from pathlib import Path

from rlm_mcp.contexts.listing import shown
from rlm_mcp.contexts.private import REASON, Private
from rlm_mcp.errors import SourceForbidden, SourceMissing
from rlm_mcp.rules import LoadRules


def located(source: str, rules: LoadRules) -> Path:
    """The real place of what a user names, `~` and links followed; nothing need stand there.

    Raises:
        SourceForbidden: it lies in none of the roots.
        SourceMissing: it cannot be the path of anything.
    """
    try:
        place = Path(source).expanduser().absolute().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceMissing(f"There is no {shown(source)}: {error}.", "Check the path.") from error
    require_within(place, rules)
    return place


def require_within(path: Path, rules: LoadRules) -> None:
    """See that `path`, in which no link is left to follow, may be loaded.

    Nothing is said of what stands there: who may not load it may not ask either.

    Raises:
        SourceForbidden: it lies in none of the roots, or is private.
    """
    if Private.of(rules).holds(path):
        raise SourceForbidden(
            f"{shown(str(path))} may not be loaded: it is {REASON}.", "Name another path."
        )
    roots = rules.roots
    if roots is None or any(path.is_relative_to(root) for root in roots):
        return
    allowed = ", ".join(shown(str(root)) for root in roots) or "none"
    more = os.pathsep.join([*map(str, roots), str(path.parent)])
    raise SourceForbidden(
        f"{shown(str(path))} lies outside the folders that may be loaded: {allowed}.",
        f"Set RLM_ROOTS={shown(more)} for the server, or RLM_ROOTS=* to allow all, and restart it.",
    )
