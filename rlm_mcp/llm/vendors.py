"""The metadata pages and error bodies of model servers, as each vendor's sends them."""

from collections.abc import Sequence
from typing import Any, Literal

import orjson

from rlm_mcp.llm import scripted_ollama
from rlm_mcp.llm.script import ScriptedReply

Vendor = Literal[
    "plain",
    "llamacpp",
    "vllm",
    "sglang",
    "ollama",
    "ollama_native",
    "lmstudio",
    "litellm",
    "openrouter",
    "openai",
]

WITHOUT_WINDOW: frozenset[Vendor] = frozenset({"litellm", "openai"})


def pages(
    vendor: Vendor, models: Sequence[str], window: int | None, slots: int
) -> dict[str, bytes]:
    """The bodies of the metadata pages by path; `window` None: they tell none."""
    listed = [_entry(vendor, name, window) for name in models]
    found: dict[str, Any] = {"/v1/models": {"object": "list", "data": listed}}
    match vendor:
        case "plain":
            found["/props"] = {"total_slots": slots}
        case "llamacpp":
            settings = {"default_generation_settings": {"n_ctx": window or 0}}
            found["/props"] = {**settings, "total_slots": slots, "model_alias": models[0]}
            found["/slots"] = [{"id": each, "n_ctx": window or 0} for each in range(slots)]
        case "vllm":
            found["/version"] = {"version": "0.32.0"}
        case "sglang":
            limits = {"context_length": window, "max_running_requests": slots}
            found["/get_server_info"] = limits
        case "ollama" | "ollama_native":
            loaded = [{"name": name, "model": name} | _window(window) for name in models]
            found["/api/ps"] = {"models": loaded}
            if vendor == "ollama_native":
                found["/api/version"] = {"version": "0.40.0"}
                found[scripted_ollama.SHOW] = {
                    "parameters": "",
                    "model_info": {"llama.context_length": scripted_ollama.LONGEST_WINDOW},
                    "capabilities": ["completion", "thinking"],
                }
        case "lmstudio":
            length = {} if window is None else {"loaded_context_length": window}
            found["/api/v0/models"] = {
                "data": [{"id": name, "state": "loaded", **length} for name in models]
            }
        case "litellm":
            told = {"max_input_tokens": None}
            found["/v1/model/info"] = {
                "data": [{"model_name": name, "model_info": told} for name in models]
            }
        case "openrouter" | "openai":
            pass
    bodies = {path: orjson.dumps(page) for path, page in found.items()}
    if vendor == "vllm":
        bodies["/metrics"] = (
            f'vllm:cache_config_info{{block_size="128",kv_cache_max_concurrency="{slots}.0"}} 1.0\n'
        ).encode()
    return bodies


def overflow(vendor: Vendor, prompt: int, window: int) -> ScriptedReply:
    """The refusal of a prompt of so many tokens that does not fit the window."""
    llamacpp = f"request ({prompt} tokens) exceeds the available context size ({window} tokens)"
    longest = f"maximum context length is {window} tokens. However, "
    match vendor:
        case "plain":
            return ScriptedReply(llamacpp, status=400)
        case "llamacpp":
            sizes = {"n_prompt_tokens": prompt, "n_ctx": window}
            kind = {"type": "exceed_context_size_error", **sizes}
            words = f"{llamacpp}, try increasing it"
        case "vllm":
            kind = {"type": "BadRequestError", "param": "input_tokens"}
            words = (
                f"This model's {longest}your prompt contains at least {window + 1} input tokens,"
                " which exceeds this limit even without any output tokens."
            )
        case "sglang":
            kind = {"type": "BadRequestError"}
            words = (
                f"The input ({prompt} tokens) is longer than the model's context length"
                f" ({window} tokens)."
            )
        case "ollama":
            kind = {"type": "invalid_request_error"}
            words = "the input length exceeds the context length"
        case "ollama_native":
            kind = {}
            words = "the prompt is longer than the context length currently available to the model"
        case "lmstudio":
            # With status 200, as reported for it (lmstudio-bug-tracker 2322).
            words = (
                f"Trying to keep the first {prompt} tokens when context the overflows. However, the"
                f" model is loaded with context length of only {window} tokens"
            )
            return ScriptedReply(raw=orjson.dumps({"error": {"message": words}}))
        case "litellm":
            kind = {"type": "invalid_request_error", "code": "400"}
            words = (
                "litellm.ContextWindowExceededError: litellm.BadRequestError:"
                f" ContextWindowExceededError: OpenAIException - {llamacpp}, try increasing it"
            )
        case "openrouter":
            kind = {}
            words = f"This endpoint's {longest}you requested about {prompt} tokens."
        case "openai":
            kind = {"type": "invalid_request_error", "code": "context_length_exceeded"}
            words = f"This model's {longest}your messages resulted in {prompt} tokens."
    return ScriptedReply(raw=error(vendor, words, 400, **kind), status=400)


def spilt() -> ScriptedReply:
    """What every request in flight gets when together they overflow the context slots share."""
    words = "Context size has been exceeded."
    return ScriptedReply(raw=error("llamacpp", words, 500, type="server_error"), status=500)


def error(vendor: Vendor, words: str, status: int, **fields: object) -> bytes:
    """An error body: SGLang's stands bare, Ollama's is a text, the others' lie under `error`."""
    if vendor == "ollama_native":
        return orjson.dumps({"error": words})
    inner = {"message": words, "code": status, **fields}
    return orjson.dumps({"object": "error", **inner} if vendor == "sglang" else {"error": inner})


def detail(words: str) -> bytes:
    """The error body of a FastAPI server that checks its requests."""
    return orjson.dumps({"detail": words})


def _entry(vendor: Vendor, name: str, window: int | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": name, "object": "model"}
    if window is None:
        return entry
    match vendor:
        case "plain" | "vllm" | "sglang":
            return entry | {"max_model_len": window}
        case "llamacpp":
            return entry | {"meta": {"n_ctx": window, "n_ctx_train": 4 * window}}
        case "openrouter":
            return entry | _window(window)
        case "ollama" | "ollama_native" | "lmstudio" | "litellm" | "openai":
            return entry


def _window(window: int | None) -> dict[str, int]:
    return {} if window is None else {"context_length": window}
