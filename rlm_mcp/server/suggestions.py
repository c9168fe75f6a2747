"""What a client is offered for a prompt's arguments: what its caller has, and may load."""

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from rlm_mcp.contexts.private import Private
from rlm_mcp.server.app import App
from rlm_mcp.server.sessions import LOCAL, Request, transport_key

if TYPE_CHECKING:
    from rlm_mcp.engine.session import Session
    from rlm_mcp.rules import LoadRules

MOST_LOOKED_AT = 10_000
MOST_RUNS = 100


async def own_session(app: App, request: Request) -> "Session | None":
    """The session that the transport implies, None before the caller has loaded anything.

    Opens nothing by itself: hosts ask for prompts as soon as they are connected.
    """
    if app.share is None and app.sessions.implied(transport_key(request)) is None:
        return None
    caller = await app.caller(request)
    handle = caller.implied.implied(caller.key)
    return next((each for each in caller.service.sessions if each.handle == handle), None)


async def sources(app: App, request: Request, typed: str) -> list[str]:
    """Names of the caller's contexts, then paths that begin as typed, within the roots."""
    session = await own_session(app, request)
    names = [info.name for info in session.contexts] if session else []
    user = None if app.share is None else (await app.caller(request)).user

    def look() -> list[str]:
        return paths(app.settings.load_rules if user is None else user.rules(), typed)

    return names + await anyio.to_thread.run_sync(look)


async def runs(app: App, request: Request) -> list[str]:
    """Ids of the caller's runs, the newest first: over HTTP those of its session.

    On standard streams all of the journal are the caller's, those of earlier servers too.
    """
    local = transport_key(request) == LOCAL
    session = await own_session(app, request)
    if session is None and not local:
        return []
    journal, handle = (await app.service()).journal, session.handle if session else None
    return [row.id for row in await journal.runs(MOST_RUNS, None if local else handle)]


def paths(rules: "LoadRules", typed: str) -> list[str]:
    """Folders, with a slash behind, and files that begin as typed and lie within the roots.

    What begins with a dot is offered only to who typed the dot, links are offered only if they
    lead into the roots; names that JSON or a screen cannot show are not. Of a huge folder only the
    first entries are looked at. Reads the disk.
    """
    folder, slash, began = typed.rpartition("/")
    if not slash:
        return [f"{root}/" for root in rules.roots or ()]
    try:
        place, private = Path(folder or "/").expanduser(), Private.of(rules)
        real = place.resolve()
        if not place.is_absolute() or not _within(real, rules, private):
            return [f"{root}/" for root in rules.roots or () if str(root).startswith(typed)]
        with os.scandir(real) as entries:
            return sorted(
                f"{folder}/{entry.name}{'/' * entry.is_dir()}"
                for entry in islice(entries, MOST_LOOKED_AT)
                if entry.name.startswith(began)
                and entry.name.isprintable()
                and entry.name.startswith(".") == began.startswith(".")
                and _within(_real(entry), rules, private)
            )
    except (OSError, RuntimeError, ValueError):
        return []


def _real(entry: "os.DirEntry[str]") -> Path:
    """Where an entry of a folder without links in its path really is."""
    return Path(entry.path).resolve() if entry.is_symlink() else Path(entry.path)


def _within(real: Path, rules: "LoadRules", private: Private) -> bool:
    in_roots = rules.roots is None or any(real.is_relative_to(root) for root in rules.roots)
    return in_roots and not private.holds(real)
