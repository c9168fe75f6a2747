"""A revision of a repository is loaded from its objects; the work tree stays as it is."""

import os
import shutil
import subprocess

import pytest
from contents import contents

from rlm_mcp.contexts.loader import load
from rlm_mcp.errors import SourceForbidden, SourceMissing, SourceUnreadable
from rlm_mcp.rules import LoadRules
from rlm_mcp.types import Changes, Skip

pytestmark = pytest.mark.anyio

MB = 1 << 20


def git(folder, *arguments):
    own = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    own |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    given = {"user.name": "me", "user.email": "me@example.org", "protocol.file.allow": "always"}
    command = ["git"]
    for key, value in given.items():
        command += ["-c", f"{key}={value}"]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=own, check=True, capture_output=True
    )
    return done.stdout.decode().strip()


FIRST = {"src/a.py": "a = 1\n", "src/deep/b.py": "b = 1\n", "README": "größer\n", "empty": ""}


@pytest.fixture
def history(tree):
    """A repository with two commits, `v1` and `main`, and a work tree that is neither."""
    folder = tree(FIRST, "repo")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "v1")
    tree({"src/a.py": "a = 2\n", "new.bin": b"\0\1"}, "repo")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "two")
    tree({"src/a.py": "a = 3\n", "untracked": "not in git"}, "repo")
    return folder


async def test_a_revision_is_loaded_as_it_was(store, history):
    info = await load(store, [f"{history}@v1"])
    assert (info.name, contents(store, info)) == ("repo@v1", dict(sorted(FIRST.items())))
    assert git(history, "status", "--short") == "M src/a.py\n?? untracked"


async def test_any_name_of_a_commit_will_do(store, history):
    first = await load(store, [f"{history}@v1"])
    for name in "main~1", git(history, "rev-parse", "v1"), "HEAD^":
        assert (await load(store, [f"{history}@{name}"])).id == first.id


async def test_what_is_no_text_is_skipped(store, history):
    info = await load(store, [f"{history}@main"])
    assert contents(store, info)["src/a.py"] == "a = 2\n"
    assert info.skipped == (Skip("new.bin", "binary"),)


async def test_a_folder_of_a_repository_has_paths_of_its_own(store, history):
    info = await load(store, [f"{history}/src@v1"])
    assert contents(store, info) == {"a.py": "a = 1\n", "deep/b.py": "b = 1\n"}


async def test_two_revisions_and_the_work_tree_are_told_apart(store, history):
    info = await load(store, [f"{history}/src/deep@v1", f"{history}/src/deep@main"])
    assert list(contents(store, info)) == ["deep@main/b.py", "deep@v1/b.py"]


async def test_a_branch_that_moved_says_what_changed(store, history):
    first = await load(store, [f"{history}@main"])
    git(history, "commit", "-q", "-a", "-m", "three")
    second = await load(store, [f"{history}@main"])
    assert second.changes == Changes(first.id, added=(), changed=("src/a.py",), removed=())
    assert contents(store, second)["src/a.py"] == "a = 3\n"


async def test_large_files_come_whole(store, tree):
    text = "".join(f"line {number}\n" for number in range(200_000))
    folder = tree({"a.log": text, "b.bin": b"\0" * MB, "c.log": text[::-1]}, "repo")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    info = await load(store, [f"{folder}@HEAD"])
    assert contents(store, info) == {"a.log": text, "c.log": text[::-1]}


async def test_links_submodules_and_secrets_are_skipped(store, tree):
    other = tree({"x": "x"}, "other")
    folder = tree({"a": "a", ".env": "KEY=1"}, "repo")
    (folder / "link").symlink_to("/etc/passwd")
    for place in other, folder:
        git(place, "init", "-q")
        git(place, "add", "-A")
        git(place, "commit", "-q", "-m", "one")
    git(folder, "submodule", "--quiet", "add", str(other), "sub")
    git(folder, "commit", "-q", "-m", "two")
    info = await load(store, [f"{folder}@HEAD"])
    assert {skip.path: skip.reason for skip in info.skipped} == {
        ".env": "likely secret; name it to load it",
        "link": "symbolic link",
        "sub": "submodule",
    }


async def test_an_unknown_revision_names_the_nearest(store, history):
    with pytest.raises(SourceMissing, match=r"has no revision mian\.") as caught:
        await load(store, [f"{history}@mian"])
    assert caught.value.hint == "Did you mean main?"


