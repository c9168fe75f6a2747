"""What is private is loaded in no way, wherever it lies, and nothing is told of what is in it."""

import os
import subprocess
import zipfile

import pytest

from rlm_mcp.contexts.loader import load
from rlm_mcp.errors import ContextError, SourceForbidden, SourceMissing
from rlm_mcp.rules import LoadRules

pytestmark = pytest.mark.anyio

FILES = {"app.log": "open", "app.log.1": "closed", "own/deep/b.txt": "closed", "c.txt": "open"}


async def loaded(store, source, folder):
    """The texts of a folder whose `own` and `app.log.1` are private."""
    private = (folder / "own", folder / "app.log.1")
    rules = LoadRules(roots=(folder.resolve(),), private=private)
    info = await load(store, [str(source)], rules=rules)
    return info, store.read(info, 0, info.chars)


@pytest.fixture
def folder(tree):
    return tree(FILES)


@pytest.fixture
def committed(repository):
    """The same, all of it in a commit."""
    folder = repository(FILES, tracked=["."])
    own = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", *name, "commit", "-qm", "x"], cwd=folder, env=own, check=True)
    return folder


@pytest.mark.parametrize(
    "inner",
    ["own", "own/deep", "own/deep/b.txt", "own/nothing", "own/*", "own/**/*.txt", "app.log.1"],
)
async def test_it_cannot_be_named(store, folder, inner):
    with pytest.raises(SourceForbidden, match="the server's own"):
        await loaded(store, folder / inner, folder)


async def test_a_link_to_it_is_followed_before_it_is_judged(store, folder):
    (folder / "link").symlink_to(folder / "own")
    with pytest.raises(SourceForbidden, match="the server's own"):
        await loaded(store, folder / "link" / "deep", folder)


@pytest.mark.parametrize("inner", ["", "**", "**/*", "*", "*.*"])
async def test_a_folder_or_glob_around_it_leaves_it_out(store, folder, inner):
    info, text = await loaded(store, f"{folder}/{inner}", folder)

    assert "closed" not in text
    assert "open" in text
    assert not [skip for skip in info.skipped if "b.txt" in skip.path or "deep" in skip.path]


@pytest.mark.parametrize("inner", ["*/*/*.txt", "o*/deep/*", "own*/*"])
async def test_a_glob_that_leads_into_it_matches_nothing(store, folder, inner):
    with pytest.raises(SourceMissing, match="Nothing matches") as refusal:
        await loaded(store, f"{folder}/{inner}", folder)
    assert "b.txt" not in str(refusal.value)


async def test_a_rotated_log_leaves_out_a_part_that_is_private(store, folder):
    _, text = await loaded(store, f"rotated:{folder}/app.log", folder)

    assert text == "open"


async def test_an_archive_in_it_is_not_opened(store, folder):
    with zipfile.ZipFile(folder / "own" / "x.zip", "w") as archive:
        archive.writestr("a.txt", "closed")
    with pytest.raises(SourceForbidden):
        await loaded(store, folder / "own" / "x.zip", folder)


async def test_a_revision_does_not_bring_it_back(store, committed):
    _, text = await loaded(store, f"{committed}@HEAD", committed)

    assert "closed" not in text
    assert "open" in text
    with pytest.raises(ContextError):
        await loaded(store, f"{committed}/own@HEAD", committed)


@pytest.mark.skipif(os.name != "posix", reason="links to files need a right elsewhere")
async def test_another_name_of_the_same_file_is_private_too(store, folder):
    (folder / "d.txt").hardlink_to(folder / "app.log.1")
    with pytest.raises(SourceForbidden):
        await loaded(store, folder / "d.txt", folder)
    _, text = await loaded(store, folder, folder)
    assert "closed" not in text


async def test_a_load_is_remembered_for_whom_it_was_made(store, folder):
    async def info_of(whose):
        return await load(store, [str(folder)], rules=LoadRules(whose=whose))

    first, again, other, nobodys = [await info_of(whose) for whose in ("a", "a", "b", "")]
    (folder / "c.txt").unlink()
    changed = await info_of("b")

    assert first.id == again.id
    assert len({first.id, other.id, nobodys.id}) == 3
    assert changed.changes.since == other.id
