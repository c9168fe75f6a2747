"""`rlm-mcp doctor --endpoint`: what it prints of a profile, and the command itself."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rlm_mcp.cli.measured import rows
from rlm_mcp.cli.rows import as_text
from rlm_mcp.llm.profiles import ModelProfile
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.scripted import serve

pytestmark = pytest.mark.anyio

WINDOW = 3000
GOOD = ModelProfile(
    url="http://localhost:8080/v1",
    model="qwen",
    measured_at=datetime.now(UTC) - timedelta(days=3, hours=1),
    requests=14,
    tokens=81_234,
    seconds=41.26,
    window_tokens=32_768,
    window_from="measured",
    claimed_tokens=32_768,
    whole_tokens=31_066,
    overflow=None,
    slots=4,
    shares_context=False,
    system="taken",
    two_users="taken",
    trailing_assistant="answered",
    thinking="none",
    thinking_off=None,
    usage="reported",
    reports_cached=True,
    prompt_per_s=2_410.4,
    reply_per_s=41.27,
    chars_per_token=4.63,
)
PROFILES = {
    "all_is_well": GOOD,
    "cut_without_a_word": replace(
        GOOD, window_tokens=4096, overflow="truncated", whole_tokens=2048, failed_tokens=31_066
    ),
    "ends_but_no_window": replace(
        GOOD,
        window_tokens=None,
        window_from=None,
        claimed_tokens=200_000,
        whole_tokens=75_662,
        failed_tokens=132_862,
        overflow="refused",
        shares_context=None,
    ),
    "refused_with_a_number": replace(
        GOOD, window_tokens=1024, claimed_tokens=None, whole_tokens=None, overflow="refused"
    ),
    "slots_not_told": replace(GOOD, slots=None),
    "slots_not_told_and_shared": replace(GOOD, slots=None, shares_context=True),
    "strict_and_thinking": replace(
        GOOD,
        overflow="refused",
        claimed_tokens=None,
        shares_context=True,
        system="refused",
        two_users="refused",
        trailing_assistant="continued",
        thinking="field",
        thinking_off="enable_thinking",
        usage="missing",
    ),
    "too_slow_to_tell": replace(
        GOOD,
        window_from="metadata",
        whole_tokens=2048,
        shares_context=None,
        thinking="tags",
        reports_cached=False,
        prompt_per_s=38.0,
    ),
    "a_setting": replace(GOOD, window_from="setting"),
    "no_end_found": replace(GOOD, window_tokens=None, window_from=None, claimed_tokens=None),
    "nothing_known": replace(
        GOOD,
        window_tokens=None,
        window_from=None,
        claimed_tokens=None,
        whole_tokens=None,
        slots=None,
        shares_context=None,
        system=None,
        two_users=None,
        trailing_assistant=None,
        thinking=None,
        usage="wrong",
        prompt_per_s=None,
        reply_per_s=None,
        chars_per_token=None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_told_in_the_words_agreed_on(golden, name):
    golden(f"measured_{name}.txt", as_text(rows(PROFILES[name], None)) + "\n")


def bad(profile, setting_tokens=None):
    return {row.label: row.text for row in rows(profile, setting_tokens) if row.verdict == "bad"}


def test_only_what_is_wrong_is_bad_and_says_what_to_do():
    found = {name: bad(profile) for name, profile in PROFILES.items()}
    assert {name: list(each) for name, each in found.items() if each} == {
        "cut_without_a_word": ["window"],
        "ends_but_no_window": ["window"],
        "slots_not_told_and_shared": ["slots"],
        "strict_and_thinking": ["slots", "usage"],
        "nothing_known": ["window", "usage"],
    }
    assert all("\n" in text for each in found.values() for text in each.values())


def test_a_setting_beyond_the_window_is_told_with_the_right_one():
    assert "Set RLM_CONTEXT_WINDOW to 32768" in bad(GOOD, 50_000)["window"]
    assert bad(GOOD, 20_000) == {}


@pytest.fixture
async def lying():
    quirks = Quirks(vendor="ollama", claims=4 * WINDOW, overflow="truncate", usage="true")
    async with serve(lambda _: "one two three", window_tokens=WINDOW, quirks=quirks) as server:
        yield server


def profile_in(home):
    (path,) = (home / "endpoints").iterdir()
    return path.read_text(encoding="utf-8")


async def test_the_real_command_measures_keeps_and_tells(desk, lying, tmp_path):
    home = {"RLM_API_URL": lying.url, "RLM_HOME": str(tmp_path)}
    code, out, err = await desk.run("doctor", "--endpoint", **home)
    assert code == 0
    assert "two minutes per model" in err
    assert f"scripted at {lying.url}" in out
    told, kept = " ".join(out.split()), json.loads(profile_in(tmp_path))
    assert f"window {WINDOW:,} tokens: a prompt of {kept['whole_tokens']:,} was taken whole" in told
    assert f"; the metadata says {4 * WINDOW:,}" in told
    assert "num_ctx" in out
    assert kept["window_tokens"] == WINDOW

    code, out, _ = await desk.run("doctor", **home)
    assert f"window {WINDOW:,} tokens" in " ".join(out.split())
    assert "measured just now by `rlm-mcp doctor --endpoint`" in out


async def test_the_real_command_tells_a_profile_as_json(desk, lying, tmp_path):
    home = {"RLM_API_URL": lying.url, "RLM_HOME": str(tmp_path)}
    code, out, _ = await desk.run("doctor", "--endpoint", "--json", **home)
    (profile,) = json.loads(out)["profiles"]
    assert code == 0
    assert profile == json.loads(profile_in(tmp_path))
    assert (profile["window_tokens"], profile["overflow"]) == (WINDOW, "truncated")


async def test_no_endpoint_is_an_error_in_words(desk):
    code, out, err = await desk.run("doctor", "--endpoint", RLM_API_URL="http://127.0.0.1:9/v1")
    assert (code, out) == (1, "")
    assert "error: Nothing answers at http://127.0.0.1:9/v1" in err
    assert "Traceback" not in err
    assert "Asking" not in err


async def test_nothing_is_asked_if_nothing_can_be_kept(desk, lying, tmp_path):
    (tmp_path / "file").touch()
    home = {"RLM_API_URL": lying.url, "RLM_HOME": str(tmp_path / "file" / "home")}
    code, _, err = await desk.run("doctor", "--endpoint", **home)
    assert code == 1
    assert "RLM_HOME" in err
    assert len(lying.requests) == 0
