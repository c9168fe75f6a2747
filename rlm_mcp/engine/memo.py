"""What a run has asked already is not asked again: code that is run anew costs nothing anew."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from blake3 import blake3

from rlm_mcp.types import SubReply

Key = bytes


def key_of(*parts: str) -> Key:
    """The same for the same parts, however long they are."""
    digest = blake3()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d " % len(raw))
        digest.update(raw)
    return digest.digest()


@dataclass(slots=True)
class Memo:
    """Replies of one run by what was asked for them. What failed may be asked again."""

    _known: dict[Key, SubReply] = field(default_factory=dict)
    _asking: dict[Key, anyio.Event] = field(default_factory=dict)

    def known(self, key: Key) -> SubReply | None:
        """The reply to what was asked before, None if it was not or had failed."""
        return self._known.get(key)

    async def reply(self, key: Key, ask: Callable[[], Awaitable[SubReply]]) -> SubReply:
        """The known reply, or that of `ask`; who asks the same meanwhile waits for it."""
        while (asking := self._asking.get(key)) is not None:
            await asking.wait()
        if key in self._known:
            return self._known[key]
        asking = self._asking[key] = anyio.Event()
        try:
            reply = await ask()
            if reply.error is None:
                self._known[key] = reply
            return reply
        finally:
            del self._asking[key]
            asking.set()
