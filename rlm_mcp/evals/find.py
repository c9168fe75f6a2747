"""Families by name: `oolong`, or `oolong/lexical` where a family offers variants."""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.evals import families
from rlm_mcp.evals.items import Item


@dataclass(frozen=True, slots=True)
class Family:
    """A family as it was named. `about` is a sentence that says what it asks and how it scores.

    `items` takes characters and a seed; `variants` are all there are, the usual one first.
    """

    name: str
    about: str
    items: Callable[[int, int], Sequence[Item]]
    variants: Sequence[str]


def names() -> tuple[str, ...]:
    """Every family there is."""
    return tuple(module.name for module in pkgutil.iter_modules(families.__path__))


def family(name: str) -> Family:
    """The family of that name.

    A module offers `items(chars, seed)`; one with `VARIANTS` takes one of them as `variant`.

    Raises:
        ArgumentInvalid: there is no such family or variant.
    """
    stem, _, variant = name.partition("/")
    if stem not in names():
        raise ArgumentInvalid(
            f"There is no family of evaluations {stem!r}.", f"Take one of: {', '.join(names())}."
        )
    module = importlib.import_module(f"{families.__name__}.{stem}")
    about = str(module.__doc__).partition("\n")[0]
    variants: Sequence[str] = getattr(module, "VARIANTS", ())
    if not variant:
        return Family(name, about, module.items, variants)
    if variant not in variants:
        if not variants:
            raise ArgumentInvalid(f"{stem} has no variants.", f"Take {stem} alone.")
        offered = ", ".join(f"{stem}/{each}" for each in variants)
        raise ArgumentInvalid(f"{stem} has no variant {variant!r}.", f"Take one of: {offered}.")
    return Family(name, about, partial(module.items, variant=variant), variants)
