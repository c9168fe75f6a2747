"""Loading: what comes in, under which paths and ids, and what is said of the rest."""

import json
import os
import shutil

import anyio
import pytest
from contents import contents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.errors import (
    ArgumentInvalid,
    SourceEmpty,
    SourceMissing,
    SourceUnreadable,
    StoreFailed,
)
from rlm_mcp.rules import LoadRules
from rlm_mcp.types import Skip, TextKind

pytestmark = pytest.mark.anyio


async def test_a_text_is_stored_as_it_is(store):
    info = await load(store, [], text="one\r\ntwo\r\nthree")
    assert (info.name, info.documents, info.chars, info.lines) == ("text", 1, 15, 3)
    assert info.blob.read_bytes() == b"one\r\ntwo\r\nthree"
    assert info.kind == TextKind.ASCII
    assert info.tokens_estimate > 0


async def test_a_file_is_stored_without_a_header(store, tree):
    file = tree({"notes.txt": "a\nb\n"}) / "notes.txt"
    info = await load(store, [str(file)])
    assert info.name == "notes.txt"
    assert info.blob.read_bytes() == b"a\nb\n"
    assert contents(store, info) == {"notes.txt": "a\nb\n"}


async def test_documents_of_a_folder_stand_under_headers_in_path_order(store, tree):
    folder = tree({"b.txt": "no newline", "a/z.txt": "x\n", "empty": "", "c.txt": "last"})
    info = await load(store, [str(folder)])
    assert store.read(info, 0, info.chars) == (
        "=== a/z.txt ===\nx\n=== b.txt ===\nno newline\n=== c.txt ===\nlast\n=== empty ===\n"
    )
    documents = store.catalogue(info.id).documents
    assert [(d.path, d.chars, d.lines, d.bytes) for d in documents] == [
        ("a/z.txt", 2, 1, 2),
        ("b.txt", 10, 1, 10),
        ("c.txt", 4, 1, 4),
        ("empty", 0, 0, 0),
    ]


async def test_the_manifest_is_the_contract_with_the_guest(store, tree):
    folder = tree({"a": "ä\n".encode("utf-16"), "b": "€", "c": b"\0binary"})
    info = await load(store, [str(folder)])
    manifest = json.loads(info.manifest.read_text(encoding="utf-8"))
    assert manifest == {
        "format": 2,
        "id": info.id,
        "kind": "ucs2",
        "bytes": 9,
        "chars": info.chars,
        "lines": 2,
        "tokens_estimate": info.tokens_estimate,
        "documents": [["a", 10, 2, 1, 6], ["b", 22, 1, 1, 3]],
        "encodings": {"a": "utf-16-le"},
        "skipped": [["c", "binary"]],
    }
    assert info.blob.stat().st_size == info.chars * info.kind.width


async def test_a_folder_with_one_text_has_no_header(store, tree):
    folder = tree({"é.txt": "plain", "b.bin": b"\0\1", "c.bin": b"\0\1"})
    info = await load(store, [str(folder)])
    assert (info.blob.read_bytes(), info.kind) == (b"plain", TextKind.ASCII)
    assert info.skipped == (Skip("b.bin", "binary"), Skip("c.bin", "binary"))
    assert contents(store, info) == {"é.txt": "plain"}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", ["a.py"]),
        ("**/*.py", ["a.py", "src/b.py", "src/deep/c.py"]),
        ("src/*.py", ["b.py"]),
        ("src/**", ["b.py", "deep/c.py", "notes.txt"]),
        ("s[r]c/*", ["src/b.py", "src/notes.txt"]),
    ],
)
async def test_a_glob_gives_paths_below_its_fixed_part(store, tree, pattern, found):
    folder = tree({"a.py": "1", "src/b.py": "2", "src/deep/c.py": "3", "src/notes.txt": "4"})
    info = await load(store, [f"{folder}/{pattern}"])
    assert list(contents(store, info)) == found


async def test_a_glob_that_walks_follows_ignore_rules_and_one_that_names_does_not(store, tree):
    folder = tree({".gitignore": "*.log\n", "a.log": "a", "b.txt": "b", "deep/c.log": "c"})
    with pytest.raises(SourceEmpty):
        await load(store, [f"{folder}/**/*.log"])
    info = await load(store, [f"{folder}/*.log"])
    assert contents(store, info) == {"a.log": "a"}


