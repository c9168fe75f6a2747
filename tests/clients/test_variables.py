import os
from pathlib import Path

import pytest

from rlm_mcp.clients.variables import unwritten, variables
from rlm_mcp.errors import ArgumentInvalid, SettingsInvalid
from rlm_mcp.settings import PREFIX, Settings


def of(environment, given=None, *, with_key=False):
    return variables(environment, given or {}, with_key=with_key)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "me"))
    (tmp_path / "me" / "code").mkdir(parents=True)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "c.toml").write_text("max_turns = 7\n", encoding="utf-8")
    return tmp_path


def test_every_setting_that_is_set_comes_along_but_the_keys(here):
    environment = {
        "RLM_MODEL": "qwen",
        "RLM_SUB_MODEL": "small",
        "RLM_SUB_API_URL": "http://a/v1 http://b/v1",
        "RLM_SANDBOX": "plain",
        "RLM_MAX_TURNS": "7",
        "RLM_SECRETS": "1",
        "RLM_TOKEN_FILE": str(here / "tokens"),
        "RLM_CONFIG": str(here / "c.toml"),
    }
    keys = {"RLM_API_KEY": "sk-1", "RLM_SUB_API_KEY": "sk-2"}
    others = {"PATH": "/bin", "HF_TOKEN": "hf-1", "RLM_API_URL": ""}

    assert of(environment | keys | others) == environment
    assert of(environment | keys | others, with_key=True) == environment | keys
    assert unwritten(environment | keys, environment) == ("RLM_API_KEY", "RLM_SUB_API_KEY")


def test_every_setting_there_is_can_come_along():
    valued = {
        PREFIX + name.upper(): str(field.default)
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, str | int | float)
    }

    assert of(valued) == valued


def test_what_is_given_counts_before_what_is_set():
    found = of({"RLM_MODEL": "qwen"}, {"RLM_MODEL": "other", "HF_TOKEN": "hf-1"})

    assert found == {"RLM_MODEL": "other", "HF_TOKEN": "hf-1"}


def test_a_misspelt_name_in_the_environment_is_an_error_with_the_nearest():
    with pytest.raises(SettingsInvalid) as caught:
        of({"RLM_APIURL": "http://localhost:8080/v1"})

    assert caught.value.message == "There is no setting RLM_APIURL."
    assert caught.value.hint == "Did you mean RLM_API_URL?"


def test_a_value_that_cannot_work_is_one_unless_another_is_given():
    with pytest.raises(SettingsInvalid, match="RLM_MAX_TURNS: "):
        of({"RLM_MAX_TURNS": "many"})

    assert of({"RLM_MAX_TURNS": "many"}, {"RLM_MAX_TURNS": "7"}) == {"RLM_MAX_TURNS": "7"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RLM_API_URL", "http://me:pw@host/v1"),
        ("RLM_SUB_API_URL", "http://a/v1, http://me:pw@b/v1"),
        ("RLM_API_URL", "https://host/v1?key=sk-1"),
    ],
)
def test_an_address_with_a_password_comes_along_only_if_said_so(name, value):
    with pytest.raises(ArgumentInvalid) as caught:
        of({name: value})

    assert caught.value.message.startswith(f"{name} has a name, password or key in it, ")
    assert caught.value.hint == (
        f"Say so with --with-key, or give another address with --env {name}=..."
    )
    assert of({name: value}, with_key=True) == {name: value}
    assert of({name: value}, {name: "http://host/v1"}) == {name: "http://host/v1"}


@pytest.mark.parametrize(
    ("name", "value", "paths"),
    [
        ("RLM_ROOTS", os.pathsep.join([".", "~/code"]), ["", "me/code"]),
        ("RLM_MODEL_PATH", "model.gguf", ["model.gguf"]),
        ("RLM_CONFIG", "c.toml", ["c.toml"]),
        ("RLM_HOME", "not/there/yet", ["not/there/yet"]),
        ("RLM_HOME", "~/new", ["me/new"]),
        ("RLM_TOKEN_FILE", "tokens", ["tokens"]),
    ],
)
def test_a_path_becomes_absolute_be_it_set_or_given(here, name, value, paths):
    expected = {name: os.pathsep.join(str(here / path) for path in paths)}

    assert of({name: value}) == expected
    assert of({}, {name: value}) == expected


def test_no_setting_that_is_a_path_is_forgotten(here):
    paths = {
        PREFIX + name.upper(): "x"
        for name, field in Settings.model_fields.items()
        if "Path" in str(field.annotation)
    }

    assert paths
    assert of(paths) == dict.fromkeys(paths, str(here / "x"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RLM_ROOTS", "*"),
        ("RLM_ROOTS", "${workspaceFolder}"),
        ("RLM_HOME", "${env:HOME}/rlm"),
        ("RLM_MODEL_PATH", "org/repo:file.gguf"),
    ],
)
def test_what_is_no_path_of_this_machine_stays(here, name, value):
    assert of({}, {name: value}) == {name: value}


def test_a_folder_that_does_not_exist_is_refused(here):
    with pytest.raises(ArgumentInvalid) as caught:
        of({"RLM_ROOTS": os.pathsep.join([".", "cod"])})

    assert caught.value.message == f"RLM_ROOTS names {here / 'cod'}, which does not exist."
    assert caught.value.hint == "Name folders that are there: --env RLM_ROOTS=~/code"


def test_a_settings_file_that_does_not_exist_is_refused(here):
    with pytest.raises(SettingsInvalid) as caught:
        of({"RLM_CONFIG": "d.toml"})

    assert caught.value.message.startswith(f"{Path('d.toml')} cannot be read: ")
    assert "RLM_CONFIG" in caught.value.hint
