"""A snapshot being written: streamed into a hidden folder, renamed to its content's id."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from rlm_mcp.contexts.blob import BlobWriter, read_blob
from rlm_mcp.contexts.catalogue import FORMAT, Catalogue, from_folder, to_manifest
from rlm_mcp.contexts.listing import Piece
from rlm_mcp.errors import StoreFailed
from rlm_mcp.rights import close_to_others
from rlm_mcp.tokens import estimate_sampled
from rlm_mcp.types import UTF8, ContextInfo, Document, Skip

PREFIX = ".draft-"
_ABANDONED_S = 24 * 3600
_SAMPLE_CHARS = 256 << 10


class Draft:
    """Documents go in with `begin`, `write` as often as needed, and `end`, in path order.

    The id hashes the format, and of each document its path and the BLAKE3 of its text as UTF-8:
    a quarter of the time of SHA-256. `headed` puts a header line above each document; it must be
    False for one document and True for several. `digests` are those of the documents. The same
    content of another `whose` has another id: nobody finds out that someone else has loaded it.
    """

    def __init__(
        self, root: Path, folder: Path, blob: BlobWriter, *, headed: bool, whose: str = ""
    ) -> None:
        self.documents: list[Document] = []
        self.digests: list[bytes] = []
        self._root = root
        self._folder = folder
        self._blob = blob
        self._headed = headed
        self._whose = whose
        self._line_open = False

    def free_bytes(self) -> int:
        """What the disk it is written to has left.

        Raises:
            StoreFailed: the disk does not say.
        """
        with failures_of(self._root):
            return shutil.disk_usage(self._folder).free

    def begin(self, path: str) -> None:
        """Start a document."""
        if self._headed:
            self._append(f"\n=== {path} ===\n" if self._line_open else f"=== {path} ===\n")
        self._line_open = False
        self._path = path
        self._start = self._blob.chars
        self._content = blake3()
        self._breaks = 0
        self._bytes = 0
        self._encoding = UTF8

    def write(self, piece: Piece) -> None:
        """Add text to the document."""
        text, utf8, size, self._encoding = piece
        if utf8:
            self._content.update(utf8)
            self._breaks += utf8.count(b"\n")
            self._line_open = not utf8.endswith(b"\n")
            self._append(text)
        self._bytes += size

    def end(self) -> None:
        """Finish the document."""
        lines = self._breaks + self._line_open
        start = self._start
        chars = self._blob.chars - start
        document = Document(self._path, start, chars, lines, self._bytes, self._encoding)
        self.documents.append(document)
        self.digests.append(self._content.digest())

    def adopt(self, old: Catalogue, run: slice, digests: Sequence[bytes]) -> Iterator[int]:
        """Take a run of another snapshot's documents as they are, the headers between them too.

        `digests` are theirs. Gives the characters taken as it goes on, piece by piece.
        """
        taken = old.documents[run]
        first, last = taken[0], taken[-1]
        self.begin(first.path)
        shift = self._start - first.start
        for piece in old.pieces(first.start, last.start + last.chars):
            self._append(piece)
            yield len(piece)
        self._line_open = bool(last.chars) and not piece.endswith("\n")
        self.documents += (
            Document(d.path, d.start + shift, d.chars, d.lines, d.bytes, d.encoding) for d in taken
        )
        self.digests += digests

    def commit(self, name: str, skipped: Sequence[Skip]) -> ContextInfo:
        """Make the snapshot visible, or find that it is there already.

        The skips returned are the ones given; the manifest keeps those of its first load.

        Raises:
            StoreFailed: the data folder cannot take it.
        """
        folder = self._root / f"ctx_{self._digest()[:20]}"
        with failures_of(self._root):
            blob = self._blob
            blob.flush()
            tokens = estimate_sampled(
                blob.chars,
                lambda start, end: "".join(read_blob(blob.path, blob.kind, start, end)),
                sample_chars=_SAMPLE_CHARS,
            )
            info = ContextInfo(
                id=folder.name,
                name=name,
                documents=len(self.documents),
                bytes=sum(document.bytes for document in self.documents),
                chars=blob.chars,
                lines=sum(document.lines for document in self.documents),
                tokens_estimate=tokens,
                skipped=tuple(skipped),
                kind=blob.kind,
                blob=folder / "blob",
                manifest=folder / "manifest.json",
            )
            if not self._stands(folder):
                self._publish(folder, to_manifest(Catalogue(info, tuple(self.documents))))
        return info

    def _stands(self, folder: Path) -> bool:
        """Whether the snapshot is there already; a damaged one is moved out of the way."""
        try:
            from_folder(folder)
        except FileNotFoundError:
            if not folder.exists():
                return False
        except StoreFailed:
            pass
        else:
            return True
        damaged = folder.rename(self._root / f"{self._folder.name}-damaged")
        shutil.rmtree(damaged, ignore_errors=True)
        return False

    def _publish(self, folder: Path, manifest: bytes) -> None:
        self._blob.sync()
        with (self._folder / "manifest.json").open("wb") as file:
            file.write(manifest)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self._folder)
        try:
            self._folder.rename(folder)
        except OSError as error:
            # Another process was first: what it wrote is the same.
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
        _sync_folder(self._root)

    def _digest(self) -> str:
        digest = blake3(b"rlm-mcp context %d\n" % FORMAT)
        if self._whose:
            digest.update(blake3(self._whose.encode("utf-8")).digest())
        for document, content in zip(self.documents, self.digests, strict=True):
            path = document.path.encode("utf-8")
            digest.update(b"%d %b %b" % (len(path), path, content))
        return digest.hexdigest()

    def _append(self, text: str | bytes) -> None:
        try:
            self._blob.write(text)
        except OSError as error:
            raise _failed(self._root, error) from error


@contextmanager
def new_draft(root: Path, *, headed: bool, whose: str = "") -> Iterator[Draft]:
    """A draft in the store at `root`; whatever was not committed is gone afterwards.

    Raises:
        StoreFailed: the data folder cannot be written.
    """
    with failures_of(root):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        close_to_others(root)
        _sweep(root)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    try:
        with failures_of(root):
            blob = BlobWriter(folder / "blob")
        with blob:
            yield Draft(root, folder, blob, headed=headed, whose=whose)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def failures_of(root: Path) -> Iterator[None]:
    """What the system refuses inside becomes StoreFailed."""
    try:
        yield
    except OSError as error:
        raise _failed(root, error) from error


def _failed(root: Path, error: OSError) -> StoreFailed:
    return StoreFailed(
        f"The snapshot cannot be written to {root}: {error.strerror}.",
        "Free some space there, or set RLM_HOME to a folder that can be written.",
    )


def _sweep(root: Path) -> None:
    """Remove what loads of killed processes left behind."""
    for folder in root.glob(f"{PREFIX}*"):
        if time.time() - max(_changed_s(folder), _changed_s(folder / "blob")) > _ABANDONED_S:
            shutil.rmtree(folder, ignore_errors=True)


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
