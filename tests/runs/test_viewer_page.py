"""The page of a run in a real browser, opened from its file, as a person uses it."""

from dataclasses import replace
from itertools import count
from typing import get_args

import anyio
import pytest
from chromium import PROGRAM, chromium
from pages import HOSTILE, fan_out, recorded, row

from rlm_mcp.cli import report
from rlm_mcp.conduct import Citation
from rlm_mcp.events import (
    CallEnded,
    CallStarted,
    CellEnded,
    CellStarted,
    Note,
    RunEnded,
    RunResumed,
    RunStarted,
    TurnStarted,
)
from rlm_mcp.llm.scripted import serve
from rlm_mcp.runs.viewer import Texts, page, view_page
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Budget, StoppedBy, Usage
from rlm_mcp.words import clip

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]

MANY, LANES = 10_000, 16
MOST_NODES = 700
PROGRAM_TEXT = """print('found', len(context))
answers = llm_query_batched(['Is 3 odd?', 'Is 4 odd?'])
nested = rlm_query('What comes after 3?')
"""
ANSWER = 'It stands at notes.txt:2: "The second line of the notes is about owls."'
NOTES = "The first line.\nThe second line of the notes is about owls.\nThe third.\n"


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page in the browser; whatever it asks of the network or complains of fails."""
    numbers = count()

    def open_page(made, **look):
        path = tmp_path / f"page{next(numbers)}.html"
        path.write_text(made, encoding="utf-8")
        browser.open(path, **look)
        return browser

    yield open_page
    assert browser.flaws == []
    assert all(url.startswith("file:") and url.endswith(".html") for url in browser.requests)
    assert len(browser.requests) == 1


@pytest.fixture(scope="module")
def many():
    return page(row(), recorded(fan_out(MANY, LANES)))


@pytest.fixture
def few():
    return page(row(), recorded(fan_out(200, 4)))


def says(messages):
    """A root model that runs a program and answers, nested runs that answer, sub-models too."""
    if messages[0].role != "system":
        return "yes" if "3" in messages[-1].content else "no"
    if "What comes after 3?" in messages[1].content:
        return "```repl\nFINAL('4')\n```"
    if len(messages) > 3:
        return f"```repl\nFINAL({ANSWER!r})\n```"
    return f"```repl\n{PROGRAM_TEXT}```"


@pytest.fixture(scope="module")
async def real(tmp_path_factory, program_cache):
    """The page of a run with sub-calls, a nested run and a citation."""
    home, notes = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("source")
    (home / "cache").symlink_to(program_cache, target_is_directory=True)
    (notes / "notes.txt").write_text(NOTES, encoding="utf-8")
    with anyio.fail_after(60):
        async with (
            serve(says) as model,
            open_service(Settings.load({}, home=home, api_url=model.url, roots="*")) as service,
        ):
            session = await service.new_session()
            await service.load(session, (str(notes),))
            job = await service.start(session, Query("Where are owls?", budget=Budget(depth=2)))
            view = await service.view(job.run_id, wait_s=30)
            assert ANSWER in view.answer.text
            return await view_page(service.journal, job.run_id)


def rows(browser):
    """The words of the steps on view, tag first."""
    return browser.run("[...document.querySelectorAll('#steps .row')].map(e => e.innerText)")


def nodes(browser):
    return browser.run("document.querySelectorAll('*').length")


def selected(browser):
    return browser.run("document.querySelector('#steps [aria-selected=true]')?.innerText ?? ''")


def hidden(browser):
    return browser.run("document.getElementById('detail').hidden")


async def test_a_real_run_is_told_from_its_question_to_its_answer(opened, real):
    browser = opened(real)

    assert browser.text("h1") == "Where are owls?"
    facts = browser.text("#facts")
    assert "the model gave its answer" in facts
    assert "by a program that reads the text" in facts
    assert "of 20" in facts
    assert ANSWER in browser.text("#answer")
    told = "\n".join(rows(browser))
    assert "print('found', len(context))" in told
    assert "2 sub-calls" in told
    assert "What comes after 3?" in browser.text("#tree")


async def test_a_citation_in_the_answer_leads_to_its_lines(opened, real):
    browser = opened(real)

    browser.click("document.querySelector('.answer button')")

    assert browser.run("document.activeElement.tagName") == "SUMMARY"
    cited = browser.text("details[open]")
    assert "notes.txt:2 quote verified" in cited
    assert "2  The second line of the notes is about owls." in cited
    assert "/files/notes.txt?start=2&end=2" in cited


async def test_code_is_shown_with_its_output_and_a_call_with_its_reply(opened, real):
    browser = opened(real)

    browser.click("document.querySelector('#steps .row.code')")
    code = browser.text("#detail")
    browser.click("document.querySelector('#steps .row.calls')")
    browser.click("document.querySelector('#steps .row.call')")
    call = browser.text("#detail")

    assert "rlm_query('What comes after 3?')" in code
    assert "found " in code.partition("Output")[2]
    assert call.index("Is 3 odd?") < call.index("yes")


async def test_a_call_shows_all_of_what_it_sent_message_by_message(opened, real):
    browser = opened(real)

    browser.run("[...document.querySelectorAll('#steps .row.model')].at(-1).click()")
    names = browser.run("[...document.querySelectorAll('#detail summary')].map(e => e.innerText)")
    last = browser.text("#detail details[open] pre")
    browser.run("document.querySelector('#detail summary').click()")
    browser.wait("document.querySelector('#detail details pre')?.innerText.length > 3000")

    assert [name.split(" ")[0] for name in names] == ["system", "user", "assistant", "user"]
    assert "characters)" in names[0]
    assert last.startswith("Output (9 characters):\nfound 71\n")
    assert "FINAL" in browser.text("#detail details pre")


async def test_a_long_prompt_is_cut_in_the_page_and_its_size_said(opened):
    timed = list(fan_out(3, 1))
    place, prompt = (8, 0), "Is it? " * 20_000
    texts = Texts({8: [place]}, {place: "user"}, {place: (len(prompt), clip(prompt, 5_000))})
    assert isinstance(timed[7][1], CallStarted)

    browser = opened(page(row(), recorded(timed), texts))
    browser.click("document.querySelector('#steps .row.calls')")
    browser.run("[...document.querySelectorAll('#steps .row.call')][1].click()")

    assert f"Prompt (head and tail of {len(prompt):,} characters)" in browser.text("#detail")
    assert f"… [{len(prompt):,} characters] …" in browser.text("#detail pre")


async def test_what_was_sent_is_searched_to_its_last_character(opened):
    timed = list(fan_out(3, 1))
    place, prompt = (8, 0), "x " * 5_000 + "needle" + " y" * 5_000
    texts = Texts({8: [place]}, {place: "user"}, {place: (len(prompt), prompt)})

    browser = opened(page(row(), recorded(timed), texts))
    browser.press("/", *"needle")
    browser.wait("document.getElementById('found').innerText.startsWith('1 of')")

    assert len(rows(browser)) == 1


async def test_what_was_used_stands_beside_its_limit_and_is_drawn_over_time(opened, few):
    browser = opened(few)
    figures = browser.text(".figures").splitlines()
    curve = browser.run("document.getElementById('curve').getAttribute('aria-label')")
    inked = browser.run(
        "(() => { const c = document.getElementById('curve');"
        " const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
        " return data.filter((v, at) => at % 4 === 3 && v > 0).length / (c.width * c.height); })()"
    )

    assert figures[:6] == ["turns", "1", "of 20", "calls", "201", "of 1,000"]
    assert "cost" in figures
    assert curve == "Tokens and cost used over time."
    assert inked > 0.2
    assert browser.text("#phase") == "answered"


async def test_code_is_coloured_and_copied_as_it_was(opened):
    timed = list(fan_out(1, 1))
    code = "# why\nfor x in ('a', \"b\"):\n    print(f'{x}')  # not 'c'"
    timed = [
        (at, replace(each, code=code) if isinstance(each, CellStarted) else each)
        for at, each in timed
    ]

    browser = opened(page(row(), recorded(timed)))
    browser.click("document.querySelector('#steps .row.code')")
    words = "[...document.querySelectorAll('#detail pre span')].map(e => e.textContent)"

    assert browser.run("document.querySelector('#detail pre').textContent") == code
    assert browser.run(words) == [
        "# why", "for", "in", "'a'", '"b"', "f'{x}'", "# not 'c'"
    ]  # fmt: skip


async def test_a_nested_run_can_be_looked_at_alone(opened, real):
    browser = opened(real)

    browser.click("document.querySelectorAll('#tree .row')[1]")
    alone = rows(browser)
    browser.click("document.querySelector('#scope button')")

    assert [each.splitlines()[-1] for each in (alone[0], alone[-1])] == ["What comes after 3?", "4"]
    assert "FINAL('4')" in "\n".join(alone)
    assert "print('found'" not in "\n".join(alone)
    assert "print('found'" in "\n".join(rows(browser))


async def test_hostile_text_is_shown_and_runs_nothing(opened):
    timed = []
    for at, event in fan_out(2, 2):
        match event:
            case RunStarted():
                timed.append((at, replace(event, query=HOSTILE, contexts=((HOSTILE, HOSTILE),))))
            case CallEnded():
                timed.append((at, replace(event, reply=HOSTILE, outcome="ok")))
            case CellStarted():
                timed.append((at, replace(event, code=HOSTILE)))
            case Note():
                timed.append((at, replace(event, text=HOSTILE)))
            case RunEnded():
                timed.append((at, replace(event, answer=HOSTILE, notes=(HOSTILE,))))
            case _:
                timed.append((at, event))

    browser = opened(page(row(HOSTILE), recorded(timed)))
    browser.click("document.querySelector('#steps .row.code')")

    for place in ("h1", "#facts", ".answer", "#detail"):
        shown = browser.text(place)
        assert "</script><script>window.ran = 1</script><!-- <img src=x" in shown
        assert "[U+001B][31mred [U+202E]txt.exe" in shown
        assert "&lt;b&gt; [U+2028]" in shown
    assert browser.run("typeof window.ran") == "undefined"
    assert browser.run("document.images.length") == 0


async def test_code_in_the_page_that_is_not_its_own_does_not_run(browser, tmp_path, few):
    path = tmp_path / "spoilt.html"
    path.write_text(few.replace("<main>", "<main><script>window.ran = 1</script>"), "utf-8")

    browser.open(path)

    assert browser.run("typeof window.ran") == "undefined"
    assert any("Content Security Policy" in str(flaw) for flaw in browser.flaws)


async def test_search_finds_in_prompts_and_replies_and_kinds_narrow(opened, few):
    browser = opened(few)

    browser.press("/", *"piece 77")
    browser.wait("document.getElementById('found').innerText.startsWith('1 of')")
    found = rows(browser)
    browser.press("Escape")
    browser.run(
        "(() => { const k = document.getElementById('kind'); k.value = 'failed';"
        " k.dispatchEvent(new Event('change')); })()"
    )
    failed = rows(browser)

    assert len(found) == 1
    assert "reply 77" in found[0]
    assert ["piece 99" in failed[0], "piece 199" in failed[1]] == [True, True]
    assert len(failed) == 2


async def test_a_run_is_read_with_keys_alone(opened, few):
    browser = opened(few)

    browser.press("j")
    first = selected(browser)
    browser.press("j", "j", "Enter")
    code = browser.text("#detail")
    browser.press("j", "Escape", "Enter")
    opened_group = rows(browser)
    browser.press("j", "Enter")
    call = browser.text("#detail")
    browser.press("k")
    browser.press("Escape")

    assert first.splitlines()[1] == "turn 1"
    assert "llm_query_batched(pieces)" in code
    assert any("Is piece 0 odd?" in each for each in opened_group)
    assert "Is piece 0 odd?" in call
    assert "200 sub-calls" in selected(browser)
    assert hidden(browser)


async def test_what_is_typed_into_the_search_is_no_command(opened, few):
    browser = opened(few)

    browser.press("/", "j", "k", "/")

    assert browser.run("document.getElementById('search').value") == "jk/"
    assert selected(browser) == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_is_wider_than_a_narrow_window(opened, real, scheme):
    browser = opened(real, width=400, scheme=scheme)
    wide = "document.documentElement.scrollWidth"

    before = browser.run(wide)
    browser.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    browser.click("document.querySelector('#steps .row.code')")

    assert (before, browser.run(wide)) == (400, 400)
    assert not hidden(browser)


async def test_the_page_is_light_or_dark_as_the_reader_is(opened, browser, few):
    ground = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"

    light = opened(few).run(ground)
    dark = opened(few, scheme="dark").run(ground)

    assert dark < 64
    assert light > 192


async def test_ten_thousand_calls_put_few_elements_into_the_page(opened, many):
    browser = opened(many)
    at_first = nodes(browser)

    browser.press("j", "j", "j", "j", "Enter", "End")
    at_the_end = nodes(browser)
    last = rows(browser)
    browser.press("/", *"is piece")
    browser.wait("document.getElementById('found').innerText.startsWith('10,000 of')")

    assert max(at_first, at_the_end, nodes(browser)) < MOST_NODES
    assert any(f"Is piece {MANY - 1} odd?" in each for each in last)
    assert "10,001 calls" in browser.text("#facts")


async def test_calls_that_overlap_stand_in_lanes_of_their_own(opened, many):
    browser = opened(many)

    told = browser.run("document.getElementById('timeline').getAttribute('aria-label')")

    assert f"at most {LANES} calls at once" in told
    assert f"{MANY + 1:,} calls and 1 piece of code" in told


async def test_a_click_on_a_call_in_time_opens_it(opened, few):
    browser = opened(few)
    browser.run("document.getElementById('timeline').scrollIntoView({block: 'center'})")
    left, top, width = browser.run(
        "(() => { const b = document.getElementById('timeline').getBoundingClientRect();"
        " return [b.left, b.top, b.width]; })()"
    )
    end_ms = list(fan_out(200, 4))[-1][0]

    browser.click_at(left + width * 500 / end_ms, top + 36)
    model = browser.text("#detail h2")
    browser.click_at(left + width * 2000 / end_ms, top + 22)

    assert model == "model, turn 1"
    assert browser.text("#detail h2") == "code, turn 1"


async def test_dragging_over_time_looks_closer_and_a_button_looks_at_all_again(opened, few):
    browser = opened(few)
    browser.run("document.getElementById('timeline').scrollIntoView({block: 'center'})")
    left, top, width = browser.run(
        "(() => { const b = document.getElementById('timeline').getBoundingClientRect();"
        " return [b.left, b.top, b.width]; })()"
    )
    whole = browser.run("view")

    browser.drag((left + width / 4, top + 10), (left + width / 2, top + 10))
    closer = browser.run("view")
    browser.click("document.getElementById('all')")

    assert closer == pytest.approx([whole[1] / 4, whole[1] / 2], abs=whole[1] / 100)
    assert browser.run("view") == whole


async def test_an_answer_of_millions_of_characters_is_shown_in_parts(opened):
    timed = list(fan_out(1, 1))
    at, end = timed[-1]
    answer = "so it is\n" * 400_000
    timed[-1] = (at, replace(end, answer=answer))

    browser = opened(page(row(), recorded(timed)))
    length = "document.querySelector('.answer').textContent.length"
    before = browser.run(length)
    browser.click("document.querySelector('#answer > button')")
    after = browser.run(length)

    assert 0 < before < after < len(answer)
    assert f"{after:,} of {len(answer):,} characters shown" in browser.text("#answer > button")


async def test_a_run_that_has_not_ended_says_so(opened):
    browser = opened(page(row(), recorded(list(fan_out(50, 4))[:20])))

    assert "not ended" in browser.text("#facts")
    assert "no end" in "\n".join(rows(browser))


@pytest.mark.parametrize("reason", get_args(StoppedBy))
async def test_why_a_run_stopped_is_told_as_on_the_command_line(opened, reason):
    *before, (at, end) = fan_out(4, 2)
    browser = opened(page(row(), recorded([*before, (at, replace(end, stopped_by=reason))])))

    told = report.STOPPED.get(reason, "the model gave its answer").partition(" (--")[0]
    assert f"stopped\n{told}\n" in browser.text("#facts")


async def test_a_run_that_stopped_without_an_answer_says_so(opened):
    *before, (at, end) = fan_out(4, 2)
    ended = replace(end, stopped_by="journal", answer="")
    browser = opened(page(row(), recorded([*before, (at, ended)])))

    assert browser.text("#phase") == "not recorded"
    assert "no answer yet" in browser.text("#facts")


async def test_a_place_that_is_not_there_is_told_from_a_quote_that_is_not(opened):
    place = Citation("ctx_1", "a.txt", 9, 9, found=False, excerpt="", check="unverified")
    quote = replace(place, start=2, end=2, found=True, quote="owls", excerpt="cats")
    *before, (at, end) = fan_out(4, 2)
    ended = replace(end, answer="a.txt:9, a.txt:2", citations=(place, quote))
    browser = opened(page(row(), recorded([*before, (at, ended)])))

    cited = browser.text(".cited")
    assert "a.txt:9 not in the text" in cited
    assert "a.txt:2 quote not found" in cited


def test_a_run_that_went_on_is_at_work_again_and_its_cell_ends_as_it_did_at_last(opened):
    none = Usage()
    events = [
        RunStarted("", "How many?", "ses", (), "big", "small", Budget()),
        TurnStarted("", 1),
        CellStarted("", "run.c1", 1, "print(llm_query('Is it?'))"),
        CellEnded("", "run.c1", 1, "interrupted", "", 0, "cancelled", 1.0),
        CellStarted("", "run.best1", 1, "FINAL_VAR('result')"),
        CellEnded("", "run.best1", 1, "ok", "", 0, None, 1.0),
        RunEnded("", "endpoint", "half", (), none, none, 1, 1.0),
        RunResumed(""),
        CellEnded("", "run.c1", 1, "ok", "It is forty-two.", 16, None, 1.0),
    ]
    made = page(row(phase="running"), recorded(enumerate(events)))
    browser = opened(made)
    browser.click("document.querySelector('#steps .row.code')")

    assert browser.text("#phase") == "not ended"
    assert "It is forty-two." in browser.text("#detail")
    assert not browser.run("document.querySelectorAll('#steps .row.failed').length")
