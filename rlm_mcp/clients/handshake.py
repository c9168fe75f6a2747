"""A server started as an MCP client starts it, and asked for its tools.

JSON-RPC lines over the child's pipes, as in revision 2025-11-25 of the protocol
(https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle), which every host speaks.
The SDK is left out: two seconds of imports would be measured too, and it hides what a server says
on standard output that is not the protocol, which breaks stricter clients.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Self

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from rlm_mcp.errors import NotAnMcpServer, ServerEnded, ServerMissing, ServerSilent
from rlm_mcp.words import clip

REVISION = "2025-11-25"
LINE_BYTES = 16 << 20
STRAY_LINES, STRAY_CHARS = 5, 200
STDERR_CHARS = 2000
END_S = 2.0
GONE = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, ConnectionError)


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a server said. `seconds`: from its start to its list of tools.

    `stray` are the first lines on its standard output that are no JSON-RPC, cut to 200 characters;
    there must be none. `stderr` is the end of what it wrote there, 2,000 characters at most.
    """

    seconds: float
    protocol: str
    name: str
    version: str
    tools: tuple[str, ...]
    stray: tuple[str, ...]
    stderr: str


async def handshake(
    command: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> Handshake:
    """Start `command` with exactly that environment, list its tools, and end it again.

    The child ends in any case, with what it started in its process group: by the end of its input,
    else by force after two seconds.

    Raises:
        ServerMissing: the command does not exist or may not be run.
        ServerEnded: it ended before it had answered.
        ServerSilent: it has not answered within `timeout_s`.
        NotAnMcpServer: what it answers is not MCP.
    """
    started = anyio.current_time()
    async with anyio.TemporaryFile() as stderr:
        child = await _start(command, environment, stderr.wrapped)
        wire = _Wire.of(child)
        found, ended = None, False
        try:
            with anyio.move_on_after(timeout_s):
                found = await _meet(wire)
            seconds = anyio.current_time() - started
        except GONE:
            ended = True
        finally:
            code = await _end(child)
        said = await _tail(stderr)
    if ended:
        raise _ended(command, code, wire.stray, said)
    if found is None:
        raise _silent(command, timeout_s, wire.stray, said)
    revision, name, number, tools = found
    return Handshake(seconds, revision, name, number, tools, tuple(wire.stray), said)


@dataclass(slots=True)
class _Wire:
    """Lines of JSON-RPC to and from a child; keeps the first lines that are something else."""

    child: Process
    lines: BufferedByteReceiveStream
    stray: list[str] = field(default_factory=list)
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def of(cls, child: Process) -> Self:
        assert child.stdout is not None
        return cls(child, BufferedByteReceiveStream(child.stdout))

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """The result of a request; whatever else the server says meanwhile is let pass."""
        asked = next(self.ids)
        await self.tell(method, id=asked, params=params)
        while True:
            reply = await self._receive()
            if reply is None or reply.get("id") != asked or "method" in reply:
                continue
            if isinstance(result := reply.get("result"), dict):
                return result
            raise NotAnMcpServer(
                f"The server answers `{method}` with {clip(json.dumps(reply), 300)}",
                "Look whether the command starts an MCP server.",
            )

    async def tell(self, method: str, **members: object) -> None:
        line = json.dumps({"jsonrpc": "2.0", "method": method, **members})
        assert self.child.stdin is not None
        await self.child.stdin.send(line.encode() + b"\n")

    async def _receive(self) -> dict[str, Any] | None:
        try:
            line = await self.lines.receive_until(b"\n", LINE_BYTES)
        except anyio.DelimiterNotFound as error:
            raise NotAnMcpServer(
                f"The server writes a line of more than {LINE_BYTES >> 20} MB.",
                "Look whether the command starts an MCP server.",
            ) from error
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict) and message.get("jsonrpc") == "2.0":
            return message
        if len(self.stray) < STRAY_LINES:
            self.stray.append(line.decode(errors="replace").rstrip("\r")[:STRAY_CHARS])
        return None


async def _meet(wire: _Wire) -> tuple[str, str, str, tuple[str, ...]]:
    """The revision agreed on, the server's name and version, and the names of its tools."""
    client = {"name": "rlm-mcp", "version": version("rlm-mcp")}
    hello = await wire.ask(
        "initialize", protocolVersion=REVISION, capabilities={}, clientInfo=client
    )
    await wire.tell("notifications/initialized")
    tools: list[str] = []
    further: dict[str, object] = {}
    try:
        while True:
            page = await wire.ask("tools/list", **further)
            tools += [str(tool["name"]) for tool in page["tools"]]
            if not page.get("nextCursor"):
                break
            further = {"cursor": page["nextCursor"]}
        revision, server = str(hello["protocolVersion"]), hello["serverInfo"]
        return revision, str(server["name"]), str(server["version"]), tuple(tools)
    except (KeyError, TypeError) as error:
        raise NotAnMcpServer(
            f"The server's answers lack what MCP asks of them: {error}",
            "Look whether the command starts an MCP server.",
        ) from error


async def _start(command: Sequence[str], environment: Mapping[str, str], stderr: Any) -> Process:
    try:
        return await anyio.open_process(
            list(command),
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=sys.platform != "win32",
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ServerMissing(
            f"{command[0]} cannot be started: {reason or error}.",
            "Give the absolute path of a program that exists: `rlm-mcp install` writes it.",
        ) from error


async def _end(child: Process) -> int:
    """Its exit code, once it and its process group are gone."""
    with anyio.CancelScope(shield=True):
        assert child.stdin is not None
        await child.stdin.aclose()
        with anyio.move_on_after(END_S):
            await child.wait()
        _kill(child)
        code = await child.wait()
        await child.aclose()
    return code


def _kill(child: Process) -> None:
    if sys.platform != "win32":
        # macOS says PermissionError of a group whose members have all ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    elif child.returncode is None:
        child.kill()


async def _tail(stderr: "anyio.AsyncFile[bytes]") -> str:
    length = await stderr.seek(0, os.SEEK_END)
    await stderr.seek(max(0, length - 4 * STDERR_CHARS))
    return (await stderr.read()).decode(errors="replace").strip()[-STDERR_CHARS:]


def _ended(command: Sequence[str], code: int, stray: list[str], stderr: str) -> ServerEnded:
    words = stderr or "\n".join(stray) or "It said nothing."
    return ServerEnded(
        f"{command[0]} ended with exit code {code} before it had answered: {_last(words)}",
        "Run the command in a terminal; it should wait there in silence.",
    )


def _silent(
    command: Sequence[str], timeout_s: float, stray: list[str], stderr: str
) -> ServerSilent | NotAnMcpServer:
    if stray:
        return NotAnMcpServer(
            f"{command[0]} says on standard output what is not MCP: {stray[0]}",
            "Look whether the command starts an MCP server.",
        )
    words = f" Its last words: {_last(stderr)}" if stderr else ""
    return ServerSilent(
        f"{command[0]} has not answered within {timeout_s:g} s.{words}",
        "Run the command in a terminal; it should wait there in silence. A first start after an"
        " installation is slower than the next.",
    )


def _last(words: str) -> str:
    """The last line; of our own commands the whole error, which has two."""
    *_, error = words.rpartition("error: ")
    return (error if error != words else words.splitlines()[-1])[-STRAY_CHARS:]
