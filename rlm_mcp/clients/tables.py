"""One table put into a TOML text or taken out of it; every other line stays as it is."""

import copy
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.items import AoT, InlineTable, Table

from rlm_mcp.clients.jsonc import MARK
from rlm_mcp.errors import ConfigUnreadable

BY_HAND = "Change it by hand: `rlm-mcp install CLIENT --print` shows the entry."


def read(text: str) -> dict[str, Any]:
    """What the text says, behind the byte order mark that Windows editors may put first.

    Raises:
        ConfigUnreadable: it is no TOML; the message says where.
    """
    try:
        return tomllib.loads(text.removeprefix(MARK))
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).removesuffix(")").rpartition(" (at ")
        raise ConfigUnreadable(f"{place}: {what}.", "Mend the file there.") from error


def put(text: str, path: Sequence[str], entry: Mapping[str, Any]) -> str:
    """The text with the table: at the end, or changed key by key where it stands.

    Keys that it has beside those of the entry stay, as do remarks.

    Raises:
        ConfigUnreadable: it is no TOML, or is written so that the table cannot join or be changed.
    """
    old = _at(read(text), path)
    if old == entry:
        return text
    if isinstance(old, dict):
        return _changed(text, path, {**old, **entry})
    table: Any = tomlkit.table()
    for name, value in entry.items():
        table.add(name, _inline(value))
    for key in reversed(path):
        above = tomlkit.table(is_super_table=True)
        above.add(key, table)
        table = above
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    block = tomlkit.dumps(table).lstrip("\n")
    whole = text + _as_lines_of(text, gap + block)
    try:
        fits = _without(read(whole), path) == _without(read(text), path)
    except ConfigUnreadable:
        fits = False
    if not fits:
        raise ConfigUnreadable(f"`{path[0]}` is not written as tables.", BY_HAND)
    return whole


def take(text: str, path: Sequence[str]) -> str:
    """The text without the table of that path and those below it; remarks behind it stay.

    Raises:
        ConfigUnreadable: it is no TOML, or the table is written in some other way.
    """
    before = read(text)
    if _at(before, path) is None:
        return text
    kept: list[str] = []
    held: list[str] = []
    inside = False
    mark = MARK if text.startswith(MARK) else ""
    for line in text.removeprefix(mark).splitlines(keepends=True):
        heads = line.lstrip().startswith("[") and _header(line)
        if heads:
            kept += held
            held = []
            inside = _at(heads, path) is not None
            if inside and kept and not kept[-1].strip():
                kept.pop()
        if not inside:
            kept.append(line)
        elif not heads:
            held = [*held, line] if line.strip()[:1] in {"", "#"} else []
    cut = mark + "".join(kept + held)
    if _at(read(cut), path) is not None or _without(read(cut), path) != _without(before, path):
        raise ConfigUnreadable(f"`{'.'.join(path)}` is not written as a table.", BY_HAND)
    return cut


def _changed(text: str, path: Sequence[str], entry: Mapping[str, Any]) -> str:
    document = tomlkit.parse(text.removeprefix(MARK))
    table: Any = document
    for key in path:
        table = table[key]
    _fit(table, entry)
    mark = MARK if text.startswith(MARK) else ""
    changed = _as_lines_of(text, mark + tomlkit.dumps(document))
    expected = copy.deepcopy(read(text))
    above = _at(expected, path[:-1])
    above[path[-1]] = dict(entry)
    try:
        if read(changed) == expected:
            return changed
    except ConfigUnreadable:
        pass
    raise ConfigUnreadable(f"`{'.'.join(path)}` is not written as one table.", BY_HAND)


def _fit(table: Any, entry: Mapping[str, Any]) -> None:
    """Have the table say what the entry says, each value where it stands; the rest keeps still."""
    for name in [name for name in table if name not in entry]:
        del table[name]
    for name, value in entry.items():
        if name not in table:
            _add(table, name, _inline(value))
        elif isinstance(table[name], Mapping) and isinstance(value, Mapping):
            _fit(table[name], value)
        elif table[name] != value:
            table[name] = _inline(value)


def _add(table: Any, name: str, value: Any) -> None:
    """Put a key right behind the last one, since remarks below belong to what follows them."""
    if isinstance(table, InlineTable):
        table.append(name, value)
    elif isinstance(table, Table) and table.display_name:
        lines = [
            item
            for key, item in table.value.body
            if key is not None and not isinstance(item, Table | AoT)
        ]
        # tomlkit would put it behind those remarks; what ends a line is written out as it stands.
        above = (lines[-1] if lines else table).trivia
        above.trail = (above.trail or "\n") + tomlkit.dumps({name: value})
    else:
        table[name] = value


def _inline(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    table.update(value)
    return table


def _header(line: str) -> dict[str, Any] | None:
    """What a line says that may be the head of a table; None if it says nothing by itself."""
    try:
        return tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None


def _at(found: Any, path: Sequence[str]) -> Any:
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _without(found: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """All but the table, and but the empty ones it leaves around it."""
    rest = copy.deepcopy(found)
    trail = [rest]
    for key in path[:-1]:
        trail.append(trail[-1].get(key, {}))
    for above, key in zip(reversed(trail), reversed(path), strict=True):
        if isinstance(above, dict) and (key == path[-1] or above.get(key) == {}):
            above.pop(key, None)
    return rest


def _as_lines_of(text: str, new: str) -> str:
    """What is new, its lines ended as those of `text` are, if all of them are."""
    if "\r\n" not in text or "\n" in text.replace("\r\n", ""):
        return new
    return new.replace("\r\n", "\n").replace("\n", "\r\n")
