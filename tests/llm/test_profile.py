"""What measuring finds out of an endpoint: twenty scripted ones, each with its quirks."""

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from wire_server import CHAT, drop, raw_server, reply, silence, told_slots

from rlm_mcp.errors import EndpointFailed, EndpointRefused, EndpointUnreachable, PromptTooLong
from rlm_mcp.llm.endpoint import Endpoint
from rlm_mcp.llm.interview import Bounds
from rlm_mcp.llm.models import Models
from rlm_mcp.llm.probing import Claim, measure
from rlm_mcp.llm.profiles import keep, kept
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

WINDOW = 3000
NUMBERS = "one two three four five six seven eight nine ten"


def obedient(messages):
    """A model that knows what it sees and does what it is told last."""
    text = "\n".join(each.content for each in messages)
    if "opening word" in text.rpartition("\n")[2]:
        found = [re.search(rf"The {end} word is (\w+)", text) for end in ("opening", "closing")]
        return " ".join(word[1] if word else "unknown" for word in found)
    if told := re.search(r"Write exactly: ([\w ]+)", text):
        return told[1]
    return NUMBERS


def wordy(_):
    """A model whose words are of no use."""
    return "As a language model I like to talk about the weather."


@dataclass(frozen=True)
class Site:
    """A scripted endpoint: its quirks, and what is not a quirk of the server."""

    quirks: Quirks
    window: int | None = WINDOW
    slots: int = 4
    script: object = obedient


LIE = 4 * WINDOW
SITES = {
    "plain, all told and true": Site(Quirks()),
    "plain, nothing told": Site(Quirks(claims="nothing")),
    "plain, no end in sight": Site(Quirks(claims="nothing"), window=None),
    "llama.cpp": Site(
        Quirks(vendor="llamacpp", reports_cached=True, trailing_assistant="continue")
    ),
    "llama.cpp with slots that share": Site(
        Quirks(vendor="llamacpp", shares_context=True, trailing_assistant="echo"), slots=3
    ),
    "llama.cpp with a thinking template": Site(
        Quirks(
            vendor="llamacpp",
            thinking="reasoning_content",
            thinking_switch="enable_thinking",
            trailing_assistant="refuse",
        )
    ),
    "llama.cpp with a Mistral template": Site(
        Quirks(vendor="llamacpp", alternates=True, trailing_assistant="refuse")
    ),
    "llama.cpp with a Gemma template": Site(
        Quirks(vendor="llamacpp", alternates=True, takes_system=False)
    ),
    "vLLM": Site(Quirks(vendor="vllm"), slots=8),
    "vLLM with a reasoning parser": Site(
        Quirks(vendor="vllm", thinking="reasoning", thinking_switch="enable_thinking")
    ),
    "vLLM with strict roles": Site(
        Quirks(vendor="vllm", alternates=True, takes_system=False, trailing_assistant="refuse")
    ),
    "SGLang": Site(Quirks(vendor="sglang", thinking="tags", thinking_switch="no_think"), slots=2),
    "Ollama that cuts what it does not tell": Site(
        Quirks(vendor="ollama", claims="nothing", overflow="truncate")
    ),
    "Ollama that tells more than it keeps": Site(
        Quirks(vendor="ollama", claims=LIE, overflow="truncate", thinking="reasoning",
               thinking_switch="reasoning_effort")
    ),
    "Ollama that refuses without a number": Site(Quirks(vendor="ollama", claims="nothing")),
    "LM Studio": Site(Quirks(vendor="lmstudio", thinking="tags")),
    "LM Studio that tells more than it has": Site(Quirks(vendor="lmstudio", claims=LIE)),
    "LiteLLM without usage": Site(Quirks(vendor="litellm", usage="missing")),
    "OpenRouter": Site(Quirks(vendor="openrouter", thinking="reasoning", usage="true")),
    "OpenAI": Site(Quirks(vendor="openai", reports_cached=True)),
    "counts of zero and a cut prompt": Site(
        Quirks(usage="zero", claims=LIE, overflow="truncate")
    ),
    "no counts and a cut prompt": Site(
        Quirks(usage="missing", claims="nothing", overflow="truncate")
    ),
    "a model of no use and a cut prompt": Site(
        Quirks(claims=LIE, overflow="truncate"), script=wordy
    ),
    "loading, and strict with fields": Site(
        Quirks(loading_requests=1, refuses_unknown_fields=True, thinking="tags",
               thinking_switch="reasoning_effort")
    ),
    "everything at once": Site(
        Quirks(
            vendor="llamacpp",
            claims=LIE,
            overflow="truncate",
            alternates=True,
            takes_system=False,
            trailing_assistant="refuse",
            thinking="tags",
            thinking_switch="no_think",
            usage="zero",
            loading_requests=1,
        ),
        slots=1,
    ),
}  # fmt: skip


