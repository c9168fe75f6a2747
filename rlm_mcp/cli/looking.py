"""How `rlm-mcp doctor` looks at this machine: each look is bounded, so that all of it ends."""

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

import anyio
import anyio.to_thread

from rlm_mcp.cli.findings import (
    Findings,
    FoundFile,
    FoundHome,
    FoundJournal,
    FoundModel,
    FoundServer,
    Wrong,
)
from rlm_mcp.cli.origins import shown_url
from rlm_mcp.clients import check
from rlm_mcp.clients.handshake import handshake
from rlm_mcp.errors import ClientError, EndpointError, SettingsInvalid
from rlm_mcp.given import AllGiven
from rlm_mcp.llm.client import RemoteModel
from rlm_mcp.llm.models import Models
from rlm_mcp.repl.survey import survey, taken, text_is_mapped
from rlm_mcp.runs.journal import FILE
from rlm_mcp.runs.tables import SCHEMA_VERSION
from rlm_mcp.settings import Settings, exposed_key

SERVER_S = 30.0
GIT_S = 5.0
MODEL_S = 10.0
WAITS = "A run waits until it is ready."
HUB = "If the hub does not answer, set RLM_MODEL_PATH to a file that is here."


async def look(settings: Settings, given: AllGiven) -> Findings:
    """Everything that a client, and a run, will meet here. It takes seconds, three minutes at most.

    The server is started before anything else is at work: how long it takes is one of the findings.
    """
    server = await _server()
    home = settings.home.expanduser()
    problem = await anyio.to_thread.run_sync(write_problem, home)
    with tempfile.TemporaryDirectory() as elsewhere:
        cache = Path(elsewhere) if problem else home / "cache"
        boxes = await survey(cache, settings.sandbox, settings.limits)
    return Findings(
        server=server,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        sdk=version("mcp"),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        text_is_mapped=await text_is_mapped(),
        home=await anyio.to_thread.run_sync(_home, home, problem),
        git=await _git(),
        file=_file(given),
        given={name: each.by for name, each in given.settings.items()},
        asked=settings.sandbox,
        taken=taken(boxes, settings.sandbox),
        boxes=boxes,
        model=await _model(settings),
        clients=await check.tried(),
        wrong=tuple(Wrong(each.message, each.hint) for each in given.wrong),
    )


def write_problem(home: Path) -> str | None:
    """Why nothing can be written to the data folder, None if it can be."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            return None
    except OSError as error:
        return error.strerror or str(error)


async def _server() -> FoundServer:
    """This very program, started as a client would start it, but for runs that it would resume."""
    environment = os.environ | {"RLM_RESUME": "0"}
    try:
        met = await handshake([sys.executable, "-m", "rlm_mcp"], environment, SERVER_S)
    except ClientError as error:
        return FoundServer(reason=error.message, hint=error.hint)
    return FoundServer(
        version=met.version, start_s=met.seconds, tools=len(met.tools), stray=met.stray
    )


def _home(home: Path, problem: str | None) -> FoundHome:
    if problem is not None:
        return FoundHome(home, problem)
    contexts = list((home / "contexts").glob("ctx_*"))
    return FoundHome(
        home,
        free_bytes=shutil.disk_usage(home).free,
        contexts=len(contexts),
        contexts_bytes=sum(map(_bytes, contexts)),
        journal=_journal(home / FILE),
    )


def _bytes(folder: Path) -> int:
    with suppress(OSError):  # another process may be removing it
        return sum(each.stat().st_size for each in folder.iterdir())
    return 0


def _journal(path: Path) -> FoundJournal | None:
    if not path.exists():
        return None
    amount = path.stat().st_size
    try:
        with closing(sqlite3.connect(path, timeout=1)) as db:
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            if schema > SCHEMA_VERSION:
                newer = f"its schema is {schema}, this rlm-mcp knows {SCHEMA_VERSION}"
                return FoundJournal(amount, schema=schema, problem=newer)
            (runs,) = db.execute("SELECT count(*) FROM runs").fetchone()
    except sqlite3.Error as error:
        return FoundJournal(amount, problem=str(error))
    return FoundJournal(amount, schema=schema, runs=runs)


async def _git() -> str | None:
    """Its version; None if there is none that answers."""
    try:
        with anyio.move_on_after(GIT_S):
            said = await anyio.run_process(["git", "--version"], stderr=subprocess.DEVNULL)
            return said.stdout.decode(errors="replace").removeprefix("git version ").strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    return None


def _file(given: AllGiven) -> FoundFile | None:
    if given.file is None:
        return None
    exposed = exposed_key(given)
    return FoundFile(given.file.path, exposed[1] if exposed else None)


async def _model(settings: Settings, within_s: float = MODEL_S) -> FoundModel:
    states: list[str] = []
    try:
        with anyio.fail_after(within_s):
            async with Models(settings) as models:
                models.say = states.append
                root = (await models.resolve()).root
                profile = await models.kept(root)
    except EndpointError as error:
        return FoundModel(url=error.url, reason=error.message, hint=error.hint)
    except SettingsInvalid as error:
        return FoundModel(reason=error.message, hint=error.hint)
    except TimeoutError:
        reason = f"no answer within {within_s:.0f} s"
        if states:
            return _unready(f"still {states[-1]} after {within_s:.0f} s", reason)
        return FoundModel(
            url=settings.api_url and shown_url(settings.api_url),
            reason=reason,
            hint="See whether the server is up, and whether it is loading a model.",
        )
    assert isinstance(root, RemoteModel)
    age_s = None if profile is None else profile.age_s()
    return FoundModel(root.url, root.name, root.window_tokens, root.slots, measured_s_ago=age_s)


def _unready(state: str, reason: str) -> FoundModel:
    """A model that runs here, loads, and has shown no mistake so far."""
    hint = f"{WAITS} {HUB}" if "hub" in state else WAITS
    return FoundModel(reason=reason, hint=hint, state=state)
