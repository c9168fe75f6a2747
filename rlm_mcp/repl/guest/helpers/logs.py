"""Logs by time: the lines between two times, their records, and how many there were when."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from ..contexts import present
from ..spans import Span, Window, spans_of
from .searching import matching
from .times import SEARCHED_CHARS, as_in_log, parse_time, stamp_of

__all__ = ["between", "events", "rate"]
SHOWN = ("between",)
HEAD_CHARS = 64
BLOCK_CHARS = 4 << 10
MOST_BUCKETS = 1000
BAR_CHARS = 40
SHOWN_EVENTS = 5
LINE_CHARS = 300
STEPS_S = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 86_400, 604_800)
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EVERY = re.compile(r"(\d*\.?\d+)\s*([smhdw])")


class Event(NamedTuple):
    """A record of a log: where it begins, when it was written, and all its lines."""

    path: str | None
    line: int
    time: datetime | None
    text: str

    def __repr__(self) -> str:
        cut = "…" if len(self.text) > LINE_CHARS else ""
        return f"{self.path or 'text'}:{self.line}: {self.text[:LINE_CHARS]}{cut}"


class Events:
    """Records to go through, as often as you like; none is held."""

    def __init__(self, spans: list[Span]) -> None:
        self._spans = spans

    def __iter__(self) -> Iterator[Event]:
        for span in self._spans:
            yield from _records(span)

    def __repr__(self) -> str:
        shown = [repr(event) for event, _ in zip(self, range(SHOWN_EVENTS), strict=False)]
        return "\n".join([*shown, "… for event in events(...): event.time, event.text"])


class Rate(list[tuple[datetime, int]]):
    """(start, count) of each stretch of time, in order."""

    def __repr__(self) -> str:
        most = max((count for _, count in self), default=0) or 1
        return "\n".join(
            f"{start}  {count:9,} {'█' * round(BAR_CHARS * count / most)}" for start, count in self
        )


def between(t0: str | datetime, t1: str | datetime, path: str | None = None) -> Window:
    """The lines of a log from one time up to, but without, another.

    A text with .path, .first and .last line, found by bisection: the log must be in order of time.
    Times are as in the log; a clock time such as "14:05" is of the log's first day. `path` is not
    needed where one file is loaded.
    """
    span = _one(path)
    _, at = _next_time(span, span.start, span.end)
    began = stamp_of(span.text[at : at + SEARCHED_CHARS])
    if began is None:
        raise ValueError(f"{span.path} has no times that parse_time knows")
    start = _bisected(span, as_in_log(t0, began))
    end = max(_bisected(span, as_in_log(t1, began)), start)
    window = Window(span.text[start:end])
    window.path, window.start = str(span.path), start
    return window


def events(text: str | None = None) -> Events:
    """Records of a log, to go through: lines without a time belong to the record before.

    `text` is a path, what between() gave, or any text; default: all files. Each has .path, .line,
    .time and .text; a record begins at a line that is not indented and has a time near its start.
    """
    return Events(spans_of(text))


def rate(
    every: str | float | None = None, pattern: str | None = None, text: str | None = None
) -> Rate:
    """How many lines, or matches of a pattern, there are in each stretch of time.

    `every` is "30s", "5m", "1h", "1d" or seconds; default: what gives up to 60 stretches. `text` is
    as in events(). Without a pattern the log must be in order of time.
    """
    firsts = [(_next_time(span, span.start, span.end)[0], span) for span in spans_of(text)]
    spans = [span for moment, span in firsts if moment is not None]
    if not spans:
        return Rate()
    first = min(moment for moment, _ in firsts if moment is not None)
    last = max(moment for span in spans if (moment := _last_time(span)))
    step = _step(every, (last - first).total_seconds())
    origin = datetime(first.year, first.month, first.day)  # noqa: DTZ001 - as the log has it
    begin = origin + (first - origin) // step * step
    if (last - begin) // step >= MOST_BUCKETS:
        raise ValueError(f"more than {MOST_BUCKETS:,} stretches; give a larger `every`")
    starts = [begin + number * step for number in range((last - begin) // step + 1)]
    counted = dict.fromkeys(starts, 0)
    for span in spans:
        if pattern is None:
            _count_lines(span, starts, counted)
        else:
            _count_matches(span, pattern, (begin, step), counted)
    return Rate(sorted(counted.items()))


def _count_lines(span: Span, starts: list[datetime], counted: dict[datetime, int]) -> None:
    places = [*(_bisected(span, start) for start in starts), span.end]
    for start, place, end in zip(starts, places, places[1:], strict=False):
        open_line = end > place and span.text[end - 1] != "\n"
        counted[start] += span.text.count("\n", place, end) + open_line


def _count_matches(
    span: Span, pattern: str, clock: tuple[datetime, timedelta], counted: dict[datetime, int]
) -> None:
    begin, step = clock
    bucket = begin
    for start, end in matching(span.text, pattern, [(span.start, span.end)]):
        moment = parse_time(span.text[start : min(end, start + SEARCHED_CHARS)])
        if moment is not None:
            bucket = begin + (moment - begin) // step * step
        counted[bucket] = counted.get(bucket, 0) + 1


def _records(span: Span) -> Iterator[Event]:
    text, number = span.text, span.line_of(span.start) - 1
    began: tuple[int, int, datetime | None] | None = None
    end = span.start
    for start, stop in span.lines():
        number += 1
        moment = None if text[start : start + 1].isspace() else _near(text, start, stop)
        if moment is not None or began is None:
            if began:
                yield Event(span.path, began[1], began[2], text[began[0] : end])
            began = start, number, moment
        end = stop
    if began:
        yield Event(span.path, began[1], began[2], text[began[0] : end])


def _near(text: str, start: int, stop: int) -> datetime | None:
    return parse_time(text[start : min(stop, start + HEAD_CHARS)])


def _next_time(
    span: Span,
    start: int,
    end: int,
    least: datetime = datetime.min,  # noqa: DTZ901 - as the log has it
) -> tuple[datetime | None, int]:
    """The first time from `start` on that is not before `least`, and where its line begins."""
    for at, stop in span._replace(start=start, end=end).lines():
        moment = parse_time(span.text[at : min(stop, at + SEARCHED_CHARS)])
        if moment is not None and moment >= least:
            return moment, at
    return None, end


def _last_time(span: Span) -> datetime | None:
    size = BLOCK_CHARS
    while True:
        start = span.line_start(max(span.start, span.end - size))
        times = [_near(span.text, at, stop) for at, stop in span._replace(start=start).lines()]
        found = [moment for moment in times if moment is not None]
        if found or start <= span.start:
            return found[-1] if found else _next_time(span, span.start, span.end)[0]
        size *= 4


def _bisected(span: Span, wanted: datetime) -> int:
    """Where the first line begins whose time is not before `wanted`."""
    low, high = span.start, span.end
    while high - low > BLOCK_CHARS:
        middle = span.line_start((low + high) // 2)
        moment, at = _next_time(span, middle, high)
        if moment is not None and moment < wanted:
            low = at
        else:
            high = min(middle, high - 1)
    return _next_time(span, low, span.end, wanted)[1]


def _one(path: str | None) -> Span:
    spans = spans_of(path)
    if len(spans) != 1:
        raise ValueError(f"{len(spans):,} files are loaded; name the path of one")
    if spans[0].path is None:
        present.context.files.require(str(path))
    return spans[0]


def _step(every: str | float | None, seconds: float) -> timedelta:
    if every is None:
        fitting = (step for step in STEPS_S if seconds / step <= 60)
        return timedelta(seconds=next(fitting, STEPS_S[-1]))
    found = _EVERY.fullmatch(every.strip()) if isinstance(every, str) else None
    size = float(found[1]) * UNITS_S[found[2]] if found else float(every)
    if size < 1:
        raise ValueError("every must be a second at least")
    return timedelta(seconds=size)
