"""What may be loaded, and how long it is kept."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class LoadRules:
    """What may be loaded. `roots` are the folders it must lie in, None for anywhere.

    `http` lets URLs be loaded, from public addresses or from any. `secrets` lets files of folders
    through that look like keys or passwords. `most_bytes` and `most_files` bound one load,
    `most_file_bytes` one document of it, in bytes of the source (of what an archive holds,
    unpacked).

    `private` are files and folders that nothing is loaded from wherever they lie, links followed.
    `keys` are the server's own: what begins with one in it is not loaded either, however it came.
    Loads of another `whose` are not remembered for this one, and its contexts are others.
    """

    roots: tuple[Path, ...] | None = None
    secrets: bool = False
    http: Literal["off", "public", "any"] = "off"
    most_bytes: int = 64 * 10**9
    most_file_bytes: int = 64 * 10**9
    most_files: int = 1_000_000
    private: tuple[Path, ...] = ()
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    whose: str = ""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long contexts stay since their last use, or runs, in days, and how many bytes in all."""

    days: float
    bytes: int
