"""The chat protocols an endpoint is spoken to in: where requests go, how they and replies look."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from rlm_mcp.llm.wire import Dialect, EventLines, Switch, chat_request
from rlm_mcp.types import Message


class Lines(Protocol):
    """Cuts the bytes of a streamed reply into its JSON values. `pending` counts what is left."""

    @property
    def pending(self) -> int:
        """Bytes of the line that has no end yet."""
        ...

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The values that `chunk` completes."""
        ...

    def end(self) -> Iterator[bytes]:
        """The last value, if nothing ends its line."""
        ...


class Speech(Protocol):
    """One protocol. `stream_type` is what the content type of a streamed reply holds."""

    stream_type: str

    def url(self, address: str) -> str:
        """Where requests go; `address` is the endpoint's, without a slash at its end."""
        ...

    def request(
        self,
        model: str,
        messages: Sequence[Message],
        max_tokens: int | None,
        dialect: Dialect,
        thinking_off: Switch | None,
        window_tokens: int | None,
    ) -> bytes:
        """The body of a request; `window_tokens` is the window to have, where one can ask."""
        ...

    def lines(self) -> Lines:
        """What cuts a reply."""
        ...

    def chunk(self, value: Any) -> Any:
        """A JSON value of a reply as the chunk of a chat completion that says the same."""
        ...


class OpenAIChat:
    """Chat completions, which every server has."""

    stream_type = "event-stream"

    def url(self, address: str) -> str:
        """See `Speech.url`."""
        return f"{address}/chat/completions"

    def request(
        self,
        model: str,
        messages: Sequence[Message],
        max_tokens: int | None,
        dialect: Dialect,
        thinking_off: Switch | None,
        window_tokens: int | None,
    ) -> bytes:
        """See `Speech.request`; the window is the server's own business."""
        del window_tokens
        return chat_request(model, messages, max_tokens, dialect, thinking_off)

    def lines(self) -> EventLines:
        """See `Speech.lines`."""
        return EventLines()

    def chunk(self, value: Any) -> Any:
        """See `Speech.chunk`."""
        return value
