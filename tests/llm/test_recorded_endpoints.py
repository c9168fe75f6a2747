"""What servers were recorded or are documented to send, served over HTTP, and what comes of it."""

from contextlib import asynccontextmanager

import pytest
from wire_server import CHAT, raw_server, recorded

from rlm_mcp.errors import (
    EndpointBusy,
    EndpointFailed,
    EndpointRefused,
    EndpointUnreachable,
    ModelUnknown,
    NotTheProtocol,
    PromptTooLong,
    ReplyEmpty,
)
from rlm_mcp.llm.models import Models
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

HELLO = [Message("user", "Hello")]
THOUGHT = "I think so.\n"
ESTIMATED = None

# exchange: text, thinking, finish reason, (tokens in, out, cached) or an estimate
REPLIES = {
    "llamacpp/chat_scripted": ("FINAL(42)", "", "stop", (24, 10, 0)),
    "llamacpp/chat_length": ("FINAL", "", "length", (24, 5, 23)),
    "llamacpp/stream_plain": ("FINAL(42)", "", "stop", (24, 10, 23)),
    "llamacpp/stream_usage": ("OK", "", "stop", (24, 3, 23)),
    "llamacpp/stream_length": ("FINAL", "", "length", (24, 5, 23)),
    "llamacpp-think/chat_scripted": ("FINAL(42)", THOUGHT, "stop", (26, 32, 25)),
    "llamacpp-think/stream_plain": ("FINAL(42)", THOUGHT, "stop", (26, 32, 25)),
    "llamacpp-think/chat_stop": ("abc ", "", "stop", (26, 8, 25)),
    "vllm/chat_scripted": ("FINAL(42)", "", "stop", (24, 10, 0)),
    "vllm/chat_length": ("FINAL", "", "length", (24, 5, 0)),
    "vllm/stream_plain": ("FINAL(42)", "", "stop", ESTIMATED),
    "vllm/stream_usage": ("OK", "", "stop", (24, 3, 0)),
    "vllm/stream_length": ("FINAL", "", "length", (24, 5, 0)),
    "litellm/chat_scripted": ("FINAL(42)", "", "stop", (24, 10, 23)),
    "litellm/stream_plain": ("FINAL(42)", "", "stop", ESTIMATED),
    "litellm/stream_usage": ("OK", "", "stop", (24, 3, 23)),
    "litellm/stream_length": ("FINAL", "", "length", (24, 5, 23)),
    "vllm-think/chat": ("FINAL(42)", THOUGHT, "stop", (26, 32, None)),
    "vllm-think/stream": ("FINAL(42)", THOUGHT, "stop", (26, 32, None)),
    "litellm/chat_reasoning": ("FINAL(42)", THOUGHT, "stop", (26, 32, None)),
    "sglang/chat_reasoning": ("FINAL(42)", THOUGHT, "stop", (26, 32, None)),
    "sglang/stream_usage": ("FINAL(42)", THOUGHT, "stop", (26, 32, 16)),
    "lmstudio/chat_reasoning": ("FINAL(42)", THOUGHT, "stop", (26, 32, None)),
    "lmstudio/stream_usage": ("FINAL(42)", THOUGHT, "stop", (26, 32, None)),
    "openrouter/chat_reasoning": ("FINAL(42)", THOUGHT, "stop", (26, 32, 0)),
    "openrouter/stream_usage": ("FINAL(42)", THOUGHT, "stop", (26, 32, None)),
    "ollama-v1/chat_reasoning": ("FINAL(42)", THOUGHT, "stop", (26, 32, None)),
    "llama-cpp-python/chat_scripted": ("FINAL(42)", "", "stop", (34, 9, None)),
    "llama-cpp-python/chat_length": ("FINAL", "", "length", (34, 5, None)),
    "llama-cpp-python/stream_plain": ("FINAL(42)", "", "stop", ESTIMATED),
    "llama-cpp-python/stream_usage": ("OK", "", "stop", ESTIMATED),
    "llama-cpp-python/err_unknown_model": ("", "", "stop", (34, 1, None)),
    "transformers-serve/chat_length": (None, "", "length", (24, 5, None)),
    "transformers-serve/stream_plain": (None, "", "length", (24, 100, None)),
    "transformers-serve/stream_usage": (None, "", "length", (24, 100, None)),
}

