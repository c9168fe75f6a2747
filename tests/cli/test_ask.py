import json
import os
import re
import signal
import subprocess

import anyio
import pytest
from terminals import read_terminal

pytestmark = pytest.mark.anyio

LOG = "calm\nboom at noon\ncalm\n"
LOOK = """```repl
line = 1 + context[:context.index("boom")].count("\\n")
answer["content"] = f"a draft about line {line}"
said = llm_query("When?", context.splitlines()[line - 1])
print(said)
```"""
ANSWER = """```repl
FINAL(f"It went boom {said}, see log.txt:{line}.")
```"""


def turn(messages):
    return sum(message.role == "assistant" for message in messages)


async def finds(messages):
    if messages[0].role != "system":
        return "at noon" if "noon" in messages[-1].content else "unknown"
    return [LOOK, ANSWER][turn(messages)]


async def never_answers(_messages):
    return LOOK


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text(LOG, encoding="utf-8")
    return str(path)


async def test_the_answer_alone_is_on_standard_output(desk, log):
    desk.script = finds

    code, out, err = await desk.run("ask", log, "When did it go boom?")

    assert (code, out) == (0, "It went boom at noon, see log.txt:2.\n")
    lines = dict(line.split(maxsplit=1) for line in err.splitlines())
    assert lines["citations"] == "1, all found in the text"
    assert lines["cost"].startswith("3 calls · ")
    assert "no price set" in lines["cost"]
    assert lines["run"].startswith("run_")


async def test_json_is_the_whole_result_in_one_object(desk, log):
    desk.script = finds

    code, out, _ = await desk.run(
        "ask", "--json", log, "When did it go boom?", RLM_PRICE_IN="1000000", RLM_PRICE_OUT="0"
    )
    result = json.loads(out)

    assert code == 0
    assert result["answer"] == "It went boom at noon, see log.txt:2."
    assert result["stopped_by"] == "answer"
    cited = result["citations"][0]
    assert (cited["path"], cited["start"], cited["found"]) == ("log.txt", 2, True)
    usage = result["usage"]
    assert (usage["root"]["calls"], usage["sub"]["calls"], usage["total"]["calls"]) == (2, 1, 3)
    assert result["cost"] == usage["total"]["input_tokens"]
    assert [context["name"] for context in result["contexts"]] == ["log.txt"]


async def test_a_dash_reads_standard_input_and_quiet_says_nothing_but_the_answer(desk):
    desk.script = finds

    ran = await desk.run("ask", "-q", "-", "When did it go boom?", stdin=LOG.encode())

    assert ran == (0, "It went boom at noon, see log.txt:2.\n", "")


async def test_a_terminal_of_few_characters_and_bytes_that_are_no_utf8_break_nothing(desk):
    async def quotes(_messages):
        return "```repl\nFINAL(f'{context == chr(233)} ☂')\n```"

    desk.script = quotes

    code, out, _ = await desk.run(
        "ask", "-q", "-", "What?", stdin=b"\xe9", PYTHONIOENCODING="cp437"
    )

    assert (code, out) == (0, "True \\u2602\n")


async def test_a_spent_budget_prints_the_best_answer_and_exits_with_3(desk, log):
    desk.script = never_answers

    code, out, err = await desk.run("ask", log, "When did it go boom?", "--turns", "1")

    assert (code, out) == (3, "a draft about line 2\n")
    assert "stopped    all turns are used" in err
    assert "--turns" in err


async def test_models_and_limits_given_on_the_command_line_count(desk, log):
    desk.script = never_answers

    code, out, err = await desk.run("ask", log, "q", "--calls", "1", "--model", "scripted")
    unknown = await desk.run("ask", log, "q", "--model", "nobody")

    assert (code, out) == (3, "a draft about line 2\n")
    assert "all model calls are used" in err
    assert unknown[:2] == (1, "")
    assert "nobody" in unknown[2]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["ask", "{log}x", "q"], 1, ["error: There is no ", "Did you mean "]),
        (
            ["ask", "{log}", "q", "--api-url", "http://127.0.0.1:9/v1"],
            1,
            ["error: Nothing answers"],
        ),
        (["ask", "{log}", "q", "--api-url", "x"], 1, ["error: RLM_API_URL is no"]),
        (["ask", "{log}"], 2, ["Usage: rlm-mcp ask"]),
        (["ask", "{log}", " "], 2, ["QUESTION is empty"]),
        (["ask", "{log}", "q", "--turns", "0"], 2, ["'--turns': 0 is not in the range x>=1"]),
        (["aks"], 2, ["No such command 'aks'"]),
    ],
)
async def test_what_cannot_work_is_said_in_words_and_by_the_exit_code(
    desk, log, arguments, code, words
):
    desk.script = finds

    ran = await desk.run(*(argument.format(log=log) for argument in arguments))

    assert ran[:2] == (code, "")
    assert all(each in ran[2] for each in words)
    assert "Traceback" not in ran[2]


