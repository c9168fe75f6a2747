"""Questions about single definitions of a code corpus: where they stand, and what they say."""

import ast
import random
import re
from collections.abc import Iterable, Iterator

from rlm_mcp.evals import code_programs as programs
from rlm_mcp.evals import scoring
from rlm_mcp.evals.code_corpus import Corpus, evidence_of, others, preferred
from rlm_mcp.evals.code_facts import Definition, branches, defaults, raised
from rlm_mcp.evals.posed import Posed

LINES_OFF = 2
MASK = "____"
SHOWN_CHARS = 500
LEAST_SHOWN_CHARS = 60
LEAST_WORDS = 6
LEAST_FUNCTIONS = 5
# A lead of fewer lines would hang on how lines are counted.
LEAST_LEAD = {"lines": 3, "branches": 1}
NAMED = "Answer with its dotted name alone, as in Class.method or outer.inner."


def last_part(name: str) -> str:
    """The name without what it is in, and without the brackets of a call."""
    return name.strip().removesuffix("()").rpartition(".")[2]


def where_defined(corpus: Corpus, rng: random.Random) -> Iterator[Posed]:
    """Family 1: the place of a name that is defined once."""
    once = (d for d in corpus.definitions if corpus.defined[d.bare] == 1 and d.name == d.bare)
    for d in preferred(rng, once, lambda d: d.bare in corpus.renamed):
        first, line, _ = d.lines
        if first != line or d.bare.startswith("__"):
            continue
        gold = f"{d.path}:{line}"
        near = (f"{o.path}:{o.node.lineno}" for o in corpus.near(d.path))
        yield Posed(
            "where_defined",
            f"In which file and on which line is `{d.bare}` defined?",
            "Answer with one place alone, as path:line.",
            gold,
            scoring.place([(d.path, line + off) for off in range(-LINES_OFF, LINES_OFF + 1)]),
            programs.WHERE_DEFINED,
            {"NAME": d.bare},
            evidence_of([d]),
            others(rng, gold, near),
        )


def default(corpus: Corpus, rng: random.Random) -> Iterator[Posed]:
    """Family 6: the default of a parameter, one that was changed if there is any."""
    was = {(fact.name, fact.about): fact.was for fact in corpus.changed("default")}
    given = (
        (d, name, ast.literal_eval(value))
        for d, node in corpus.unique.values()
        for name, value in defaults(node).items()
        if isinstance(value, ast.Constant) and value.value is not ...
    )
    for d, name, value in preferred(rng, given, lambda at: (at[0].name, at[1]) in was):
        old = was.get((d.name, name))
        yield Posed(
            "default",
            f"What is the default of the parameter `{name}` of `{d.name}`?",
            "Answer with the value alone, as a Python literal.",
            repr(value),
            scoring.literal(value),
            programs.DEFAULT,
            {"NAME": d.name, "PARAMETER": name},
            evidence_of([d]),
            _other_values(rng, value, old),
        )


def raises(corpus: Corpus, rng: random.Random) -> Iterator[Posed]:
    """Family 7: what a function raises itself."""
    changed = {fact.name for fact in corpus.changed("raise")}
    found = ((d, raised(node)) for d, node in corpus.unique.values())
    several = ((d, names) for d, names in found if names is not None and len(names) > 1)
    for d, names in preferred(rng, several, lambda at: at[0].name in changed):
        yield Posed(
            "raises",
            f"Which exceptions does `{d.name}` raise itself? Count `raise` statements of its own"
            " body, not those of functions inside it, and not a bare `raise`.",
            "Answer with their names alone, separated by commas.",
            ", ".join(sorted(names or ())),
            scoring.set_f1(names or (), last_part),
            programs.RAISES,
            {"NAME": d.name},
            evidence_of([d]),
        )