def expected(site):
    """What a profile of a site says of all but its window and its rates."""
    quirks = site.quirks
    is_hidden = quirks.thinking == "none" or (
        quirks.refuses_unknown_fields and quirks.thinking_switch != "no_think"
    )
    places = {"none": "none", "tags": "tags"}
    trailing = {"answer": "answered", "refuse": "refused"}
    if site.script is wordy:
        trailing["answer"] = None
    usage = {"true": "reported", "missing": "missing", "zero": "wrong"}
    is_cut = quirks.overflow == "truncate"
    can_share = site.window is not None and (told_slots(quirks.vendor, site.slots) or 4) > 1
    has_end = site.window is not None and quirks.claimed(site.window) in {None, LIE}
    return {
        "slots": told_slots(quirks.vendor, site.slots),
        "claimed_tokens": quirks.claimed(site.window),
        "system": "taken" if quirks.takes_system else "refused",
        "two_users": "refused" if quirks.alternates else "taken",
        "trailing_assistant": trailing.get(quirks.trailing_assistant, "continued"),
        "thinking": places.get(quirks.thinking, "field"),
        "thinking_off": None if is_hidden else quirks.thinking_switch,
        "usage": usage[quirks.usage],
        "reports_cached": quirks.reports_cached,
        "shares_context": quirks.shares_context if can_share else None,
        "overflow": None if not has_end else "truncated" if is_cut else "refused",
    }


def limits_of_window(site):
    """The least and the most that may be found: exact where the server gives a number."""
    quirks = site.quirks
    is_counted = quirks.usage == "true"
    if site.window is None:
        return None
    if quirks.overflow == "refuse" and quirks.vendor != "ollama":
        return site.window, site.window
    if quirks.overflow == "truncate" and is_counted:
        return site.window, site.window
    # Found by halving, and without counts in tokens of an estimate.
    return 0.75 * site.window, (1.05 if is_counted else 1.2) * site.window


@asynccontextmanager
async def played(site, home, **settings):
    """The models of a site, and its server."""
    async with serve(
        site.script,
        # Requests at the same time meet only if they take some.
        latency_s=0.1 if site.quirks.shares_context else 0.0,
        slots=site.slots,
        window_tokens=site.window,
        quirks=site.quirks,
    ) as server:
        given = Settings(api_url=server.url, home=home, **settings)
        async with Models(given) as models:
            yield models, server


@pytest.mark.parametrize("name", SITES)
async def test_all_of_an_endpoint_is_detected(name, tmp_path):
    site = SITES[name]
    async with played(site, tmp_path) as (models, server):
        with anyio.fail_after(20):
            (profile,) = await models.measure()
    found = {field: getattr(profile, field) for field in expected(site)}
    assert found == expected(site)
    limits = limits_of_window(site)
    if limits is None:
        assert (profile.window_tokens, profile.window_from) == (None, None)
        assert profile.whole_tokens > 10 * WINDOW
    else:
        assert limits[0] <= profile.window_tokens <= limits[1]
        assert profile.window_from == "measured"
    if profile.usage == "reported":
        assert profile.chars_per_token == pytest.approx(4, rel=0.02)
    assert profile.requests <= len(server.requests)


