"""What a cell prints: its head and its tail in constant memory, its size exactly."""

import io

SPARE_CHARS = 1 << 16
SPARE_PIECES = 4096


class Capture(io.TextIOBase):
    """Takes the place of stdout and stderr at the same time, so their order is kept."""

    encoding = "utf-8"

    def __init__(self, limit_chars: int) -> None:
        self.limit_chars = limit_chars
        self.written_chars = 0
        self._tail_chars = limit_chars // 3
        self._room = self._head_chars = limit_chars - self._tail_chars
        self._head: list[str] = []
        self._tail: list[str] = []
        self._held_chars = 0

    def writable(self) -> bool:
        """As a stream is asked."""
        return True

    def write(self, text: str) -> int:
        """Keep what will be shown of it and count the rest."""
        if not isinstance(text, str):
            raise TypeError(f"write() takes a str, not {type(text).__name__}")
        size = len(text)
        if not size:
            return 0
        self.written_chars += size
        if self._room > 0:
            self._head.append(text[: self._room])
            rest = max(self._room, size - self._tail_chars)
            text, self._room = text[rest:], self._room - size
        elif size > self._tail_chars:
            text = text[size - self._tail_chars :]
        if text:
            self._tail.append(text)
            self._held_chars += len(text)
            if self._held_chars > self._tail_chars + SPARE_CHARS or len(self._tail) > SPARE_PIECES:
                self._tail = ["".join(self._tail)[-self._tail_chars :]]
                self._held_chars = len(self._tail[0])
        return size

    def shown(self) -> str:
        """Head, a line that says how much is left out if anything is, tail."""
        head = "".join(self._head)
        tail = "".join(self._tail)[-self._tail_chars :]
        omitted = self.written_chars - len(head) - len(tail)
        if omitted <= 0:
            return head + tail
        return f"{head}\n... [{omitted:,} characters omitted] ...\n{tail}"
