"""Folders: git's ignore rules with and without git, and everything that is no plain file."""

import os
import socket
import subprocess

import pytest

from rlm_mcp.contexts.walk import walk
from rlm_mcp.types import Skip

RULES = {
    ".gitignore": "*.log\n!keep.log\n/top.txt\nbuild/\n**/cache/*\n!**/cache/keep/\n# a comment\n",
    "a.log": "",
    "keep.log": "",
    "top.txt": "",
    "build/out.py": "",
    "sub/.gitignore": "!a.log\n/local.txt\ndeep.txt\n",
    "sub/a.log": "",
    "sub/b.log": "",
    "sub/top.txt": "",
    "sub/local.txt": "",
    "sub/build/out.py": "",
    "sub/more/local.txt": "",
    "sub/more/deep.txt": "",
    "cache/one": "",
    "cache/keep/two": "",
    ".hidden": "",
}
LEFT = [
    ".gitignore",
    ".hidden",
    "cache/keep/two",
    "keep.log",
    "sub/.gitignore",
    "sub/a.log",
    "sub/more/local.txt",
    "sub/top.txt",
]
IGNORED = [
    "a.log",
    "build/",
    "cache/one",
    "sub/b.log",
    "sub/build/",
    "sub/local.txt",
    "sub/more/deep.txt",
    "top.txt",
]


def walked(folder):
    """The paths of files, and the skips by path."""
    files, skipped = walk(str(folder), lambda: None)
    return sorted(file.path for file in files), {skip.path: skip.reason for skip in skipped}


def test_ignore_rules_hold_in_a_repository(repository):
    files, skipped = walked(repository(RULES))
    assert files == LEFT
    assert skipped == dict.fromkeys(IGNORED, "ignored by .gitignore")


def test_ignore_rules_hold_outside_a_repository(tree):
    files, skipped = walked(tree(RULES))
    assert files == LEFT
    assert sorted(skipped) == IGNORED


def test_ignore_rules_hold_without_git(repository, tmp_path, monkeypatch):
    folder = repository(RULES)
    monkeypatch.setenv("PATH", str(tmp_path))
    files, skipped = walked(folder)
    assert files == LEFT
    assert sorted(skipped) == IGNORED


def test_a_tracked_file_is_loaded_whatever_the_rules_say(repository):
    folder = repository({".gitignore": "*.log\n", "a.log": "", "b.log": ""}, tracked=["a.log"])
    assert walked(folder)[0] == [".gitignore", "a.log"]


def test_rules_from_above_hold_in_a_folder_of_a_repository(repository):
    folder = repository({".gitignore": "*.log\n", "sub/a.log": "", "sub/b.txt": ""})
    assert walked(folder / "sub") == (["b.txt"], {"a.log": "ignored by .gitignore"})


@pytest.mark.parametrize("inner", ["build", "build/deep", "build/deep/er"])
def test_an_ignored_folder_that_is_named_is_loaded(repository, inner):
    files = {".gitignore": "build/\n", "build/deep/er/a.txt": "", "build/.gitignore": "*.o\n"}
    folder = repository({**files, "build/deep/er/a.o": ""})
    assert any(path.endswith("a.txt") for path in walked(folder / inner)[0])


def test_a_nested_repository_has_its_own_rules(repository):
    repository({".gitignore": "*.b\n", "x.a": "", "x.b": "", "deep/x.b": ""}, "tree/inner")
    files, skipped = walked(repository({".gitignore": "*.a\n", "x.a": "", "x.b": ""}))
    assert files == [".gitignore", "inner/.gitignore", "inner/x.a", "x.b"]
    assert sorted(skipped) == ["inner/deep/", "inner/x.b", "x.a"]


def test_a_submodule_is_part_of_its_repository(repository):
    part = repository({"part.py": ""}, "part", tracked=["part.py"])
    own = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-c"]
    own += ["protocol.file.allow=always"]
    subprocess.run([*own, "commit", "-qm", "part"], cwd=part, check=True)
    folder = repository({"whole.py": ""})
    subprocess.run(
        [*own, "submodule", "--quiet", "add", str(part), "vendor"], cwd=folder, check=True
    )
    assert walked(folder)[0] == [".gitmodules", "vendor/part.py", "whole.py"]