async def test_a_claim_too_long_to_try_is_kept_as_a_claim():
    async with serve(obedient, window_tokens=100_000) as server:
        profile = await measured(server.url, Bounds(tokens=10_000), claim=100_000)
    assert (profile.window_tokens, profile.window_from) == (100_000, "metadata")
    assert 5_000 < profile.whole_tokens < profile.tokens <= 10_000


async def test_a_slow_model_is_asked_no_more_than_its_time_allows():
    async with serve(obedient, latency_s=0.2, window_tokens=50_000) as server:
        profile = await measured(server.url, Bounds(seconds=2), claim=50_000)
    assert (profile.window_tokens, profile.window_from) == (50_000, "metadata")
    assert profile.tokens < 50_000


async def measured(url, bounds, claim=None):
    with anyio.fail_after(20):
        async with Endpoint(url, None, 60) as endpoint:
            return await measure(endpoint, "scripted", Claim(metadata_tokens=claim), bounds)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (silence, EndpointFailed),
        (drop, EndpointUnreachable),
        (reply(400, b'{"error":{"message":"I take nothing."}}'), EndpointRefused),
        (reply(500, b"oops"), EndpointFailed),
        (reply(401, b'{"error":"Unauthorized"}'), EndpointRefused),
    ],
    ids=["hangs", "drops", "refuses", "fails", "has no key"],
)
async def test_an_endpoint_that_answers_nothing_ends_in_an_error(answer, error):
    async with raw_server({CHAT: answer}) as server:
        with pytest.raises(error) as caught:
            await measured(server.url, Bounds(seconds=1, first_s=0.5))
    assert caught.value.url == server.url
    assert caught.value.hint


@pytest.mark.parametrize(
    "then", [ScriptedReply(fault="hang"), ScriptedReply("No more.", status=400)]
)
async def test_an_endpoint_that_answers_once_leaves_the_rest_unknown(then):
    replies = iter([NUMBERS])
    async with serve(lambda _: next(replies, then)) as server:
        profile = await measured(server.url, Bounds(seconds=0.5), claim=8000)
    assert profile.thinking == "none"
    assert (profile.reply_per_s, profile.chars_per_token) == (None, None)
    assert profile.whole_tokens is None


@pytest.fixture
async def profile():
    async with serve(obedient, window_tokens=WINDOW) as server:
        return await measured(server.url, Bounds(), claim=WINDOW)


