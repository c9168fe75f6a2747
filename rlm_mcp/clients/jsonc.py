"""JSON with the place of each value in the text, with comments and trailing commas if allowed.

The grammar is RFC 8259's, with what VS Code calls JSON with Comments on request.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from rlm_mcp.errors import ConfigUnreadable

SPACE = re.compile(r"[ \t\r\n]+")
COMMENT = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)
SCALAR = re.compile(
    r'"(?:[^"\\\x00-\x1f]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null'
)
MARK = "\ufeff"
MOST_DEPTH = 200


@dataclass(frozen=True, slots=True)
class Node:
    """A value, and where it stands in the text: from `start` up to `end`."""

    kind: Literal["object", "array", "scalar"]
    start: int
    end: int
    value: Any
    items: "tuple[Item, ...]" = ()

    def item(self, key: str) -> "Item | None":
        """The member of that name; of several the last, which is the one that readers take."""
        return next((each for each in reversed(self.items) if each.key == key), None)


@dataclass(frozen=True, slots=True)
class Item:
    """A member or an element; `start` is that of its key. `comma` is where its comma stands."""

    key: str | None
    start: int
    node: Node
    comma: int | None

    @property
    def end(self) -> int:
        """Where its value ends."""
        return self.node.end


def parse(text: str, *, comments: bool) -> Node:
    """The whole text as one value.

    Raises:
        ConfigUnreadable: it is none; the message says where.
    """
    parser = _Parser(text, comments, len(text) - len(text.removeprefix(MARK)))
    parser.skip()
    root = parser.value(0)
    parser.skip()
    if parser.at < len(text):
        parser.fail("nothing may follow here")
    return root


@dataclass(slots=True)
class _Parser:
    text: str
    comments: bool
    at: int

    def value(self, depth: int) -> Node:
        if depth > MOST_DEPTH:
            self.fail("it is nested too deep")
        if self.peek("{"):
            return self.container("object", "}", depth)
        if self.peek("["):
            return self.container("array", "]", depth)
        return self.scalar()

    def scalar(self) -> Node:
        found = SCALAR.match(self.text, self.at)
        if found is None:
            self.fail("a value is expected")
        start, self.at = self.at, found.end()
        try:
            return Node("scalar", start, self.at, json.loads(found[0]))
        except ValueError:
            self.at = start
            self.fail("this string has an escape that JSON does not know")

    def container(self, kind: Literal["object", "array"], closing: str, depth: int) -> Node:
        start = self.at
        self.at += 1
        items: list[Item] = []
        self.skip()
        while not self.peek(closing):
            if items and items[-1].comma is None:
                self.fail(f"a comma or `{closing}` is expected")
            items.append(self.item(kind, depth))
        if items and items[-1].comma is not None and not self.comments:
            self.at = items[-1].comma
            self.fail("a comma may not stand before the end")
        self.at += 1
        value = (
            {each.key: each.node.value for each in items}
            if kind == "object"
            else [each.node.value for each in items]
        )
        return Node(kind, start, self.at, value, tuple(items))

    def item(self, kind: str, depth: int) -> Item:
        start, key = self.at, None
        if kind == "object":
            if not self.peek('"'):
                self.fail('a name in `"` is expected')
            key = self.scalar().value
            self.skip()
            if not self.peek(":"):
                self.fail("a `:` is expected")
            self.at += 1
            self.skip()
        node = self.value(depth + 1)
        self.skip()
        comma = self.at if self.peek(",") else None
        if comma is not None:
            self.at += 1
            self.skip()
        return Item(key, start, node, comma)

    def skip(self) -> None:
        while found := SPACE.match(self.text, self.at) or COMMENT.match(self.text, self.at):
            if found[0].startswith("/") and not self.comments:
                self.fail("comments are not allowed here")
            self.at = found.end()

    def peek(self, sign: str) -> bool:
        return self.text.startswith(sign, self.at)

    def fail(self, what: str) -> NoReturn:
        raise ConfigUnreadable(f"{place(self.text, self.at)}: {what}.", "Mend the file there.")


def place(text: str, at: int) -> str:
    """`line 3, column 7`, both counted from 1."""
    above = text.count("\n", 0, at)
    column = at - text.rfind("\n", 0, at)
    return f"line {above + 1}, column {column}"
