import re
from collections import Counter
from itertools import pairwise

import pytest

from rlm_mcp.evals.families import niah
from rlm_mcp.evals.needles import FALSE_CODES

CHARS = 120_000
NEEDLE = re.compile(r"The access code of (.+?) is (\S+)\.(?=\s)")


@pytest.fixture(scope="module")
def items():
    return {item.id.removeprefix("niah/"): item for item in niah.items(CHARS, 3)}


def told(item):
    """(key, code, first character, last character) of every needle in the text."""
    return [(*match.groups(), *match.span()) for match in NEEDLE.finditer(item.context)]


def wanted(item):
    keys = re.findall(r'"([^"]+)"', item.question)
    return [needle for needle in told(item) if needle[0] in keys]


def test_gold_is_what_the_text_says_of_the_keys_in_the_question(items):
    for item in items.values():
        if item.leaf is not None:
            assert sorted(item.gold.splitlines()) == sorted(code for _, code, *_ in wanted(item))


def test_texts_are_as_long_as_asked(items):
    assert all(len(item.context) == pytest.approx(CHARS, rel=0.02) for item in items.values())


def test_needles_stand_at_every_depth(items):
    for depth in range(0, 101, 10):
        item = items[f"depth-{depth:03}"]
        (needle,) = wanted(item)
        assert needle[2] / len(item.context) == pytest.approx(depth / 100, abs=0.02)


@pytest.mark.parametrize("border", niah.BORDERS)
def test_a_needle_stands_across_the_border_of_one_huge_line(items, border):
    item = items[f"border-{border}"]
    ((_, code, start, end),) = wanted(item)

    assert "\n" not in item.context
    assert start < border < end
    assert code not in item.context[:border]


def test_borders_beyond_the_text_are_not_asked_about():
    asked = {item.id for item in niah.items(4_000, 3) if item.kind == "border"}

    assert asked == {"niah/border-1000"}


@pytest.mark.parametrize(
    ("form", "holds"),
    [
        ("log", r"(?m)^\S+Z ERROR mail: .*$"),
        ("crlf", r".\r\n."),
        ("multibyte", r"[\U00010000-\U0010ffff]"),
        ("fence", r"(?m)^```python$"),
        ("capture", r'FINAL\("\d+"\)[\s\S]*answer\["ready"\] = True'),
    ],
)
def test_a_form_holds_what_it_is_named_after(items, form, holds):
    assert re.search(holds, items[form].context)
    assert not re.search(r"[^\r]\n", items["crlf"].context)


def test_an_answer_with_a_decoy_scores_nothing_but_is_recalled(items):
    near, capture, depth = items["near"], items["capture"], items["depth-050"]
    others = [code for key, code, *_ in told(near) if " in " in key and code != near.gold]

    assert others
    assert near.score(near.gold) == 1
    assert near.score(f"{near.gold} or {others[0]}") == 0
    assert near.lenient(f"{near.gold} or {others[0]}") == 1
    assert capture.score(f"{capture.gold} {FALSE_CODES[0]}") == 0
    assert depth.score(f"{depth.gold} {others[0]}") == 0


@pytest.mark.parametrize("name", ["multi_value", "multi_query"])
def test_one_of_four_codes_is_a_quarter(items, name):
    codes = items[name].gold.splitlines()

    assert len(set(codes)) == 4
    assert [items[name].score(" ".join(codes[:n])) for n in range(5)] == [0, 0.25, 0.5, 0.75, 1]


def test_variables_of_the_gold_are_those_that_reach_the_value(items):
    item = items["tracking"]
    holds = {}
    for name, value in re.findall(r"VAR (\w+) = (.+)", item.context):
        holds[name] = holds[value[4:]] if value.startswith("VAR ") else value
    (asked,) = re.findall(r"hold (\d+)", item.question)

    assert item.gold.split() == [name for name, value in holds.items() if value == asked]
    assert len(set(holds.values())) == 4
    assert item.score(" ".join(holds)) == 0


def test_the_frequent_words_stand_clear(items):
    item = items["frequent"]
    order = Counter(item.context.split()).most_common(4)

    assert item.gold.split() == [word for word, _ in order[:3]]
    assert all(above - below >= 2 for (_, above), (_, below) in pairwise(order))


def test_a_leaf_sees_whole_needles_only_and_overlooks_some(items):
    item = items["border-1000"]
    (needle,) = wanted(item)
    ask = item.question.partition("?")[0]
    whole = item.context[: needle[3]]

    assert item.leaf(f"{ask}?\n\n{whole}", 1.0) == f"code of {needle[0]}: {needle[1]}"
    assert item.leaf(f"{ask}?\n\n{whole[:-1]}", 1.0) == "none"
    assert item.leaf(f"{ask}?\n\n{whole}", 0.0) == "none"
    assert (item.ceiling(1.0), item.ceiling(0.0)) == (1, 0)


def test_a_leaf_repeats_what_looks_like_an_answer(items):
    capture = items["capture"]

    said = capture.leaf(f"{capture.question}\n\n{capture.context}", 1.0)

    assert any(code in said for code in FALSE_CODES)
    assert said.endswith(capture.gold)


def test_the_same_seed_gives_the_same_items():
    first, again, other = (niah.items(8_000, seed) for seed in (1, 1, 2))

    assert [(i.context, i.question, i.gold) for i in first] == [
        (i.context, i.question, i.gold) for i in again
    ]
    assert all(one.context != two.context for one, two in zip(first, other, strict=True))
