"""What a client is offered for a prompt's arguments: what its caller has, and may load."""

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
    rows = await (await app.service()).journal.runs(MOST_RUNS)
    return [row.id for row in rows if local or (session and row.session == session.handle)]


def paths(rules: "LoadRules", typed: str) -> list[str]:
    """Folders, with a slash behind, and files that begin as typed and lie within the roots.

    What begins with a dot is offered only to who typed the dot, links are offered only if they
    lead into the roots. Of a huge folder only the first entries are looked at. Reads the disk.
    """
    folder, slash, began = typed.rpartition("/")
    if not slash:
        return [f"{root}/" for root in rules.roots or ()]
    private = Private.of(rules)

    def is_offered(path: Path) -> bool:
        real = path.resolve()
        in_roots = rules.roots is None or any(real.is_relative_to(root) for root in rules.roots)
        return in_roots and not private.holds(real)

    try:
        place = Path(folder or "/").expanduser()
        if not place.is_absolute() or not is_offered(place):
            return [f"{root}/" for root in rules.roots or () if str(root).startswith(typed)]
        entries = list(islice(place.iterdir(), MOST_LOOKED_AT))
        return sorted(
            f"{folder}/{entry.name}{'/' * entry.is_dir()}"
            for entry in entries
            if entry.name.startswith(began)
            and entry.name.startswith(".") == began.startswith(".")
            and is_offered(entry)
        )
    except (OSError, RuntimeError, ValueError):
        return []
