"""Strict and careless servers, each under a model that behaves and one that begins with prose."""

from rlm_mcp.evals.policy import Policy, Scene, good
from rlm_mcp.llm.quirks import Quirks

_ROOM = 8_000

_SERVERS = {
    "llamacpp": (Quirks(vendor="llamacpp"), 34, _ROOM),
    "ollama": (Quirks(vendor="ollama", claims="nothing"), 34, _ROOM),
    "vllm": (Quirks(vendor="vllm"), 34, _ROOM),
    "lmstudio": (Quirks(vendor="lmstudio"), 34, _ROOM),
    "truncates": (Quirks(vendor="ollama", claims=32_768, overflow="truncate"), 34, 4_096),
    "overstates_its_window": (Quirks(claims=131_072), 34, _ROOM),
    "shares_its_context": (Quirks(vendor="llamacpp", shares_context=True), 34, _ROOM),
    "alternates": (Quirks(alternates=True), 35, None),
    "takes_no_system": (Quirks(alternates=True, takes_system=False), 35, None),
    "refuses_trailing_assistant": (Quirks(trailing_assistant="refuse"), 35, None),
    "continues_trailing_assistant": (Quirks(trailing_assistant="continue"), 35, None),
    "thinks_apart": (Quirks(thinking="reasoning_content"), 6, None),
    "thinks_in_tags": (Quirks(thinking="tags"), 8, None),
    "counts_nothing": (Quirks(usage="missing"), None, None),
    "counts_zero": (Quirks(usage="zero"), None, None),
    "is_loading": (Quirks(loading_requests=1), None, None),
    "refuses_unknown_fields": (Quirks(refuses_unknown_fields=True), None, None),
}


def _prose_first(scene: Scene) -> str:
    return "Let me think about what is asked." if scene.turn == 1 else good(scene)


POLICIES = tuple(
    Policy(
        f"server_{name}{suffix}",
        row,
        act,
        turns=turns,
        quirks=quirks,
        window_tokens=window,
    )
    for name, (quirks, row, window) in _SERVERS.items()
    for suffix, act, turns in (("", good, 2), ("_after_prose", _prose_first, 3))
)
