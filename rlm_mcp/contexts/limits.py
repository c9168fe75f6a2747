"""How much one load may hold. What goes beyond it is told by its largest folders."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from rlm_mcp.contexts.listing import Entry, Listing, Tick
from rlm_mcp.errors import SourceEmpty, SourceTooLarge, SourceUnreadable
from rlm_mcp.rules import LoadRules
from rlm_mcp.types import Skip
from rlm_mcp.words import count, size

_SHOWN_FOLDERS = 3


def texts(entries: Iterable[Entry], tick: Tick) -> list[Entry]:
    """Those that are text: of each its beginning is read."""
    found: list[Entry] = []
    for entry in entries:
        tick()
        with suppress(SourceEmpty, SourceUnreadable):
            next(entry.read(), None)
            found.append(entry)
    return found


def within(listing: Listing, rules: LoadRules, tick: Tick) -> Listing:
    """The listing without the files that are larger than one may be; they become skips.

    What is no text does not count.

    Raises:
        SourceTooLarge: it has too many files or bytes, or the one file named is too large.
    """
    entries = [entry for entry in listing.entries if entry.bytes <= rules.most_file_bytes]
    large = [entry for entry in listing.entries if entry.bytes > rules.most_file_bytes]
    if large and listing.named:
        raise SourceTooLarge(
            f"{large[0].path} has {size(large[0].bytes)}, more than the "
            f"{size(rules.most_file_bytes)} that one file may have.",
            "Set RLM_MAX_FILE_GB higher.",
        )
    reason = f"larger than the {size(rules.most_file_bytes)} that one file may have"
    listing = replace(
        listing,
        entries=tuple(entries),
        skipped=(*listing.skipped, *(Skip(entry.path, reason) for entry in large)),
    )
    if len(entries) > rules.most_files:
        raise _too_large(listing, f"at most {count(rules.most_files, 'file')}", "RLM_MAX_FILES")
    if sum(entry.bytes for entry in entries) <= rules.most_bytes:
        return listing
    only = replace(listing, entries=tuple(texts(entries, tick)))
    if sum(entry.bytes for entry in only.entries) > rules.most_bytes:
        raise _too_large(only, f"at most {size(rules.most_bytes)}", "RLM_MAX_LOAD_GB")
    return listing


def too_large(name: str, rules: LoadRules) -> SourceTooLarge:
    """The error of a load that turned out to hold more than it may."""
    return SourceTooLarge(
        f"{name} holds more than the {size(rules.most_bytes)} that may be loaded at once.",
        "Load less of it, or set RLM_MAX_LOAD_GB higher.",
    )


def _too_large(listing: Listing, most: str, setting: str) -> SourceTooLarge:
    files: Counter[str] = Counter()
    bytes_: Counter[str] = Counter()
    for entry in listing.entries:
        folder = _top(entry)
        files[folder] += 1
        bytes_[folder] += entry.bytes
    ranked = (files if setting == "RLM_MAX_FILES" else bytes_).most_common(_SHOWN_FOLDERS)
    largest = ", ".join(
        f"{folder} ({count(files[folder], 'file')}, {size(bytes_[folder])})" for folder, _ in ranked
    )
    return SourceTooLarge(
        f"{listing.name} has {count(len(listing.entries), 'file')} with {size(bytes_.total())}; "
        f"{most} may be loaded at once. Most of it: {largest}.",
        f"Load less of it, or set {setting} higher.",
    )


def _top(entry: Entry) -> str:
    """The first two folders it lies in, itself where it lies in none."""
    folders = entry.path.split("/")[:-1]
    return "/".join(folders[:2]) + "/" if folders else entry.path
