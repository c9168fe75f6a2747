import pytest

from rlm_mcp.events import RunEnded, RunStarted
from rlm_mcp.llm.embedded.server import LOG
from rlm_mcp.runs.journal import FILE, Journal
from rlm_mcp.types import Budget, Usage

pytestmark = pytest.mark.anyio

MODEL = "models/org/repo"
HELD = "1 run, 1 page, 1 context, 1 endpoint profile, 1 downloaded model"


@pytest.fixture
async def full(tmp_path):
    """A data folder with a run and its page, a context and so on, a linked cache, a stranger."""
    home, elsewhere = tmp_path / "full", tmp_path / "elsewhere"
    ours = (home / "contexts" / "ctx_1", home / "endpoints", home / MODEL, home / "pages")
    for folder in (*ours, elsewhere):
        folder.mkdir(parents=True)
    for file in (
        home / "contexts" / "ctx_1" / "blob",
        home / "endpoints" / "model.json",
        home / MODEL / "tiny.gguf",
        home / "pages" / "run_1.html",
        home / "spare",
        home / LOG,
        home / "notes.txt",
        elsewhere / "mine.txt",
    ):
        file.write_text("text" * 1000, encoding="utf-8")
    (home / "contexts" / "linked").symlink_to(elsewhere, target_is_directory=True)
    (home / "cache").symlink_to(elsewhere, target_is_directory=True)
    async with Journal.open(home / FILE) as journal:
        sink = journal.sink("run_1", "ses", await journal.claim("ses"))
        sink.emit(RunStarted("", "why?", "ses", (), "big", "small", Budget()))
        sink.emit(RunEnded("", "answer", "because", (), Usage(), Usage(), 2, 1.5))
    return home


def names(folder):
    return sorted(path.name for path in folder.iterdir())


async def test_all_goes_but_what_links_lead_to_and_what_is_not_ours(desk, full):
    code, out, _ = await desk.run("purge", "--yes", RLM_HOME=str(full))
    again, nothing, _ = await desk.run("purge", "--yes", RLM_HOME=str(full))

    assert code == again == 0
    assert out.startswith(f"Removed {HELD} and the caches in ")
    assert "kB in all" in out
    assert names(full) == ["notes.txt"]
    assert names(full.parent / "elsewhere") == ["mine.txt"]
    assert "holds nothing of rlm-mcp" in nothing


@pytest.mark.parametrize(("reply", "gone"), [(b"", False), (b"n\n", False), (b"y\n", True)])
async def test_it_asks_first_and_says_how_much_would_go(desk, full, reply, gone):
    code, _, err = await desk.run("purge", stdin=reply, RLM_HOME=str(full))

    assert (code == 0) is gone
    assert f"Remove {HELD}" in err
    assert (names(full) == ["notes.txt"]) is gone


async def test_it_is_refused_while_another_process_has_the_journal(desk, full):
    before = names(full)
    async with Journal.open(full / FILE):
        code, out, err = await desk.run("purge", "--yes", RLM_HOME=str(full))

        assert (code, out) == (1, "")
        assert "at work in this data folder" in err
        assert set(before) <= set(names(full))
    code, _, _ = await desk.run("purge", "--yes", RLM_HOME=str(full))
    assert code == 0


async def test_a_journal_still_works_after_the_question_was_answered_with_no(desk, full):
    await desk.run("purge", stdin=b"n\n", RLM_HOME=str(full))

    async with Journal.open(full / FILE) as journal:
        assert [run.id for run in await journal.runs()] == ["run_1"]


async def test_a_journal_that_is_none_goes_too(desk, full):
    (full / FILE).write_text("no journal " * 1000, encoding="utf-8")

    code, out, _ = await desk.run("purge", "--yes", RLM_HOME=str(full))

    assert code == 0
    assert "a journal that cannot be read" in out
    assert names(full) == ["notes.txt"]
