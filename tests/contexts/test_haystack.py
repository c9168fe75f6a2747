"""Pieces of a text found again in the context they were cut from."""

import random

import pytest

from rlm_mcp.contexts.haystack import LEAST_CHARS, MOST_SPANS, Haystack
from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore

pytestmark = pytest.mark.anyio
ROOM = 1 << 30


def lines(seed, number):
    chosen = random.Random(seed)
    words = ["".join(chosen.choices("abcdefghijk", k=chosen.randint(2, 9))) for _ in range(900)]
    return [" ".join(chosen.choices(words, k=12)) for _ in range(number)]


@pytest.fixture
def store(tmp_path):
    return ContextStore(tmp_path)


@pytest.mark.parametrize("first", ["", "é", "я", "😀"], ids=["ascii", "latin1", "ucs2", "ucs4"])
async def test_a_piece_between_words_of_a_prompt_is_found_where_it_stands(store, first):
    text = first + "\n".join(lines(1, 3000))
    info = await load(store, (), text=text, name="text")
    size = 5000

    with Haystack(info, ROOM) as haystack:
        for start in range(0, len(text), size):
            piece = text[start : start + size]
            prompt = f"Label every line, please.\n<<{piece}>>\nOne label a line."
            assert haystack.spans(prompt) == [(start, start + len(piece))]


async def test_pieces_of_several_places_are_all_found(store):
    all_lines = lines(2, 2000)
    text = "\n".join(all_lines)
    info = await load(store, (), text=text, name="text")
    places = [1500, 20, 777]
    pieces = ["\n".join(all_lines[place : place + 4]) for place in places]

    with Haystack(info, ROOM) as haystack:
        found = haystack.spans("Compare: <<" + ">> with <<".join(pieces) + ">>")

    assert found == sorted((text.index(piece), text.index(piece) + len(piece)) for piece in pieces)


async def test_what_stands_nowhere_and_what_is_short_is_not_found(store):
    info = await load(store, (), text="\n".join(lines(3, 500)), name="text")

    with Haystack(info, ROOM) as haystack:
        assert haystack.spans("z" * 10_000) == []
        assert haystack.spans("ж" * 10_000) == []
        assert haystack.spans(lines(3, 500)[7][: LEAST_CHARS - 1]) == []
        assert haystack.spans("") == []


async def test_of_equal_lines_those_behind_the_last_piece_are_found_next(store):
    line = "2026-01-01T00:00:00 INFO the same line again and again, nothing else happens here\n"
    text = line * 500
    info = await load(store, (), text=text, name="text")
    size, near, found = 50 * len(line), 0, []

    with Haystack(info, ROOM) as haystack:
        for start in range(0, len(text), size):
            spans = haystack.spans(text[start : start + size], near)
            near = spans[-1][1]
            found += spans

    assert found == [(start, start + size) for start in range(0, len(text), size)]


async def test_no_more_is_searched_than_there_is_room_for(store):
    text = "\n".join(lines(4, 3000))
    info = await load(store, (), text=text, name="text")

    with Haystack(info, len(text) // 2) as haystack:
        assert haystack.spans("nothing like it " * 20) == []
        assert haystack.room == 0
        assert haystack.spans(text[-2000:]) == []


async def test_a_prompt_of_countless_pieces_is_looked_at_up_to_a_bound(store):
    all_lines = lines(5, 600)
    info = await load(store, (), text="\n".join(all_lines), name="text")
    long = [line for line in all_lines if len(line) >= LEAST_CHARS]

    with Haystack(info, ROOM) as haystack:
        found = haystack.spans("\n\n".join(long[::2]))

    assert len(found) == MOST_SPANS
