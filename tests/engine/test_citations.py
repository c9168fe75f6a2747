"""Places an answer names, found in the loaded text."""

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

    assert locate("x/c.py:1 and /c.py:1", [info], store) == ()