async def test_a_glob_is_relative_to_where_we_are(store, tree, monkeypatch):
    monkeypatch.chdir(tree({"[here]/a.py": "1", "[here]/sub/b.py": "2"}) / "[here]")
    info = await load(store, ["**/*.py"])
    assert contents(store, info) == {"a.py": "1", "sub/b.py": "2"}


async def test_a_file_whose_name_looks_like_a_glob_is_a_file(store, tree):
    folder = tree({"a[1].txt": "brackets", "a1.txt": "match"})
    info = await load(store, [str(folder / "a[1].txt")])
    assert contents(store, info) == {"a[1].txt": "brackets"}


async def test_several_sources_are_relative_to_the_folder_they_share(store, tree):
    top = tree({"app/src/a.py": "1", "app/src/b.py": "2", "app/docs/c.md": "3", "x": "4"})
    sources = [f"{top}/app/src", f"{top}/app/docs/*.md", f"{top}/app/src/a.py"]
    info = await load(store, sources)
    assert contents(store, info) == {"docs/c.md": "3", "src/a.py": "1", "src/b.py": "2"}
    assert info.name == "src and 2 more"


async def test_the_home_folder_is_expanded(store, tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree({"log": "in my home"})))
    info = await load(store, ["~/log"], name="mine")
    assert (info.name, contents(store, info)) == ("mine", {"log": "in my home"})


async def test_the_id_depends_on_paths_and_text_alone(store, tree):
    files = {"a.txt": "one", "b/c.txt": "two"}
    first = await load(store, [str(tree(files, "here"))])
    same = await load(store, [str(tree({**files, "skip.bin": b"\0"}, "there"))], name="other")
    renamed = await load(store, [str(tree({"a.txt": "one", "b/d.txt": "two"}, "renamed"))])
    edited = await load(store, [str(tree({"a.txt": "one", "b/c.txt": "Two"}, "edited"))])
    moved = await load(store, [str(tree({"a.txt": "onet", "b/c.txt": "wo"}, "moved"))])
    assert same.id == first.id
    assert same.skipped == (Skip("skip.bin", "binary"),)
    assert len({first.id, renamed.id, edited.id, moved.id}) == 4
    assert {info.id for info in store.list()} == {first.id, renamed.id, edited.id, moved.id}


UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
NARROW = st.text(st.characters(max_codepoint=0xFF))
FILES = st.dictionaries(
    st.text("abcdefé文", min_size=1, max_size=8),
    st.one_of(NARROW, UNICODE, st.text("ab\r\n"), st.text("a\n🙂")),
    min_size=2,
    max_size=6,
)