async def test_an_unknown_setting_names_the_nearest_one(desk, log):
    code, out, err = await desk.run("ask", log, "q", RLM_MODLE="x")

    assert (code, out) == (1, "")
    assert err == "error: There is no setting RLM_MODLE.\nDid you mean RLM_MODEL?\n"


async def test_ctrl_c_prints_the_best_answer_so_far_and_exits_with_130(desk, log):
    asked_again = anyio.Event()

    async def hangs(messages):
        if turn(messages) == 1:
            asked_again.set()
            await anyio.sleep_forever()
        return await finds(messages)

    desk.script = hangs
    with anyio.fail_after(60):
        process = await desk.start("ask", log, "When did it go boom?")
        await asked_again.wait()
        process.send_signal(signal.SIGINT)
        out = await read(process.stdout)
        err = await read(process.stderr)
        code = await process.wait()

    assert (code, out) == (130, "a draft about line 2\n")
    assert "stopped    interrupted" in err
    assert "Traceback" not in err


async def test_a_run_stopped_before_it_had_any_answer_says_so(desk, log):
    async def only_looks(_messages):
        return "```repl\nprint(len(context))\n```"

    async def hangs(messages):
        if turn(messages) == 1:
            asked_again.set()
            await anyio.sleep_forever()
        return await only_looks(messages)

    asked_again, desk.script = anyio.Event(), hangs
    with anyio.fail_after(60):
        process = await desk.start("ask", log, "When did it go boom?")
        await asked_again.wait()
        process.send_signal(signal.SIGINT)
        out = await read(process.stdout)
        err = await read(process.stderr)

    assert out == ""
    assert "stopped    interrupted; no answer yet\n" in err


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
async def test_a_terminal_shows_what_the_run_is_doing(desk, log):
    desk.script = finds
    ours, theirs = os.openpty()

    with anyio.fail_after(60):
        process = await desk.start("ask", log, "When did it go boom?", stderr=theirs)
        os.close(theirs)
        out = await read(process.stdout)
        shown = await anyio.to_thread.run_sync(read_terminal, ours)
        await process.wait()

    assert out == "It went boom at noon, see log.txt:2.\n"
    assert re.search(r"turn [01](/20)? · ", shown)
    assert "citations  1, all found in the text" in shown


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize("command", ["ask", "traces"])
async def test_what_a_text_says_does_not_steer_the_terminal(desk, log, command):
    code = r"FINAL('boom \x1b]52;c;aGk=\x07 at\u202e noon')"

    async def steers(_):
        return f"```repl\n{code}\n```"

    desk.script = steers
    if command == "traces":
        _, piped, _ = await desk.run("ask", log, "When?")
        _, listed, _ = await desk.run("traces", "-n", "1", "--json")
        command = ["traces", "show", json.loads(listed)[0]["id"], "--detail", "answer"]
        assert piped == "boom \x1b]52;c;aGk=\x07 at\u202e noon\n"
    else:
        command = ["ask", log, "When?"]
    ours, theirs = os.openpty()

    with anyio.fail_after(60):
        process = await desk.start(*command, stdout=theirs, stderr=subprocess.DEVNULL)
        os.close(theirs)
        shown = await anyio.to_thread.run_sync(read_terminal, ours)
        await process.wait()

    assert "boom [U+001B]]52;c;aGk=[U+0007] at[U+202E] noon" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


async def read(stream):
    return b"".join([chunk async for chunk in stream]).decode()


async def test_an_estimate_prints_what_a_run_would_take_and_asks_nothing(desk, log):
    desk.script = finds

    code, out, _ = await desk.run("ask", "--estimate", log, "When?")
    _, record, _ = await desk.run("ask", "--estimate", "--json", log, "When?")

    plan = json.loads(record)
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert code == 0
    assert plan["why"] in lines["asked"]
    assert lines["calls"] == f"{plan['calls'][0]:,} to {plan['calls'][1]:,}"


async def test_a_short_text_may_be_asked_about_directly(desk, log):
    async def says(messages):
        assert "2: boom at noon" in messages[-1].content
        return 'At noon: log.txt:2 "boom at noon".'

    desk.script = says

    code, out, err = await desk.run("ask", "--strategy", "direct", log, "When did it go boom?")

    assert (code, out) == (0, 'At noon: log.txt:2 "boom at noon".\n')
    lines = dict(line.split(maxsplit=1) for line in err.splitlines())
    assert lines["asked"].startswith("in one prompt")
    assert lines["citations"] == "1, all found in the text; 1 quote verified"
