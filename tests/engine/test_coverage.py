"""What sub-models were given of a text that was read piece by piece."""

import pytest

from rlm_mcp.conduct import Covered
from rlm_mcp.engine.coverage import Coverage
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply

pytestmark = pytest.mark.anyio

SIZE = 2000
PIECES = 30
LINES = [f"{number:06} reading {number * 7919 % 9973}, all is well\n" for number in range(2000)]
TEXT = "".join(LINES)[: SIZE * PIECES]


def code(text):
    return f"```repl\n{text}\n```"


def reading(pieces, then="FINAL('all read')"):
    cut = f"pieces = [context[i:i + {SIZE}] for i in range(0, len(context), {SIZE})]"
    return code(
        f"{cut}\nassert len(pieces) == {PIECES}\n"
        f"r = llm_query_batched(['Sum up:\\n' + p for p in {pieces}])\n{then}"
    )


async def coverage_of(bench, *prompts):
    coverage = Coverage(bench.session.contexts, bench.store)
    await coverage.add(prompts)
    return await coverage.covered()


async def test_a_text_read_to_its_end_is_covered(bench):
    await bench.load(TEXT, name="log")
    pieces = [TEXT[start : start + SIZE] for start in range(0, len(TEXT), SIZE)]

    assert await coverage_of(bench, *pieces) == (Covered("log", "log", PIECES, PIECES, ()),)


async def test_pieces_that_overlap_count_once(bench):
    await bench.load(TEXT, name="log")
    pieces = [TEXT[start : start + SIZE + 300] for start in range(0, len(TEXT), SIZE)]

    (covered,) = await coverage_of(bench, *pieces, *pieces[:5])

    assert (covered.pieces - covered.read, covered.missing) == (0, ())


async def test_a_piece_left_out_is_named(bench):
    await bench.load(TEXT, name="log")
    pieces = [TEXT[start : start + SIZE] for start in range(0, len(TEXT), SIZE)]

    (covered,) = await coverage_of(bench, *pieces[:12], *pieces[13:])

    assert (covered.read, covered.pieces) == (PIECES - 1, PIECES)
    assert covered.missing == ((12 * SIZE, 13 * SIZE),)


async def test_excerpts_of_what_a_search_found_are_no_reading_of_all(bench):
    await bench.load(TEXT, name="log")

    assert (
        await coverage_of(bench, *(TEXT[at : at + 400] for at in range(0, len(TEXT), 9000))) == ()
    )


async def test_one_document_read_in_pieces_asks_for_no_other(bench):
    await bench.load({"big.log": TEXT, "other.log": TEXT.replace("well", "fine")}, name="logs")
    pieces = [TEXT[start : start + SIZE] for start in range(0, len(TEXT), SIZE)]

    (covered,) = await coverage_of(bench, *pieces[:-2])

    assert (covered.name, covered.read, covered.pieces) == ("big.log", PIECES - 2, PIECES)


async def test_documents_read_one_by_one_are_counted_as_documents(bench):
    texts = {f"{n}.txt": TEXT[n * 900 : n * 900 + 300 + 90 * n] for n in range(20)}
    await bench.load(texts, name="notes")

    (covered,) = await coverage_of(bench, *(texts[f"{n}.txt"] for n in range(20) if n != 4))

    assert (covered.name, covered.read, covered.pieces) == ("notes", 19, 20)
    assert len(covered.missing) == 1


async def test_an_answer_that_skips_pieces_is_held_once_and_says_what_is_missing(bench):
    await bench.load(TEXT, name="log")
    root = ScriptedModel([reading("pieces[:3]"), reading("pieces[3:]")])

    answer = await bench.ask(root)

    told = root.requests[1][-1].content
    assert f"3 of {PIECES} pieces of log" in told
    assert f"context[{3 * SIZE}:{PIECES * SIZE}]" in told
    assert (answer.text, answer.stopped_by, answer.turns) == ("all read", "answer", 2)
    assert answer.conduct.coverage == (Covered("log", "log", PIECES, PIECES, ()),)


async def test_an_answer_given_again_is_taken_with_what_it_left_out(bench):
    await bench.load(TEXT, name="log")

    answer = await bench.ask([reading("pieces[:3]"), code("FINAL('the first three')")])

    (covered,) = answer.conduct.coverage
    assert (answer.text, covered.read, covered.pieces) == ("the first three", 3, PIECES)


async def test_a_piece_whose_call_failed_is_not_read(bench):
    await bench.load(TEXT, name="log")
    lost = TEXT[5 * SIZE : 6 * SIZE]

    def sub(messages):
        is_lost = lost in messages[-1].content
        return ScriptedReply("no such thing", status=400) if is_lost else "fine"

    root = ScriptedModel([reading("pieces", then=""), code("FINAL('most')")])
    answer = await bench.ask(root, sub=sub)

    assert f"{PIECES - 1} of {PIECES} pieces" in root.requests[1][-1].content
    assert (answer.text, answer.turns) == ("most", 2)  # it had been told before


async def test_a_reader_of_everything_is_told_nothing_and_needs_no_turn_more(bench):
    await bench.load(TEXT, name="log")
    root = ScriptedModel([reading("pieces")])

    answer = await bench.ask(root)

    assert (answer.text, answer.turns, answer.notes) == ("all read", 1, ())


async def test_the_last_turn_is_never_held(bench):
    await bench.load(TEXT, name="log")

    answer = await bench.ask([reading("pieces[:3]")], turns=1)

    assert (answer.text, answer.stopped_by) == ("all read", "answer")