@given(files=FILES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_document_is_a_slice_of_the_blob(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    written = {}
    for name, text in files.items():
        raw = text.encode("utf-8")
        if b"\0" in raw or raw.startswith(b"\xef\xbb\xbf"):
            continue
        (folder / name).write_bytes(raw)
        written[name] = text
    store = ContextStore(folder.with_name(folder.name + "-home"))
    if not any(written.values()):
        return
    info = anyio.run(load, store, [str(folder)])
    assert contents(store, info) == dict(sorted(written.items()))
    whole = info.blob.read_bytes().decode(info.kind.codec, "surrogatepass")
    assert len(whole) == info.chars
    headed = "".join(
        f"=== {path} ===\n{text}" + ("\n" if text and not text.endswith("\n") else "")
        for path, text in sorted(written.items())
    )
    if len(written) > 1:
        assert whole in {headed, headed[:-1]}
    widest = max(map(ord, whole))
    kinds = {0x7F: "ascii", 0xFF: "latin1", 0xFFFF: "ucs2", 0x10FFFF: "ucs4"}
    assert info.kind == next(kind for limit, kind in kinds.items() if widest <= limit)
    for document in store.catalogue(info.id).documents:
        lines = written[document.path].removesuffix("\n").count("\n") + 1
        assert document.lines == (lines if document.chars else 0)


async def test_wider_characters_late_in_a_text_widen_all_of_it(store):
    text = "a" * 600_000 + "é" * 600_000 + "中" * 600_000 + "🙂"
    info = await load(store, [], text=text)
    assert info.kind == TextKind.UCS4
    assert store.read(info, 0, info.chars) == text
    assert store.read(info, 1_199_999, 1_200_001) == "é中"


async def test_lone_surrogates_survive_and_pairs_become_the_character_they_mean(store):
    info = await load(store, [], text="a\ud800b \ud83d\ude42")
    assert store.read(info, 0, info.chars) == "a\ud800b 🙂"


async def test_names_and_encodings_of_all_kinds_are_loaded(store, tree):
    folder = tree(
        {"utf16.txt": "wide 文".encode("utf-16"), "latin.txt": "café\n".encode("latin-1")}
    )
    (folder / os.fsdecode(b"odd\xff\n.txt")).write_bytes(b"odd")
    info = await load(store, [str(folder)])
    assert contents(store, info) == {
        "latin.txt": "café\n",
        r"odd\xff\n.txt": "odd",
        "utf16.txt": "wide 文",
    }
    assert store.read(info, 0, info.chars).count("===") == 6


async def test_a_file_that_vanishes_while_the_load_runs_is_a_skip(store, tree):
    folder = tree({"a": "1", "b": "2", "c": "3"})
    info = await load(
        store, [str(folder)], progress=lambda _: (folder / "b").unlink(missing_ok=True)
    )
    assert contents(store, info) == {"a": "1", "c": "3"}
    assert info.skipped == (Skip("b", "no such file or directory"),)


async def test_a_folder_swapped_for_a_link_while_the_load_runs_leads_nowhere(store, tree):
    outside = tree({"key": "secret"}, "outside")
    folder = tree({"a": "1", "in/key": "mine", "z": "3"})

    def swap(_):
        if not (folder / "in").is_symlink():
            (folder / "in").rename(folder / "old")
            (folder / "in").symlink_to(outside)

    info = await load(store, [str(folder)], progress=swap)
    assert contents(store, info) == {"a": "1", "z": "3"}
    assert info.skipped == (Skip("in/key", "changed while it was read"),)


async def test_a_glob_follows_no_link_between_its_fixed_part_and_a_file(store, tree):
    outside = tree({"key": "secret", "deep/key": "secret"}, "outside")
    folder = tree({"src/key": "a"})
    (folder / "evil").symlink_to(outside)
    (folder / "src/link").symlink_to(outside / "key")
    info = await load(store, [f"{folder}/*/*", f"{folder}/*/deep/*"])
    assert contents(store, info) == {"src/key": "a"}
    assert info.skipped == (Skip("evil", "symbolic link"), Skip("src/link", "symbolic link"))


async def test_a_text_ends_where_a_hole_begins(store, tree):
    folder = tree({"a.txt": "text\n" * 60_000, "wide.txt": "wide".encode("utf-16")})
    os.truncate(folder / "a.txt", 8 << 20)
    os.truncate(folder / "wide.txt", 1 << 20)
    info = await load(store, [str(folder)])
    assert len(contents(store, info)["a.txt"]) < 1 << 20
    assert info.skipped == (Skip("a.txt", "cut where it broke off: binary from byte 524288 on"),)


async def test_more_text_than_the_disk_has_room_for_is_refused_unread(store, tree):
    folder = tree({"a.txt": "small", "b.txt": "large\n" * 2000, "c.bin": b"\0"})
    beyond = 2 * shutil.disk_usage(folder).free
    os.truncate(folder / "c.bin", beyond)
    assert (await load(store, [str(folder)])).documents == 2
    os.truncate(folder / "b.txt", beyond)
    with pytest.raises(StoreFailed, match=rf"largest file is b\.txt with {beyond:,}\."):
        await load(
            store, [str(folder)], rules=LoadRules(most_bytes=9 * beyond, most_file_bytes=beyond)
        )


@pytest.mark.parametrize(
    "source", ["missing", "a/missing", "a/x/y", "missin/x", "none/*.py", "*.py", "nul\0"]
)
async def test_a_missing_path_names_the_nearest_thing(store, tree, source):
    folder = tree({"a/misssing": "", "missin": ""})
    with pytest.raises(SourceMissing) as caught:
        await load(store, [f"{folder}/{source}"])
    assert str(folder) in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.bin": b"\0", "b.bin": b"x\0"}, "2 skipped (2 binary)"),
        ({"a": "", "b": ""}, "There is no text in tree."),
        ({".gitignore": "*\n"}, "1 skipped (1 ignored by .gitignore)"),
    ],
)
async def test_a_folder_without_text_says_what_was_skipped(store, tree, files, reason):
    folder = tree(files)
    with pytest.raises(SourceEmpty) as caught:
        await load(store, [str(folder)])
    assert reason in caught.value.message
    assert store.list() == ()


async def test_an_empty_folder_and_an_empty_text_are_errors(store, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceEmpty):
        await load(store, [str(tmp_path / "empty")])
    with pytest.raises(SourceEmpty):
        await load(store, [], text="")


