"""Places an answer names, found in the loaded text."""

import anyio
import pytest

from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.engine.citations import locate

pytestmark = pytest.mark.anyio


@pytest.fixture
async def tree(tmp_path):
    folder = tmp_path / "src"
    (folder / "pkg").mkdir(parents=True)
    (folder / "a.py").write_text("one\ntwo\nthree\n", encoding="utf-8")
    (folder / "pkg" / "b.py").write_text("def b():\n    return 1\n", encoding="utf-8")
    (folder / "pkg" / "c.py").write_text("c = 1\n", encoding="utf-8")
    (folder / "c.py").write_text("c = 2\n", encoding="utf-8")
    store = ContextStore(tmp_path)
    return store, await load(store, [str(folder)])


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("See a.py:2.", [("a.py", 2, 2, True, "two\n")]),
        ("See `a.py:2-3`", [("a.py", 2, 3, True, "two\nthree\n")]),
        ("(./a.py:1)", [("a.py", 1, 1, True, "one\n")]),
        ("[b.py:1-2]", [("pkg/b.py", 1, 2, True, "def b():\n    return 1\n")]),
        ("a.py:9", [("a.py", 9, 9, False, "")]),
        ("a.py:3-2", [("a.py", 3, 2, False, "")]),
        ("a.py:L2", [("a.py", 2, 2, True, "two\n")]),
        ("a.py:2, a.py:2", [("a.py", 2, 2, True, "two\n")]),
        ("pkg/c.py:1", [("pkg/c.py", 1, 1, True, "c = 1\n")]),
        ("c.py:1", [("c.py", 1, 1, True, "c = 2\n")]),
        ("at 12:30 on http://x:80, in nope.py:1", []),
    ],
)  # fmt: skip
async def test_places_that_name_a_document_become_citations(tree, text, places):
    store, info = tree

    found = locate(text, [info], store)

    assert [(c.path, c.start, c.end, c.found, c.excerpt) for c in found] == places


async def test_a_path_that_fits_two_documents_is_not_guessed(tree):
    store, info = tree

    assert locate("x/c.py:1 and y/c.py:1", [info], store) == ()


async def test_a_name_without_its_folder_is_not_guessed_where_two_have_it(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / "src" / folder).mkdir(parents=True)
        (tmp_path / "src" / folder / "same.py").write_text("x = 1\n", encoding="utf-8")
    store = ContextStore(tmp_path)
    info = await load(store, [str(tmp_path / "src")])

    assert locate("same.py:1", [info], store) == ()
    assert [c.path for c in locate("a/same.py:1", [info], store)] == ["a/same.py"]


async def test_long_answers_and_many_strange_places_are_looked_through_in_one_pass(tree):
    store, info = tree
    answer = "a" * 2_000_000 + " 12:30:45 http://host:80/x " * 50_000 + " a.py:2"

    found = await anyio.to_thread.run_sync(locate, answer, [info], store)

    assert [(c.path, c.start) for c in found] == [("a.py", 2)]


async def test_an_excerpt_of_a_giant_line_is_short(tmp_path):
    store = ContextStore(tmp_path)
    info = await load(store, (), text="x" * 5_000_000)

    assert len(locate("text:1", [info], store)[0].excerpt) <= 400
