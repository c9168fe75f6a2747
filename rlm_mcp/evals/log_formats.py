"""How the services of a simulated shop write their logs: JSON, logfmt, Java and syslog."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

Value = str | int
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_JAVA_OFFSET = timedelta(hours=2)
_CLASSES = {"charge": "Charger", "webhook": "Webhooks", "ledger": "Ledger"}


@dataclass(frozen=True, slots=True)
class Record:
    """What a service has to say, at a `moment` in UTC without a zone; `trace` are lines below."""

    moment: datetime
    service: str
    level: str
    message: str
    fields: Mapping[str, Value]
    trace: tuple[str, ...] = ()


def written(record: Record) -> str:
    """A record as its service writes it, one line or several, with the newline.

    Payments writes the time of a zone two hours east of UTC and says so; syslog has no year and
    whole seconds.
    """
    return "\n".join([_FORMATS[record.service](record), *record.trace, ""])


def written_moment(record: Record) -> datetime:
    """The moment as far as what is written tells it."""
    if _FORMATS[record.service] is _syslog:
        return record.moment.replace(microsecond=0)
    return record.moment


def _json(record: Record) -> str:
    head = {"ts": _iso(record.moment), "level": record.level, "msg": record.message}
    return json.dumps(head | dict(record.fields))


def _logfmt(record: Record) -> str:
    head = f'time={_iso(record.moment)} level={record.level.lower()} msg="{record.message}"'
    return head + _pairs(record.fields)


def _java(record: Record) -> str:
    local = (record.moment + _JAVA_OFFSET).isoformat(" ", "milliseconds").replace(".", ",")
    name = _CLASSES.get(record.message.partition(" ")[0], "Application")
    head = (
        f"{local} +0200 {record.level:<5} [worker-{len(record.message) % 8}] shop.payments.{name}"
    )
    return f"{head} - {record.message}{_pairs(record.fields)}"


def _syslog(record: Record) -> str:
    at = record.moment
    program = {"db": "db-1 postgres[812]", "ops": "ops-1 deployer[77]"}[record.service]
    level = {"WARN": "WARNING"}.get(record.level, record.level)
    clock = f"{_MONTHS[at.month - 1]} {at.day:2} {at:%H:%M:%S}"
    return f"{clock} {program}: {level}: {record.message}{_pairs(record.fields)}"


def _iso(moment: datetime) -> str:
    return f"{moment.isoformat('T', 'milliseconds')}Z"


def _pairs(fields: Mapping[str, Value]) -> str:
    return "".join(f" {name}={value}" for name, value in fields.items())


_FORMATS = {
    "gateway": _json,
    "orders": _logfmt,
    "inventory": _logfmt,
    "payments": _java,
    "db": _syslog,
    "ops": _syslog,
}
