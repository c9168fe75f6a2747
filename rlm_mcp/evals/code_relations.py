"""Questions about how parts of a code corpus hang together: bases, imports, calls, and counts."""

import ast
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from rlm_mcp.evals import code_programs as programs
from rlm_mcp.evals import scoring
from rlm_mcp.evals.code_corpus import Corpus, evidence_of, preferred
from rlm_mcp.evals.code_facts import Def, Module, calls, closure, parameters, subclasses
from rlm_mcp.evals.code_questions import last_part
from rlm_mcp.evals.posed import Posed

MOST_LISTED = 12
LONGEST_CHAIN = 6
MANY_PARAMETERS = (4, 5, 6, 7)
DECORATORS = ("property", "classmethod", "staticmethod")
_CHAIN_FORM = (
    "Answer with the chain alone, as first -> next -> last, or with none if there is none."
)


def all_subclasses(corpus: Corpus, rng: random.Random) -> Iterator[Posed]:
    """Family 2: the classes that have one as a base, directly or through others.

    Only where bases found through imports and bases taken by their names give the same.
    """
    classes = {(d.path, d.name): d for m in corpus.modules.values() for d, _ in m.classes}
    direct = subclasses(corpus.modules.values())
    by_name: dict[str, set[str]] = defaultdict(set)
    for module in corpus.modules.values():
        for d, node in module.classes:
            for written in node.bases:
                if isinstance(written, ast.Name | ast.Attribute):
                    by_name[last_part(ast.unparse(written))].add(d.bare)

    def renamed(key: tuple[str, str]) -> bool:
        return any(classes[k].bare in corpus.renamed for k in (key, *closure(key, direct)))

    for key in preferred(rng, sorted(direct), renamed):
        found = [classes[k] for k in sorted(closure(key, direct))]
        names = {d.bare for d in found}
        parent = classes[key].bare
        clear = corpus.defined[parent] == 1 and len(names) == len(found) <= MOST_LISTED
        if not clear or names != closure(parent, by_name):
            continue
        yield Posed(
            "subclasses",
            f"Which classes are subclasses of `{parent}`, directly or through other classes?",
            "Answer with their names alone, separated by commas.",
            ", ".join(sorted(names)),
            scoring.set_f1(names, last_part),
            programs.SUBCLASSES,
            {"NAME": parent},
            evidence_of(found),
        )


def importers(corpus: Corpus, rng: random.Random) -> Iterator[Posed]:
    """Family 3: the files that import a module."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for path, module in corpus.modules.items():
        for name, line in module.imports:
            found[name.partition(".")[0]].setdefault(path, line)
    added = {fact.now for fact in corpus.changed("import")}
    packages = {path.partition("/")[0] for path in corpus.modules if "/" in path}
    few = sorted(n for n, paths in found.items() if n and len(paths) <= MOST_LISTED)
    for name in preferred(rng, few, lambda n: n in added and len(found[n]) > 1):
        if name in packages:
            continue
        paths = found[name]
        yield Posed(
            "importers",
            f"Which files import the module `{name}` or something from it, anywhere in their"
            " code? What only a string or a comment says does not count.",
            "Answer with their paths alone, separated by commas.",
            ", ".join(sorted(paths)),
            scoring.set_f1(paths, lambda path: path.strip().removeprefix("./").partition(":")[0]),
            programs.IMPORTERS,
            {"NAME": name},
            tuple((path, line, line) for path, line in sorted(paths.items())),
        )


def counts(corpus: Corpus, rng: random.Random) -> Iterator[Posed]:
    """Family 4: how many functions are of a kind, and how many bare excepts there are."""
    limit, mark = rng.choice(MANY_PARAMETERS), rng.choice(DECORATORS)
    told: list[tuple[str, str, Callable[[Def], bool]]] = [
        (
            f"have more than {limit} parameters, self, *args and **kwargs being one each",
            f"parameters > {limit}",
            lambda node: parameters(node) > limit,
        ),
        (
            "have no docstring",
            "ast.get_docstring(node) is None",
            lambda node: ast.get_docstring(node) is None,
        ),
        (
            "are defined with `async def`",
            "isinstance(node, ast.AsyncFunctionDef)",
            lambda node: isinstance(node, ast.AsyncFunctionDef),
        ),
        (
            f"are decorated with exactly `@{mark}`",
            f"{mark!r} in decorators",
            lambda node: mark in map(ast.unparse, node.decorator_list),
        ),
    ]
    for asked, condition, holds in told:
        found = [d for d, node in corpus.functions if holds(node)]
        yield _count(
            f"How many functions and methods, those inside functions included, {asked}?",
            programs.COUNT_FUNCTIONS.replace("CONDITION", condition),
            evidence_of(found),
        )
    bare = [
        (path, node.lineno, node.lineno)
        for path, module in corpus.modules.items()
        for node in module.statements
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    yield _count("How many bare `except:` clauses are there?", programs.COUNT_BARE, tuple(bare))


def reaches(corpus: Corpus, rng: random.Random) -> Iterator[Posed]:
    """Family 8: a chain of calls from one function to another, and a pair that has none."""
    graphs = {path: calls(module) for path, module in corpus.modules.items()}
    chains, apart = [], []
    for path, graph in graphs.items():
        for first in sorted(graph):
            shortest = _shortest(graph, first)
            chains += [(path, c) for c in shortest.values() if 2 < len(c) <= LONGEST_CHAIN]
            if len(shortest) > 2:
                apart += [(path, (first, name)) for name in sorted(graph.keys() - shortest.keys())]
    found = preferred(rng, chains, lambda at: any(name in corpus.renamed for name in at[1]))
    unreached = preferred(rng, apart, lambda at: any(name in corpus.renamed for name in at[1]))
    for path, chain in found:
        graph = graphs[path]
        mark = scoring.call_chain((chain[0], chain[-1]), _is_call(graph))
        yield _chain(corpus.modules[path], chain, " -> ".join(chain), mark)
        if none := next(unreached, None):
            yield _chain(corpus.modules[none[0]], none[1], "none", scoring.nothing)


def _count(question: str, body: str, evidence: tuple[tuple[str, int, int], ...]) -> Posed:
    gold = len(evidence)
    form = "Answer with the number alone."
    return Posed("count", question, form, str(gold), scoring.number(gold), body, {}, evidence)


def _chain(
    module: Module, names: tuple[str, ...], gold: str, mark: Callable[[str], float]
) -> Posed:
    first, last = names[0], names[-1]
    return Posed(
        "reaches",
        f"In {module.path}, does `{first}` reach `{last}` by calls? Functions of the file's top"
        " level count, and calls by plain name anywhere in their bodies.",
        _CHAIN_FORM,
        gold,
        mark,
        programs.REACHES,
        {"PATH": module.path, "FIRST": first, "LAST": last},
        evidence_of([d for d in module.definitions if d.name in names]),
    )


def _is_call(graph: Mapping[str, set[str]]) -> Callable[[str, str], bool]:
    return lambda caller, called: called in graph.get(caller, ())


def _shortest(graph: Mapping[str, set[str]], first: str) -> dict[str, tuple[str, ...]]:
    """Function -> the shortest chain of calls to it, for all that can be reached."""
    found: dict[str, tuple[str, ...]] = {first: (first,)}
    left = [first]
    for name in left:
        for called in sorted(graph[name] - found.keys()):
            found[called] = (*found[name], called)
            left.append(called)
    return found
