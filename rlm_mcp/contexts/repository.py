"""Where a git repository keeps what it has: all of it must lie where one may load from.

Work trees and clones share objects with other repositories, and so a hostile one may name any
(gitrepository-layout: `.git` files, `commondir`, `objects/info/alternates`, links).
"""

import os
from collections.abc import Iterator
from pathlib import Path

from rlm_mcp.contexts import git
from rlm_mcp.contexts.listing import Asking, shown
from rlm_mcp.contexts.private import Private
from rlm_mcp.contexts.roots import require_within
from rlm_mcp.errors import SourceUnreadable

GIT_S = 60.0
_ALTERNATE = b"alternate: "


def require_admitted(folder: Path, asking: Asking) -> None:
    """See that git, asked in `folder`, reads only from where one may load.

    Its own repository may stand above the roots, but whatever that shares must lie in one.

    Raises:
        SourceForbidden: it would read elsewhere.
        SourceUnreadable: the folder is in no repository that may be read.
    """
    own = _place(folder, asking, "--absolute-git-dir")
    private = Private.of(asking.rules)
    # A file named .git may point anywhere.
    is_around = folder.is_relative_to(own.parent)
    places = [own, _place(folder, asking, "--git-common-dir")]
    for store in _stores(folder, asking):
        places += [store, *_led_to(store, asking)]
    for place in places:
        if not (is_around and place.is_relative_to(own)) or private.holds(place):
            require_within(place, asking.rules)


def _place(folder: Path, asking: Asking, *which: str) -> Path:
    # Asked one by one: a name may have line ends.
    printed = git.output(["rev-parse", *which], str(folder), GIT_S, asking.tick)
    if printed is None:
        raise _unreadable(folder)
    return (folder / os.fsdecode(printed.removesuffix(b"\n"))).resolve()


def _stores(folder: Path, asking: Asking) -> Iterator[Path]:
    """The folder of objects, and those it names as others, and those that they name."""
    yield _place(folder, asking, "--git-path", "objects")
    counted = git.output(["count-objects", "-v"], str(folder), GIT_S, asking.tick)
    if counted is None:
        raise _unreadable(folder)
    for line in counted.splitlines():
        if line.startswith(_ALTERNATE):
            name = line.removeprefix(_ALTERNATE)
            if name.startswith(b'"'):  # quoted, since it has characters that no honest one has
                raise _unreadable(folder)
            yield Path(os.fsdecode(name)).resolve()


def _led_to(store: Path, asking: Asking) -> Iterator[Path]:
    """Where the links in a folder of objects lead."""
    for folder, folders, files in os.walk(store):
        asking.tick()
        for name in (*folders, *files):
            path = os.path.join(folder, name)  # noqa: PTH118 - there may be a million
            if os.path.islink(path):  # noqa: PTH114 - likewise
                yield Path(path).resolve()


def _unreadable(folder: Path) -> SourceUnreadable:
    return SourceUnreadable(
        f"{shown(str(folder))} is in no git repository that may be read.",
        "Name a folder of a work tree; git's safe.directory lists those of other users.",
    )
