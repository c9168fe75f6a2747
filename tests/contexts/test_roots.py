"""Only what lies in the roots is loaded, and secrets only if they are named."""

from pathlib import Path

import pytest

from rlm_mcp.contexts.loader import load
from rlm_mcp.errors import SourceForbidden, SourceMissing
from rlm_mcp.rules import LoadRules
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"


async def loaded(store, *sources, **rules):
    return await load(store, [str(source) for source in sources], rules=LoadRules(**rules))


async def test_what_lies_in_a_root_is_loaded_and_nothing_beside_it(store, tree):
    inside, beside = tree({"a.txt": "a", "deep/b.txt": "b"}), tree({"c.txt": "c"}, "tree2")
    roots = (inside.resolve(),)
    for source in (inside, inside / "deep", inside / "a.txt", f"{inside}/**/*.txt"):
        assert (await loaded(store, source, roots=roots)).documents
    for source in (beside, beside / "c.txt", f"{beside}/*.txt", f"{inside}/../tree2", "/", "/etc"):
        with pytest.raises(SourceForbidden, match="outside the folders") as refusal:
            await loaded(store, source, roots=roots)
        assert "RLM_ROOTS=" in refusal.value.hint


async def test_a_link_does_not_lead_out(store, tree):
    inside, beside = tree({"a.txt": "a"}), tree({"c.txt": "c"}, "beside")
    (inside / "out").symlink_to(beside)
    (inside / "file").symlink_to(beside / "c.txt")
    for source in (inside / "out", inside / "file", inside / "out" / "c.txt", f"{inside}/out/*"):
        with pytest.raises(SourceForbidden):
            await loaded(store, source, roots=(inside.resolve(),))
    assert (await loaded(store, inside, roots=(inside.resolve(),))).documents == 1


async def test_a_glob_does_not_go_up(store, tree):
    inside = tree({"sub/a.txt": "a"})
    tree({"c.txt": "c"}, "beside")
    for pattern in (f"{inside}/*/../../beside/*", f"{inside}/**/../../beside/*.txt"):
        with pytest.raises(SourceForbidden):
            await loaded(store, pattern, roots=(inside.resolve(),))


async def test_outside_the_roots_what_is_there_looks_like_what_is_not(store, tree):
    inside, beside = tree({"a.txt": "a"}), tree({"c.txt": "c"}, "beside")
    told = []
    for name in ("c.txt", "x.txt"):
        with pytest.raises(SourceForbidden) as refusal:
            await loaded(store, beside / name, roots=(inside.resolve(),))
        told.append(str(refusal.value).replace(name, "NAME"))
    assert told[0] == told[1]
    with pytest.raises(SourceMissing):
        await loaded(store, inside / "x.txt", roots=(inside.resolve(),))


async def test_texts_need_no_root(store):
    assert (await load(store, [], text="some text", rules=LoadRules(roots=()))).chars == 9


@pytest.mark.parametrize(
    "path",
    [
        ".env", ".env.local", "deep/.netrc", "id_ed25519", "store.p12", ".aws/credentials",
        "deep/alice.token",
    ],
)  # fmt: skip
async def test_a_likely_secret_is_loaded_only_if_it_is_named(store, tree, path):
    folder = tree({path: "word", "a.txt": "a"})
    for source in (folder, f"{folder}/**"):
        info = await loaded(store, source)
        assert [(skip.path, skip.reason) for skip in info.skipped] == [
            (path, "likely secret; name it to load it")
        ]
    assert (await loaded(store, folder, secrets=True)).documents == 2
    assert (await loaded(store, folder / path)).documents == 1


@pytest.mark.parametrize(
    ("path", "content", "is_kept"),
    [
        ("server.pem", KEY, False),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nabc\n", True),
        ("ui.key", "title = hello", True),
        (".npmrc", "//registry/:_authToken=0123456789abcdef\n", False),
        (".npmrc", "registry=https://localhost/\n", True),
        (".env.example", "API_KEY=\n", True),
        (".env.example", f"API_KEY=ghp_{'a1' * 18}\n", False),
        (".mcp.json", f'{{"Authorization": "Bearer rlm_{"a-_" * 14}b"}}', False),
        ("mcp.json", '{"command": "rlm-mcp"}', True),
        ("tokens", f"rlm_{'a1-' * 14}b\n", False),
        ("tokens", f"alice sha256:{'0' * 64}\n", True),
        ("test_keys.py", f"KEY = '''{KEY}'''", True),
    ],
)
async def test_some_files_are_secrets_by_what_stands_in_them(store, tree, path, content, is_kept):
    folder = tree({path: content, "a.txt": "a"})
    assert ((await loaded(store, folder)).documents == 2) is is_kept
    assert (await loaded(store, folder, secrets=True)).documents == 2


def test_the_working_directory_is_the_root_unless_others_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Settings.load({}).load_rules.roots == (tmp_path.resolve(),)
    (tmp_path / "link").symlink_to("/usr")
    named = Settings.load({"RLM_ROOTS": f"{tmp_path}/link:{tmp_path}"}).load_rules
    assert named.roots == (Path("/usr"), tmp_path.resolve())
    assert Settings.load({"RLM_ROOTS": "*"}).load_rules.roots is None


async def test_the_root_of_the_disk_is_nobodys_working_directory(store, monkeypatch):
    monkeypatch.chdir("/")
    rules = Settings.load({}).load_rules
    with pytest.raises(SourceForbidden, match="may be loaded: none"):
        await load(store, ["/etc"], rules=rules)
