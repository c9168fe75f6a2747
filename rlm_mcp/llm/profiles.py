"""What was measured of a model at an endpoint, kept in the data folder."""

import hashlib
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from rlm_mcp.llm.wire import Dialect, Switch

# A model that shares a context with others is given this much of it, or is alone in it.
_LEAST_SHARE_TOKENS = 8192
_SHOWN_CHARS = 60

WindowFrom = Literal["setting", "metadata", "measured"]
Overflow = Literal["refused", "truncated"]


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """How one model at one endpoint behaves, found by asking it; None where it could not be told.

    `window_tokens` counts prompt and reply; `window_from` says how it is known: `measured` if a
    prompt of 95 % of the claim was taken whole, if the endpoint gave the number with a longer one,
    or if a prompt of at least three quarters of the shortest failed one was; a setting that holds
    stays a setting. `claimed_tokens` is what the metadata said at that time, `whole_tokens` the
    longest prompt taken whole, `failed_tokens` the shortest that was not.
    `requests`, `tokens` and `seconds` are what measuring took.
    """

    url: str
    model: str
    measured_at: AwareDatetime
    requests: int
    tokens: int
    seconds: float
    window_tokens: int | None
    window_from: WindowFrom | None
    claimed_tokens: int | None
    whole_tokens: int | None
    overflow: Overflow | None
    slots: int | None
    shares_context: bool | None
    system: Literal["taken", "refused"] | None
    two_users: Literal["taken", "refused"] | None
    trailing_assistant: Literal["answered", "refused", "continued"] | None
    thinking: Literal["none", "field", "tags"] | None
    thinking_off: Switch | None
    usage: Literal["reported", "missing", "wrong"]
    reports_cached: bool
    prompt_per_s: float | None
    reply_per_s: float | None
    chars_per_token: float | None
    failed_tokens: int | None = None

    def age_s(self, now: datetime | None = None) -> float:
        """Seconds since it was measured."""
        return max(0.0, ((now or datetime.now(UTC)) - self.measured_at).total_seconds())

    def at_a_time(self, slots: int) -> int:
        """How many of `slots` to use: fewer where they share a context too small for all."""
        window = self.window_tokens
        if not self.shares_context or window is None:
            return slots
        return max(1, min(slots, window // _LEAST_SHARE_TOKENS))

    def window_of(self, claimed_tokens: int | None, at_a_time: int) -> int | None:
        """The window of one request of `at_a_time`; `claimed_tokens` is what metadata says now.

        The smaller of claim and measurement; where there is neither, what was taken whole. A
        setting counts for as long as it is set, not from here. Another claim than at the time of
        measuring means another server: the claim counts then.
        """
        own = None if self.window_from == "setting" else self.window_tokens
        window = claimed_tokens or own or self.whole_tokens
        is_same = None in {claimed_tokens, self.claimed_tokens} or (
            claimed_tokens == self.claimed_tokens
        )
        limit = self.window_tokens if self.window_from == "measured" else self.failed_tokens
        if window and is_same and limit:
            window = min(window, limit)
        return window // at_a_time if window and self.shares_context else window

    @property
    def dialect(self) -> Dialect:
        """How the model is to be spoken to."""
        return Dialect(merges=self.two_users == "refused", folds=self.system == "refused")


_FORM = TypeAdapter(ModelProfile)


def keep(home: Path, profile: ModelProfile) -> Path:
    """Write a profile to the data folder, in place of an older one of its model; whole or not.

    Raises:
        OSError: the data folder cannot be written.
    """
    path = _path(home, profile.url, profile.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as beside:
        beside.write(_FORM.dump_json(profile, indent=2))
    try:
        Path(beside.name).replace(path)
    except OSError:
        Path(beside.name).unlink(missing_ok=True)
        raise
    return path


def kept(home: Path, url: str, model: str) -> ModelProfile | None:
    """The profile kept of a model at an endpoint; None if none is, or none that can be read."""
    try:
        profile = _FORM.validate_json(_path(home, url, model).read_bytes())
    except (OSError, ValidationError):
        return None
    return profile if (profile.url, profile.model) == (url, model) else None


def as_record(profile: ModelProfile) -> dict[str, object]:
    """A profile as JSON has it."""
    record: dict[str, object] = _FORM.dump_python(profile, mode="json")
    return record


def _path(home: Path, url: str, model: str) -> Path:
    """A file name a person can read; the digest keeps apart what shortening makes alike."""
    digest = hashlib.blake2b(f"{url}\n{model}".encode(), digest_size=4).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", f"{model}-{url.partition('//')[2]}")
    return home / "endpoints" / f"{readable.strip('-.')[:_SHOWN_CHARS]}-{digest}.json"
