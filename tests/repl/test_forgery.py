"""Code that finds the descriptor of the channel and speaks for the guest."""

import json
import struct
from dataclasses import replace

import anyio
import pytest
from repl_driver import LIMITS

from rlm_mcp.types import Final, SubReply

pytestmark = [pytest.mark.anyio, pytest.mark.needs("os")]

WRITE = """
import os
for fd in range(64):
    try:
        os.write(fd, {stream!r})
        if fd > 2: break  # beyond it are places kept by duplicates
    except OSError:
        pass
"""


def frame(message: object) -> bytes:
    header = json.dumps(message).encode()
    return struct.pack("<II", 8 + len(header), len(header)) + header


DONE = {
    "t": "done",
    "number": 2,
    "status": "ok",
    "output": "forged",
    "output_chars": 6,
    "error": None,
    "variables": [],
    "final": None,
    "draft": None,
    "restored": [],
}
CALL = {"t": "call", "id": 7, "kind": "llm", "batched": False, "requests": [["p", None, None]]}


@pytest.mark.parametrize(
    "stream",
    [
        b"garbage that is no frame",
        struct.pack("<II", 0xFFFFFFFF, 1),
        struct.pack("<II", 100, 4000) + bytes(92),
        frame({"t": "unheard of"}),
        frame({"t": "hello", "python": "9", "layers": [], "probes": [], "space_bytes": 0}),
        frame({**DONE, "number": 9}),
        frame({**DONE, "status": "splendid"}),
        frame({**DONE, "output": "x" * 10_000}),
        frame({**DONE, "output_chars": -1}),
        frame({**DONE, "final": ["text", "FORGED", False]}),
        frame({**DONE, "variables": [["name", "type"]]}),
        frame({**DONE, "variables": [["n", "t", 1, "p"]] * 1000}),
        frame({**CALL, "kind": "shell"}),
        frame({**CALL, "requests": []}),
        frame({**CALL, "requests": [["p", None, None]] * 2}),
        frame({**CALL, "requests": [[1, 2, 3]]}),
        frame({**CALL, "requests": [["p", None, "m" * 201]]}),
        frame({**CALL, "batched": True, "requests": [["", None, None]] * 10_001}),
        frame({**CALL, "more": 1}),
        frame({**CALL, "id": True}),
        frame(CALL) + frame(CALL),
        b"".join(frame({**CALL, "id": number}) for number in range(100, 1000)),
        frame(DONE) + frame(DONE),
    ],
    ids=lambda stream: repr(stream[:60]),
)
async def test_a_forged_frame_ends_the_guest_and_not_the_host(repl, stream):
    await repl.run("1")
    code = WRITE.format(stream=stream) + "while True: pass"
    result = await repl.run(code)
    if stream.startswith(frame(DONE)):
        assert result.output == "forged"
        assert (await repl.run("1")).status == "died"
    else:
        assert result.status == "died"
        assert "broke the protocol" in result.error
    assert (await repl.run("6 * 7")).output.endswith("42\n")


async def test_a_cell_that_forges_its_own_end_is_still_stopped(repl):
    await repl.run("1")
    forged = {**DONE, "final": ["forged", "FINAL", False]}
    result = await repl.run(WRITE.format(stream=frame(forged)) + "import time; time.sleep(0.2)")
    assert result.final == Final("forged", "FINAL")
    assert (await repl.run("1")).status == "died"
    assert (await repl.run("6 * 7")).output.endswith("42\n")


async def test_calls_of_a_cell_that_has_ended_are_counted(repl):
    await repl.run("1")
    late = b"".join(frame({**CALL, "id": number}) for number in range(600))
    forged = WRITE.format(stream=frame(DONE) + late) + "import time; time.sleep(60)"
    assert (await repl.run(forged)).output == "forged"
    with anyio.fail_after(30):
        assert (await repl.run("1")).status == "died"


async def test_a_guest_that_reads_no_answers_is_killed(repl):
    await repl.open("small", limits=replace(LIMITS, message_bytes=1 << 16))
    await repl.run("1", "small")
    calls = b"".join(frame({**CALL, "id": number}) for number in range(100, 110))
    code = WRITE.format(stream=calls) + "import itertools\n-1 in itertools.count()"
    result = await repl.run(code, "small", lambda _: SubReply("x" * (1 << 18)))
    assert result.status == "died"
    assert "does not read its answers" in result.error


async def test_what_a_guest_says_is_cut_in_the_reason_of_its_end(repl):
    await repl.run("1")
    result = await repl.run(WRITE.format(stream=frame({"t": "x" * 100_000})) + "while True: pass")
    assert result.status == "died"
    assert len(result.error) < 1_000


async def test_a_forged_call_is_answered_and_harms_nothing(repl):
    await repl.run("1")
    result = await repl.run(WRITE.format(stream=frame(CALL)) + "llm_query('honest')")
    assert result.output == "'<honest>'\n"
    assert [call.requests[0].prompt for call in repl.calls] == ["p", "honest"]
