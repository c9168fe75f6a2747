"""The embedded endpoint: llama.cpp's server as a child of ours, restarted if it dies, for us alone.

It listens on a free port of loopback and takes a key that no other process is told. Its end is
ours: the kernel ends it with the thread that started it on Linux, and anywhere the pipe it reads.
"""

import importlib.util
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self

import anyio
import anyio.to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from rlm_mcp.errors import EndpointBusy, EndpointFailed, ModelUnusable
from rlm_mcp.llm.embedded.gguf import check
from rlm_mcp.llm.embedded.sizing import Wish
from rlm_mcp.tasks import background

LOG = "llama-server.log"
_PROGRAM = "rlm_mcp.llm.embedded.child"
_ON_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+):(?P<name>[^:\\]+\.gguf)")
# Parts of a name that would lead out of the folder of its repository.
_UPWARD = {"", ".", ".."}
_REPORT_BYTES = 64 << 10
_LOG_BYTES = 1 << 20
_LOOK_S = 0.25
_END_S = 5.0
_MOST_DEATHS, _WITHIN_S = 3, 3600.0
_INSTALL = "Install rlm-mcp with its extra `llama`; in a clone: pip install '.[llama]'."


@dataclass(frozen=True, slots=True)
class Address:
    """Where it listens, and the key it takes."""

    url: str
    key: str = field(repr=False)


