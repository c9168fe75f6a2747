"""Which failures are tried again, when, and for how long."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from rlm_mcp.errors import EndpointBusy, EndpointError, EndpointFailed, EndpointUnreachable
from rlm_mcp.types import Retry

T = TypeVar("T")
OnRetry = Callable[[Retry], None]

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0
_FAILED_RETRIES = 1

# Not there to take a request, which says nothing about the request.
LOST = (EndpointUnreachable, EndpointBusy)


async def with_retries(
    attempt: Callable[[int], Awaitable[T]], on_retry: OnRetry | None, patience_s: float
) -> T:
    """Make attempts, numbered from 1, until one succeeds or its error is final.

    Unreachable endpoints are tried again for `patience_s`, busy ones (loading a model, a full
    queue) ten times as long, other failures once. Waits grow with full jitter and honour
    Retry-After; one that would outlast the caller's deadline is not begun.

    Raises:
        EndpointError: the last attempt's error.
    """
    backoff = Backoff(patience_s)
    number = 1
    while True:
        try:
            return await attempt(number)
        except EndpointError as error:
            wait_s = backoff.wait_after(error)
            deadline = anyio.current_effective_deadline()
            if wait_s is None or anyio.current_time() + wait_s >= deadline:
                raise
            retry = Retry(number, error.message, wait_s, isinstance(error, LOST))
        if on_retry is not None:
            on_retry(retry)
        await anyio.sleep(wait_s)
        number += 1


class Backoff:
    """The waits between the attempts of one request."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._waited_s = 0.0
        self._retries: dict[type[EndpointError], int] = {}

    def wait_after(self, error: EndpointError) -> float | None:
        """Seconds until the next attempt, None if there should be none."""
        kind = next((k for k in _KINDS if isinstance(error, k)), None)
        if kind is None:
            return None
        retries = self._retries.get(kind, 0)
        self._retries[kind] = retries + 1
        if kind is EndpointFailed and retries >= _FAILED_RETRIES:
            return None
        wait_s = random.uniform(0.0, min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**retries))
        if error.retry_after_s is not None:
            # A server that keeps saying "at once" gets our own growing waits after the first.
            wait_s = max(error.retry_after_s, wait_s if retries else 0.0)
        self._waited_s += wait_s
        limit_s = self._patience_s * (10 if kind is EndpointBusy else 1)
        return wait_s if self._waited_s <= limit_s else None


_KINDS: tuple[type[EndpointError], ...] = (EndpointUnreachable, EndpointBusy, EndpointFailed)
