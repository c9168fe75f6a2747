"""Frames between host and guest: a length, a JSON header, then long texts as raw UTF-8.

    frame  = length:u32 header_length:u32 header text*          (little endian)
    header = one JSON object; {"$": n} stands for the next n bytes of text

Texts stay out of the JSON so that a prompt of 16 MB is copied and not escaped, and so that the
header of any honest message is small: it is decoded in one go, while nothing else runs. Decoding
yields JSON types only, checks every length before it allocates, and lets no lone surrogate
through, so that what comes out can be sent on to any endpoint. Both sides import this module.
"""

import json
import struct
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]

REQUESTS = 10_000
# What a request counts as beside its text: an empty one costs memory too.
REQUEST_CHARS = 64
MODEL_CHARS = 200
# REQUESTS of three texts each fit in both, whatever they say.
INLINE_CHARS = 12
HEADER_BYTES = 1 << 20
VALUES = 50_000
DEPTH = 6
LENGTHS = struct.Struct("<II")


class BadFrame(ValueError):
    """The bytes are no frame of ours, or larger than allowed."""


# Bound once: code in the guest may patch the json module.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _refuse(literal: str) -> float:
    raise BadFrame(f"{literal} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse).decode


def pack(message: Message) -> bytes:
    """One frame. A lone surrogate in a text becomes `?`."""
    texts: list[bytes] = []

    def place(value: Any) -> Any:
        if isinstance(value, str):
            if len(value) <= INLINE_CHARS and value.isascii() and value.isprintable():
                return str(value)
            texts.append(value.encode("utf-8", "replace"))
            return {"$": len(texts[-1])}
        if isinstance(value, list | tuple):
            return [place(item) for item in value]
        if isinstance(value, dict):
            return {key: place(item) for key, item in value.items()}
        return value

    header = _encode(place(message)).encode("utf-8", "replace")
    length = LENGTHS.size + len(header) + sum(map(len, texts))
    if length > 0xFFFFFFFF:
        raise BadFrame(f"{length:,} bytes do not fit one frame")
    return b"".join((LENGTHS.pack(length, len(header)), header, *texts))


def unpack(frame: memoryview) -> Message:
    """The message of one whole frame.

    Raises:
        BadFrame: the bytes are not exactly one well-formed frame.
    """
    length, header_length = LENGTHS.unpack_from(frame)
    position = LENGTHS.size + header_length
    if length != len(frame) or position > length or header_length > HEADER_BYTES:
        raise BadFrame("the header does not fit its frame")

    values = 0

    def fill(value: Any, depth: int) -> Any:
        nonlocal position, values
        values += 1
        if depth > DEPTH or values > VALUES:
            raise BadFrame("nested too deeply, or too many values")
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, list):
            return [fill(item, depth + 1) for item in value]
        elif isinstance(value, dict):
            if "$" not in value:
                return {key: fill(item, depth + 1) for key, item in value.items()}
            size = value["$"]
            if type(size) is not int or len(value) != 1 or not 0 <= size <= length - position:
                raise BadFrame("a text overruns its frame")
            position += size
            return str(frame[position - size : position], "utf-8")
        return value

    try:
        header = _decode(str(frame[LENGTHS.size : position], "utf-8"))
        message = fill(header, 0)
    except (ValueError, RecursionError) as error:
        raise BadFrame(str(error)) from None
    if position != length:
        raise BadFrame("bytes are left over")
    if not isinstance(message, dict) or not isinstance(message.get("t"), str):
        raise BadFrame("the message has no type")
    return message


class Splitter:
    """Cuts a stream of bytes into messages; a frame over `limit` is refused at its first bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """The messages that `chunk` completes.

        Raises:
            BadFrame: the stream is broken; nothing after it can be read.
        """
        self._held += chunk
        while len(self._held) >= LENGTHS.size:
            length, _ = LENGTHS.unpack_from(self._held)
            if not LENGTHS.size <= length <= self.limit:
                raise BadFrame(f"a frame of {length:,} bytes; at most {self.limit:,} are taken")
            if len(self._held) < length:
                return
            frame = bytes(self._held[:length])
            del self._held[:length]
            yield unpack(memoryview(frame))