@pytest.mark.parametrize("revision", ["--help", "-x", "v1:README", "v1..main", "\n"])
async def test_what_is_no_commit_is_no_revision(store, history, revision):
    with pytest.raises(SourceMissing, match="no revision"):
        await load(store, [f"{history}@{revision}"])


async def test_a_folder_in_no_repository_says_so(store, tree):
    with pytest.raises(SourceUnreadable, match="is in no git repository"):
        await load(store, [f"{tree({'a': 'a'})}@main"])


async def test_a_file_whose_name_has_an_at_sign_is_a_file(store, tree):
    folder = tree({"notes@home": "at home"})
    assert contents(store, await load(store, [f"{folder}/notes@home"])) == {"notes@home": "at home"}


async def test_an_object_that_is_not_there_is_skipped(store, history):
    name = git(history, "rev-parse", "v1:README")
    (history / ".git" / "objects" / name[:2] / name[2:]).unlink()
    info = await load(store, [f"{history}@v1"])
    assert set(contents(store, info)) == set(FIRST) - {"README"}
    assert info.skipped == (Skip("README", "not in this clone"),)


async def test_a_file_named_git_does_not_lead_out_of_the_roots(store, history, tree):
    trap = tree({".git": f"gitdir: {history}/.git\n"}, "trap")
    with pytest.raises(SourceForbidden):
        await load(store, [f"{trap}@v1"], rules=LoadRules(roots=(trap,)))
    with pytest.raises(SourceForbidden):
        await load(store, [f"{history}@v1"], rules=LoadRules(roots=(trap,)))


def commondir(trap, repository):
    (trap / ".git").mkdir()
    (trap / ".git" / "commondir").write_text(f"{repository}/.git\n", encoding="utf-8")
    (trap / ".git" / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")


def commondir_with_a_line_end(trap, repository):
    (trap / "x\n").mkdir()
    commondir(trap, f"{trap}/x\n/../../{repository.name}")


def alternates(trap, repository):
    git(trap, "init", "-q")
    named = trap / ".git" / "objects" / "info" / "alternates"
    named.write_text(f"{repository}/.git/objects\n", encoding="utf-8")


def alternates_of_alternates(trap, repository):
    (trap / "between").mkdir()
    alternates(trap / "between", repository)
    alternates(trap, trap / "between")


def linked_objects(trap, repository):
    git(trap, "init", "-q")
    shutil.rmtree(trap / ".git" / "objects")
    (trap / ".git" / "objects").symlink_to(repository / ".git" / "objects")


def links_among_objects(trap, repository):
    git(trap, "init", "-q")
    for folder in (repository / ".git" / "objects").glob("??"):
        (trap / ".git" / "objects" / folder.name).symlink_to(folder)


@pytest.mark.parametrize(
    "way",
    [
        commondir,
        commondir_with_a_line_end,
        alternates,
        alternates_of_alternates,
        linked_objects,
        links_among_objects,
    ],
)
async def test_no_repository_leads_to_the_objects_of_one_outside_the_roots(
    store, history, tree, way
):
    trap = tree({"a": "a"}, "trap")
    way(trap, history)
    source = f"{trap}@{git(history, 'rev-parse', 'v1')}"

    with pytest.raises(SourceForbidden):
        await load(store, [source], rules=LoadRules(roots=(trap,)))

    both = LoadRules(roots=(trap, history))
    assert contents(store, await load(store, [source], rules=both)) == dict(sorted(FIRST.items()))


async def test_a_work_tree_beside_its_repository_is_loaded(store, history):
    git(history, "worktree", "add", "-q", "../beside", "v1")

    info = await load(store, [f"{history.parent}/beside@v1"])

    assert contents(store, info) == dict(sorted(FIRST.items()))


async def test_a_folder_may_be_loaded_whose_repository_stands_above_its_root(store, history):
    rules = LoadRules(roots=(history / "src",))
    assert contents(store, await load(store, [f"{history}/src@v1"], rules=rules))


async def test_nothing_a_repository_configures_is_run(store, history, tmp_path):
    ran = tmp_path / "ran"
    for key in "core.fsmonitor", "core.pager", "filter.x.smudge", "core.sshCommand":
        git(history, "config", key, f"touch {ran}")
    await load(store, [f"{history}@v1"])
    assert not ran.exists()
