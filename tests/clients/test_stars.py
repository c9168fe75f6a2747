import pytest

from rlm_mcp.clients.stars import STARS, secret_names, starred
from rlm_mcp.settings import PREFIX, Settings


@pytest.mark.parametrize(
    "name",
    [
        "RLM_API_KEY",
        "RLM_SUB_API_KEY",
        "RLM_APIKEY",
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "DB_PASSWORD",
        "PGPASSWORD",
        "GITHUB_PAT",
        "Authorization",
    ],
)
def test_a_value_whose_name_says_secret_is_starred_out(name):
    assert starred({name: "s3cret"}) == {name: STARS}


def test_of_the_settings_only_the_keys_are_secret_by_name():
    settings = {PREFIX + name.upper(): "x" for name in Settings.model_fields}

    assert secret_names(settings) == ["RLM_API_KEY", "RLM_SUB_API_KEY"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://me:pw@host:8080/v1", f"http://{STARS}@host:8080/v1"),
        ("http://a/v1 http://sk-1@b/v1", f"http://a/v1 http://{STARS}@b/v1"),
        ("postgres://me:p@ss@host/db", f"postgres://{STARS}@host/db"),
        ("https://host/v1?api_key=sk-1", f"https://host/v1?api_key={STARS}"),
        ("RLM_API_KEY=sk-1", f"RLM_API_KEY={STARS}"),
        ("Authorization: Bearer sk-1", f"Authorization: {STARS}"),
    ],
)
def test_a_secret_within_a_value_is_starred_out_and_the_rest_stays(value, shown):
    assert starred(value, "RLM_API_URL") == shown


@pytest.mark.parametrize(
    "value",
    [
        "http://auth:8080/v1",
        "https://token.example.com/v1?page=2",
        "https://host/v1/models/a@b",
        "rlm-mcp @ git+ssh://git@host/rlm.git@0a1b",
        "org/repo:file.gguf",
        "",
    ],
)
def test_what_only_looks_like_one_stays(value):
    assert starred(value, "RLM_API_URL") == value


def test_an_argument_is_named_by_the_flag_before_it():
    argv = ["run", "--api-key", "sk-1", "--model", "qwen", "-e", "HF_TOKEN=hf-1"]

    assert starred(argv) == [
        "run", "--api-key", STARS, "--model", "qwen", "-e", f"HF_TOKEN={STARS}",
    ]  # fmt: skip


def test_what_the_client_fills_in_is_no_secret_and_what_is_no_text_stays():
    entry = {"env": {"RLM_API_KEY": "${input:rlm-api-key}", "A_TOKEN": ""}, "tokens": [7, True]}

    assert starred(entry) == entry
    assert starred({"tokens": ["s3cret"]}) == {"tokens": [STARS]}
