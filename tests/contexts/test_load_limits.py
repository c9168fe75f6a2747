"""Limits of one load: what is too much is told by its largest folders."""

import pytest

from rlm_mcp.contexts.loader import load
from rlm_mcp.errors import SourceTooLarge
from rlm_mcp.rules import LoadRules
from rlm_mcp.types import Skip

pytestmark = pytest.mark.anyio

FILES = {
    "src/a.py": "x" * 300,
    "src/b.py": "x" * 300,
    "logs/old/deep/app.log": "x" * 4000,
    "logs/old/app.log": "x" * 1000,
    "README": "x" * 10,
}


async def test_too_many_bytes_name_the_largest_folders(store, tree):
    rules = LoadRules(most_bytes=2000)
    with pytest.raises(SourceTooLarge) as caught:
        await load(store, [str(tree(FILES))], rules=rules)
    assert caught.value.message == (
        "tree has 5 files with 5.61 kB; at most 2 kB may be loaded at once. "
        "Most of it: logs/old/ (2 files, 5 kB), src/ (2 files, 600 bytes), "
        "README (1 file, 10 bytes)."
    )
    assert caught.value.hint == "Load less of it, or set RLM_MAX_LOAD_GB higher."


async def test_too_many_files_name_the_folders_with_most(store, tree):
    folder = tree({f"many/{number}": "x" for number in range(9)} | FILES)
    with pytest.raises(SourceTooLarge, match=r"at most 10 files .* Most of it: many/ \(9 files, 9"):
        await load(store, [str(folder)], rules=LoadRules(most_files=10))


async def test_a_file_that_is_too_large_is_left_out_of_its_folder(store, tree):
    info = await load(store, [str(tree(FILES))], rules=LoadRules(most_file_bytes=1000))
    assert info.documents == 4
    reason = "larger than the 1 kB that one file may have"
    assert info.skipped == (Skip("logs/old/deep/app.log", reason),)


async def test_a_file_named_that_is_too_large_is_an_error(store, tree):
    file = tree(FILES) / "README"
    with pytest.raises(SourceTooLarge, match="README has 10 bytes, more than the 9 bytes"):
        await load(store, [str(file)], rules=LoadRules(most_file_bytes=9))


async def test_what_is_no_text_does_not_count(store, tree):
    folder = tree({**FILES, "disk.img": b"\0" * 9000})
    assert (await load(store, [str(folder)], rules=LoadRules(most_bytes=6000))).documents == 5
