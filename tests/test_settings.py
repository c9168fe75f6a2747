"""Settings: flags before the environment before the file before defaults; errors say where."""

import logging
import os
import re
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from rlm_mcp import settings_file
from rlm_mcp.errors import SettingsInvalid
from rlm_mcp.settings import PREFIX, Settings


@pytest.fixture
def write(tmp_path):
    """Writes a settings file; what comes back is the environment that names it."""

    def wrote(text, mode=0o600):
        path = tmp_path / "own.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return {"RLM_CONFIG": str(path)}

    return wrote


def refusal(environment, **overrides):
    with pytest.raises(SettingsInvalid) as caught:
        Settings.load(environment, **overrides)
    return caught.value


def test_a_flag_comes_before_the_environment_before_the_file_before_the_default(write):
    default = Settings().max_turns
    file = write("max_turns = 11")
    environment = file | {"RLM_MAX_TURNS": "12"}

    assert Settings.load({}).max_turns == default
    assert Settings.load(file).max_turns == 11
    assert Settings.load(environment).max_turns == 12
    assert Settings.load(environment, max_turns=13).max_turns == 13
    assert Settings.load(environment, max_turns=None).max_turns == 12


# What any text can be.
ADDRESS = "https://rlm.example.org"
NUMBERS = re.compile(r"(sub_)?price|context|concurrency|max_|user_cost")


def test_every_setting_can_stand_in_the_file(write):
    fields = Settings.model_fields
    texts = {name: ADDRESS for name, field in fields.items() if field.default is None}
    numbers = {name for name in texts if NUMBERS.match(name)}
    given = {
        name: 1000 if name in numbers else texts.get(name, field.get_default())
        for name, field in fields.items()
    }
    lines = [
        f"{name} = {str(value).lower() if isinstance(value, bool | int | float) else repr(value)}"
        for name, value in (given | {"home": "own"}).items()
    ]

    settings = Settings.load(write("\n".join(lines)))

    assert settings.model_fields_set == set(fields)
    assert settings.home == Path("own")
    assert settings.api_key == SecretStr(ADDRESS)


def test_an_empty_text_counts_as_not_given(write):
    file = write('api_url = ""\nmodel = "qwen"')

    settings = Settings.load(file | {"RLM_MODEL": ""})

    assert settings.model == "qwen"
    assert settings.model_fields_set == {"model"}


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("# turns\nmax_turn = 3", ":2: there is no setting max_turn.", "Did you mean max_turns?"),
        ("RLM_MODEL = 'a'", ":1: there is no setting RLM_MODEL.", "Did you mean model?"),
        ("model = 'a'\n[budget]\nx = 1", ":2: there is no setting budget.", None),
        ("zzz.yyy = 1", ":1: there is no setting zzz.", "Remove it."),
    ],
)
def test_an_unknown_name_in_the_file_is_an_error_with_its_line_and_the_nearest(
    write, text, place, hint
):
    file = write(text)

    error = refusal(file)

    assert error.message == file["RLM_CONFIG"] + place
    assert hint in {None, error.hint}


def test_the_beginning_that_all_variables_share_makes_none_of_them_near():
    assert refusal({"RLM_ZZZZ": "x"}).hint == "Remove it."


def test_an_unknown_variable_or_argument_is_an_error_with_the_nearest():
    variable, argument = refusal({"RLM_CONFG": "x"}), refusal({}, modle="a")

    assert (variable.message, variable.hint) == (
        "There is no setting RLM_CONFG.",
        "Did you mean RLM_CONFIG?",
    )
    assert (argument.message, argument.hint) == (
        "There is no setting modle.",
        "Did you mean model?",
    )


