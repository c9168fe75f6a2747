"""What is made of a long prompt that did not come through: a smaller window, or nothing at all."""

import anyio
import pytest
from test_profile import NUMBERS, obedient

from rlm_mcp.llm.endpoint import Endpoint
from rlm_mcp.llm.interview import Bounds, Interview, rate
from rlm_mcp.llm.models import Models
from rlm_mcp.llm.probing import Claim, measure
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.script import count_prompt
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

CLAIM = 131_072


async def found(claim=CLAIM, script=obedient, *, bounds=None, **served):
    """The profile of a scripted endpoint, and the tokens of all prompts it was sent."""
    async with serve(script, **served) as server, Endpoint(server.url, None, 60) as endpoint:
        with anyio.fail_after(20):
            profile = await measure(endpoint, "scripted", Claim(metadata_tokens=claim), bounds)
    return profile, server


@pytest.mark.parametrize("window", [700, 2_500, 4_096, 16_000, 64_000, 100_000])
@pytest.mark.parametrize("claim", [CLAIM, 200_000])
async def test_a_window_below_the_claim_is_found_where_refusals_tell_no_number(window, claim):
    quirks = Quirks(vendor="ollama", claims=claim)
    profile, _ = await found(claim, window_tokens=window, quirks=quirks)
    assert (profile.overflow, profile.window_from) == ("refused", "measured")
    assert profile.whole_tokens <= window < 1.05 * profile.failed_tokens
    assert 0.75 * window <= profile.window_of(claim, 1) <= 1.05 * window


async def test_a_refused_prompt_leaves_room_for_shorter_ones():
    quirks = Quirks(vendor="ollama", claims=CLAIM)
    profile, _ = await found(window_tokens=64_000, quirks=quirks)
    assert profile.window_from == "measured"
    assert profile.window_tokens == pytest.approx(64_000, rel=0.25)
    assert profile.tokens <= Bounds().tokens


async def test_a_window_near_the_bound_is_found():
    quirks = Quirks(vendor="ollama", claims=200_000)
    profile, _ = await found(200_000, window_tokens=130_000, quirks=quirks)
    assert profile.window_from == "measured"
    assert profile.window_tokens == pytest.approx(130_000, rel=0.25)
    assert profile.tokens <= Bounds().tokens


async def test_a_search_that_runs_out_of_room_tells_the_ends_and_no_window():
    window, quirks = 20_000, Quirks(claims=CLAIM, overflow="truncate", usage="missing")
    profile, _ = await found(window_tokens=window, quirks=quirks)
    assert (profile.window_tokens, profile.window_from) == (None, None)
    assert window / 2 < profile.whole_tokens < 1.2 * window < 1.2 * profile.failed_tokens
    assert profile.window_of(CLAIM, 1) == profile.failed_tokens
    assert profile.window_of(2 * CLAIM, 1) == 2 * CLAIM


async def test_a_search_among_the_shortest_prompts_ends():
    quirks = Quirks(overflow="truncate", usage="missing", claims=CLAIM)
    profile, _ = await found(window_tokens=270, quirks=quirks)
    assert profile.whole_tokens is None or profile.whole_tokens < 400
    assert profile.requests < 50


@pytest.mark.parametrize("window", [4_096, 20_000, 64_000])
async def test_a_cut_without_counts_is_found_within_the_bound_or_left_open(window):
    quirks = Quirks(claims=CLAIM, overflow="truncate", usage="missing")
    profile, server = await found(window_tokens=window, quirks=quirks)
    assert sum(map(count_prompt, server.requests)) <= 1.2 * Bounds().tokens
    assert profile.tokens <= Bounds().tokens
    if profile.window_from == "measured":
        assert 0.75 * window <= profile.window_tokens <= 1.2 * window
    else:
        assert profile.whole_tokens > window / 2
        assert profile.window_of(CLAIM, 1) > window / 2


def above(limit, failures):
    """An obedient model that fails a prompt beyond `limit` tokens as `failures` says."""
    left = iter(failures)

    def play(messages):
        reply = next(left, None) if count_prompt(messages) > limit else None
        return reply or obedient(messages)

    return play


NO_CREDITS = ScriptedReply("This request requires more credits.", status=402)
RATE = ScriptedReply("Request too large: tokens per minute (TPM) limit is 9000.", status=413)
OOPS = ScriptedReply("Internal error.", status=500)


@pytest.mark.parametrize(
    "failures",
    [[NO_CREDITS] * 50, [RATE] * 50, [OOPS] * 2, [OOPS] * 50],
    ids=["no credits", "rate limit", "two errors", "many errors"],
)
async def test_an_error_that_is_not_about_the_length_says_nothing_of_the_window(failures):
    profile, _ = await found(script=above(9_000, failures), window_tokens=CLAIM)
    assert profile.overflow is None
    assert (profile.window_tokens, profile.window_from) == (CLAIM, "metadata")
    assert profile.failed_tokens is None


@pytest.mark.parametrize("failure", [OOPS, NO_CREDITS])
async def test_an_error_that_is_not_about_roles_says_nothing_of_them(failure):
    def play(messages):
        return obedient(messages) if [each.role for each in messages] == ["user"] else failure

    profile, _ = await found(4_000, play, window_tokens=4_000)
    assert (profile.system, profile.two_users, profile.trailing_assistant) == (None, None, None)


async def test_what_is_asked_after_the_time_is_neither_sent_nor_counted():
    async with serve(obedient) as server, Endpoint(server.url, None, 60) as endpoint:
        interview = Interview(endpoint, "scripted", Bounds(seconds=0.0))
        hello = [Message("user", "Hello.")]
        assert (await interview.ask(hello)).reply is not None
        spent = interview.requests, interview.tokens
        interview.begin()
        late = await interview.ask(hello)
    assert (late.reply, late.error) == (None, None)
    assert (interview.requests, interview.tokens) == spent
    assert len(server.requests) == 1


async def test_a_slow_model_has_rates():
    profile, _ = await found(2_000, window_tokens=2_000, latency_s=0.05)
    assert profile.prompt_per_s > 0
    assert profile.reply_per_s > 0


def test_a_rate_is_not_taken_from_less_time_than_a_clock_can_tell():
    assert rate(100, 0.0099) is None
    assert rate(0, 1.0) is None
    assert rate(100, 0.5) == 200


async def test_a_setting_that_is_gone_counts_no_more(tmp_path):
    quirks = Quirks(claims="nothing")
    async with serve(obedient, window_tokens=30_000, quirks=quirks) as server:
        settings = Settings(api_url=server.url, home=tmp_path)
        set_once = settings.model_copy(update={"context_window": 8_192})
        async with Models(set_once) as models:
            (profile,) = await models.measure()
            assert (await models.resolve()).root.window_tokens == 8_192
        async with Models(settings) as models:
            assert (await models.resolve()).root.window_tokens == profile.whole_tokens
    assert profile.window_from == "setting"
    assert profile.window_of(None, 1) == profile.whole_tokens != 8_192


async def test_the_roles_that_were_measured_are_used_at_once(tmp_path):
    quirks = Quirks(alternates=True, takes_system=False)
    talk = [Message("system", "Be brief."), Message("user", "One."), Message("user", "Two.")]
    async with serve(lambda _: NUMBERS, window_tokens=3_000, quirks=quirks) as server:
        async with Models(Settings(api_url=server.url, home=tmp_path)) as models:
            await models.measure()
            asked = len(server.requests)
            await (await models.resolve()).root.complete(talk)
        assert len(server.requests) == asked + 1
