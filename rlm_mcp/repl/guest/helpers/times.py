"""Times as they stand in logs."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

__all__ = ["parse_time"]
SEARCHED_CHARS = 256
# The year of times that name none.
NO_YEAR = 1900
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = re.compile(r"(\d\d?):(\d\d)(?::(\d\d))?")
_DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_CLOCKS = r"(?P<H>\d\d):(?P<M>\d\d)(?::(?P<S>\d\d)(?:[.,](?P<f>\d{1,9}))?)?"
_ZONE = r"(?:\s?(?P<z>Z\b|[+-]\d\d:?\d\d(?!\d)))?"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?P<Y>\d{{4}})[-/.](?P<m>\d\d)[-/.](?P<d>\d\d)[T_ ]{_CLOCKS}{_ZONE}",  # ISO 8601
        rf"(?P<d>\d\d)/(?P<b>[A-Z][a-z]{{2}})/(?P<Y>\d{{4}}):{_CLOCKS}{_ZONE}",  # common log format
        rf"(?P<b>[A-Z][a-z]{{2}})\s+(?P<d>\d\d?)\s{_CLOCKS}(?:\s(?P<Y>\d{{4}})\b)?",  # syslog
        rf"(?<!\d)(?P<m>[01]\d)-?(?P<d>[0-3]\d)\s{_CLOCKS}",  # Android, glog
    )
)
_UNIX = re.compile(r"""^\W{0,3}(?:\w{1,10}["']?[:=]\s?["']?)?(1\d{9})(?:\.(\d+)|(\d{3}))?(?!\d)""")


class Stamp(NamedTuple):
    """A time in UTC where the text names an offset, else as written; `offset` is that one."""

    moment: datetime
    offset: timedelta | None


def parse_time(text: str) -> datetime | None:
    """The first time written in a line, None if there is none.

    In UTC where the line names an offset, else as written; without a zone either way. The year is
    1900 where the line names none.
    """
    found = stamp_of(text)
    return found.moment if found else None


def stamp_of(text: str) -> Stamp | None:
    """The same, and the offset it was written with."""
    for form in _FORMS:
        if found := form.search(text, 0, SEARCHED_CHARS):
            try:
                return _stamp(found.groupdict())
            except (ValueError, OverflowError):
                continue
    if found := _UNIX.search(text):
        second = datetime.fromtimestamp(int(found[1]), UTC).replace(tzinfo=None)
        return Stamp(second + timedelta(microseconds=_micros(found[2] or found[3])), timedelta())
    return None


def as_in_log(moment: str | datetime, began: Stamp) -> datetime:
    """A moment as the log has it whose first time is `began`; without an offset it takes that one.

    Raises:
        ValueError: it is no time.
    """
    if isinstance(moment, datetime):
        aware = moment.tzinfo is not None
        found = Stamp(moment.astimezone(UTC).replace(tzinfo=None), timedelta()) if aware else None
        found = found or Stamp(moment, None)
    else:
        found = stamp_of(moment) or _within_day(moment.strip(), began)
    if found is None:
        raise ValueError(f"{moment!r} is no time; write it as in the log, or as 2026-01-31 14:05")
    known = found.moment
    if found.offset is None and began.offset is not None:
        known -= began.offset
    return known.replace(year=NO_YEAR) if began.moment.year == NO_YEAR else known


def _within_day(text: str, began: Stamp) -> Stamp | None:
    """A clock time of the log's first day, or a day's first moment."""
    if clock := _CLOCK.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in clock.groups())
        written = began.moment + (began.offset or timedelta())
        return Stamp(written.replace(hour=hour, minute=minute, second=second, microsecond=0), None)
    if day := _DAY.fullmatch(text):
        year, month, date = map(int, day.groups())
        return Stamp(datetime(year, month, date), None)  # noqa: DTZ001 - as the log has it
    return None


def _stamp(parts: dict[str, str | None]) -> Stamp:
    month = MONTHS.index(parts["b"] or "") + 1 if "b" in parts else int(parts["m"] or 0)
    day, hour, minute, second = (int(parts[name] or 0) for name in "dHMS")
    year = int(parts.get("Y") or NO_YEAR)
    moment = datetime(year, month, day, hour, minute, second, _micros(parts["f"]))  # noqa: DTZ001
    zone = (parts.get("z") or "").replace(":", "")
    if not zone:
        return Stamp(moment, None)
    size = timedelta() if zone == "Z" else timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
    offset = -size if zone[0] == "-" else size
    return Stamp(moment - offset, offset)


def _micros(fraction: str | None) -> int:
    return int((fraction or "0")[:6].ljust(6, "0"))
