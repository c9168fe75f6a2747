"""A session: one client's contexts, its REPL and what lives on between its runs."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import anyio

from rlm_mcp.errors import UnknownContext, UnknownSession
from rlm_mcp.rules import LoadRules
from rlm_mcp.types import ContextInfo, Variable

Fits = Callable[[ContextInfo, Collection[ContextInfo]], None]
"""Raises if a context is too much beside the others that its session keeps."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a load into a session is held to: `fits` has the last word (see `Session.add`)."""

    rules: LoadRules
    fits: Fits | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A context as a session knows it, and the source it came from."""

    info: ContextInfo
    origin: str


@dataclass(slots=True)
class Session:
    """Named by its handle, which is also its REPL's. `epoch` fences what it writes.

    `lock` is held by the run that works in the REPL. `variables` are those the last run left.
    """

    handle: str
    epoch: int
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    variables: tuple[Variable, ...] = ()
    used_at: float = field(default_factory=anyio.current_time)
    _loaded: dict[str, Loaded] = field(default_factory=dict)

    @property
    def contexts(self) -> tuple[ContextInfo, ...]:
        """What is loaded, in the order of loading."""
        return tuple(loaded.info for loaded in self._loaded.values())

    def add(
        self, info: ContextInfo, origin: str, *, explicit: bool = False, fits: Fits | None = None
    ) -> ContextInfo:
        """Take a context in. The same `origin` loaded again takes the place of what it was.

        A name that another origin has here gets a number behind it; an `explicit` one, that the
        caller gave, takes the place of whatever had it. `fits` may raise, and nothing is changed.
        """
        name, number = info.name, 1
        while not explicit and name in self._loaded and self._loaded[name].origin != origin:
            number += 1
            name = f"{info.name}-{number}"
        named = replace(info, name=name)
        if fits is not None:
            fits(named, [each for each in self.contexts if each.name != name])
        self._loaded[name] = Loaded(named, origin)
        return named

    def select(self, wanted: Sequence[str] | None) -> tuple[ContextInfo, ...]:
        """The contexts of those names or ids, in that order; all if none are named.

        Raises:
            UnknownContext: one of them is not loaded here.
        """
        if not wanted:
            return self.contexts
        return tuple(self._find(key) for key in wanted)

    def _find(self, key: str) -> ContextInfo:
        key = key.removeprefix("rlm://context/")
        for info in self.contexts:
            if key in {info.name, info.id}:
                return info
        names = ", ".join(repr(info.name) for info in self.contexts) or "none"
        raise UnknownContext(
            f"No context {key!r} is loaded in this session.",
            f"Loaded are: {names}. Call load_context for another.",
        )


def unknown_session(handle: str, ttl_s: float) -> UnknownSession:
    """The error of who names a session that is not open; one ends when idle for `ttl_s` seconds."""
    return UnknownSession(
        f"Session {handle!r} is unknown or has expired (idle for {ttl_s / 60:.0f} min).",
        "Call load_context without `session` to start one.",
    )
