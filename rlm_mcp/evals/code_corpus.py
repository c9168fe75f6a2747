"""The edited copy of the standard library that is asked about, and what is known of it."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

from rlm_mcp.evals.code_facts import Def, Definition, Module
from rlm_mcp.evals.mutations import Mutation, mutated
from rlm_mcp.evals.stdlib_corpus import digest_of, sources

T = TypeVar("T")


class Corpus:
    """About `chars` characters of edited source; the same for the same `chars` and `seed`."""

    def __init__(self, chars: int, seed: int) -> None:
        copied = mutated(sources(chars, seed), seed)
        self.documents: dict[str, str] = copied[0]
        self.mutations: tuple[Mutation, ...] = copied[1]
        self.modules: dict[str, Module] = copied[2]
        self.digest = digest_of(self.documents)

    @cached_property
    def definitions(self) -> list[Definition]:
        """Every class and function."""
        return [d for module in self.modules.values() for d in module.definitions]

    @cached_property
    def functions(self) -> list[tuple[Definition, Def]]:
        """Every function and method."""
        return [pair for module in self.modules.values() for pair in module.functions]

    @cached_property
    def defined(self) -> Counter[str]:
        """How often each bare name is defined."""
        return Counter(d.bare for d in self.definitions)

    @cached_property
    def unique(self) -> dict[str, tuple[Definition, Def]]:
        """Dotted name -> the function of that name, where its first part names one thing only."""
        named = Counter(d.name for d, _ in self.functions)
        return {
            d.name: (d, node)
            for d, node in self.functions
            if named[d.name] == 1 and self.defined[d.name.partition(".")[0]] == 1
        }

    def changed(self, kind: str) -> list[Mutation]:
        """The facts of a kind that were changed."""
        return [fact for fact in self.mutations if fact.kind == kind]

    @cached_property
    def renamed(self) -> frozenset[str]:
        """New names."""
        return frozenset(fact.now for fact in self.changed("rename"))

    def near(self, path: str) -> list[Definition]:
        """What is defined in the same package, or all where a module stands alone."""
        package = path.rpartition("/")[0]
        near = [d for d in self.definitions if d.path.rpartition("/")[0] == package]
        return near if package else self.definitions


def preferred(rng: random.Random, of: Iterable[T], wanted: Callable[[T], bool]) -> Iterator[T]:
    """All of them in an order drawn by `rng`, those that are wanted first."""
    drawn = list(of)
    rng.shuffle(drawn)
    return iter(sorted(drawn, key=wanted, reverse=True))


def others(rng: random.Random, gold: str, of: Iterable[str]) -> tuple[str, ...]:
    """Three wrong answers, or none if there are no three."""
    rest = sorted(set(of) - {gold})
    return tuple(rng.sample(rest, 3)) if len(rest) >= 3 else ()


def evidence_of(definitions: Sequence[Definition]) -> tuple[tuple[str, int, int], ...]:
    """Their places."""
    return tuple(d.evidence for d in definitions)
