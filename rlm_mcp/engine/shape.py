"""Answers that must fit a JSON Schema: read, checked, and what does not fit said in a line."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

from rlm_mcp.errors import ArgumentInvalid

_WHY_CHARS = 300
# Of one keyword each: no answer needs so many, but references can ask for more than ever end.
_MOST_STEPS = 100_000

Keyword = Callable[..., Iterator[Any] | None]


class _Endless(Exception):
    """The check of an answer has no end in sight."""


class Shape:
    """A JSON Schema, of draft 2020-12 unless it names another (json-schema.org/specification)."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """References lead nowhere but into the schema itself.

        Raises:
            ArgumentInvalid: it is no JSON Schema.
        """
        # They cost 0.1 s, and most questions ask for words.
        from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415
        from jsonschema.validators import extend, validator_for  # noqa: PLC0415
        from referencing.jsonschema import EMPTY_REGISTRY  # noqa: PLC0415

        kind = validator_for(schema, default=Draft202012Validator)
        try:
            kind.check_schema(dict(schema))
        except SchemaError as error:
            raise ArgumentInvalid(
                f"The schema of the answer is no JSON Schema: {error.message[:_WHY_CHARS]}.",
                "Mend it, or leave it out.",
            ) from error
        self.text = json.dumps(schema, ensure_ascii=False)
        self._steps = count()
        keywords = {name: self._counted(check) for name, check in kind.VALIDATORS.items()}
        bounded = extend(kind, keywords)  # type: ignore[no-untyped-call]  # it has no types
        self._validator = bounded(schema, registry=EMPTY_REGISTRY)

    def read(self, text: str) -> tuple[str, str | None]:
        """The JSON of an answer, and why it does not fit, None if it does."""
        from jsonschema.exceptions import best_match  # noqa: PLC0415
        from referencing.exceptions import Unresolvable  # noqa: PLC0415

        inner = _unfenced(text)
        self._steps = count()
        try:
            value = json.loads(inner)
            error = best_match(self._validator.iter_errors(value))
        except (ValueError, RecursionError) as broken:
            return text, f"it is no JSON: {broken}"
        except _Endless:
            return text, f"to check it takes more than {_MOST_STEPS:,} steps: simplify the schema"
        except Unresolvable as lost:
            return text, f"the schema refers to what is not in it: {lost}"
        if error is None:
            return inner, None
        return text, f"{error.json_path}: {error.message}"[:_WHY_CHARS]

    def _counted(self, check: Keyword) -> Keyword:
        """The check of a keyword, in a count with all others."""

        def counted(*arguments: Any) -> Iterator[Any]:
            if next(self._steps) > _MOST_STEPS:
                raise _Endless
            yield from check(*arguments) or ()

        return counted


def _unfenced(text: str) -> str:
    """What a fence around all of it holds."""
    text = text.strip()
    first, _, rest = text.partition("\n")
    if first.startswith("```") and rest.endswith("```"):
        return rest.removesuffix("```").strip()
    return text