# exchange: the error, words of its message
REFUSALS = {
    "llamacpp/err_404": (NotTheProtocol, "answered 404"),
    "llamacpp/err_bad_grammar": (EndpointRefused, "failed to parse grammar"),
    "llamacpp/err_bad_json": (EndpointRefused, "parse error at line 1"),
    "llamacpp/err_no_messages": (EndpointRefused, "'messages' is required"),
    "llamacpp/err_type": (EndpointRefused, "type must be number"),
    "llamacpp/json_object_truncated": (EndpointFailed, "does not match the expected"),
    "llamacpp-think/err_no_key": (EndpointRefused, "401: Invalid API Key"),
    "llamacpp-think/chat_length": (ReplyEmpty, "5 tokens on thinking alone"),
    "llamacpp-think/stream_length": (ReplyEmpty, "5 tokens on thinking alone"),
    "llamacpp-kv-unified/parallel_overflow_plain_0": (EndpointBusy, "the server shares"),
    "llamacpp-kv-unified/parallel_overflow_stream_0": (EndpointBusy, "the server shares"),
    "llamacpp-kv-unified/parallel_overflow_stream_1": (EndpointBusy, "the server shares"),
    "llamacpp-router/err_no_model": (EndpointRefused, "model name is missing"),
    "llamacpp-router/err_unknown_model": (ModelUnknown, "no model 'tiny'"),
    "vllm/err_404": (NotTheProtocol, "answered 404"),
    "vllm/err_405": (NotTheProtocol, "answered 405"),
    "vllm/err_bad_grammar": (EndpointRefused, "Invalid grammar"),
    "vllm/err_no_key": (EndpointRefused, "401: Unauthorized"),
    "vllm/err_type": (EndpointRefused, "int_parsing"),
    "vllm/err_unknown_model": (ModelUnknown, "no model 'tiny'"),
    "litellm/err_no_key": (EndpointFailed, "500: Internal Server Error"),
    "litellm/err_no_messages": (EndpointRefused, "Missing required parameter"),
    "litellm/err_unknown_model": (ModelUnknown, "no model 'tiny'"),
    "vllm-think/chat_length": (ReplyEmpty, "5 tokens on thinking alone"),
    "vllm/err_busy": (EndpointBusy, "(503): The engine is currently busy"),
    "litellm/err_busy": (EndpointBusy, "(429): litellm.RateLimitError"),
    "sglang/err_busy": (EndpointBusy, "(503): The request queue is full"),
    "sglang/err_busy_stream": (EndpointBusy, "(503): The request queue is full"),
    "lmstudio/stream_empty": (EndpointFailed, "sent an empty reply"),
    "openrouter/err_mid_stream": (EndpointBusy, "(502): Provider disconnected"),
    "openrouter/err_in_body": (EndpointBusy, "(502): Provider returned error"),
    "openrouter/err_unknown_model": (ModelUnknown, "no model 'tiny'"),
    "openrouter/err_busy": (EndpointBusy, "(429): Rate limit exceeded"),
    "ollama-v1/err_unknown_model": (ModelUnknown, "no model 'tiny'"),
    "ollama-v1/err_busy": (EndpointBusy, "(503): server busy"),
    "llama-cpp-python/err_bad_grammar": (EndpointUnreachable, "without a reply"),
    "llama-cpp-python/err_bad_json": (EndpointFailed, "500: Internal Server Error"),
    "llama-cpp-python/err_ctx_overflow_stream": (EndpointFailed, "sent an empty reply"),
    "transformers-serve/err_bad_grammar": (EndpointRefused, "422: Unexpected fields"),
    "transformers-serve/err_ctx_overflow": (ReplyEmpty, "4 tokens without a word"),
    "transformers-serve/err_unknown_model": (ModelUnknown, "no model 'tiny'"),
}

# exchange: tokens of the prompt, of the window
OVERFLOWS = {
    "llamacpp/err_ctx_overflow": (4115, 2048),
    "llamacpp/err_ctx_overflow_stream": (4115, 2048),
    "litellm/err_ctx_overflow": (4115, 2048),
    "llama-cpp-python/err_ctx_overflow": (4125, 2048),
    "sglang/err_ctx_overflow": (61709, 40960),
    "lmstudio/err_ctx_overflow": (9019, 8192),
    "openrouter/err_ctx_overflow": (200000, 131072),
    "vllm/err_ctx_overflow": (None, 2048),
    "vllm/err_ctx_overflow_stream": (None, 2048),
}


@asynccontextmanager
async def playing(exchange):
    """A model whose endpoint sends this exchange to every request; it is patient with none."""
    async with raw_server({CHAT: recorded(exchange)}) as server:
        settings = Settings(api_url=server.url, model="tiny", price_in=1e6, price_out=1e6)
        async with Models(settings, patience_s=0) as models:
            yield (await models.resolve()).root


@pytest.mark.parametrize("exchange", REPLIES)
async def test_a_recorded_reply_is_read_whole(exchange):
    text, reasoning, finish_reason, counted = REPLIES[exchange]
    async with playing(exchange) as model:
        completion = await model.complete(HELLO, max_tokens=100)
    assert text is None or completion.text == text
    assert completion.reasoning == reasoning
    assert completion.finish_reason == finish_reason
    assert completion.model == "tiny"
    usage = completion.usage
    assert usage.calls == 1
    assert usage.cost == usage.tokens > 0
    if counted is ESTIMATED:
        assert usage.estimated_calls == 1
        assert usage.cached_tokens is None
    else:
        assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == counted
        assert usage.estimated_calls == 0


@pytest.mark.parametrize("exchange", REFUSALS)
async def test_a_recorded_refusal_becomes_one_clear_error(exchange):
    kind, words = REFUSALS[exchange]
    async with playing(exchange) as model:
        with pytest.raises(kind) as caught:
            await model.complete(HELLO, max_tokens=100)
    assert words in caught.value.message
    assert caught.value.hint
    assert caught.value.url.startswith("http://127.0.0.1:")
    if kind is ReplyEmpty:
        assert caught.value.usage.calls == 1
        assert caught.value.usage.cost == caught.value.usage.tokens > 0


@pytest.mark.parametrize("exchange", ["litellm/err_busy", "openrouter/err_busy"])
async def test_a_recorded_wait_is_kept_to_under_either_name(exchange):
    async with playing(exchange) as model:
        with pytest.raises(EndpointBusy) as caught:
            await model.complete(HELLO, max_tokens=100)
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("exchange", OVERFLOWS)
async def test_a_recorded_overflow_tells_both_sizes(exchange):
    async with playing(exchange) as model:
        with pytest.raises(PromptTooLong) as caught:
            await model.complete(HELLO, max_tokens=100)
    assert (caught.value.prompt_tokens, caught.value.window_tokens) == OVERFLOWS[exchange]
