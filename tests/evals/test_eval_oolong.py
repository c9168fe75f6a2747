"""Gold is counted anew here, by other code, from the labels that the explicit variant shows."""

import re
from collections import Counter
from itertools import pairwise

import pytest

from rlm_mcp.evals.families import oolong
from rlm_mcp.evals.rows import Plan, draw, labeller
from rlm_mcp.evals.wording import CUES, LABELS

SIZES = (8_000, 60_000)
LINE = re.compile(r"(\d{4}-\d\d-\d\d) \|\| (\d+) \|\| .* \[(.+)\]")


@pytest.fixture(scope="module", params=SIZES)
def items(request):
    return {item.kind: item for item in oolong.items(request.param, 3, "explicit")}


def rows_of(item):
    """(day, user, label) of every line."""
    return [match.groups() for line in item.context.splitlines() if (match := LINE.match(line))]


def labels_named(item):
    """The labels in the question proper, in its order."""
    return re.findall(r"'([a-z ]+)'", item.question)


def users_named(item):
    found = re.search(r"of users? ([\d, ]+\d)", item.question)
    return set(found[1].split(", "))


def ranks(rows):
    return Counter(label for _, _, label in rows).most_common()


def clear(high, low, rows):
    """Whether counts are so far apart that a question may hang on it."""
    return high - low >= max(2, rows / 100)


def test_every_kind_is_asked_of_a_text_of_the_size(items):
    assert len(items) == len(oolong.MAKERS)
    (context,) = {item.context for item in items.values()}
    assert any(size <= len(context) < size + 200 for size in SIZES)
    assert "[" not in oolong.items(8_000, 3)[0].context


@pytest.mark.parametrize(("kind", "place"), [("most", 0), ("second_most", 1), ("least", -1)])
def test_the_label_at_a_place_is_that_of_the_visible_counts_and_stands_clear(items, kind, place):
    rows = rows_of(items[kind])
    order = ranks(rows)
    at = place % len(LABELS)

    assert items[kind].gold == order[at][0]
    for above, below in pairwise(order):
        if order[at] in {above, below}:
            assert clear(above[1], below[1], len(rows))


def test_a_comparison_has_a_clear_winner_or_is_of_equals(items):
    rows = rows_of(items["relative"])
    one, two = (sum(row[2] == label for row in rows) for label in labels_named(items["relative"]))
    assert clear(max(one, two), min(one, two), len(rows))
    assert items["relative"].gold == ("more common" if one > two else "less common")

    same = items["relative_same"]
    user = re.search(r"user (\d+)", same.question)[1]
    counts = [
        sum(row[1:] == (user, label) for row in rows_of(same)) for label in labels_named(same)
    ]
    assert counts[0] == counts[1] > 0
    assert same.gold == "same frequency"


def test_counts_are_those_of_the_visible_labels(items):
    rows = rows_of(items["numeric"])
    (label,) = labels_named(items["numeric"])
    assert items["numeric"].gold == str(sum(row[2] == label for row in rows))

    for kind in ("user_numeric", "users_numeric"):
        users, (label,) = users_named(items[kind]), labels_named(items[kind])
        assert items[kind].gold == str(sum(row[1] in users and row[2] == label for row in rows))


@pytest.mark.parametrize(("kind", "size"), [("user_most", 1), ("users_most", 3)])
def test_the_most_frequent_label_of_users_stands_clear(items, kind, size):
    users = users_named(items[kind])
    theirs = [row for row in rows_of(items[kind]) if row[1] in users]
    order = [*ranks(theirs), (None, 0)]

    assert len(users) == size
    assert items[kind].gold == order[0][0]
    assert clear(order[0][1], order[1][1], len(theirs))


def test_the_user_with_most_of_a_label_and_how_many_have_n_of_it(items):
    most = items["user_with_most"]
    (label,) = labels_named(most)
    counts = Counter(user for _, user, each in rows_of(most) if each == label)
    (user, first), (_, second) = counts.most_common(2)
    assert most.gold == user
    assert clear(first, second, counts.total())

    times = items["represented_n_times"]
    (label,), number = labels_named(times), int(re.search(r"exactly (\d+)", times.question)[1])
    counts = Counter(user for _, user, each in rows_of(times) if each == label)
    assert times.gold == str(list(counts.values()).count(number))
    assert int(times.gold) > 1


