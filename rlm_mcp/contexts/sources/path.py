"""Files of this machine: a file, a folder with all below it, or a glob."""

import difflib
import glob
import os
import stat
from collections.abc import Iterable
from functools import partial
from operator import attrgetter
from pathlib import Path

from pathspec import GitIgnoreSpec

from rlm_mcp.contexts import secrets
from rlm_mcp.contexts.files import changed_ns, document, stamp
from rlm_mcp.contexts.listing import Asking, Entry, Listing, Source, reason_of, shown
from rlm_mcp.contexts.private import Private
from rlm_mcp.contexts.roots import require_within
from rlm_mcp.contexts.unpack import is_archive
from rlm_mcp.contexts.walk import WalkedFile, kind_of, walk
from rlm_mcp.errors import SourceForbidden, SourceMissing, SourceUnreadable
from rlm_mcp.types import Skip

_ARCHIVE = "archive; name it to load it"


def offer(source: Source, asking: Asking) -> Listing | None:
    """The documents at a path, `~` expanded.

    A folder follows git's ignore rules, and so does a glob with `**`, which walks; a glob without
    it takes the files it names. A link is followed when it is the path itself, never inside.

    Raises:
        SourceForbidden: it lies, links followed, in none of the roots.
        SourceMissing: nothing stands there.
        SourceUnreadable: it cannot be opened, or is no file and no folder.
    """
    if not isinstance(source, str):
        return None
    try:
        path = Path(source).expanduser()
        if glob.has_magic(source) and not os.path.lexists(path):
            return _glob(path, asking)
        path = path.absolute()
        # Where it must not look, nobody learns what stands there.
        require_within(path.resolve(), asking.rules)
        real = path.resolve(strict=True)
        status = real.stat()
        if stat.S_ISDIR(status.st_mode):
            return _folder(real, asking)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise _missing(Path(source).absolute()) from error
    except (OSError, RuntimeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise SourceUnreadable(
            f"{shown(source)} cannot be read: {reason}.", "Mend that or name another path."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise SourceUnreadable(
            f"{shown(source)} is a {kind_of(status.st_mode)}.", "Name a file, a folder or a glob."
        )
    entry = _entry(shown(path.name), str(real), status, secrets.Guard.of_named(asking.rules))
    return Listing(entry.path, str(path.parent.resolve()), (entry,), named=True)


def _folder(folder: Path, asking: Asking) -> Listing:
    files, skipped = walk(str(folder), asking.tick, asking.rules)
    files = _spared(files, skipped, asking)
    return _listing(folder.name or str(folder), folder, files, skipped, asking)


def _spared(files: list[WalkedFile], skipped: list[Skip], asking: Asking) -> list[WalkedFile]:
    """The files whose names do not tell of secrets or archives; the others become skips."""
    reasons = {file.path: _ARCHIVE for file in files if is_archive(file.path)}
    for file in files:
        if reason := secrets.reason(file.path, asking.rules):
            reasons[file.path] = reason
    skipped += (Skip(shown(path), reason) for path, reason in reasons.items())
    return [file for file in files if file.path not in reasons]


def _glob(pattern: Path, asking: Asking) -> Listing:
    depth = next(n for n, part in enumerate(pattern.parts) if glob.has_magic(part))
    root = Path(*pattern.parts[:depth]).resolve()
    require_within(root, asking.rules)
    root.stat()
    inner = "/".join(pattern.parts[depth:])
    if ".." in pattern.parts[depth:]:
        raise SourceForbidden(
            f"{shown(str(pattern))} goes up behind its wildcard.", "Name the folder itself."
        )
    files, skipped = (_walked if "**" in inner else _named)(root, inner, asking)
    files = _spared(files, skipped, asking)
    if not files and not skipped:
        raise SourceMissing(
            f"Nothing matches {shown(str(pattern))}.", "Check the pattern; ** crosses folders."
        )
    return _listing(f"{root.name}/{inner}", root, files, skipped, asking)


def _walked(root: Path, inner: str, asking: Asking) -> tuple[list[WalkedFile], list[Skip]]:
    matches = GitIgnoreSpec.from_lines([f"/{inner}"]).match_file
    files, skipped = walk(str(root), asking.tick, asking.rules)
    return [file for file in files if matches(file.path)], [
        skip for skip in skipped if skip.path.endswith(("/", "*")) or matches(skip.path)
    ]


def _named(root: Path, inner: str, asking: Asking) -> tuple[list[WalkedFile], list[Skip]]:
    files: list[WalkedFile] = []
    skipped: set[Skip] = set()
    private = Private.of(asking.rules)
    for place in root.glob(inner):
        asking.tick()
        if private.holds(place):
            continue  # nor is it told what stands there
        path = place.relative_to(root).as_posix()
        status = place.lstat()
        if link := _link_above(place, root):
            skipped.add(Skip(shown(str(link.relative_to(root))), kind_of(stat.S_IFLNK)))
        elif stat.S_ISREG(status.st_mode):
            files.append(WalkedFile(path, status))
        elif stat.S_ISDIR(status.st_mode):
            skipped.add(Skip(f"{shown(path)}/", "a folder: only ** looks into folders"))
        else:
            skipped.add(Skip(shown(path), kind_of(status.st_mode)))
    return files, list(skipped)


def _link_above(place: Path, root: Path) -> Path | None:
    """The first link on the way from `root` to `place`, None if only folders do."""
    between = [folder for folder in place.parents if folder.is_relative_to(root)]
    return next((folder for folder in between[-2::-1] if folder.is_symlink()), None)


def _listing(
    name: str,
    folder: Path,
    files: Iterable[WalkedFile],
    skipped: Iterable[Skip],
    asking: Asking,
) -> Listing:
    place = str(folder)
    entries = [
        _entry(
            shown(file.path),
            f"{place}/{file.path}",
            file.status,
            secrets.Guard.of(file.path, asking.rules),
        )
        for file in files
    ]
    return Listing(
        name=shown(name),
        folder=place,
        entries=tuple(sorted(entries, key=attrgetter("path"))),
        skipped=tuple(sorted(skipped, key=attrgetter("path"))),
    )


def _entry(path: str, file: str, status: os.stat_result, guard: secrets.Guard) -> Entry:
    """What `guard` finds in it keeps it out."""
    return Entry(
        path=path,
        read=partial(document, file, status, guard=guard),
        stamp=f"{stamp(status)} {guard}",
        changed_ns=changed_ns(status),
        bytes=status.st_size,
    )


def _missing(path: Path) -> SourceMissing:
    """Names the closest thing that does exist, in the deepest folder that does."""
    gone = path
    while not gone.parent.is_dir():
        gone = gone.parent
    try:
        siblings = [place.name for place in gone.parent.iterdir()]
    except OSError:
        siblings = []
    near = difflib.get_close_matches(gone.name, siblings, n=1)
    hint = f"Did you mean {gone.parent / near[0]}?" if near else f"{gone.parent} does exist."
    return SourceMissing(f"There is no {shown(str(path))}.", shown(hint))
