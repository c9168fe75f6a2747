"""JSON Schema validators that count what they do, and stop where there is no end in sight."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

# What is done in the time of one step, some 10 µs: going into a schema, or checking a keyword.
MEMBERS_PER_STEP = 16
CANONICAL_PER_STEP = 64
MESSAGE_PER_STEP = 512
CRAWLED_PER_STEP = 64
REFERENCES = {"$ref", "$dynamicRef", "$recursiveRef"}

Keyword = Callable[..., Iterator[Any] | None]


class Endless(Exception):
    """The check takes more steps than it may."""


class Steps:
    """How many steps a check may still take."""

    def __init__(self, most: int) -> None:
        self.left = most

    def spend(self, steps: int) -> None:
        """Take so many.

        Raises:
            Endless: there are not as many left.
        """
        self.left -= steps
        if self.left < 0:
            raise Endless


def bounded(kind: type[Validator], steps: Steps, crawled_chars: int = 0) -> type[Validator]:
    """The validator of a draft that spends `steps` on all it does.

    `crawled_chars` is the size of a schema whose parts have names of their own: the library looks
    through all of it for each reference.
    """
    per_reference = crawled_chars // CRAWLED_PER_STEP
    checks = {
        name: _counted(check, steps, per_reference if name in REFERENCES else 0)
        for name, check in kind.VALIDATORS.items()
    }
    checks |= {name: own for name, own in _own(steps).items() if name in checks}
    made: Any = extend(kind, checks)  # type: ignore[no-untyped-call]  # it has no types
    plain = made.evolve

    def evolve(self: Any, **changes: Any) -> Any:
        steps.spend(1)
        schema = changes.get("schema", self.schema)
        if isinstance(schema, dict) and "$schema" in schema:
            # A part that names its draft would be given the library's validator, which counts not.
            changes["schema"] = {key: schema[key] for key in schema if key != "$schema"}
        return plain(self, **changes)

    made.evolve = evolve
    found: type[Validator] = made
    return found


def canonical(value: Any) -> str:
    """The same text for all that JSON Schema holds for equal: 1 is 1.0, and true is not 1.

    See https://json-schema.org/draft/2020-12/json-schema-core#section-4.2.2.
    """
    return json.dumps(_even(value), sort_keys=True)


def _even(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_even(each) for each in value]
        case dict():
            return {key: _even(each) for key, each in value.items()}
        case _:
            return value


def _own(steps: Steps) -> dict[str, Keyword]:
    """Keywords that compare values, each with many others at once: the library's go one by one."""
    known: dict[int, tuple[Any, frozenset[str]]] = {}

    def text_of(value: Any) -> str:
        text = canonical(value)
        steps.spend(1 + len(text) // CANONICAL_PER_STEP)
        return text

    def among(value: Any, values: Any) -> bool:
        # By identity: parts of a schema stay where they are, and are kept here besides.
        if id(values) not in known:
            known[id(values)] = values, frozenset(map(text_of, values))
        return text_of(value) in known[id(values)][1]

    def misfit(words: str) -> ValidationError:
        steps.spend(len(words) // MESSAGE_PER_STEP)
        return ValidationError(words)

    def enum(_: Any, values: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
        if not among(instance, values):
            yield misfit(f"{instance!r} is not one of {values!r}")

    def const(_: Any, value: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
        if text_of(instance) != text_of(value):
            yield misfit(f"{instance!r} is not {value!r}")

    def unique_items(
        validator: Any, wanted: Any, instance: Any, _: Any
    ) -> Iterator[ValidationError]:
        if not wanted or not validator.is_type(instance, "array"):
            return
        seen = set()
        for item in instance:
            text = text_of(item)
            if text in seen:
                yield misfit(f"{item!r} is in the array twice")
                return
            seen.add(text)

    return {"enum": enum, "const": const, "uniqueItems": unique_items}


def _counted(check: Keyword, steps: Steps, extra: int) -> Keyword:
    """The check of a keyword, which spends by how much there is to look at and to tell."""

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        steps.spend(1 + extra + (_width(value) + _members(instance)) // MEMBERS_PER_STEP)
        for error in check(validator, value, instance, schema) or ():
            steps.spend(1 + len(error.message) // MESSAGE_PER_STEP)
            yield error

    return counted


def _width(value: Any) -> int:
    """What a keyword's value has that a check may go through once for each instance."""
    if isinstance(value, str):
        return len(value)  # a reference is followed part by part
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return _members(value) + sum(map(_members, inner))


def _members(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0
