"""Questions about source code: an edited copy of the running Python's standard library.

Grouping functions by purpose has no gold that could be computed, so it is not asked.
"""

import random
from dataclasses import replace
from itertools import islice

from rlm_mcp.evals import scoring
from rlm_mcp.evals.code_corpus import Corpus
from rlm_mcp.evals.code_programs import CHOICE, program
from rlm_mcp.evals.code_questions import by_docstring, default, largest, raises, where_defined
from rlm_mcp.evals.code_relations import all_subclasses, counts, importers, reaches
from rlm_mcp.evals.items import Item
from rlm_mcp.evals.posed import Posed

LETTERS = "ABCD"
ABOUT = "The files are the source of a Python library."
ASKED = {
    where_defined: 2,
    all_subclasses: 1,
    importers: 1,
    counts: 5,
    largest: 2,
    default: 2,
    raises: 2,
    reaches: 2,
    by_docstring: 1,
}


def items(chars: int, seed: int) -> list[Item]:
    """Questions of nine kinds over about `chars` characters, and four of them with letters.

    The same for the same arguments on the same Python; ids name a hash of the text. A kind that
    the text has no fact for is left out; all are where Python is installed without its sources.
    Ten million characters take half a minute.
    """
    corpus = Corpus(chars, seed)
    if not corpus.documents:
        return []
    asked: list[Posed] = []
    choices: list[Posed] = []
    for pose, most in ASKED.items():
        # One more, so that the form with letters is about something else where it can be.
        drawn = list(islice(pose(corpus, random.Random(f"{pose.__name__} {seed}")), most + 1))
        asked += drawn[:most]
        if drawn and drawn[-1].others:
            choices.append(_lettered(drawn[-1], random.Random(f"letters {seed}")))
    return [_item(corpus, number, posed) for number, posed in enumerate([*asked, *choices], 1)]


def _lettered(posed: Posed, rng: random.Random) -> Posed:
    """The same with four answers to choose from."""
    drawn = rng.sample([posed.gold, *posed.others], len(LETTERS))
    options = dict(zip(LETTERS, drawn, strict=True))
    gold = next(letter for letter, option in options.items() if option == posed.gold)
    shown = "".join(f"\n({letter}) {option}" for letter, option in options.items())
    return replace(
        posed,
        kind="choice",
        question=f"{posed.question}{shown}\n",
        form="Answer with the letter alone.",
        gold=gold,
        score=scoring.letter(gold),
        program=posed.program + CHOICE,
        names={**posed.names, "OPTIONS": options},
    )


def _item(corpus: Corpus, number: int, posed: Posed) -> Item:
    name = f"code-{corpus.digest}-{number:02}-{posed.kind}"
    return posed.item(name, corpus.documents, ABOUT, program(posed.program, posed.names))
