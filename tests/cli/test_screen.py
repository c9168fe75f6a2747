"""What endpoints, models and files are called is shown on a terminal, and never steers it."""

import os
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import anyio
import pytest
from terminals import read_terminal

from rlm_mcp.cli import rows
from rlm_mcp.cli.live import live_line
from rlm_mcp.cli.screen import harmless
from rlm_mcp.llm.scripted import ScriptedReply

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal"),
]

# Writes the clipboard, names the window, clears the screen, turns text round.
NAME = "m\x1b]52;c;aGk=\x07\x1b]0;x\x1b\\\x9b2J\u202ek"
STEERING = ("\x1b]", "\x07", "\x9b", "\u202e")
SHOWN = "m[U+001B]]52;c;aGk=[U+0007][U+001B]]0;x[U+001B]\\[U+009B]2J[U+202E]k"


@contextmanager
def terminal(monkeypatch):
    """A terminal that `sys.stdout` and `sys.stderr` are: a list, then with all it was told."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    ours, theirs = os.openpty()
    told = []
    with (
        os.fdopen(theirs, "w", encoding="utf-8") as stream,
        redirect_stdout(stream),
        redirect_stderr(stream),
    ):
        yield told
    told.append(read_terminal(ours))


def test_a_text_is_the_same_but_for_what_would_steer():
    assert harmless(NAME) == SHOWN
    assert harmless("tab\there\r\nand é 漢 🙂\n") == "tab\there\nand é 漢 🙂\n"


def test_the_line_that_says_what_happens_now_does_not_steer(monkeypatch):
    with terminal(monkeypatch) as told, live_line(quiet=False) as line:
        line.say(f"waiting for {NAME}")

    assert f"waiting for {SHOWN}" in told[0]
    assert not [sign for sign in STEERING if sign in told[0]]


def test_what_doctor_and_a_measurement_show_does_not_steer(monkeypatch):
    with terminal(monkeypatch) as told:
        rows.show([rows.Row("model", f"{NAME} at http://localhost", "good")])

    assert f"{SHOWN} at http://localhost" in told[0]
    assert not [sign for sign in STEERING if sign in told[0]]


async def test_the_words_of_an_endpoint_that_refuses_do_not_steer(desk, tmp_path):
    async def refuses(_):
        return ScriptedReply(NAME, status=400)

    desk.script = refuses
    text = tmp_path / "log.txt"
    text.write_text("boom", encoding="utf-8")
    ours, theirs = os.openpty()
    with anyio.fail_after(60):
        process = await desk.start("ask", "--quiet", text, "When?", stderr=theirs)
        os.close(theirs)
        shown = await anyio.to_thread.run_sync(read_terminal, ours)
        code = await process.wait()

    assert code == 1
    assert SHOWN in shown
    assert not [sign for sign in STEERING if sign in shown]
