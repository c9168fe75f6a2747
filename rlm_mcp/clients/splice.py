"""One value put into a JSON text or taken out of it; every other character stays as it is."""

import json
import re
from collections.abc import Mapping, Sequence

from rlm_mcp.clients.jsonc import COMMENT, Item, Node, parse, place
from rlm_mcp.errors import ConfigUnreadable

BLANKS = re.compile(r"[ \t]*")
INDENTED = re.compile(r'^([ \t]+)["\[{]', re.MULTILINE)


def put(text: str, path: Sequence[str], value: object, *, comments: bool) -> str:
    """The text with `value` at `path`; objects on the way are made where there are none.

    Where an object stands for an object it is changed member by member, so that remarks stay. A
    text that has the value already comes back as it is; an empty text counts as an empty object.

    Raises:
        ConfigUnreadable: it is no JSON, or something else than an object stands on the way.
    """
    text = text if text.strip() else "{}\n"
    node = above = parse(text, comments=comments)
    start = 0
    for depth, key in enumerate(path):
        _require(text, node, "object")
        above = node
        item = node.item(key)
        if item is None:
            for rest in reversed(path[depth + 1 :]):
                value = {rest: value}
            return _insert(text, node, key, value)
        node, start = item.node, item.start
    if node.value == value:
        return text
    is_bare = not text[node.start + 1 : node.end - 1].strip()
    if isinstance(value, Mapping) and value and node.kind == "object" and not is_bare:
        return _fit(text, path, node, value, comments=comments)
    pattern = above if is_bare else node
    inline = "\n" not in text[pattern.start : pattern.end]
    shown = _rendered(text, value, _indent(text, start), inline=inline)
    return text[: node.start] + shown + text[node.end :]


def append(text: str, key: str, value: object, *, comments: bool) -> str:
    """The text with `value` at the end of the array `key`, which is made if there is none.

    Raises:
        ConfigUnreadable: it is no JSON, or something else than an array stands there.
    """
    root = parse(text, comments=comments)
    _require(text, root, "object")
    item = root.item(key)
    if item is None:
        return _insert(text, root, key, [value])
    _require(text, item.node, "array")
    return text if value in item.node.value else _insert(text, item.node, None, value)


def take(text: str, path: Sequence[str], *, comments: bool, element: str | None = None) -> str:
    """The text without what stands at `path`, or without the element of it that has that `id`.

    Objects and arrays left empty go, too; a text that has no such thing comes back as it is.
    """
    root = parse(text, comments=comments)
    trail: list[tuple[Node, Item]] = []
    node = root
    for key in path:
        found = node.item(key) if node.kind == "object" else None
        if found is None:
            return text
        trail.append((node, found))
        node = found.node
    if element is not None:
        picked = [each for each in node.items if _id(each) == element]
        if not picked:
            return text
        trail.append((node, picked[-1]))
    while len(trail) > 1 and len(trail[-1][0].items) == 1 and not _remarks(text, *trail[-1]):
        trail.pop()
    container, item = trail[-1]
    return _cut(text, container, item)


def _fit(
    text: str, path: Sequence[str], node: Node, value: Mapping[str, object], *, comments: bool
) -> str:
    for key, member in value.items():
        text = put(text, (*path, key), member, comments=comments)
    for item in node.items:
        if item.key is not None and item.key not in value:
            text = take(text, (*path, item.key), comments=comments)
    return text


def _insert(text: str, node: Node, key: str | None, value: object) -> str:
    inline = bool(node.items) and "\n" not in text[node.start : node.end]
    if not node.items:
        indent = _indent(text, node.start)
        inner = text[node.start + 1 : node.end - 1].rstrip()
        member = _member(text, key, value, indent + _unit(text), inline=False)
        newline = _newline(text)
        body = f"{inner}{newline}{indent}{_unit(text)}{member}{newline}{indent}"
        return text[: node.start + 1] + body + text[node.end - 1 :]
    last = node.items[-1]
    if inline:
        member = _member(text, key, value, "", inline=True)
        return f"{text[: last.end]}, {member}{text[last.end :]}"
    indent = _indent(text, last.start)
    member = _member(text, key, value, indent, inline=False)
    anchor = _after_remark(text, last.end if last.comma is None else last.comma + 1)
    comma, trailing = (",", "") if last.comma is None else ("", ",")
    new = f"{_newline(text)}{indent}{member}{trailing}"
    return text[: last.end] + comma + text[last.end : anchor] + new + text[anchor:]


def _cut(text: str, node: Node, item: Item) -> str:
    place_in = node.items.index(item)
    if len(node.items) == 1:
        before = text[node.start + 1 : item.start].rstrip()
        after = text[(item.end if item.comma is None else item.comma + 1) : node.end - 1]
        inner = before + (after if before or after.strip() else "")
        return text[: node.start + 1] + inner + text[node.end - 1 :]
    start = item.start
    while text[start - 1] in " \t":
        start -= 1
    on_own_line = text[start - 1] == "\n"
    if on_own_line:
        start -= 2 if text[start - 2 : start] == "\r\n" else 1
    if item.comma is not None:
        end = item.comma + 1
        if place_in == 0 and not on_own_line:
            start, end = item.start, _skip_blanks(text, end)
        return text[:start] + text[end:]
    comma = node.items[place_in - 1].comma
    assert comma is not None
    return text[:comma] + text[comma + 1 : max(start, comma + 1)] + text[item.end :]


def _id(item: Item) -> object:
    value = item.node.value
    return value.get("id") if isinstance(value, Mapping) else None


def _remarks(text: str, node: Node, item: Item) -> bool:
    """Whether comments stand around the only item."""
    around = text[node.start + 1 : item.start] + text[item.end : node.end - 1]
    return bool(around.replace(",", "").strip())


def _after_remark(text: str, at: int) -> int:
    """Past a comment that ends on the same line, for that belongs to what stands before it."""
    found = COMMENT.match(text, _skip_blanks(text, at))
    return found.end() if found and "\n" not in found[0] else at


def _skip_blanks(text: str, at: int) -> int:
    found = BLANKS.match(text, at)
    return found.end() if found else at


def _member(text: str, key: str | None, value: object, indent: str, *, inline: bool) -> str:
    shown = _rendered(text, value, indent, inline=inline)
    return shown if key is None else f"{json.dumps(key, ensure_ascii=False)}: {shown}"


def _rendered(text: str, value: object, indent: str, *, inline: bool) -> str:
    if inline:
        return json.dumps(value, ensure_ascii=False)
    shown = json.dumps(value, ensure_ascii=False, indent=_unit(text))
    return shown.replace("\n", _newline(text) + indent)


def _indent(text: str, at: int) -> str:
    """What the line of that place begins with."""
    line = text.rfind("\n", 0, at) + 1
    return text[line : _skip_blanks(text, line)]


def _unit(text: str) -> str:
    """One step of indentation, as this text does it; two spaces if it does none."""
    steps = INDENTED.findall(text)
    return min(steps, key=len) if steps else "  "


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _require(text: str, node: Node, kind: str) -> None:
    if node.kind != kind:
        article = "an object" if kind == "object" else "an array"
        raise ConfigUnreadable(
            f"{place(text, node.start)}: {article} is expected, to hold the servers.",
            "Mend the file there.",
        )
