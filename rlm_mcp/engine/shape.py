"""Answers that must fit a JSON Schema: read, checked, and what does not fit said in a line."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from rlm_mcp.errors import ArgumentInvalid

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

# Every model is shown it, beside the question.
MOST_SCHEMA_CHARS = 64 << 10
_WHY_CHARS = 300
# A second or two. No answer needs as many, but some schemas never end, and some take hours.
_MOST_STEPS = 200_000
# Parts with names of their own, in any draft.
_NAMES = ('"$id"', '"id"', '"$anchor"', '"$dynamicAnchor"', '"$recursiveAnchor"')


class Shape:
    """A JSON Schema, of draft 2020-12 unless it names another (json-schema.org/specification).

    To make one, and to read with it, may take a second or two: both are for a worker thread.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """References lead nowhere but into the schema itself.

        Raises:
            ArgumentInvalid: it is no JSON Schema, or larger than `MOST_SCHEMA_CHARS`.
        """
        # They cost 0.1 s, and most questions ask for words.
        from jsonschema import Draft202012Validator  # noqa: PLC0415
        from jsonschema.validators import validator_for  # noqa: PLC0415
        from referencing.jsonschema import EMPTY_REGISTRY  # noqa: PLC0415

        from rlm_mcp.engine.bounded import Steps, bounded  # noqa: PLC0415

        try:
            self.text = json.dumps(schema, ensure_ascii=False)
        except RecursionError:
            raise _too_deep() from None
        if len(self.text) > MOST_SCHEMA_CHARS:
            raise ArgumentInvalid(
                f"The schema of the answer has {len(self.text):,} characters, and may have"
                f" {MOST_SCHEMA_CHARS:,}.",
                "Leave out descriptions, or refer with $ref to what it says twice.",
            )
        own = json.loads(self.text)
        kind = validator_for(own, default=Draft202012Validator)
        _check(own, kind)
        self._steps = Steps(_MOST_STEPS)
        crawled = len(self.text) if any(name in self.text for name in _NAMES) else 0
        self._validator = bounded(kind, self._steps, crawled)(own, registry=EMPTY_REGISTRY)

    @classmethod
    async def of(cls, schema: Mapping[str, Any] | None) -> "Shape | None":
        """The shape of an answer of this schema, made while all others go on; None if of none.

        Raises:
            ArgumentInvalid: as `Shape` does.
        """
        return None if schema is None else await anyio.to_thread.run_sync(cls, schema)

    def read(self, text: str) -> tuple[str, str | None]:
        """The JSON of an answer, and why it does not fit, None if it does."""
        inner = _unfenced(text)
        try:
            value = json.loads(inner)
        except (ValueError, RecursionError) as broken:
            return text, f"it is no JSON: {broken}"
        why = self._misfit(value)
        return (inner, None) if why is None else (text, why)

    async def checked(self, text: str) -> tuple[str, str | None]:
        """As `read`, while all others go on."""
        return await anyio.to_thread.run_sync(self.read, text)

    def _misfit(self, value: Any) -> str | None:
        from jsonschema.exceptions import UnknownType, best_match  # noqa: PLC0415
        from referencing.exceptions import Unresolvable  # noqa: PLC0415

        from rlm_mcp.engine.bounded import Endless  # noqa: PLC0415

        self._steps.left = _MOST_STEPS
        try:
            error = best_match(self._validator.iter_errors(value))
        except Endless:
            return f"to check it takes more than {_MOST_STEPS:,} steps: simplify the schema"
        except RecursionError:
            return "to check it leads too deep: simplify the schema"
        except Unresolvable as lost:
            return f"the schema refers to what is not in it: {lost}"[:_WHY_CHARS]
        except ArithmeticError as beyond:
            return f"it has a number that cannot be checked: {beyond}"[:_WHY_CHARS]
        except (UnknownType, TypeError, ValueError, AttributeError, LookupError):
            # Only what stands where schemas stand was checked.
            return "the schema refers to a part of it that is no schema"
        return None if error is None else f"{error.json_path}: {error.message}"[:_WHY_CHARS]


def _check(schema: dict[str, Any], kind: "type[Validator]") -> None:
    """See that it is a schema.

    Raises:
        ArgumentInvalid: it is none.
    """
    from rlm_mcp.engine.bounded import Endless, Steps, bounded  # noqa: PLC0415 - see Shape

    checker = bounded(kind, Steps(_MOST_STEPS))(
        kind.META_SCHEMA, format_checker=kind.FORMAT_CHECKER
    )
    try:
        error = next(iter(checker.iter_errors(schema)), None)
    except Endless:
        raise ArgumentInvalid(
            f"To check the schema of the answer takes more than {_MOST_STEPS:,} steps.",
            "Simplify it.",
        ) from None
    except RecursionError:
        raise _too_deep() from None
    if error is not None:
        raise ArgumentInvalid(
            f"The schema of the answer is no JSON Schema: {error.message[:_WHY_CHARS]}.",
            "Mend it, or leave it out.",
        )


def _too_deep() -> ArgumentInvalid:
    return ArgumentInvalid("The schema of the answer is nested too deep.", "Simplify it.")


def _unfenced(text: str) -> str:
    """What a fence around all of it holds."""
    text = text.strip()
    first, _, rest = text.partition("\n")
    if first.startswith("```") and rest.endswith("```"):
        return rest.removesuffix("```").strip()
    return text
