"""The logs of a simulated day as files, and every record in them with its places."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import TypeVar

from rlm_mcp.evals.log_formats import Record, written, written_moment
from rlm_mcp.evals.log_simulator import SERVICES, Shop

T = TypeVar("T")
Window = tuple[datetime, datetime]
HOURS_WIDE = (1, 2, 3)
# A part of the gateway's log is rotated away, the older half.
FILES = {
    "gateway": ("gateway.1.jsonl", "gateway.jsonl"),
    "orders": ("orders.log",),
    "inventory": ("inventory.log",),
    "payments": ("payments.log",),
    "db": ("db.syslog",),
    "ops": ("ops.syslog",),
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A record, the moment it says, and where each of its copies begins, in order of arrival."""

    record: Record
    moment: datetime
    places: tuple[tuple[str, int], ...]

    @property
    def place(self) -> str:
        """Its first copy, as path:line."""
        path, line = self.places[0]
        return f"{path}:{line}"

    @property
    def evidence(self) -> tuple[str, int, int]:
        """The lines of its first copy."""
        path, line = self.places[0]
        return path, line, line + len(self.record.trace)


@dataclass(frozen=True, slots=True)
class Log:
    """The files, and every record in them once, in order of time; `burst` is the unusual hour."""

    day: datetime
    documents: dict[str, str]
    records: tuple[Placed, ...]
    burst: int


def simulate(chars: int, seed: int) -> Log:
    """A day in logs of about `chars` characters; the same for the same arguments."""
    shop = Shop(seed)
    arrivals: dict[str, list[tuple[datetime, int, str]]] = {service: [] for service in SERVICES}
    seen: dict[str, Record] = {}
    total, order = 0, count()
    for told in shop.rounds():
        for record in told:
            text = written(record)
            # Records that say the same could not be told from one that arrived twice.
            if text not in seen:
                seen[text] = record
                for late in shop.delays():
                    moment = record.moment + timedelta(seconds=late)
                    arrivals[record.service].append((moment, next(order), text))
                    total += len(text)
        if total >= chars:
            break
    documents: dict[str, str] = {}
    places: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for service, arrived in arrivals.items():
        texts = [text for *_, text in sorted(arrived)]
        size = -(-len(texts) // len(FILES[service]))
        for number, path in enumerate(FILES[service]):
            part = texts[number * size : (number + 1) * size]
            documents[path] = "".join(part)
            line = 1
            for text in part:
                places[text].append((path, line))
                line += text.count("\n")
    placed = [Placed(r, written_moment(r), tuple(places[text])) for text, r in seen.items()]
    placed.sort(key=lambda one: (one.moment, one.places))
    return Log(shop.day, documents, tuple(placed), shop.burst)


def evidence_of(found: Iterable[Placed]) -> tuple[tuple[str, int, int], ...]:
    """Their places."""
    return tuple(placed.evidence for placed in found)


def grouped(found: Iterable[Placed], key: Callable[[Placed], str]) -> dict[str, list[Placed]]:
    """Records by what they share, each group in order of time."""
    groups: dict[str, list[Placed]] = defaultdict(list)
    for placed in found:
        groups[key(placed)].append(placed)
    return groups


def first_of(log: Log, holds: Callable[[Placed], bool]) -> Placed:
    """The first record in time that is such."""
    return next(placed for placed in log.records if holds(placed))


def drawn(rng: random.Random, of: Sequence[T]) -> list[T]:
    """All of them, in an order drawn by `rng`."""
    return rng.sample(of, len(of))


def drawn_window(log: Log, rng: random.Random) -> Window:
    """Some whole hours of the day."""
    wide = rng.choice(HOURS_WIDE)
    start = log.day + timedelta(hours=rng.randrange(24 - wide))
    return start, start + timedelta(hours=wide)


def whole(log: Log) -> dict[str, object]:
    """The whole day, as programs name it."""
    return {"START": log.day, "END": log.day + timedelta(days=1)}


def told(window: Window) -> str:
    """A stretch of the day in words."""
    return f"from {window[0]:%H:%M} up to, but without, {window[1]:%H:%M} UTC"


def as_message(entry: str) -> str:
    """A message as an answer may have written it."""
    return entry.strip().strip("`'\"").lower()
