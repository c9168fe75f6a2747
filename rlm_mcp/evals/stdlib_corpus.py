"""Source code that is on every machine: the running Python's standard library, without its tests.

Answers about it depend on the Python version, so a corpus has a digest.
"""

import random
import sysconfig
import tokenize
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from pathlib import Path

_LEFT_OUT = frozenset(
    {"test", "tests", "idle_test", "__pycache__", "site-packages", "dist-packages", "lib-dynload"}
)
# No file makes up more of a corpus than this, so that there is something to look through.
LARGEST_SHARE = 1 / 3
OVERSHOOT = 1.05


def sources(chars: int, seed: int) -> dict[str, str]:
    """Path -> text of about `chars` characters of the standard library, or all of it if less.

    Whole packages as far as they fit, drawn by `seed`; in order of paths.
    """
    root = Path(sysconfig.get_path("stdlib"))
    units = [list(files) for _, files in groupby(_files(root), key=lambda path: path.parts[0])]
    random.Random(f"sources {seed}").shuffle(units)
    taken: dict[str, str] = {}
    total = 0
    for path in (path for unit in units for path in unit):
        if total >= chars:
            break
        text = _text(root / path)
        if text and len(text) <= chars * LARGEST_SHARE and total + len(text) <= chars * OVERSHOOT:
            taken[path.as_posix()] = text
            total += len(text)
    return dict(sorted(taken.items()))


def digest_of(documents: Mapping[str, str]) -> str:
    """A short hash of paths and texts."""
    hashed = blake2b(digest_size=6)
    for path, text in documents.items():
        hashed.update(f"{path}\0{text}\0".encode())
    return hashed.hexdigest()


@lru_cache(maxsize=1)
def _files(root: Path) -> tuple[Path, ...]:
    return tuple(sorted(_python_files(root)))


def _python_files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*.py"):
        inside = path.relative_to(root)
        if not _LEFT_OUT & set(inside.parts) and not inside.parts[0].startswith("config-"):
            yield inside


def _text(path: Path) -> str:
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""