def largest(corpus: Corpus, rng: random.Random) -> Iterator[Posed]:
    """Family 5: the function with the most branches or lines of a package or file."""
    asked = {
        "branches": "has the most branches? Count each `if`, `elif`, `for`, `while` and `except`"
        " in it, those in functions inside it included",
        "lines": "is the longest? Count the lines from its `def` to its end",
    }
    scopes = sorted({path.partition("/")[0] for path in corpus.modules})
    winners = []
    for scope in scopes:
        for measure in asked:
            ranked = _ranked(corpus, scope, measure)
            if len(ranked) < LEAST_FUNCTIONS:
                continue
            names = [d.name for _, d in ranked]
            lead = ranked[0][0] - ranked[1][0]
            if lead >= LEAST_LEAD[measure] and names.count(names[0]) == 1:
                winners.append((scope, measure, ranked))
    for scope, measure, ranked in preferred(
        rng, winners, lambda at: at[2][0][1].bare in corpus.renamed
    ):
        where = scope if scope.endswith(".py") else f"the files under {scope}/"
        gold = ranked[0][1]
        yield Posed(
            "largest",
            f"Which function or method of {where} {asked[measure]}.",
            NAMED,
            gold.name,
            scoring.name(gold.name),
            programs.LARGEST,
            {"SCOPE": scope, "MEASURE": measure},
            evidence_of([gold]),
            others(rng, gold.name, (d.name for _, d in ranked[1:8])),
        )


def by_docstring(corpus: Corpus, rng: random.Random) -> Iterator[Posed]:
    """Family 9: a function told from its docstring, whose identifiers are masked."""
    texts = {d: _docstring(d) for d, _ in corpus.functions}
    told = (d for d, text in texts.items() if len(text) >= LEAST_SHOWN_CHARS)
    for d in preferred(rng, told, lambda d: d.bare in corpus.renamed):
        shown = _masked(d, texts[d])
        words = shown.replace(MASK, " ").split()
        if "__" in texts[d] or len(words) < LEAST_WORDS or MASK not in shown:
            continue
        source = corpus.documents[d.path]
        if any(word not in source for word in words) or not _is_only(shown, texts.values()):
            continue
        yield Posed(
            "by_docstring",
            "Which function or method has the docstring that begins like this? Every identifier"
            f" that its code uses, too, is replaced by {MASK}, and white space by one space.\n\n"
            f"{shown}\n",
            NAMED,
            d.name,
            scoring.name(d.name),
            programs.BY_DOCSTRING,
            {"SHOWN": shown, "MASK": MASK},
            evidence_of([d]),
            others(rng, d.name, (o.name for o in corpus.near(d.path) if o in texts)),
        )


def _ranked(corpus: Corpus, scope: str, measure: str) -> list[tuple[int, Definition]]:
    """The functions of a top folder or file by size, the largest first."""
    sizes = [
        (branches(node) if measure == "branches" else d.lines[2] - d.lines[1], d)
        for path, module in corpus.modules.items()
        if path == scope or path.startswith(f"{scope}/")
        for d, node in module.functions
    ]
    return sorted(sizes, key=lambda sized: (-sized[0], sized[1].name, sized[1].path))


def _other_values(rng: random.Random, value: object, was: str | None) -> tuple[str, ...]:
    """Wrong values of the same type; what it was before the change is one of them."""
    if isinstance(value, bool):
        return repr(not value), "None", repr(int(value))
    if isinstance(value, int | float):
        near = [repr(value + by) for by in (1, 2, -1)] + [repr(value * 2 + 3)]
    elif isinstance(value, str):
        near = [repr(word) for word in ("default", "strict", "auto", "utf-8", "none")]
    else:
        near = ["0", "False", "''", "()"]
    first = [was] if was else []
    rest = [text for text in near if text not in {was, repr(value)}]
    return tuple(first + rng.sample(rest, 3 - len(first)))


def _docstring(d: Definition) -> str:
    whole = " ".join((ast.get_docstring(d.node) or "").split())
    return whole if len(whole) <= SHOWN_CHARS else whole[:SHOWN_CHARS].rpartition(" ")[0]


def _masked(d: Definition, text: str) -> str:
    used = {d.bare}
    for node in ast.walk(d.node):
        if isinstance(node, ast.arg):
            used.add(node.arg)
        elif isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
    return re.sub(r"[^\W\d]\w*", lambda word: MASK if word[0] in used else word[0], text)


def _is_only(shown: str, texts: Iterable[str]) -> bool:
    form = re.compile(r"\w+".join(re.escape(part) for part in shown.split(MASK)))
    return sum(form.match(text) is not None for text in texts) == 1