def test_a_value_that_cannot_work_is_told_by_where_it_was_given(write):
    file = write('model = "a"\nmax_turns = 0')
    path = file["RLM_CONFIG"]

    in_file, in_environment = refusal(file), refusal(file | {"RLM_MAX_TURNS": "none"})
    as_argument = refusal(file, max_turns=-1)

    assert in_file.message.startswith(f"{path}:2: max_turns: ")
    assert in_file.hint == "Set max_turns to a valid value or remove it."
    assert in_environment.message.startswith("RLM_MAX_TURNS: ")
    assert in_environment.hint == "Set RLM_MAX_TURNS to a valid value or remove it."
    assert as_argument.message.startswith("max_turns: ")


def test_a_key_is_never_told_not_even_a_wrong_one(write):
    assert "s3cret" not in str(refusal(write("api_key = ['s3cret']")))
    assert "s3cret" not in repr(Settings.load(write("api_key = 's3cret'")))


@pytest.mark.parametrize(
    ("text", "words"),
    [("model = qwen", "is no TOML: "), (b"model = '\xff'", "is no UTF-8 text")],
)
def test_a_file_that_is_no_toml_is_an_error_that_names_it(write, text, words):
    file = write(text)

    assert refusal(file).message.startswith(f"{file['RLM_CONFIG']} {words}")


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """Where the user's own file would be; nothing is there."""
    if sys.platform != "linux":
        pytest.skip("the system's folder for settings cannot be moved by a variable")
    monkeypatch.delenv("RLM_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "rlm-mcp" / "config.toml"


def test_a_file_that_is_named_must_be_there_and_the_users_own_need_not(own_file):
    assert Settings.load().model == "auto"
    assert "cannot be read: No such file" in refusal({"RLM_CONFIG": str(own_file)}).message


def test_the_users_own_file_counts_for_the_process_and_not_for_a_made_environment(own_file):
    own_file.parent.mkdir()
    own_file.write_text('model = "qwen"', encoding="utf-8")

    assert Settings.load().model == "qwen"
    assert Settings.load({}).model == "auto"


def test_a_byte_order_mark_before_the_first_setting_is_read_over(write):
    environment = write("\ufeffmodel = 'qwen'\nmax_turns = 'many'")

    assert refusal(environment).message.startswith(f"{environment['RLM_CONFIG']}:2: max_turns")
    assert Settings.load(write("\ufeffmodel = 'qwen'")).model == "qwen"


@pytest.mark.skipif(os.name == "nt", reason="modes tell nothing there")
@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [
        ("sub_api_key = 'k'", 0o644, True),
        ("sub_api_key = 'k'", 0o640, True),
        ("sub_api_key = 'k'", 0o600, False),
        ("model = 'k'", 0o644, False),
    ],
)
def test_a_key_in_a_file_that_others_can_read_is_warned_of(write, caplog, text, mode, warned):
    with caplog.at_level(logging.WARNING):
        Settings.load(write(text, mode))

    assert ["holds sub_api_key" in record.message for record in caplog.records] == [True] * warned


def test_what_is_wrong_is_told_all_at_once_and_the_rest_counts(write):
    environment = write("model = 'qwen'\nmax_turn = 3\nmax_calls = 0\nmax_errors = 9") | {
        "RLM_MODLE": "x",
        "RLM_MAX_ERRORS": "many",
    }
    path = environment["RLM_CONFIG"]
    settings, found = Settings.salvage(environment)

    assert [error.message.partition(": ")[0] for error in found.wrong] == [
        "There is no setting RLM_MODLE.",
        f"{path}:2",
        f"{path}:3",
        "RLM_MAX_ERRORS",
    ]
    assert list(found.settings) == ["model"]
    assert settings == Settings(model="qwen")
    assert refusal(environment).message == found.wrong[0].message


def test_a_file_that_cannot_be_read_is_wrong_and_the_environment_counts(write):
    settings, found = Settings.salvage(write("max_turns = ") | {"RLM_MODEL": "qwen"})

    assert "is no TOML" in found.wrong[0].message
    assert (settings.model, found.file) == ("qwen", None)


def test_no_variable_is_named_as_the_one_that_names_the_file():
    assert settings_file.VARIABLE.removeprefix(PREFIX).lower() not in Settings.model_fields
