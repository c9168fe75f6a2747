"""A run as a page: all of its events, and nothing in them that a browser would take for markup."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import anyio
import pytest
from pages import BEGAN, HOSTILE, LONE, fan_out, record_of, recorded, row

from rlm_mcp.errors import UnknownRun
from rlm_mcp.events import CallEnded, RunStarted, to_json
from rlm_mcp.llm.scripted import serve
from rlm_mcp.runs import viewer
from rlm_mcp.runs.journal import Journal
from rlm_mcp.runs.viewer import fair_share, page, view_page
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio


class Tags(HTMLParser):
    """The tags a parser sees, and what it takes for comments."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.comments = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_comment(self, text):
        self.comments.append(text)


async def test_a_page_has_every_event_of_a_run_with_its_time():
    code = "```repl\nFINAL(llm_query('Is 3 odd?'))\n```"
    async with (
        serve([code, "It is."]) as model,
        open_service(Settings.load(api_url=model.url)) as service,
    ):
        with anyio.fail_after(60):
            session = await service.new_session()
            await service.load(session, (), text="3")
            job = await service.start(session, Query("Odd?"))
            await service.view(job.run_id, wait_s=30)
            events = await service.journal.events(job.run_id)
            made = record_of(await view_page(service.journal, job.run_id))

    times = [event.pop("at") for event in made["events"]]
    sent = [event.pop("sent") for event in made["events"] if "sent" in event]
    texts = made["texts"]
    assert made["events"] == [json.loads(to_json(each.event)) for each in events]
    assert times[0] == 0
    assert times == sorted(times)
    assert made["head"]["run"]["id"] == job.run_id
    assert made["events"][-1]["answer"] == "It is."
    told = [[(role, texts[n][1]) for role, n in each] for each in sent]
    requests = [[(m.role, m.content) for m in request] for request in model.requests]
    assert told == requests
    assert [chars for chars, text in texts] == [len(text) for _, text in texts]


def test_text_cannot_leave_the_record_it_stands_in():
    timed = [(0, replace(event, query=HOSTILE)) for _, event in list(fan_out(1, 1))[:1]]
    timed += [(at, event) for at, event in fan_out(1, 1) if not isinstance(event, RunStarted)]
    timed = [
        (at, replace(event, reply=HOSTILE) if isinstance(event, CallEnded) else event)
        for at, event in timed
    ]
    innocent = Tags(page(row(), recorded(fan_out(1, 1))))

    made = page(row(HOSTILE), recorded(timed))

    assert Tags(made).comments == []
    assert [tag for tag, _ in Tags(made).tags] == [tag for tag, _ in innocent.tags]
    told = record_of(made)
    assert told["head"]["run"]["query"] == told["events"][0]["query"] == HOSTILE
    assert [e["reply"] for e in told["events"] if e["event"] == "CallEnded"] == [HOSTILE] * 2


def test_a_character_without_a_utf_8_form_does_not_spoil_the_page():
    first = RunStarted("", f"a{LONE}b", "ses", (), "m", "m", next(iter(fan_out(1, 1)))[1].budget)

    made = page(row(f"a{LONE}b"), recorded([(0, first)]))

    assert record_of(made.encode("utf-8").decode("utf-8"))["events"][0]["query"] == "a?b"


def test_the_policy_lets_this_script_and_style_run_and_nothing_be_fetched():
    made = page(row(), recorded(fan_out(3, 2)))
    metas = [about for tag, about in Tags(made).tags if tag == "meta" and "http-equiv" in about]
    policy = dict(each.strip().split(" ", 1) for each in metas[0]["content"].split(";"))

    for tag in ("script", "style"):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", made, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert policy.pop(f"{tag}-src") == f"'sha256-{digest}'"
    assert policy == dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")


async def test_a_run_without_an_end_has_a_page_and_an_unknown_one_none(tmp_path):
    async with Journal.open(tmp_path / "journal.sqlite3") as journal:
        sink = journal.sink("run_1", "ses", await journal.claim("ses"))
        for _, event in list(fan_out(4, 2))[:6]:
            sink.emit(event)
        await sink.written()

        made = record_of(await view_page(journal, "run_1"))
        with pytest.raises(UnknownRun):
            await view_page(journal, "run_2")

    assert (made["head"]["run"]["phase"], len(made["events"])) == ("running", 6)
    assert made["head"]["run"]["started"] > BEGAN.isoformat()


@pytest.mark.parametrize(
    ("sizes", "most", "share"),
    [([5, 5], 10, 10), ([1, 100], 51, 50), ([100, 100, 1], 51, 25), ([], 7, 7), ([9], 8, 8)],
)
def test_room_is_shared_so_that_the_longest_are_cut(sizes, most, share):
    assert fair_share(sizes, most) == share
    assert sum(min(size, share) for size in sizes) <= most


def test_long_texts_are_cut_where_the_page_would_grow_too_long():
    whole = page(row(), recorded(fan_out(50, 5)))

    told = record_of(page(row(), recorded(fan_out(50, 5)), most=10_000))

    assert record_of(whole)["head"]["cut"] is None
    assert told["head"]["cut"] == viewer.LEAST_PIECE_CHARS
    prompts = [e["prompt"] for e in told["events"] if e["event"] == "CallStarted"][1:]
    assert all(" characters] …" in prompt for prompt in prompts)
    assert len(told["events"]) == len(record_of(whole)["events"])
