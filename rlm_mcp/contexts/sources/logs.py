"""A rotated log, `rotated:path`: all its parts as one document, the oldest first."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from rlm_mcp.contexts.files import changed_ns, document, stamp
from rlm_mcp.contexts.listing import Asking, Entry, Listing, Piece, Source, reason_of, shown
from rlm_mcp.contexts.private import Private
from rlm_mcp.contexts.roots import located
from rlm_mcp.contexts.secrets import Guard
from rlm_mcp.contexts.unpack import PACKED
from rlm_mcp.errors import SourceEmpty, SourceMissing, SourceUnreadable

_PREFIX = "rotated:"
# What logrotate and the logging libraries append: a number, or a date with or without a time.
_PART = re.compile(r"[.\-_](\d[\d.\-_T:]*)")
_DATE_DIGITS = 6
_NEWEST = (2, 0)


def offer(source: Source, asking: Asking) -> Listing | None:
    """`app.log` with `app.log.1`, `app.log.2.gz`, `app.log-20260101` and so on before it.

    Dated parts come first, by date, then numbered ones, the highest number first, then the file
    itself, which need not be there.

    Raises:
        SourceForbidden: it lies, links followed, in none of the roots.
        SourceMissing: there is no part of it.
        SourceUnreadable: its folder cannot be listed.
    """
    if not isinstance(source, str) or not source.startswith(_PREFIX):
        return None
    named = Path(source.removeprefix(_PREFIX))
    path = located(str(named.parent), asking.rules) / named.name
    private = Private.of(asking.rules)
    try:
        found = {place: place.lstat() for place in path.parent.iterdir() if _age(path, place)}
        found = {at: status for at, status in found.items() if not private.is_it(str(at), status)}
    except OSError as error:
        raise SourceUnreadable(
            f"{shown(source)} cannot be read: {reason_of(error)}.", "Mend that or name another."
        ) from error
    parts = {place: status for place, status in found.items() if stat.S_ISREG(status.st_mode)}
    if not parts:
        raise SourceMissing(f"There is no part of {shown(str(path))}.", "Check the path.")
    order = sorted(parts, key=lambda place: _age(path, place) or _NEWEST)
    statuses = [parts[place] for place in order]
    guard = Guard.of_named(asking.rules)
    entry = Entry(
        path=shown(path.name),
        read=partial(_read, list(zip(order, statuses, strict=True)), guard),
        stamp="; ".join([*map(stamp, statuses), str(guard)]),
        changed_ns=max(map(changed_ns, statuses)),
        bytes=sum(status.st_size for status in statuses),
    )
    return Listing(entry.path, str(path.parent), (entry,), named=True)


def _age(log: Path, place: Path) -> tuple[int, int] | None:
    """What sorts the oldest part first; None for what is no part."""
    if not place.name.startswith(log.name):
        return None
    rest = place.name[len(log.name) :]
    if not rest:
        return _NEWEST
    found = _PART.fullmatch(rest.removesuffix(place.suffix) if place.suffix in PACKED else rest)
    if not found:
        return None
    digits = re.sub(r"\D", "", found[1])
    if len(digits) >= _DATE_DIGITS:
        return 0, int(digits[:14].ljust(14, "0"))
    return 1, -int(digits)


def _read(parts: Sequence[tuple[Path, os.stat_result]], guard: Guard) -> Iterator[Piece]:
    for place, status in parts:
        try:
            yield from document(str(place), status, guard=guard)
        except (SourceEmpty, SourceUnreadable) as error:
            message = f"{shown(place.name)} is {error.message}"
            raise SourceUnreadable(message, error.hint) from error
