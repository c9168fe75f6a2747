"""Servers that fail, break off, or leave things out, under a model that behaves."""

import json

from rlm_mcp.evals.policy import Policy, Scene, good
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.script import Said, ScriptedReply

_NOW = {"retry-after": "0"}


class _First:
    """Fails the first `times` requests so, then behaves; `turn` counts those too."""

    def __init__(self, reply: ScriptedReply, times: int = 1) -> None:
        self._reply = reply
        self._times = times

    def __call__(self, scene: Scene) -> Said:
        return self._reply if scene.turn <= self._times else good(scene)


class _Later:
    """Behaves once, then fails so `times` in a row."""

    def __init__(self, reply: ScriptedReply, times: int) -> None:
        self._reply = reply
        self._times = times

    def __call__(self, scene: Scene) -> Said:
        return self._reply if 1 < scene.turn <= 1 + self._times else good(scene)


def _failing(name: str, reply: ScriptedReply, times: int = 1) -> Policy:
    return Policy(name, None, _First(reply, times), quirks=Quirks())


def _bare(scene: Scene) -> Said:
    """A reply with nothing in it but the words."""
    message = {"message": {"content": good(scene)}}
    return ScriptedReply(raw=json.dumps({"choices": [message]}).encode())


def _parts(scene: Scene) -> Said:
    content = [{"type": "text", "text": good(scene)}]
    choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return ScriptedReply(raw=json.dumps({"choices": [choice]}).encode())


_NULL = {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": None}}]}

POLICIES = (
    _failing("busy_429", ScriptedReply("slow down", status=429, headers=_NOW), 3),
    _failing("busy_503", ScriptedReply("Loading model", status=503, headers=_NOW), 3),
    _failing("error_500", ScriptedReply("internal error", status=500)),
    _failing("error_502_html", ScriptedReply(raw=b"<html>bad gateway</html>", status=502)),
    _failing("drops_before_the_reply", ScriptedReply(fault="drop"), 2),
    _failing("drops_in_the_reply", ScriptedReply("x" * 4_000, fault="drop_mid")),
    _failing("null_content_once", ScriptedReply(raw=json.dumps(_NULL).encode())),
    _failing("no_choices_once", ScriptedReply(raw=b'{"choices": []}')),
    Policy(
        "no_usage",
        None,
        lambda scene: ScriptedReply(good(scene), reports_usage=False),
        quirks=Quirks(),
    ),
    Policy(
        "no_finish_reason",
        None,
        lambda scene: ScriptedReply(good(scene), finish_reason=None),
        quirks=Quirks(),
    ),
    Policy("bare_reply", None, _bare, quirks=Quirks()),
    Policy("content_in_parts", None, _parts, quirks=Quirks()),
    Policy(
        "null_content_always",
        None,
        lambda _: ScriptedReply(raw=json.dumps(_NULL).encode()),
        "empty|no code block",
        "flagged",
        quirks=Quirks(),
    ),
    Policy(
        "refused_401",
        None,
        lambda _: ScriptedReply("no key", status=401),
        expects="never",
        quirks=Quirks(),
    ),
    Policy(
        "fails_after_the_work",
        None,
        _Later(ScriptedReply("broken", status=500), 50),
        expects="never",
        quirks=Quirks(),
    ),
    Policy(
        "fails_once_after_the_work",
        None,
        _Later(ScriptedReply("broken", status=500), 1),
        quirks=Quirks(),
    ),
)
