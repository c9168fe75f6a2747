"""What calls really sent and received: kept whole, once, with the event, and gone with its run."""

import sqlite3
import zlib
from contextlib import closing

import anyio
import pytest

from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.events import CallEnded, CallStarted, RunEnded, RunStarted
from rlm_mcp.llm.scripted import serve
from rlm_mcp.rules import Keeping
from rlm_mcp.runs.journal import FILE, Journal
from rlm_mcp.runs.pages import PAGE_BYTES
from rlm_mcp.runs.trace import trace, whole_trace
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Budget, Completion, Message, Usage

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret-0123456789"
SYSTEM, TASK = Message("system", "You write code. " * 100), Message("user", "How many?")
USED = Usage(1, 10, 5)


def asked(call, *messages, role="root", node=""):
    size = sum(len(message.content) for message in messages)
    return CallStarted(node, call, 1, role, "m", messages[-1].content, size, 1, messages)


def answered(call, text, thinking="", kept=None, role="root"):
    reply = text if kept is None else kept
    came = Completion(text, thinking, "stop", "m", USED)
    sizes = len(text), len(thinking)
    return CallEnded("", call, 1, role, "m", "ok", reply, *sizes, USED, completion=came)


STARTED = RunStarted("", "How many?", "ses", (), "m", "m", Budget())
DIALOGUE = [
    STARTED,
    asked("r1", SYSTEM, TASK),
    answered("r1", "I look."),
    asked("r2", SYSTEM, TASK, Message("assistant", "I look."), Message("user", "12")),
    answered("r2", "Twelve."),
    RunEnded("", "answer", "Twelve.", (), USED, USED, 2, 1.0),
]


@pytest.fixture
async def journal(tmp_path):
    async with Journal.open(tmp_path / FILE) as opened:
        yield opened


async def record(journal, events, run="run_1"):
    sink = journal.sink(run, "ses", await journal.claim("ses"))
    for event in events:
        sink.emit(event)
    await sink.written()


def rows(path, table):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"SELECT * FROM {table}").fetchall()


def joined(page, kind):
    return "".join(step.text for step in page.steps if step.kind.startswith(kind))


async def raw(journal, call=None, run="run_1"):
    return await whole_trace(journal, run, "messages", call)


async def test_a_message_that_a_dialogue_sends_again_is_stored_once(journal, tmp_path):
    await record(journal, DIALOGUE)

    stored = rows(tmp_path / FILE, "messages")

    assert [row[3] for row in stored] == ["system", "user", "assistant", "user"]
    assert await journal.prompts("run_1") == {
        2: [(2, 0), (2, 1)],
        4: [(2, 0), (2, 1), (4, 0), (4, 1)],
    }


async def test_one_call_is_told_whole_and_all_calls_without_what_they_repeat(journal):
    await record(journal, DIALOGUE)

    one, every = await raw(journal, "r2"), await raw(journal)

    assert [(step.kind, step.text) for step in one.steps] == [
        ("r2 system", SYSTEM.content),
        ("r2 user", "How many?"),
        ("r2 assistant", "I look."),
        ("r2 user", "12"),
        ("r2 reply", "Twelve."),
    ]
    assert [step.kind for step in every.steps][2:5] == ["r1 reply", "r2 prompt", "r2 assistant"]
    assert joined(every, "r2 prompt") == "(2 messages as r1 sent, then)"
    assert joined(every, "r1 system") == SYSTEM.content


async def test_long_messages_are_read_to_their_end_in_pages_that_hosts_do_not_cut(journal):
    prompt = "".join(f"line {number} of it\n" for number in range(9_000))
    reply, thinking = "y" * 100_000, "hm " * 5_000
    sub = asked("s1", Message("user", prompt), role="sub")
    await record(journal, [STARTED, sub, answered("s1", reply, thinking, "y [cut]", "sub")])

    first = await trace(journal, "run_1", 1, "messages", "s1")
    pages = [
        await trace(journal, "run_1", number, "messages", "s1")
        for number in range(1, first.pages + 1)
    ]

    assert all(len(page.text()) < PAGE_BYTES + 500 for page in pages)
    assert "".join(joined(page, "s1 user") for page in pages) == prompt
    assert "".join(joined(page, "s1 thinking") for page in pages) == thinking
    assert "".join(joined(page, "s1 reply") for page in pages) == reply
    assert [page.following for page in pages] == [*range(2, first.pages + 1), None]


