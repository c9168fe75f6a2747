"""The guest's program in one file: standard library, `regex` and our guest code, compiled.

Built once per interpreter and content, written beside and renamed, so that several servers and
sessions may build it at the same time. `guest/loader.py` documents the format and reads it.
"""

import hashlib
import importlib.machinery
import importlib.util
import marshal
import os
import secrets
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

GUEST = Path(__file__).parent / "guest"
LEFT_OUT = {
    "__pycache__",
    "antigravity.py",
    "ctypes",
    "curses",
    "dbm",
    "dist-packages",
    "distutils",
    "ensurepip",
    "idlelib",
    "lib-dynload",
    "lib2to3",
    "msilib",
    "multiprocessing",
    "pydoc_data",
    "site-packages",
    "sqlite3",
    "test",
    "tests",
    "tkinter",
    "turtle.py",
    "turtledemo",
    "unittest",
    "venv",
    "wsgiref",
    "xmlrpc",
}
# ctypes is needed to lock the box; the guest takes it out of reach by name before code runs.
NEEDED = ("ctypes",)
_KEPT_S = 30 * 24 * 3600
EXTENSIONS = tuple(importlib.machinery.EXTENSION_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Program:
    """The program's file, and the source that `python -c` is given to run it."""

    file: Path
    loader: str


def build(cache: Path) -> Program:
    """The program, its file in `cache` built if it is not there.

    Raises:
        OSError: the folder cannot be written.
    """
    identity = [sys.version, sysconfig.get_path("stdlib"), metadata.version("regex")]
    digest = hashlib.sha256("\0".join(identity).encode())
    for path in sorted(GUEST.rglob("*.py")):
        digest.update(path.read_bytes())
    digest.update(Path(__file__).read_bytes())
    target = cache / f"guest-{sys.implementation.cache_tag}-{digest.hexdigest()[:16]}.bin"
    if target.exists():
        os.utime(target)
    else:
        cache.mkdir(parents=True, exist_ok=True)
        beside = target.with_suffix(f".{secrets.token_hex(4)}")
        beside.write_bytes(_content())
        beside.replace(target)
        _sweep(cache)
    return Program(target, (GUEST / "loader.py").read_text(encoding="utf-8"))


def _sweep(cache: Path) -> None:
    """Remove programs of earlier versions that no server was started with for long."""
    oldest = time.time() - _KEPT_S
    for old in cache.glob("guest-*"):
        with suppress(OSError):
            if old.stat().st_mtime < oldest:
                old.unlink()


def _content() -> bytes:
    modules: dict[str, tuple[int, int, bool]] = {}
    extensions: dict[str, str] = {}
    codes: list[bytes] = []
    offset = 0
    for name, path in _sources():
        if path.name.endswith(EXTENSIONS):
            extensions[name] = str(path)
            continue
        code = _compiled(path)
        if code is not None:
            modules[name] = (offset, len(code), path.name == "__init__.py")
            codes.append(code)
            offset += len(code)
    index = marshal.dumps((modules, extensions))
    return b"".join((len(index).to_bytes(8, "little"), index, *codes))


def _sources() -> Iterator[tuple[str, Path]]:
    standard = Path(sysconfig.get_path("stdlib"))
    yield from _package(standard, "", LEFT_OUT)
    for name in NEEDED:
        yield from _package(standard / name, name, LEFT_OUT)
    found = importlib.util.find_spec("regex")
    if found is not None and found.origin is not None:
        yield from _package(Path(found.origin).parent, "regex", LEFT_OUT)
    yield from _package(GUEST, "guest", {"__pycache__"})


def _package(folder: Path, name: str, left_out: set[str]) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        stem = path.name.split(".")[0]
        inner = name if stem == "__init__" else f"{name}.{stem}".lstrip(".")
        if path.name in left_out:
            continue
        if path.is_dir():
            if (path / "__init__.py").exists():
                yield from _package(path, inner, left_out)
        elif path.suffix == ".py" or path.name.endswith(EXTENSIONS):
            yield inner, path


def _compiled(path: Path) -> bytes | None:
    """Marshalled code: the interpreter's own cached file where there is one. None: not Python."""
    source = path.read_bytes()
    cached = Path(importlib.util.cache_from_source(path))
    try:
        header, code = cached.read_bytes()[:16], cached.read_bytes()[16:]
        stamp = path.stat()
        fresh = header[4:8] == bytes(4) and header[8:16] == b"".join(
            (value & 0xFFFFFFFF).to_bytes(4, "little")
            for value in (int(stamp.st_mtime), stamp.st_size)
        )
        if fresh and header[:4] == importlib.util.MAGIC_NUMBER:
            return code
    except OSError:
        pass
    try:
        return marshal.dumps(compile(source, path.name, "exec", dont_inherit=True))
    except (SyntaxError, ValueError):
        return None
