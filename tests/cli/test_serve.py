import os
import signal

import anyio
import pytest
from mcp import Client

pytestmark = pytest.mark.anyio


async def test_without_a_command_it_serves_stdio_and_ends_with_its_input(desk):
    code, out, err = await desk.run(stdin=b"")

    assert (code, out, err) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
async def test_a_person_at_a_terminal_is_told_what_it_waits_for(desk):
    ours, theirs = os.openpty()

    with anyio.fail_after(60):
        process = await desk.start(stdin=theirs)
        os.close(theirs)
        line = await process.stderr.receive()
        process.terminate()
        await process.wait()
        out = b"".join([chunk async for chunk in process.stdout])
    os.close(ours)

    assert b"waits here for an MCP client" in line
    assert b"rlm-mcp ask" in line
    assert out == b""


async def test_http_announces_its_address_serves_and_ends_on_a_signal(desk):
    with anyio.fail_after(60):
        process = await desk.start("serve", "--http", "--port", "0")
        line = (await process.stderr.receive()).decode()
        async with Client(line.split()[-1]) as client:
            tools = await client.list_tools()
        process.send_signal(signal.SIGTERM)
        code = await process.wait()

    assert line.startswith("rlm-mcp serves MCP at http://127.0.0.1:")
    assert "rlm_query" in [tool.name for tool in tools.tools]
    assert code == 128 + signal.SIGTERM
