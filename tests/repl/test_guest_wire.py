"""Frames: what goes in comes out, and any other bytes are refused without harm."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.repl.guest.wire import REQUESTS, BadFrame, Splitter, pack
from rlm_mcp.repl.messages import parse
from rlm_mcp.types import ReplLimits

LIMIT = 1 << 20

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | texts
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def depth(value) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


def frame(header: object, texts: bytes = b"", extra: int = 0) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<II", 8 + len(head) + len(texts) + extra, len(head)) + head + texts


@given(
    st.dictionaries(st.sampled_from(["x", "y"]), values), st.lists(st.integers(1, 50), min_size=1)
)
def test_messages_survive_any_cut_of_the_stream(fields, cuts):
    message = {"t": "test", **fields}
    if depth(message) > 6:
        return
    stream, splitter, got, at = pack(message) * 2, Splitter(LIMIT), [], 0
    while at < len(stream):
        size = cuts[at % len(cuts)]
        got += splitter.feed(stream[at : at + size])
        at += size
    assert got == [message, message]


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_or_wait_for_more(stream):
    try:
        messages = list(Splitter(LIMIT).feed(stream))
    except BadFrame:
        return
    assert all(isinstance(message["t"], str) for message in messages)


@given(st.sampled_from(["hello", "refused", "call", "done"]), st.dictionaries(texts, values))
def test_arbitrary_messages_are_refused(kind, fields):
    with pytest.raises(BadFrame):
        parse({**fields, "t": kind, "id": -1, "number": "1", "error": 5, "python": 3}, ReplLimits())


@pytest.mark.parametrize(
    "stream",
    [
        struct.pack("<II", 0xFFFFFFFF, 10),
        struct.pack("<II", 3, 0),
        struct.pack("<II", 20, 400) + bytes(12),
        frame([]),
        frame({"t": 5}),
        frame({}),
        frame(b"not json"),
        frame(b'{"t": "x", "n": NaN}'),
        frame(b"\xff\xfe"),
        frame(b"[" * 200_000),
        frame({"t": "x", "d": [[]] * 50_000}),
        frame(b'{"t": "x"' + b" " * (1 << 20) + b"}"),
        frame(b'{"t": "x", "n": ' + b"9" * 10_000 + b"}"),
        frame({"t": "x", "d": [[[[[[[[1]]]]]]]]}),
        frame({"t": "x", "s": {"$": 5}}, b"1234"),
        frame({"t": "x", "s": {"$": -1}}, b"1234"),
        frame({"t": "x", "s": {"$": True}}, b"1"),
        frame({"t": "x", "s": {"$": 1, "more": 2}}, b"1"),
        frame({"t": "x", "s": {"$": 2}}, b"\xff\xff"),
        frame({"t": "x", "s": {"$": 3}}, "\ud800".encode("utf-8", "surrogatepass")),
        frame(b'{"t": "x", "s": "\\ud800"}'),
        frame({"t": "x"}, b"left over"),
    ],
    ids=str,
)
def test_a_broken_frame_is_refused(stream):
    with pytest.raises(BadFrame):
        list(Splitter(2 * LIMIT).feed(stream))


@pytest.mark.parametrize("text", ['"' * 12, "\x01" * 12, "é" * 12, "x" * 99])
def test_the_largest_batch_fits_whatever_it_says(text):
    batch = {"t": "call", "requests": [[text] * 3] * REQUESTS}
    assert list(Splitter(1 << 24).feed(pack(batch))) == [batch]


def test_an_oversized_frame_is_refused_before_it_has_come():
    with pytest.raises(BadFrame, match="at most 1,048,576"):
        list(Splitter(LIMIT).feed(struct.pack("<II", LIMIT + 1, 4)))


def test_a_lone_surrogate_leaves_as_a_question_mark():
    (message,) = Splitter(LIMIT).feed(pack({"t": "x", "short": "\ud800", "long": "\udfff" * 99}))
    assert (message["short"], message["long"]) == ("?", "?" * 99)
