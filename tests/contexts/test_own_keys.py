"""What holds a key of the server's own is loaded by nobody: code and models would read it."""

import gzip
import zipfile

import pytest

from rlm_mcp.contexts.loader import load
from rlm_mcp.errors import ContextError, SourceForbidden
from rlm_mcp.rules import LoadRules
from rlm_mcp.service import open_service
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio

KEY = "k7-Zq9w8e7r6t5y4u3i2o1p"
HOLDS = "secret: it holds a key of this server's own"
LIKELY = "likely secret; name it to load it"
RULES = LoadRules(keys=(KEY.encode(),), secrets=True)


async def test_a_folder_is_loaded_without_the_files_that_hold_it(store, tree):
    folder = tree({"a.txt": "open", "any/notes.md": f"we use {KEY} here", "b.txt": KEY[:-1]})

    info = await load(store, [str(folder)], rules=RULES)

    assert [(skip.path, skip.reason) for skip in info.skipped] == [("any/notes.md", HOLDS)]
    assert KEY not in store.read(info, 0, info.chars)


@pytest.mark.parametrize("packed", ["a.txt", "a.txt.1.gz"])
async def test_naming_the_file_does_not_load_it(store, tmp_path, packed):
    place = tmp_path / packed
    text = f"key = {KEY}".encode()
    place.write_bytes(gzip.compress(text) if packed.endswith("gz") else text)

    for source in (str(place), f"rotated:{tmp_path}/a.txt"):
        with pytest.raises(ContextError, match=HOLDS) as refusal:
            await load(store, [source], rules=RULES)
        assert KEY not in str(refusal.value)


async def test_nor_does_an_archive(store, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", f"key = {KEY}")
        archive.writestr("b.txt", "open")

    info = await load(store, [str(tmp_path / "x.zip")], rules=RULES)

    assert [(skip.path, skip.reason) for skip in info.skipped] == [("a.txt", HOLDS)]


async def test_with_a_new_key_a_folder_is_read_anew(store, tree):
    folder = tree({"a.txt": "open", "b.txt": f"key = {KEY}"})

    await load(store, [str(folder)], rules=LoadRules())
    info = await load(store, [str(folder)], rules=RULES)

    assert [skip.path for skip in info.skipped] == ["b.txt"]


@pytest.mark.parametrize(
    ("name", "text", "is_loaded"),
    [
        ("claude_desktop_config.json", '{"env": {"RLM_API_KEY": "another-key"}}', False),
        (".claude.json", '{"env": {"RLM_SUB_API_KEY":"another-key"}}', False),
        ("settings.json", '{"env": {"RLM_API_KEY": "${input:rlm_api_key}"}}', True),
        ("settings.json", '{"password": "of something else"}', True),
        ("config.toml", 'env = { RLM_API_KEY = "another-key" }', False),
        ("config.toml", 'model = "m"\nsub_api_key = "another-key"', False),
        ("config.yaml", "envs:\n  RLM_API_KEY: another-key\n", False),
        ("mcp.json", '{"RLM_API_KEY": "another-key"}', False),
        ("notes.txt", "set RLM_API_KEY=another-key", True),
    ],
)
async def test_the_file_of_a_client_is_loaded_only_without_a_key_of_ours(
    store, tree, name, text, is_loaded
):
    info = await load(store, [str(tree({name: text, "a.txt": "open"}))], rules=LoadRules())

    left_out = [] if is_loaded else [(name, LIKELY)]
    assert [(skip.path, skip.reason) for skip in info.skipped] == left_out


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({"api_key": KEY, "sub_api_key": f" {KEY}2\n"}, {KEY, f"{KEY}2"}),
        ({"sub_api_url": f"http://a/v1 https://me:{KEY}@b/v1"}, {KEY}),
        ({"api_key": "sk-no-key-required", "sub_api_key": "ollama123"}, set()),
    ],
)
def test_a_key_is_what_is_no_word_for_having_none(values, keys):
    assert set(Settings.load({}, **values).load_rules.keys) == {key.encode() for key in keys}


async def test_who_runs_it_alone_cannot_load_its_own_places_either(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    own = {"settings": folder / "rlm.toml", "tokens": folder / "tokens.txt"}
    folder.mkdir()
    monkeypatch.setenv("RLM_CONFIG", str(own["settings"]))
    own["settings"].write_text(f'api_key = "{KEY}"\nroots = "*"\n', encoding="utf-8")
    own["tokens"].write_text("alice sha256:0", encoding="utf-8")
    (folder / "a.txt").write_text("open", encoding="utf-8")
    home = folder / "data"
    settings = Settings.load(home=home, token_file=own["tokens"])

    async with open_service(settings) as service:
        session = await service.new_session()
        info = await service.load(session, [str(folder)])
        for place in (*own.values(), home, home / "journal.sqlite"):
            with pytest.raises(SourceForbidden, match="the server's own"):
                await service.load(session, [str(place)])

    assert info.documents == 1
    assert {skip.path for skip in info.skipped} == {"rlm.toml", "tokens.txt", "data"}