class EmbeddedServer:
    """An async context manager; entering it starts nothing.

    `source` is what RLM_MODEL_PATH says: a file, or `org/repo:file.gguf` on the hub. `state` is
    what it is doing, for people.
    """

    def __init__(self, source: str, home: Path, wish: Wish) -> None:
        self.source = source
        self.state = "starting"
        self._home = home
        self._wish = wish
        self._key = secrets.token_urlsafe(32)
        self._port = self._log_start = 0
        self._address: Address | None = None
        self._problem: EndpointFailed | ModelUnusable | None = None
        self._settled = anyio.Event()
        self._is_running = False
        self._life = background()

    async def __aenter__(self) -> Self:
        self._tasks = await self._life.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._life.__aexit__(kind, error, trace)

    async def address(self, say: Callable[[str], None] | None, patience_s: float | None) -> Address:
        """Where it listens, once it does; started now if it is not running.

        `say` is told every now and then what it is doing. It goes on after `patience_s` seconds,
        and after a cancellation: whoever asks next need not wait so long.

        Raises:
            ModelUnusable: it cannot run that model.
            EndpointFailed: it has died again and again.
            EndpointBusy: it is not ready within `patience_s`.
        """
        if not self._is_running:
            self._is_running, self._settled = True, anyio.Event()
            self._tasks.start_soon(self._keep_running)
        with anyio.move_on_after(patience_s):
            while not self._settled.is_set():
                if say is not None:
                    say(self.state)
                with anyio.move_on_after(_LOOK_S):
                    await self._settled.wait()
        if self._problem is not None:
            raise self._problem
        if self._address is None:
            raise EndpointBusy(
                f"{self.source} is not ready yet: {self.state}.", "It goes on; ask again later."
            )
        return self._address

    async def _keep_running(self) -> None:
        """Have it run until it cannot, or has died too often; then the next one to ask is told."""
        self._problem, self._port = None, 0
        try:
            await self._run_on(await self._file())
        except (ModelUnusable, EndpointFailed) as error:
            self._problem = error
        except OSError as error:  # no log can be written, no process started
            self._problem = EndpointFailed(
                f"The server of {self.source} cannot be started: {error}.",
                "Check free space, memory and the rights of the data folder, then ask again.",
            )
        finally:
            self._address, self._is_running = None, False
            self._settled.set()

    async def _run_on(self, path: Path) -> NoReturn:
        deaths = list[float]()
        while len(deaths) <= _MOST_DEATHS:
            await self._run(path)
            now = anyio.current_time()
            deaths = [*(each for each in deaths if now - each < _WITHIN_S), now]
        raise EndpointFailed(
            f"The server of {path.name} has died {len(deaths)} times within an hour"
            f"{self._last_words()}",
            f"See {self._home / LOG}; a smaller model or window may do.",
        )

    async def _file(self) -> Path:
        """The model's file, downloaded if it is on the hub."""
        found = await anyio.to_thread.run_sync(locate, self.source)
        if importlib.util.find_spec("xllamacpp") is None:
            raise ModelUnusable("RLM_MODEL_PATH is set, and llama.cpp is not installed.", _INSTALL)
        return found if isinstance(found, Path) else await self._fetch(*found)

    async def _fetch(self, repo: str, name: str) -> Path:
        try:
            from rlm_mcp.llm.embedded.hub import Download  # noqa: PLC0415 - most have a file
        except ImportError as error:
            raise ModelUnusable("The client of the hub is not installed.", _INSTALL) from error
        download = Download(self._say)
        self._say(f"looking for {name} on the hub")
        try:
            return await anyio.to_thread.run_sync(
                download.fetch, repo, name, self._home, abandon_on_cancel=True
            )
        finally:
            download.stop.set()

    def _say(self, state: str) -> None:
        self.state = state

    async def _run(self, path: Path) -> None:
        """Start it, say where it listens, and wait for its end."""
        self._say(f"loading {path.name}")
        with await anyio.to_thread.run_sync(self._open_log) as log:
            child = await anyio.open_process(
                [sys.executable, "-P", "-m", _PROGRAM],
                stdin=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; it ends with us
            )
        try:
            told = await self._report(child, path)
            if told is None and self._address is not None:
                return
            if told is None:
                raise EndpointFailed(
                    f"The server of {path.name} ended while it started{self._last_words()}",
                    f"See {self._home / LOG}.",
                )
            if "hint" in told:
                raise ModelUnusable(told["problem"], told["hint"])
            if "problem" in told:
                with anyio.move_on_after(_END_S):
                    await child.wait()
                words = f"{told['problem']}{self._last_words()}"
                raise ModelUnusable(words, f"See {self._home / LOG}.")
            self._port = int(told["url"].rpartition(":")[2])
            self._address = Address(f"{told['url']}/v1", self._key)
            self._settled.set()
            await child.wait()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_END_S):
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
                await child.aclose()

    async def _report(self, child: Process, path: Path) -> dict[str, Any] | None:
        """Tell it what to do, and what it answers; None if it is gone before it does."""
        order = {
            "parent": os.getpid(),
            "path": str(path),
            "name": path.stem,
            "key": self._key,
            "port": self._port,
            "window_tokens": self._wish.window_tokens,
            "slots": self._wish.slots,
        }
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            await child.stdin.send(json.dumps(order).encode() + b"\n")
            answer = BufferedByteReceiveStream(child.stdout)
            told: dict[str, Any] = json.loads(await answer.receive_until(b"\n", _REPORT_BYTES))
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            return None
        return told

    def _open_log(self) -> BinaryIO:
        """The log, for this user only; begun anew once it is long."""
        self._home.mkdir(parents=True, exist_ok=True)
        path = self._home / LOG
        length = path.stat().st_size if path.exists() else 0
        self._log_start = length if length < _LOG_BYTES else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if self._log_start else os.O_TRUNC)
        return os.fdopen(os.open(path, flags, 0o600), "ab")

    def _last_words(self) -> str:
        """`: ` and the first error that the log has since the start, or a full stop."""
        try:
            log = (self._home / LOG).read_bytes()[self._log_start :].decode("utf-8", "replace")
        except OSError:
            return "."
        errors = re.findall(r"^[\d.]+ E (.*)", log, re.MULTILINE)
        return f": {' '.join(errors[0].split())}." if errors else "."


def locate(source: str) -> Path | tuple[str, str]:
    """The file that is meant, or its repository on the hub and its name there.

    Raises:
        ModelUnusable: it is neither.
    """
    path = Path(source).expanduser()
    on_hub = _ON_HUB.fullmatch(source)
    is_within = _UPWARD.isdisjoint(source.replace(":", "/").split("/"))
    if on_hub is not None and is_within and not path.exists():
        return on_hub["repo"], on_hub["name"]
    check(path)
    return path
