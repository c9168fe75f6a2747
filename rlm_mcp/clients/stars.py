"""Keys, tokens and passwords in an entry: told by name or by form, and starred out."""

import re
from collections.abc import Mapping
from typing import Any

from rlm_mcp.settings import PREFIX, Settings, is_secret

STARS = "********"
SECRETS = tuple(PREFIX + name.upper() for name in Settings.model_fields if is_secret(name))
# What a client fills in when it starts the server: `${env:KEY}`, `${workspaceFolder}`.
FILLED_IN = "${"
_WORDS = r"key|token|secret|passw|pwd|credential|auth|cookie|(?<![a-z])pat(?![a-z])"
_NAME = re.compile(_WORDS, re.IGNORECASE)
# `API_KEY=...` within an argument or an address, `Authorization: ...` within an argument.
_PAIR = re.compile(rf"([\w-]*(?:{_WORDS})[\w-]*(?:=|:\s)).+", re.IGNORECASE | re.DOTALL)
# RFC 3986, section 3.2.1. The user `git` of repositories is everybody's.
_USER = re.compile(r"(?<=://)(?!git@)[^/\s?#]+(?=@)")


def starred(value: Any, name: str = "") -> Any:
    """The value with stars for what is secret in it, as its name or its form tells.

    Maps and lists are gone through; in lists a value may be named by the flag before it.
    """
    if isinstance(value, Mapping):
        return {key: starred(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        flags = ["", *(each if str(each).startswith("-") else "" for each in value)]
        return [starred(each, flag or name) for each, flag in zip(value, flags, strict=False)]
    if not isinstance(value, str) or not value:
        return value
    if _is_key(name):
        return value if FILLED_IN in value else STARS
    return _PAIR.sub(rf"\1{STARS}", _USER.sub(STARS, value))


def secret_names(env: Mapping[str, str]) -> list[str]:
    """The variables that are secret, or have something secret in them."""
    return [name for name, value in env.items() if starred(value, name) != value]


def _is_key(name: str) -> bool:
    setting = name.removeprefix(PREFIX).lower()
    if name.startswith(PREFIX) and setting in Settings.model_fields:
        return is_secret(setting)
    return _NAME.search(name) is not None
