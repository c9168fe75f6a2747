"""Two of RULER's tasks that code alone solves: variables that take over a value, frequent words."""

from functools import partial
from random import Random
from string import ascii_lowercase, ascii_uppercase

from rlm_mcp.evals.items import Item
from rlm_mcp.evals.needles import hay, joined
from rlm_mcp.evals.scoring import clean_recall, recall

CHAINS, HOPS = 4, 4
ALPHA = 2.0
VOCABULARY = 200
FREQUENT = 3
WORDS_A_LINE = 12

_TRACKING = """
import re

holds = {}
for name, value in re.findall(r"^VAR ([A-Z]{5}) = (.+)$", context, re.M):
    source = value.removeprefix("VAR ")
    holds[name] = holds.get(source, source)
print(f"{len(holds)} variables")
FINAL("\\n".join(name for name, value in holds.items() if value == "{value}"))
"""
_COUNTING = """
from collections import Counter

counts = Counter(context.split())
print(counts.most_common(6))
FINAL(", ".join(word for word, _ in counts.most_common({frequent})))
"""


def tracking(chars: int, seed: int) -> Item:
    """Which variables end up with a value: one chain of assignments among several."""
    random = Random(f"tracking {chars} {seed}")
    names = _words(ascii_uppercase, 5, CHAINS * (HOPS + 1), random)
    chains = [names[at : at + HOPS + 1] for at in range(0, len(names), HOPS + 1)]
    starts = [str(number) for number in random.sample(range(10_000, 100_000), CHAINS)]
    pieces = hay("prose", chars, random)
    placed: list[tuple[int, str]] = []
    for chain, start in zip(chains, starts, strict=True):
        at = sorted(random.sample(range(len(pieces)), len(chain)))
        sources = [start, *(f"VAR {name}" for name in chain)]
        assigned = zip(chain, sources, strict=False)
        placed += zip(at, [f"VAR {name} = {source}" for name, source in assigned], strict=True)
    for place, line in sorted(placed, reverse=True):
        pieces.insert(place, line)
    gold = chains[0]
    decoys = [name for chain in chains[1:] for name in chain]
    return Item(
        id="niah/tracking",
        kind="tracking",
        context=joined(pieces, "prose"),
        question="Lines of the form `VAR A = 1` or `VAR B = VAR A` give variables their values."
        f" Which variables hold {starts[0]} at the end? Name all of them and no other.",
        gold="\n".join(gold),
        score=partial(clean_recall, gold=gold, decoys=decoys),
        lenient=partial(recall, gold=gold),
        program=_TRACKING.replace("{value}", starts[0]).strip(),
    )


def frequent(chars: int, seed: int) -> Item:
    """The three most frequent of made-up words, whose frequencies fall with the square of rank."""
    random = Random(f"frequent {chars} {seed}")
    vocabulary = _words(ascii_lowercase, 6, VOCABULARY, random)
    total = chars / 7
    weight = sum(1 / rank**ALPHA for rank in range(1, VOCABULARY + 1))
    words = [
        word
        for rank, word in enumerate(vocabulary, 1)
        for _ in range(round(total / rank**ALPHA / weight))
    ]
    random.shuffle(words)
    lines = [" ".join(words[at : at + WORDS_A_LINE]) for at in range(0, len(words), WORDS_A_LINE)]
    gold = vocabulary[:FREQUENT]
    return Item(
        id="niah/frequent",
        kind="frequent",
        context="\n".join(lines) + "\n",
        question=f"Which are the {FREQUENT} most frequent words of the text? Name no other words of"
        " it.",
        gold="\n".join(gold),
        score=partial(clean_recall, gold=gold, decoys=vocabulary[FREQUENT:]),
        lenient=partial(recall, gold=gold),
        program=_COUNTING.replace("{frequent}", str(FREQUENT)).strip(),
    )


def _words(letters: str, size: int, count: int, random: Random) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(random.choices(letters, k=size))] = None
    return list(found)
