import ast
import io
import re
import subprocess
import sys
import tokenize
from itertools import pairwise

import pytest
from asking import by_their_programs, of_kind

from rlm_mcp.evals.code_corpus import Corpus
from rlm_mcp.evals.families.code import items
from rlm_mcp.evals.mutations import SHARES, mutated
from rlm_mcp.evals.stdlib_corpus import digest_of, sources

CHARS, SEED = 110_000, 8
KINDS = {
    "where_defined", "subclasses", "importers", "count", "largest", "default", "raises", "reaches",
    "by_docstring", "choice",
}  # fmt: skip


def shown(documents, evidence):
    """The lines of a place, as text."""
    path, first, last = evidence
    return "\n".join(documents[path].split("\n")[first - 1 : last])


def backquoted(item):
    return re.findall(r"`([^`]+)`", item.question)


def test_a_text_of_some_size_has_questions_of_every_kind(asked, documents):
    assert {item.kind for item in asked} == KINDS
    assert CHARS * 0.9 < sum(map(len, documents.values())) < CHARS * 1.1
    assert len({item.id for item in asked}) == len(asked)
    assert all(digest_of(documents) in item.id for item in asked)


def test_the_gold_scores_in_full_and_a_wrong_answer_nothing(asked):
    wrong = {"where_defined": "nowhere.py:1", "count": "-50", "choice": "E"}

    for item in asked:
        assert item.score(item.gold) == 1, item
        assert item.score(wrong.get(item.kind, "nothing_of_that_name")) < 0.01, item


@pytest.mark.anyio
async def test_what_a_perfect_model_would_run_finds_every_gold(asked):
    said = await by_their_programs(asked)

    assert [item.id for item, text in zip(asked, said, strict=True) if item.score(text) < 1] == []


def test_the_same_arguments_give_the_same_questions_whatever_the_hashes_of_the_process(asked):
    script = (
        "from rlm_mcp.evals.families.code import items\n"
        f"print([(i.id, i.question, i.gold, i.program) for i in items({CHARS}, {SEED})])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONHASHSEED": "7", "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
    )

    assert ast.literal_eval(ran.stdout) == [(i.id, i.question, i.gold, i.program) for i in asked]
    assert items(20_000, 1)[0].id != items(20_000, 2)[0].id


def test_the_copy_differs_in_facts_of_every_kind_and_still_parses():
    original = sources(300_000, 1)
    copy, facts, _ = mutated(original, 1)

    assert {fact.kind for fact in facts} == SHARES.keys()
    assert copy.keys() == original.keys()
    assert not [fact for fact in facts if copy[fact.path] == original[fact.path]]
    for text in copy.values():
        ast.parse(text)


def test_a_renamed_definition_is_called_by_its_new_name_everywhere():
    copy, facts, _ = mutated(sources(CHARS, SEED), SEED)
    renamed = [fact for fact in facts if fact.kind == "rename"]

    assert len(renamed) >= 20
    words = [set(re.findall(r"\w+", text)) for text in copy.values()]
    assert not [fact for fact in renamed if any(fact.was in found for found in words)]
    for fact in renamed:
        assert re.search(rf"(?:def|class) {fact.now}\b", copy[fact.path])


def test_who_knows_the_original_by_heart_gets_changed_defaults_wrong(asked, documents):
    corpus = Corpus(CHARS, SEED)
    was = {(fact.about, fact.name): fact.was for fact in corpus.changed("default")}

    changed = [item for item in of_kind(asked, "default") if tuple(backquoted(item)) in was]

    assert changed
    for item in changed:
        assert item.score(was[tuple(backquoted(item))]) == 0
        text = shown(documents, item.evidence[0])
        assert re.search(rf"\b{backquoted(item)[0]}\s*(?::[^,=]+)?=\s*{re.escape(item.gold)}", text)


def test_a_place_is_the_only_line_that_defines_the_name(asked, documents):
    for item in of_kind(asked, "where_defined"):
        [name] = backquoted(item)
        defines = re.compile(rf"\s*(?:async def|def|class) {name}\b")
        found = [
            f"{path}:{number}"
            for path, text in documents.items()
            for number, line in enumerate(text.split("\n"), 1)
            if defines.match(line)
        ]
        assert found == [item.gold]


