"""Mistakes of scripted leaves: random to look at, and the same whenever the same piece is read."""

from collections.abc import Sequence
from hashlib import blake2b

_SCALE = 2**64


def misread(seed: int, piece: str, accuracy: float) -> bool:
    """Whether a leaf of that accuracy (0 to 1) reads the piece wrong.

    What is read wrong at one accuracy is read wrong at every lower one, so that scores at two
    accuracies differ by the mistakes between them alone.
    """
    return _draw("read", seed, piece) >= accuracy * _SCALE


def other(seed: int, piece: str, right: str, choices: Sequence[str]) -> str:
    """What is read in place of `right`: any of the other choices, all equally likely."""
    wrong = [choice for choice in choices if choice != right]
    return wrong[_draw("wrong", seed, piece) % len(wrong)]


def _draw(purpose: str, seed: int, piece: str) -> int:
    raw = f"{purpose} {seed} {piece}".encode()
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "big")
