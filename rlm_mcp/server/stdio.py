"""The server on standard input and output, and its four ends: EOF, signals, a dead parent."""

import os
import signal
import sys
from contextlib import suppress

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from rlm_mcp.server.app import App, open_app
from rlm_mcp.server.build import build_server
from rlm_mcp.settings import Settings

PARENT_EVERY_S = 2.0


async def serve_stdio(settings: Settings) -> None:
    """Serve one client until it closes our input, then return.

    SIGTERM and SIGINT end the process with 143 and 130, a dead parent with 0, after clean-up. File
    descriptor 1 belongs to the protocol: `stdio_server` points what others print at stderr.
    """
    parent = os.getppid()
    async with open_app(settings) as app, anyio.create_task_group() as watchers:
        if sys.platform != "win32":
            watchers.start_soon(_end_by_signal, app)
            watchers.start_soon(_end_with_parent, app, parent)
        server = build_server(app)
        try:
            async with stdio_server() as (reader, writer):
                told, messages = anyio.create_memory_object_stream[SessionMessage | Exception]()
                watchers.start_soon(_pass_on, reader, told, app)
                await server.run(messages, writer, server.create_initialization_options())
        except* (BrokenPipeError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the client is gone, which is an end like EOF
        watchers.cancel_scope.cancel()


async def _pass_on(
    reader: ObjectReceiveStream[SessionMessage | Exception],
    to: ObjectSendStream[SessionMessage | Exception],
    app: App,
) -> None:
    """Pass on what the client says; that it left is known before calls are cancelled for it."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # nobody listens any more
        async with reader, to:
            async for message in reader:
                await to.send(message)
            app.client_left = True


async def _end_by_signal(app: App) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            await _leave(app, 128 + number)


async def _end_with_parent(app: App, parent: int) -> None:
    # EOF does not tell if another process still holds the pipe; PR_SET_PDEATHSIG leaves no time.
    while True:
        await anyio.sleep(PARENT_EVERY_S)
        if os.getppid() != parent:
            await _leave(app, 0)


async def _leave(app: App, code: int) -> None:
    from rlm_mcp.runs.spans import flush  # noqa: PLC0415 - a server that starts needs none of it

    await app.close()
    await flush()
    # The thread that reads stdin cannot be interrupted; a normal exit would wait for it.
    os._exit(code)