def test_subclasses_are_those_whose_headers_lead_to_the_class(asked, documents):
    headers = re.compile(r"^\s*class (\w+)\(([^)]*)\)", re.MULTILINE)
    heads = [found for text in documents.values() for found in headers.findall(text)]
    for item in of_kind(asked, "subclasses"):
        known = set(backquoted(item))
        while new := {n for n, of in heads if set(re.findall(r"\w+", of)) & known} - known:
            known |= new
        assert known - set(backquoted(item)) == set(item.gold.split(", "))


def test_the_files_that_import_a_module_are_those_whose_tokens_do(asked, documents):
    for item in of_kind(asked, "importers"):
        name = backquoted(item)[-1]
        found = {path for path, text in documents.items() if name in imported(text)}
        assert found == set(item.gold.split(", "))
        assert all(name in shown(documents, evidence) for evidence in item.evidence)


def imported(text):
    """First names of the modules that a text imports, read from its tokens."""
    names, statement = set(), []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if (
            token.type in {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
            or token.string in ":;"
        ):
            if statement[:1] == ["from"]:
                names.add(statement[1])
            elif statement[:1] == ["import"]:
                starts = [0, *(n for n, word in enumerate(statement) if word == ",")]
                names |= {statement[n + 1] for n in starts}
            statement = []
        elif token.type not in {tokenize.NL, tokenize.COMMENT}:
            statement.append(token.string)
    return names


def test_counts_are_those_of_the_tokens(asked, documents):
    bare = asynchronous = 0
    for text in documents.values():
        words = [token.string for token in tokenize.generate_tokens(io.StringIO(text).readline)]
        pairs = list(pairwise(words))
        bare += pairs.count(("except", ":"))
        asynchronous += pairs.count(("async", "def"))
    counts = of_kind(asked, "count")

    assert bare > 0
    assert [int(item.gold) for item in counts if "except" in item.question] == [bare]
    assert [int(item.gold) for item in counts if "async" in item.question] == [asynchronous]


def test_exceptions_are_raised_in_the_lines_of_the_evidence(asked, documents):
    for item in of_kind(asked, "raises"):
        text = shown(documents, item.evidence[0])
        found = set(re.findall(r"\braise (?:\w+\.)*(\w+)", text))
        assert set(item.gold.split(", ")) <= found


def test_each_step_of_a_chain_is_a_call_and_a_broken_chain_gets_part(asked, documents):
    chains = of_kind(asked, "reaches")

    assert [item.gold == "none" for item in chains] == [False, True]
    item = chains[0]
    names = item.gold.split(" -> ")
    bodies = {}
    for evidence in item.evidence:
        text = shown(documents, evidence)
        bodies[re.search(r"def (\w+)", text)[1]] = text
    for caller, called in pairwise(names):
        assert re.search(rf"(?<![\w.]){called}\(", bodies[caller])
    assert 0 < item.score(" -> ".join([*names[:-1], "nowhere"])) < 0.5
    assert item.score("none") == 0


def test_no_function_of_the_scope_is_longer_or_has_more_branches_than_the_largest(asked, documents):
    branching = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler)
    for item in of_kind(asked, "largest"):
        scope = re.search(r"of (?:the files under )?(\S+?)/? (?:has|is)", item.question)[1]
        sizes = {}
        for path, text in documents.items():
            if path != scope and not path.startswith(f"{scope}/"):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lines = node.end_lineno - node.lineno
                    branches = sum(isinstance(inner, branching) for inner in ast.walk(node))
                    size = lines if "longest" in item.question else branches
                    sizes[path, node.lineno] = size, node.name
        assert max(sizes.values())[1] == item.gold.rpartition(".")[2]


def test_options_are_four_and_one_of_them_is_right(asked):
    for item in of_kind(asked, "choice"):
        options = dict(re.findall(r"^\(([A-D])\) (.+)$", item.question, re.MULTILINE))
        assert sorted(options) == list("ABCD")
        assert len(set(options.values())) == 4
        assert [item.score(letter) for letter in "ABCD"].count(1) == 1


def test_a_small_text_has_fewer_questions_and_none_without_an_answer():
    asked = items(8_000, 4)

    assert len(asked) > 0
    assert items(10, 4) == []
    assert all(item.score(item.gold) == 1 for item in asked)
