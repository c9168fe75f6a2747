"""Archives: zip and tar, the latter compressed or not, read in place."""

import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from rlm_mcp.contexts import secrets
from rlm_mcp.contexts.files import changed_ns, opened, stamp
from rlm_mcp.contexts.listing import Asking, Entry, Listing, Piece, Source, shown
from rlm_mcp.contexts.reading import pieces
from rlm_mcp.contexts.roots import located
from rlm_mcp.contexts.unpack import (
    FREE_BYTES,
    MOST_RATIO,
    TRUST,
    Unpacked,
    blocks,
    damage,
    is_archive,
    is_zip,
)
from rlm_mcp.errors import SourceTooLarge, SourceUnreadable
from rlm_mcp.types import Skip

_DIRECTORY_BYTES = 256 << 20

Read = Callable[..., Iterator[Piece]]


@dataclass(frozen=True, slots=True)
class _Archive:
    """An archive that is open until the load is over."""

    path: Path
    status: os.stat_result
    file: IO[bytes]
    asking: Asking

    def admits(self, name: str) -> str | None:
        """Why a member is left out by its name, None if it is not."""
        parts = name.split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            return "its path leads out of the archive"
        if ".git" in parts[:-1]:
            return "git's own"
        return secrets.reason(name, self.asking.rules)

    def entry(self, name: str, size: int, read: Read) -> Entry:
        """A member that `read` gives the text of."""
        guard = secrets.Guard.of(name, self.asking.rules)
        return Entry(
            path=shown(name),
            read=partial(read, guard=guard),
            stamp=f"{stamp(self.status)} {guard} {name}",
            changed_ns=changed_ns(self.status),
            bytes=size,
        )

    def listing(self, found: dict[str, Entry], skipped: list[Skip], *, streamed: bool) -> Listing:
        """Of its members by path, the last of a name."""
        order = list(found) if streamed else sorted(found)
        return Listing(
            name=shown(self.path.name),
            folder=str(self.path),
            entries=tuple(found[path] for path in order),
            skipped=tuple(sorted(set(skipped), key=lambda skip: skip.path)),
            streamed=streamed,
        )


def offer(source: Source, asking: Asking) -> Listing | None:
    """The documents in an archive that is named itself, by its suffix.

    Links, devices, encrypted members and those whose path leads out of it are skipped. A tar is
    read in its own order, since going back in a compressed one means to begin anew.

    Raises:
        SourceForbidden: it lies, links followed, in none of the roots.
        SourceTooLarge: it was made to explode.
        SourceUnreadable: it cannot be opened, or is no archive.
    """
    if not isinstance(source, str) or not is_archive(source):
        return None
    path = located(source, asking.rules)
    if not path.is_file():
        return None
    try:
        with damage():
            status = path.stat()
            number, _ = asking.stack.enter_context(opened(str(path), status))
            file = asking.stack.enter_context(os.fdopen(number, "rb", closefd=False))
            archive = _Archive(path, status, file, asking)
            return _zip(archive) if is_zip(source) else _tar(archive)
    except (SourceTooLarge, SourceUnreadable) as error:
        message = f"{shown(source)} cannot be read: {error.message}."
        raise type(error)(message, error.hint) from error


def _zip(archive: _Archive) -> Listing:
    _check_directory(archive.file)
    whole = archive.asking.stack.enter_context(zipfile.ZipFile(archive.file))
    found: dict[str, Entry] = {}
    skipped: list[Skip] = []
    members = whole.infolist()
    for member in members:
        archive.asking.tick()
        kind = stat.S_IFMT(member.external_attr >> 16)
        reason = archive.admits(member.filename)
        if member.is_dir():
            continue
        if kind not in {0, stat.S_IFREG}:
            reason = "symbolic link" if kind == stat.S_IFLNK else "no file"
        elif member.flag_bits & 1:
            reason = "encrypted"
        if reason:
            skipped.append(Skip(shown(member.filename), reason))
            continue
        read = partial(_read_zip, whole, member)
        entry = archive.entry(member.filename, member.file_size, read)
        found[entry.path] = entry
    _check_sizes(members, archive)
    return archive.listing(found, skipped, streamed=False)


def _check_directory(file: IO[bytes]) -> None:
    """Refuse a list of members that would fill the memory (APPNOTE 4.3.14, 4.3.16)."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (64 << 10) - 100))
    tail = file.read()
    at, wide = tail.rfind(b"PK\5\6"), tail.rfind(b"PK\6\6")
    length = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if wide >= 0:
        length = max(length % 0xFFFFFFFF, int.from_bytes(tail[wide + 40 : wide + 48], "little"))
    if length > _DIRECTORY_BYTES:
        raise SourceTooLarge("it lists too many files", TRUST)
    file.seek(0)


def _check_sizes(members: list[zipfile.ZipInfo], archive: _Archive) -> None:
    size = archive.status.st_size
    unpacked = sum(member.file_size for member in members)
    overlapping = sum(member.compress_size for member in members) > size
    if overlapping or unpacked > max(FREE_BYTES, MOST_RATIO * size):
        why = "its members overlap" if overlapping else f"it expands more than {MOST_RATIO} times"
        raise SourceTooLarge(why, TRUST)


def _read_zip(
    whole: zipfile.ZipFile, member: zipfile.ZipInfo, *, guard: secrets.Guard
) -> Iterator[Piece]:
    with damage(), whole.open(member) as stream:
        yield from pieces(blocks(stream), guard=guard)


def _tar(archive: _Archive) -> Listing:
    stream = Unpacked(archive.file, archive.path.name, archive.asking.tick)
    whole = archive.asking.stack.enter_context(tarfile.TarFile(fileobj=stream))
    found: dict[str, Entry] = {}
    skipped: list[Skip] = []
    most = archive.asking.rules.most_files
    try:
        with damage():
            for number, member in enumerate(whole):
                if number > 2 * most:  # as many others as there may be files
                    raise SourceTooLarge("it lists too many files", TRUST)
                name = member.name.removeprefix("./")
                reason = archive.admits(name) or _tar_reason(member)
                if reason:
                    skipped.append(Skip(shown(name), reason))
                elif not member.isdir():
                    entry = archive.entry(name, member.size, partial(_read_tar, whole, member))
                    found.pop(entry.path, None)
                    found[entry.path] = entry
                if len(found) > most:
                    break
    except SourceUnreadable as error:
        if not found:
            raise
        skipped.append(Skip(f"{shown(archive.path.name)}", f"broken off: {error.message}"))
    return archive.listing(found, skipped, streamed=True)


def _tar_reason(member: tarfile.TarInfo) -> str | None:
    if member.issparse():
        return "sparse file"  # its holes would be filled: a terabyte of zeros takes a line
    if member.isdir() or member.isreg():
        return None
    if member.issym():
        return "symbolic link"
    return "hard link" if member.islnk() else "no file"


def _read_tar(
    whole: tarfile.TarFile, member: tarfile.TarInfo, *, guard: secrets.Guard
) -> Iterator[Piece]:
    with damage():
        stream = whole.extractfile(member)
        if stream:
            with stream:
                yield from pieces(blocks(stream), guard=guard)
