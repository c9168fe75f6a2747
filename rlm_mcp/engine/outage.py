"""The wait of a run for an endpoint that was lost on the way, shared by all calls of the run."""

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from math import inf

import anyio
import anyio.lowlevel

from rlm_mcp.errors import EndpointError
from rlm_mcp.llm.retries import LOST, Backoff, OnRetry
from rlm_mcp.types import Completion, Retry

PAUSE_S = 600.0

Ask = Callable[[OnRetry], Awaitable[Completion]]


def _go_on(_: EndpointError) -> None:
    """Where nobody can stop the run, the error of the call is all there is."""


@dataclass(slots=True)
class Outage:
    """Bears the loss of endpoints: gone, loading a model, or overrun.

    A run that was answered nothing has nothing to lose: it fails once the model's own patience is
    over, and whoever forgot to start the server learns so; it can be resumed. Later on
    one call of a model goes on asking, and the others wait for what it gets. When that takes more
    than `PAUSE_S` seconds, or than the run has left, `give_up` is called.
    """

    has_answers: bool = False
    give_up: Callable[[EndpointError], None] = _go_on
    _since: dict[Hashable, float] = field(default_factory=dict)
    _probes: dict[Hashable, anyio.Event] = field(default_factory=dict)
    _asking: Counter[Hashable] = field(default_factory=Counter)

    @property
    def waited_s(self) -> float:
        """Since when some model is being waited for, in seconds until now; 0 if none is."""
        now = anyio.current_time()
        return max((now - since for since in self._since.values()), default=0.0)

    async def bear(self, model: Hashable, ask: Ask, on_retry: OnRetry) -> Completion:
        """What `ask` gives, asked again for as long as the endpoint of `model` is lost.

        `model` stands for a model where it is: others may have the same name elsewhere.

        Raises:
            EndpointError: the request failed for good, or the wait was in vain.
        """

        def heard(retry: Retry) -> None:
            if retry.lost and retry.wait_s > 0:  # else another endpoint takes it, or a new line
                self._since.setdefault(model, anyio.current_time())
            on_retry(retry)

        # The run went on without those whose wait was broken off.
        self._since = {each: at for each, at in self._since.items() if self._asking[each]}
        self._asking[model] += 1
        try:
            completion = await self._borne(model, ask, heard)
        except LOST:
            raise
        except EndpointError:
            self._since.pop(model, None)  # it was there to say so
            raise
        finally:
            self._asking[model] -= 1
        self._since.pop(model, None)
        self.has_answers = True
        return completion

    async def _borne(self, model: Hashable, ask: Ask, on_retry: OnRetry) -> Completion:
        while True:
            while (probe := self._probes.get(model)) is not None:
                await probe.wait()
            try:
                return await ask(on_retry)
            except LOST as error:
                if not self.has_answers:
                    raise
                if model not in self._probes:
                    return await self._probe(model, ask, on_retry, error)
                on_retry(Retry(1, error.message, 0.0, lost=True))

    async def _probe(
        self, model: Hashable, ask: Ask, on_retry: OnRetry, error: EndpointError
    ) -> Completion:
        over = self._probes[model] = anyio.Event()
        until = self._since.setdefault(model, anyio.current_time()) + PAUSE_S
        backoff, attempt = Backoff(inf), 0
        try:
            while True:
                attempt += 1
                wait_s = backoff.wait_after(error) or 0.0
                last = min(until, anyio.current_effective_deadline())
                if anyio.current_time() + wait_s >= last:
                    self.give_up(error)
                    await anyio.lowlevel.checkpoint()  # a run that was stopped ends here
                    raise error
                on_retry(Retry(attempt, error.message, wait_s, lost=True))
                await anyio.sleep(wait_s)
                try:
                    return await ask(on_retry)
                except LOST as failure:
                    error = failure
        finally:
            del self._probes[model]
            over.set()
