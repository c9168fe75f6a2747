"""What calls really sent and received, in tables of their own: every message of a run once.

A dialogue grows at its end, so a call adds what is new in it and names the rest by its place. Rows
are written with the event that brings them, and leave with their run.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson
from blake3 import blake3

from rlm_mcp.events import CallEnded, CallStarted, Event
from rlm_mcp.words import clip, weight

# The number of the event that brought a message, and the message's number within it.
Place = tuple[int, int]
# Its number, its role, its size (see `Size`), whether its text is packed, its text.
Row = tuple[int, str, int, int, int, int, bytes]

TABLES = (
    """
CREATE TABLE messages (
    run TEXT NOT NULL, seq INTEGER NOT NULL, part INTEGER NOT NULL, role TEXT NOT NULL,
    chars INTEGER NOT NULL, step INTEGER NOT NULL, weight INTEGER NOT NULL,
    packed INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (run, seq, part)
) WITHOUT ROWID
""",
    """
CREATE TABLE prompts (
    run TEXT NOT NULL, seq INTEGER NOT NULL, places TEXT NOT NULL, PRIMARY KEY (run, seq)
) WITHOUT ROWID
""",
)
ADD_MESSAGE = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_PROMPT = "INSERT INTO prompts VALUES (?, ?, ?)"
REMOVE = ("DELETE FROM messages WHERE run = ?", "DELETE FROM prompts WHERE run = ?")
PROMPTS = "SELECT seq, places FROM prompts WHERE run = ? ORDER BY seq"
SIZES = """
SELECT seq, part, role, chars, step, weight FROM messages WHERE run = ? ORDER BY seq, part
"""
TEXTS = """
SELECT seq, part, chars, packed, body FROM messages WHERE run = ? ORDER BY seq, part
"""
TEXT = "SELECT packed, body FROM messages WHERE run = ? AND seq = ? AND part = ?"

REPLY, THINKING = "reply", "thinking"
# Of what the end of a call adds: the number of the reply.
REPLY_PART = 0
# Below it, packing costs more than it spares.
LEAST_PACKED = 256
FASTEST = 1
# Of JSON: what one piece of a message takes on a page at most.
PIECE_BYTES = 9_000


@dataclass(frozen=True, slots=True)
class Raw:
    """What one event adds: new messages as rows, and the places of all that a call sent."""

    new: tuple[Row, ...]
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """Of a message that the journal has: whose it is, and its characters.

    Pieces of `step` characters take `PIECE_BYTES` of JSON each at most, all of it takes `weight`.
    """

    role: str
    chars: int
    step: int
    weight: int


class Sent:
    """Knows which messages of one run the journal has, by their content."""

    def __init__(self) -> None:
        self._places: dict[bytes, Place] = {}

    def take(self, seq: int, event: Event) -> Raw | None:
        """What event number `seq` adds; None if it sent and received nothing beyond its record."""
        match event:
            case CallStarted(messages=(_, *_)):
                return self._prompt(seq, event)
            case CallEnded(completion=completion) if completion is not None:
                whole = completion.text if completion.text != event.reply else ""
                parts = [(REPLY, whole), (THINKING, completion.reasoning)]
                rows = [
                    _row(n, role, text, text.encode("utf-8", "surrogatepass"))
                    for n, (role, text) in enumerate(parts)
                    if text
                ]
                return Raw(tuple(rows)) if rows else None
            case _:
                return None

    def _prompt(self, seq: int, call: CallStarted) -> Raw:
        places: list[Place] = []
        new: list[Row] = []
        for message in call.messages:
            raw = message.content.encode("utf-8", "surrogatepass")
            key = blake3(message.role.encode() + b"\0" + raw).digest()
            place = self._places.get(key)
            if place is None:
                place = self._places[key] = seq, len(new)
                new.append(_row(len(new), message.role, message.content, raw))
            places.append(place)
        return Raw(tuple(new), orjson.dumps(places).decode())


def prompts(rows: Iterator[tuple[int, str]]) -> dict[int, list[Place]]:
    """Of the rows of `PROMPTS`: what each call sent, by the number of the event of its start."""
    return {seq: [(at, part) for at, part in json.loads(places)] for seq, places in rows}


def sizes(rows: Iterator[tuple[int, int, str, int, int, int]]) -> dict[Place, Size]:
    """Of the rows of `SIZES`."""
    return {
        (seq, part): Size(role, chars, step, heavy) for seq, part, role, chars, step, heavy in rows
    }


def size_of(role: str, text: str) -> Size:
    """The size of a text that is `role`'s."""
    chars, heavy = len(text), weight(text)
    step, heaviest = max(1, chars), heavy
    while heaviest > PIECE_BYTES:
        step = step * PIECE_BYTES // heaviest
        heaviest = max(weight(text[at : at + step]) for at in range(0, chars, step))
    return Size(role, chars, step, heavy)


def unpacked(rows: Iterator[tuple[int, bytes]]) -> str:
    """The text in the row of `TEXT`; "" if there is none."""
    return next((_text(packed, body) for packed, body in rows), "")


def texts(
    rows: Iterator[tuple[int, int, int, int, bytes]], most: int
) -> dict[Place, tuple[int, str]]:
    """Of the rows of `TEXTS`: true size and text, cut to head and tail beyond `most` characters."""
    return {
        (seq, part): (chars, clip(_text(packed, body), most))
        for seq, part, chars, packed, body in rows
    }


def shared(before: Sequence[Place], after: Sequence[Place]) -> int:
    """With how many of the messages of `before`, from the first on, `after` begins."""
    same = 0
    for old, new in zip(before, after, strict=False):
        if old != new:
            break
        same += 1
    return same


def _text(packed: int, body: bytes) -> str:
    raw = zlib.decompress(body) if packed else body
    return raw.decode("utf-8", "surrogatepass")


def _row(number: int, role: str, text: str, raw: bytes) -> Row:
    size = size_of(role, text)
    packed = (0, raw) if len(raw) < LEAST_PACKED else (1, zlib.compress(raw, FASTEST))
    return number, role, size.chars, size.step, size.weight, *packed
