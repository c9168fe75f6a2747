"""The order in which the prompts of a batch are asked."""

from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.engine.worklist import LEAST_SHARED_CHARS, Worklist, chains

DOCUMENTS = [f"{name} " * LEAST_SHARED_CHARS for name in ("ant", "bee", "cat")]


def test_prompts_that_share_little_stay_in_their_order():
    prompts = [f"Is line {number} an error?" for number in (3, 1, 2, 10)]

    assert chains(prompts) == [[0], [1], [2], [3]]


def test_prompts_about_one_document_are_a_chain_where_the_first_of_them_stands():
    prompts = [f"{DOCUMENTS[n % 3]} {question}" for question in "xyz" for n in range(3)]

    assert chains(prompts) == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_under_one_long_preamble_each_document_has_its_chain():
    preamble = "Answer with care. " * LEAST_SHARED_CHARS
    prompts = [f"{preamble}{DOCUMENTS[n % 2] * 9} {n}" for n in range(6)]

    assert chains(prompts) == [[0, 2, 4], [1, 3, 5]]


def test_each_worker_follows_a_chain_of_its_own_and_then_takes_over_from_others():
    prompts = [f"{DOCUMENTS[n % 2]} {n // 2}" for n in range(8)]
    worklist = Worklist(prompts)
    one, other = iter(worklist), iter(worklist)

    begun = [next(one), next(other), next(one), next(other)]
    rest = list(one)

    assert begun == [0, 1, 2, 3]
    assert rest == [4, 6, 5, 7]
    assert list(other) == []


def test_a_worker_who_is_slow_keeps_nothing_but_the_prompt_it_is_at():
    worklist = Worklist([f"{DOCUMENTS[0]} {number}" for number in range(5)])
    slow = iter(worklist)

    assert next(slow) == 0
    assert list(worklist) == [1, 2, 3, 4]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3))),
    st.lists(st.integers(0, 3), max_size=40),
)
def test_however_many_work_at_it_each_number_is_given_out_once(pairs, whose_turn):
    prompts = [f"{DOCUMENTS[document]} {question}" for document, question in pairs]
    worklist = Worklist(prompts)
    workers = [iter(worklist) for _ in range(4)]

    given_out = [next(workers[worker], None) for worker in whose_turn]
    given_out += [number for worker in workers for number in worker]

    assert sorted(number for number in given_out if number is not None) == list(range(len(pairs)))