async def test_long_messages_are_packed(journal, tmp_path):
    prompt = "the same line again and again\n" * 1_000
    await record(journal, [STARTED, asked("s1", Message("user", prompt), role="sub")])

    (row,) = rows(tmp_path / FILE, "messages")

    assert zlib.decompress(row[-1]).decode() == prompt
    assert len(row[-1]) < len(prompt) / 10


async def test_what_has_no_utf_8_form_is_kept_and_shown_with_a_mark(journal):
    await record(journal, [STARTED, asked("s1", Message("user", "a\ud800b" * 200), role="sub")])

    assert joined(await raw(journal), "s1 user") == "a?b" * 200
    assert await journal.message("run_1", (2, 0)) == "a\ud800b" * 200


async def test_a_call_of_an_earlier_version_shows_head_and_tail_and_says_why(journal):
    await record(journal, [STARTED, CallStarted("", "r1", 1, "root", "m", "head … tail", 9_000)])

    (step,) = (await raw(journal)).steps

    assert step.text.startswith("head … tail\n(The whole prompt was not kept")


@pytest.mark.parametrize(
    ("detail", "call", "words"),
    [("messages", "r9", "has no call 'r9'"), ("turns", "r1", "shows no single call")],
)
async def test_a_call_that_cannot_be_shown_is_an_error(journal, detail, call, words):
    await record(journal, DIALOGUE)

    with pytest.raises(ArgumentInvalid, match=words):
        await trace(journal, "run_1", 1, detail, call)


async def test_a_failed_call_tells_what_it_sent_and_why_it_failed(journal):
    failed = CallEnded("", "r1", 1, "root", "m", "failed", "", 0, 0, None, "No route.")
    await record(journal, [STARTED, asked("r1", SYSTEM, TASK), failed])

    told = await raw(journal, "r1")

    assert [step.kind for step in told.steps] == ["r1 system", "r1 user", "r1 failed"]
    assert told.steps[-1].text == "No route."


async def test_messages_leave_with_their_run_and_count_until_then(journal, tmp_path):
    big = asked("s1", Message("user", "".join(map(str, range(400_000)))), role="sub")
    await record(journal, [*DIALOGUE[:-1], big, DIALOGUE[-1]])
    await record(journal, DIALOGUE, "run_2")

    gone = await journal.expire(Keeping(days=10_000, bytes=500_000))
    await journal.remove(["run_2"])

    assert gone == ["run_1"]
    assert rows(tmp_path / FILE, "messages") == rows(tmp_path / FILE, "prompts") == []


async def test_messages_are_in_the_file_before_anyone_hears_of_the_call(journal, tmp_path):
    heard = []

    class Listener:
        def emit(self, event):
            if isinstance(event, CallStarted):
                heard.append((event.call, [row[3] for row in rows(tmp_path / FILE, "messages")]))

    sink = journal.sink("run_1", "ses", await journal.claim("ses"), (Listener(),))
    for event in DIALOGUE[:2]:
        sink.emit(event)
    await sink.written()

    assert heard == [("r1", ["system", "user"])]


async def test_a_refused_event_leaves_no_message(journal, tmp_path):
    sink = journal.sink("run_1", "ses", await journal.claim("ses"))
    await journal.claim("ses")
    for event in DIALOGUE:
        sink.emit(event)
    await anyio.lowlevel.checkpoint()
    with pytest.raises(Exception, match="taken over"):
        await sink.written()

    assert rows(tmp_path / FILE, "messages") == rows(tmp_path / FILE, "events") == []


async def test_a_real_run_keeps_what_the_server_was_sent_and_no_key(own_environment):
    code = "```repl\nFINAL(llm_query('Is 3 odd? ' + 'x' * 3000))\n```"
    async with serve([code, "It is."]) as model:
        settings = Settings.load(
            {}, home=own_environment, api_url=model.url, api_key=KEY, strategy="rlm"
        )
        async with open_service(settings) as service:
            with anyio.fail_after(60):
                session = await service.new_session()
                await service.load(session, (), text="3")
                job = await service.start(session, Query("Odd?"))
                await service.view(job.run_id, wait_s=30)
                root = await raw(service.journal, "r1", job.run_id)
                sub = await raw(service.journal, "s1", job.run_id)
                texts = [
                    await service.journal.message(job.run_id, place)
                    for place in await service.journal.message_sizes(job.run_id)
                ]

    for told, request in zip((root, sub), model.requests, strict=True):
        for message in request:
            assert message.content in "".join(step.text for step in told.steps)
    assert joined(sub, "s1 reply") == "It is."
    assert joined(root, "r1 reply") == code
    assert not any(KEY in text for text in texts)
    assert KEY.encode() not in (own_environment / FILE).read_bytes()