async def test_a_named_file_that_is_binary_says_so(store, tree):
    with pytest.raises(SourceEmpty, match=r"logo.png cannot be loaded: binary"):
        await load(store, [str(tree({"logo.png": b"\x89PNG\0"}) / "logo.png")])


async def test_a_named_pipe_is_refused_without_waiting_for_a_writer(store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with anyio.fail_after(5), pytest.raises(SourceUnreadable, match="named pipe"):
        await load(store, [str(tmp_path / "pipe")])


async def test_a_loop_of_links_is_refused(store, tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    with pytest.raises(SourceUnreadable):
        await load(store, [str(tmp_path / "one")])


@pytest.mark.parametrize(
    "arguments", [{"sources": []}, {"sources": ["x"], "text": "y"}, {"sources": [""]}]
)
async def test_sources_or_a_text_but_not_both(store, arguments):
    with pytest.raises(ArgumentInvalid):
        await load(store, **arguments)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_an_unreadable_file_is_skipped_with_its_reason(store, tree):
    folder = tree({"a": "text", "secret": "text"})
    (folder / "secret").chmod(0)
    info = await load(store, [str(folder)])
    assert info.skipped == (Skip("secret", "permission denied"),)


async def test_progress_ends_with_the_sum(store, tree):
    seen = []
    folder = tree({f"{number:03}": "x" * 100 for number in range(50)})
    await load(store, [str(folder)], progress=seen.append)
    assert (seen[-1].files_read, seen[-1].files_total, seen[-1].bytes_read) == (50, 50, 5000)
    assert [each.bytes_read for each in seen] == sorted(each.bytes_read for each in seen)


async def test_an_error_of_the_listener_is_not_taken_for_the_files(store, tree):
    def broken(progress):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await load(store, [str(tree({"a": "1", "b": "2"}))], progress=broken)
    assert store.list() == ()


async def test_a_cancelled_load_stops_and_leaves_nothing(store, tree, own_environment):
    file = tree({"big.log": b"line\n" * 40_000_000}) / "big.log"
    seen = []
    with anyio.fail_after(30), anyio.CancelScope() as scope:

        def stop(progress):
            seen.append(progress)
            anyio.from_thread.run_sync(scope.cancel)

        await load(store, [str(file)], progress=stop)
    assert scope.cancelled_caught
    assert len(seen) == 1
    assert seen[0].bytes_read < file.stat().st_size
    assert list((own_environment / "contexts").iterdir()) == []


async def test_a_file_that_grows_while_it_is_read_ends_where_it_began_to(store, tree):
    file = tree({"app.log": "line\n" * 100_000}) / "app.log"

    def grow(_):
        with file.open("a", encoding="utf-8") as log:
            log.write("more\n" * 1000)

    info = await load(store, [str(file)], progress=grow)
    assert store.read(info, 0, info.chars) == "line\n" * 100_000


async def test_a_file_that_shrinks_while_it_is_read_is_cut_and_says_so(store, tree):
    folder = tree({"app.log": "line\n" * 400_000, "b": "text"})

    def shrink(_):
        os.truncate(folder / "app.log", 500_000)

    info = await load(store, [str(folder)], progress=shrink)
    assert info.skipped == (
        Skip("app.log", "cut where it broke off: became shorter while it was read"),
    )
    assert contents(store, info)["app.log"].startswith("line\n")


async def test_a_manifest_says_what_was_decoded_how(store, tree):
    files = {
        "a": "plain",
        "b": "größer".encode("utf-16"),
        "c": "größer\n" * 50 + "é",
        "d": b"# coding: koi8-r\n" + "да".encode("koi8-r"),
        "e": "größer ".encode() * 9 + b"stray \xe9",
    }
    info = await load(store, [str(tree(files))])
    documents = store.catalogue(info.id).documents
    assert {each.path: each.encoding for each in documents} == {
        "a": "utf-8",
        "b": "utf-16-le",
        "c": "utf-8",
        "d": "koi8-r",
        "e": "utf-8 with stray bytes",
    }


async def test_a_nul_far_into_a_text_is_a_character_like_any_other(store, tree):
    text = "a" * 10_000 + "\0" + "b"
    info = await load(store, [str(tree({"a": text}) / "a")])
    assert store.read(info, 0, info.chars) == text


@pytest.mark.parametrize(
    "source",
    ["a\0b", "a\0b.zip", "a\0b@main", "rotated:a\0b/c", "~no-such-user/a.tar", "~no-such-user@x"],
)
async def test_what_can_be_no_path_is_missing(store, source):
    with pytest.raises(SourceMissing):
        await load(store, [source])
