"""Notices prompts that a server cut without a word: it counts fewer tokens than were sent.

Ollama does so at 4,096 tokens unless told otherwise, and drops the beginning: an answer to what is
left of a prompt looks like any other.
"""

from collections.abc import Sequence

from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.types import Completion, Message

# Below this nothing is cut in practice; the estimate is at most a fifth too high.
LEAST_TOKENS = 2_000
MOST_SHARE = 0.6


def tokens_lost(
    messages: Sequence[Message], completion: Completion, tokens_per_char: float | None = None
) -> tuple[int, int] | None:
    """About how many tokens were sent and how many the server counted, if it lost a part of them.

    None where the server counts none, or where it may be the estimate that is wrong; what the
    server has counted `tokens_per_char` before, if that is known, is believed more.
    """
    usage = completion.usage
    if usage.estimated_calls or not usage.input_tokens:
        return None
    chars = sum(len(message.content) for message in messages)
    counted = usage.input_tokens // max(
        1, usage.calls
    )  # a prompt that was asked twice counts twice
    by_its_count = chars if tokens_per_char is None else chars * tokens_per_char
    if counted >= min(chars, MOST_SHARE * by_its_count):
        return None
    sent = sum(estimate_tokens(message.content) for message in messages)
    sent = min(sent, round(by_its_count))
    is_lost = sent >= LEAST_TOKENS and counted < MOST_SHARE * sent
    return (sent, counted) if is_lost else None


def words_on(model: str, sent: int, counted: int) -> str:
    """What a user should know and do."""
    return (
        f"The server cut a prompt for {model}: of about {sent:,} tokens it counted {counted:,}."
        f" Give it a larger context (Ollama: num_ctx, llama.cpp: -c), or set"
        f" RLM_CONTEXT_WINDOW={counted} so that no prompt is longer."
    )