async def test_a_profile_is_kept_and_read_again(tmp_path, profile):
    path = keep(tmp_path, profile)
    assert kept(tmp_path, profile.url, profile.model) == profile
    assert path.parent == tmp_path / "endpoints"
    assert list(path.parent.iterdir()) == [path]
    keep(tmp_path, replace(profile, slots=9))
    assert kept(tmp_path, profile.url, profile.model).slots == 9
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "broken",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"model": "scripted"', '"model": "another"'),
        lambda text: text.replace(f'"window_tokens": {WINDOW}', '"window_tokens": "many"'),
        lambda _: "[]",
        lambda _: "",
    ],
)
async def test_a_broken_or_foreign_file_counts_as_none(tmp_path, profile, broken):
    path = keep(tmp_path, profile)
    whole = path.read_text(encoding="utf-8")
    path.write_text(broken(whole), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != whole
    assert kept(tmp_path, profile.url, profile.model) is None


async def test_models_and_endpoints_do_not_share_a_file(tmp_path, profile):
    names = ["a/b:c", "a-b-c", "x" * 200, "x" * 201, "../../up"]
    for name in names:
        keep(tmp_path, replace(profile, model=name))
    assert [kept(tmp_path, profile.url, name).model for name in names] == names
    assert kept(tmp_path, profile.url.replace("127.0.0.1", "localhost"), names[0]) is None
    assert {path.parent for path in tmp_path.rglob("*.json")} == {tmp_path / "endpoints"}


async def test_a_profile_knows_its_age(profile):
    later = profile.measured_at + timedelta(days=2)
    assert profile.age_s(later) == timedelta(days=2).total_seconds()
    assert profile.age_s(profile.measured_at - timedelta(1)) == 0
    assert profile.age_s() <= (datetime.now(UTC) - profile.measured_at).total_seconds()


@pytest.mark.parametrize(
    ("was", "now", "window"),
    [
        ({}, WINDOW, WINDOW),
        ({"window_tokens": 1000}, WINDOW, 1000),
        ({"window_tokens": 1000}, None, 1000),
        ({"window_tokens": 1000, "claimed_tokens": None}, WINDOW, 1000),
        ({"window_tokens": 1000, "claimed_tokens": None}, 500, 500),
        # Another claim is another server: the user has followed the advice.
        ({"window_tokens": 1000}, 2 * WINDOW, 2 * WINDOW),
        ({"window_from": "metadata"}, None, WINDOW),
        ({"window_tokens": None, "window_from": None, "whole_tokens": 700}, None, 700),
        ({"window_tokens": None, "window_from": None, "whole_tokens": 700}, WINDOW, WINDOW),
    ],
)
async def test_a_window_is_the_smaller_of_claim_and_measurement(profile, was, now, window):
    assert replace(profile, **was).window_of(now, 4) == window


async def test_slots_that_share_are_used_as_far_as_the_context_goes(profile):
    shared = replace(profile, shares_context=True, window_tokens=20_000, claimed_tokens=20_000)
    assert shared.at_a_time(4) == 2
    assert shared.window_of(20_000, 2) == 10_000
    small = replace(shared, window_tokens=WINDOW)
    assert (small.at_a_time(4), small.window_of(None, 1)) == (1, WINDOW)
    assert profile.at_a_time(4) == 4


async def test_a_run_takes_what_was_measured_and_asks_nothing(tmp_path):
    quirks = Quirks(claims=LIE, overflow="truncate", alternates=True, takes_system=False)
    talk = [Message("system", "Be brief."), Message("user", "One."), Message("user", "Two.")]
    async with serve(obedient, window_tokens=WINDOW, quirks=quirks) as server:
        settings = Settings(api_url=server.url, home=tmp_path)
        async with Models(settings) as models:
            assert (await models.resolve()).root.window_tokens == LIE
            await models.measure()
            assert (await models.resolve()).root.window_tokens == WINDOW
        asked = len(server.requests)
        async with Models(settings) as models:
            root = (await models.resolve()).root
            assert len(server.requests) == asked
            await root.complete(talk)
        assert root.window_tokens == WINDOW
        assert len(server.requests) == asked + 1
        async with Models(settings.model_copy(update={"context_window": 5000})) as models:
            assert (await models.resolve()).root.window_tokens == 5000


async def test_a_setting_that_holds_stays_a_setting_and_one_that_does_not_is_found_out(tmp_path):
    async with serve(obedient, window_tokens=WINDOW) as server:
        for window, said in ((2000, (2000, "setting")), (LIE, (WINDOW, "measured"))):
            async with Models(
                Settings(api_url=server.url, context_window=window, home=tmp_path)
            ) as models:
                (profile,) = await models.measure()
            assert (profile.window_tokens, profile.window_from) == said
            assert profile.claimed_tokens == WINDOW


async def test_a_sub_model_of_its_own_is_measured_too(tmp_path):
    site = Site(Quirks(), script={"a": obedient, "b": obedient})
    async with played(site, tmp_path, sub_model="b") as (models, _):
        profiles = await models.measure()
    assert [profile.model for profile in profiles] == ["a", "b"]


async def test_a_window_can_be_learned_during_a_run(tmp_path):
    async with played(Site(Quirks()), tmp_path) as (models, _):
        root = (await models.resolve()).root
        for tokens, window in ((5000, WINDOW), (2048, 2048), (4096, 2048)):
            root.learn_window(tokens)
            assert root.window_tokens == window


async def test_a_refusal_that_names_a_smaller_window_is_believed(tmp_path):
    async with played(Site(Quirks(claims=LIE)), tmp_path) as (models, _):
        root = (await models.resolve()).root
        assert root.window_tokens == LIE
        with pytest.raises(PromptTooLong):
            await root.complete([Message("user", "x" * 4 * (WINDOW + 1))])
    assert root.window_tokens == WINDOW