def test_months_and_days_are_counted_by_the_visible_dates(items):
    rows = rows_of(items["month_most"])
    (label,) = labels_named(items["month_most"])
    monthly = Counter(day[:7] for day, _, each in rows if each == label)
    (month, first), (_, second) = monthly.most_common(2)
    assert items["month_most"].gold == month
    assert clear(first, second, monthly.total())

    one, two = labels_named(items["months_more"])
    by_month = Counter((day[:7], each) for day, _, each in rows)
    months = {day[:7] for day, _, _ in rows}
    more = [by_month[month, one] - by_month[month, two] for month in months]
    assert 0 not in more
    assert items["months_more"].gold == str(sum(each > 0 for each in more))

    item = items["before_after"]
    (label,), day = labels_named(item), re.search(r"date before ([\d-]+)", item.question)[1]
    before = sum(each == label and at < day for at, _, each in rows)
    after = sum(each == label and at >= day for at, _, each in rows)
    assert clear(max(before, after), min(before, after), before + after)
    assert item.gold == ("more common" if before > after else "less common")


def test_gold_in_the_form_that_is_asked_for_scores_fully(items):
    for item in items.values():
        shape = item.question.rpartition("places: ")[2]
        answer = shape.replace("___", item.gold)
        assert item.score(answer) == item.lenient(answer) == item.ceiling(1.0) == 1
        assert item.score(shape.replace("___", "nothing")) == 0


def test_the_same_seed_gives_the_same_items_and_another_does_not():
    first, again, other = (oolong.items(8_000, seed) for seed in (3, 3, 4))

    assert [(i.id, i.context, i.question, i.gold) for i in first] == [
        (i.id, i.context, i.question, i.gold) for i in again
    ]
    assert [i.ceiling(0.7) for i in first] == [i.ceiling(0.7) for i in again]
    assert first[0].context != other[0].context


@pytest.mark.parametrize("variant", oolong.VARIANTS)
def test_a_question_has_one_label_wherever_it_stands(variant):
    rows = draw(Plan(200_000, 50, 0.8, variant), 5)

    assert len({(row.text, row.label) for row in rows}) == len({row.text for row in rows})
    assert len({row.text for row in rows}) < len(rows)
    assert {row.label for row in rows} == set(LABELS)


def test_a_lexical_question_holds_a_cue_of_its_label_and_of_no_other():
    words = {cue: label for label in LABELS for cue in CUES[label]}
    assert len(words) == 40 * len(LABELS)

    for row in draw(Plan(100_000, 50, 0.8, "lexical"), 5):
        cues = [cue for cue in words if re.search(rf"\b{cue}\b", row.text)]
        assert {words[cue] for cue in cues} == {row.label}


def test_a_leaf_errs_as_often_as_told_and_always_in_the_same_way():
    rows = draw(Plan(200_000, 50, 0.8, "semantic"), 5)
    leaf = labeller(rows, 5)
    texts = sorted({row.text for row in rows})

    def said(order, accuracy):
        prompt = "\n".join(f"{number}: {text}" for number, text in enumerate(order))
        lines = leaf(prompt, accuracy).splitlines()
        return dict(zip(order, (line.partition(": ")[2] for line in lines), strict=True))

    right = {row.text: row.label for row in rows}
    assert said(texts, 1.0) == right
    noisy = said(texts, 0.9)
    assert noisy == said(texts[::-1], 0.9)
    assert sum(noisy[text] == right[text] for text in texts) / len(texts) == pytest.approx(
        0.9, abs=0.02
    )
    assert set(noisy.values()) == set(LABELS)
    worse = said(texts, 0.6)
    assert all(worse[text] == noisy[text] for text in texts if noisy[text] != right[text])


def test_a_leaf_says_nothing_of_lines_it_does_not_know():
    rows = draw(Plan(2_000, 5, 0.8, "semantic"), 5)
    leaf = labeller(rows, 5)

    assert leaf(f"7) {rows[0].line}\n8: What is this ?", 1.0) == f"7: {rows[0].label}"
