"""What `rlm-mcp doctor --endpoint` measured, as rows and as JSON; each bad row says what to do."""

import json
from collections.abc import Sequence

from rlm_mcp.cli.rows import Row, Verdict, ago
from rlm_mcp.llm.profiles import ModelProfile, as_record
from rlm_mcp.words import count

LARGER = (
    "Give the server a larger context (Ollama: num_ctx or OLLAMA_CONTEXT_LENGTH, llama.cpp: -c),"
    " then measure again."
)
TELL = "Set RLM_CONTEXT_WINDOW to what the server has."
TAKEN_WHOLE = "prompts up to {:,} tokens are taken whole"
CUT = "Longer prompts lose their beginning, and the server does not say so."
REFUSED = "Longer prompts are refused."
SWITCHES = {
    "enable_thinking": "chat_template_kwargs.enable_thinking=false",
    "reasoning_effort": "reasoning_effort=none",
    "no_think": "/no_think in the prompt",
}


def rows(profile: ModelProfile, setting_tokens: int | None) -> list[Row]:
    """One model's profile. `setting_tokens` is RLM_CONTEXT_WINDOW, None if it is not set."""
    cost = f"{profile.requests} questions, {profile.tokens:,} tokens, {profile.seconds:.1f} s"
    return [
        Row(
            "model",
            f"{profile.model} at {profile.url}\nmeasured {ago(profile.age_s())} with {cost}",
            "neutral",
        ),
        _window(profile, setting_tokens),
        _slots(profile),
        _roles(profile),
        _thinking(profile),
        _usage(profile),
        _speed(profile),
    ]


def as_json(profiles: Sequence[ModelProfile]) -> str:
    """One JSON object; what is not known is null."""
    return json.dumps({"profiles": list(map(as_record, profiles))}, ensure_ascii=False, indent=2)


def _window(profile: ModelProfile, setting_tokens: int | None) -> Row:
    window, whole = profile.window_tokens, profile.whole_tokens
    if window is None:
        return _no_window(profile)
    size = f"{window:,} tokens"
    if profile.window_from != "measured":
        tried = "not tried" if whole is None else TAKEN_WHOLE.format(whole)
        source = "RLM_CONTEXT_WINDOW" if profile.window_from == "setting" else "the metadata"
        return Row("window", f"{size}, as {source} says; {tried}", "neutral")
    seen = ", measured" if whole is None else f": a prompt of {whole:,} was taken whole"
    lines, fixes = [size + seen], list[str]()
    if setting_tokens is not None and setting_tokens > window:
        lines[0] += f"; RLM_CONTEXT_WINDOW says {setting_tokens:,}"
        fixes.append(f"Set RLM_CONTEXT_WINDOW to {window} or remove it.")
    if profile.claimed_tokens is not None and profile.claimed_tokens > window:
        lines[0] += f"; the metadata says {profile.claimed_tokens:,}"
        fixes.append(LARGER)
    if profile.overflow == "truncated":
        lines.append(CUT)
        fixes.append(LARGER)
    elif profile.overflow == "refused":
        lines.append(REFUSED)
    verdict: Verdict = "bad" if fixes else "good"
    return Row("window", "\n".join([*lines, *dict.fromkeys(fixes)]), verdict)


def _no_window(profile: ModelProfile) -> Row:
    whole, failed = profile.whole_tokens, profile.failed_tokens
    if whole is None:
        words = "unknown: no prompt could be told to be taken whole\n"
        if profile.overflow is not None:
            words = (
                f"unknown: long prompts are {profile.overflow}, and no shorter one got through\n"
            )
        return Row("window", words + TELL, "bad")
    if failed is not None:
        longer = CUT if profile.overflow == "truncated" else REFUSED
        words = f"between {whole:,} and {failed:,} tokens; measuring went no further\n"
        return Row("window", f"{words}{longer}\n{TELL}", "bad")
    words = f"{TAKEN_WHOLE.format(whole)}; no end was found\n"
    return Row("window", f"{words}If you know it, set RLM_CONTEXT_WINDOW.", "neutral")


def _slots(profile: ModelProfile) -> Row:
    if profile.slots is None:
        text, requests = "not told (RLM_CONCURRENCY sets it)", "; parallel requests"
        alone = f"{requests} do not share a window"
    else:
        text, requests = f"{count(profile.slots, 'request')} at a time", ", which"
        alone = ", each with a window of its own"
    if not profile.shares_context:
        known = {False: alone, None: ""}[profile.shares_context]
        return Row("slots", text + known, "neutral" if profile.slots is None else "good")
    used = profile.at_a_time(profile.slots or 1)
    verb = "is" if used == 1 else "are"
    each = (
        "" if profile.window_tokens is None else f", {profile.window_tokens // used:,} tokens each"
    )
    return Row(
        "slots",
        f"{text}{requests} share one window: {used} at a time {verb} used{each}\n"
        "Give each slot a window of its own (llama.cpp: -np with a larger -c).",
        "bad",
    )


def _roles(profile: ModelProfile) -> Row:
    ways = {"taken": "taken", None: "unknown"}
    system = ways.get(profile.system, "refused, sent with the first user message instead")
    users = ways.get(profile.two_users, "refused, sent as one instead")
    return Row(
        "roles",
        f"system message: {system} · two user messages in a row: {users} ·"
        f" last message of the assistant: {profile.trailing_assistant or 'unknown'}",
        "good",
    )


def _thinking(profile: ModelProfile) -> Row:
    if profile.thinking in {None, "none"}:
        return Row("thinking", profile.thinking or "unknown", "good")
    place = "in tags in the text" if profile.thinking == "tags" else "in a field of its own"
    if profile.thinking_off is not None:
        text = f"{place}; {SWITCHES[profile.thinking_off]} turns it off"
        return Row("thinking", text, "good")
    return Row(
        "thinking",
        f"{place}; no known switch turns it off\nSet RLM_MAX_OUTPUT_TOKENS to leave room for it.",
        "neutral",
    )


def _usage(profile: ModelProfile) -> Row:
    if profile.usage == "reported":
        cached = "reported" if profile.reports_cached else "not reported"
        return Row("usage", f"tokens are reported; cached ones are {cached}", "good")
    what = "are not reported" if profile.usage == "missing" else "are reported wrong"
    return Row(
        "usage",
        f"tokens {what}: budgets and costs rest on estimates\n"
        "Behind a proxy, let it pass `stream_options` on; else a newer server may help.",
        "bad",
    )


def _speed(profile: ModelProfile) -> Row:
    figures = {
        "tokens/s of prompt": profile.prompt_per_s,
        "tokens/s of reply": profile.reply_per_s,
        "characters a token": profile.chars_per_token,
    }
    known = [
        f"{figure:,.{0 if figure >= 100 else 1}f} {unit}"
        for unit, figure in figures.items()
        if figure is not None
    ]
    return Row("speed", " · ".join(known) or "unknown", "neutral")