def test_git_settings_of_the_caller_do_not_lead_elsewhere(repository, monkeypatch):
    other = repository({".gitignore": "*\n"}, "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert walked(repository({"a.txt": ""}, "mine")) == (["a.txt"], {})


def test_a_repository_cannot_have_commands_executed(repository, tmp_path):
    folder = repository({"a.txt": ""}, tracked=["a.txt"])
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n", encoding="utf-8")
    hook.chmod(0o755)
    subprocess.run(["git", "config", "core.fsmonitor", str(hook)], cwd=folder, check=True)
    assert walked(folder)[0] == ["a.txt"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("bare", [False, True])
def test_a_repository_cannot_have_missing_objects_fetched(repository, tmp_path, bare):
    script, ran = tmp_path / "fetch", tmp_path / "ran"
    script.write_text(f"#!/bin/sh\ntouch {ran}\n", encoding="utf-8")
    script.chmod(0o755)
    files = {"sub/.gitignore": "x\n", "sub/a.txt": "", "sub/new.txt": ""}
    folder = repository(files, tracked=["sub/.gitignore", "sub/a.txt"])
    settings = {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.url": ".",
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": str(script),
    }
    commands = [["config", *setting] for setting in settings.items()]
    commands.append(["update-index", "--skip-worktree", "sub/.gitignore"])
    for command in commands:
        subprocess.run(["git", *command], cwd=folder, check=True)
    rules = subprocess.check_output(
        ["git", "rev-parse", ":sub/.gitignore"], cwd=folder, text=True, encoding="utf-8"
    ).strip()
    (folder / ".git/objects" / rules[:2] / rules[2:]).unlink()
    (folder / "sub/.gitignore").unlink()
    if bare:
        subprocess.run(["git", "config", "core.worktree", "."], cwd=folder, check=True)
        folder = (folder / ".git").rename(tmp_path / "bare")
        (folder / "sub").mkdir()
        (folder / "sub/new.txt").touch()
    assert "sub/new.txt" in walked(folder)[0]
    assert not ran.exists()


@pytest.mark.parametrize("place", [".gitignore", ".git/config", "sub/.gitignore"])
def test_a_pipe_among_the_rules_holds_nothing_up(repository, monkeypatch, place):
    monkeypatch.setattr("rlm_mcp.contexts.ignore._GIT_S", 0.5)
    folder = repository({"a.log": "", "b.txt": "", "sub/c.txt": "", "sub/.gitignore": "c.txt"})
    (folder / place).unlink(missing_ok=True)
    os.mkfifo(folder / place)
    files, _ = walked(folder)
    assert {"a.log", "b.txt"} < {*files}


@pytest.mark.parametrize("with_git", [True, False])
def test_rules_of_any_size_and_kind_do_no_harm(tree, tmp_path, monkeypatch, with_git):
    if not with_git:
        monkeypatch.setenv("PATH", str(tmp_path))
    stars = "*a" * 30 + "b\n"
    folder = tree({"a.txt": "", "huge/.gitignore": "x", "slow/.gitignore": stars})
    os.truncate(folder / "huge/.gitignore", 1 << 40)
    (folder / ".gitignore").symlink_to("/dev/zero")
    (folder / "slow" / ("a" * 200)).touch()
    assert "a.txt" in walked(folder)[0]


def test_many_ignored_files_of_one_folder_become_one_skip(tree):
    files = {f"out/{number:03}.log": "" for number in range(100)}
    _, skipped = walked(tree({**files, "out/kept.txt": "", ".gitignore": "*.log\n"}))
    assert len(skipped) == 21
    assert skipped["out/*"] == "80 more ignored by .gitignore"


def test_what_is_no_plain_file_is_skipped_with_its_reason(tree, tmp_path):
    folder = tree({"a.txt": "", "sub/b.txt": ""})
    outside = tree({"secret": ""}, "outside")
    os.mkfifo(folder / "pipe")
    (folder / "in").symlink_to(folder / "a.txt")
    (folder / "out").symlink_to(outside / "secret")
    (folder / "out-folder").symlink_to(outside)
    (folder / "up").symlink_to(folder)
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(os.path.relpath(folder / "sock"))
        files, skipped = walked(folder)
    assert files == ["a.txt", "sub/b.txt"]
    assert skipped == {
        "pipe": "named pipe",
        "sock": "socket",
        **dict.fromkeys(["in", "out", "out-folder", "up"], "symbolic link"),
    }


def test_every_name_is_shown_clean_and_in_its_own_way(tree):
    folder = os.fsencode(tree({"sub/x": ""}) / "sub")
    names = [
        b"a\x01",
        rb"a\x01",
        b"\x85",
        "\x85".encode(),
        rb"\x85",
        rb"\u0085",
        "x\u202etxt".encode(),
    ]
    for name in names:
        os.mkfifo(folder + b"/" + name)
    _, skipped = walk(os.fsdecode(folder), lambda: None)
    assert sorted(skip.path for skip in skipped) == sorted(
        [r"a\x01", r"a\\x01", r"\x85", r"\u0085", r"\\x85", r"\\u0085", r"x\u202etxt"]
    )


def test_cancelling_ends_a_walk(tree):
    def cancelled():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walk(str(tree({"a": "", "b/c": ""})), cancelled)


def test_skips_are_values_a_manifest_can_hold(tree):
    folder = tree({"a": ""})
    os.mkfifo(os.fsencode(folder) + b"/no\xff\n\xe2\x80\xa8utf8")
    _, skipped = walk(str(folder), lambda: None)
    assert skipped == [Skip(r"no\xff\n\u2028utf8", "named pipe")]
