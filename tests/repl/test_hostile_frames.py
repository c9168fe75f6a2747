"""Whatever bytes a guest sends, the host makes a typed message of them or refuses them."""

import contextlib
import copy
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.repl.guest.wire import DEPTH, HEADER_BYTES, BadFrame, Splitter, pack
from rlm_mcp.repl.messages import KINDS, parse
from rlm_mcp.types import ReplLimits

LIMIT = 1 << 20
LIMITS = ReplLimits(output_chars=500, message_bytes=1 << 16, answer_chars=1_000)
HONEST = {
    "hello": {
        "python": "3.12.1",
        "layers": ["seccomp"],
        "probes": [["fork", True]],
        "space_bytes": 1 << 30,
        "checkpoints": True,
        "in_place": True,
    },
    "gate": {},
    "refused": {"error": "OSError: no"},
    "call": {"id": 1, "kind": "llm", "batched": True, "requests": [["prompt", None, "model"]] * 2},
    "done": {
        "number": 1,
        "status": "ok",
        "output": "1\n",
        "output_chars": 2,
        "error": None,
        "variables": [["x", "int", None, "1"], ["y", "list", 3, "[...]"]],
        "final": ["answer", "FINAL", False],
        "draft": None,
        "restored": ["context"],
    },
}
texts = st.text(max_size=40)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts | st.sampled_from(["ok", "llm", "FINAL", "$"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def framed(header: bytes, rest: bytes = b"") -> bytes:
    return struct.pack("<II", 8 + len(header) + len(rest), len(header)) + header + rest


def heard(stream: bytes) -> list[object]:
    """What the host makes of a stream: nothing but BadFrame may end it."""
    said = []
    with contextlib.suppress(BadFrame):
        for message in Splitter(LIMIT).feed(stream):
            said.append(parse(message, LIMITS))  # noqa: PERF401 - those before a bad one count
    return said


def places(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The paths to all values inside a message."""
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [at, *(path for key, item in inner for path in places(item, (*at, key)))]


@st.composite
def nearly_honest(draw) -> dict[str, object]:
    """An honest message in which one value, wherever it stands, is anything, gone or double."""
    kind = draw(st.sampled_from(sorted(HONEST)))
    message = {"t": kind, **copy.deepcopy(HONEST[kind])}
    *way, last = draw(st.sampled_from([path for path in places(message) if path]))
    holder = message
    for step in way:
        holder = holder[step]
    change = draw(st.sampled_from(["replace", "replace", "replace", "remove", "double", "add"]))
    if change == "remove":
        del holder[last]
    elif change == "double" and isinstance(holder, list):
        holder.append(holder[last])
    elif change == "add":
        message[draw(texts)] = draw(anything)
    else:
        holder[last] = draw(anything)
    return message


def test_the_honest_messages_are_taken_and_are_all_there_are():
    assert set(HONEST) == set(KINDS)
    for kind, fields in HONEST.items():
        assert len(heard(pack({"t": kind, **fields}))) == 1


@given(st.binary(max_size=2_000))
def test_any_bytes(stream):
    heard(stream)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=300))
def test_any_lengths(length, header_length, body):
    heard(struct.pack("<II", length, header_length) + body)


@given(st.integers(0, 400), st.binary(max_size=300))
def test_any_header_length_in_a_frame_that_is_whole(header_length, body):
    heard(struct.pack("<II", 8 + len(body), header_length) + body)


@given(anything, st.binary(max_size=60))
def test_any_json_with_any_texts_behind_it(value, rest):
    heard(framed(json.dumps(value).encode(), rest))


@given(st.sampled_from(sorted(HONEST)), st.dictionaries(texts, anything, max_size=12))
def test_any_fields_of_a_known_kind(kind, fields):
    heard(framed(json.dumps({**fields, "t": kind}).encode()))


@given(nearly_honest())
def test_an_honest_message_with_one_value_wrong(message):
    for said in heard(framed(json.dumps(message).encode())):
        assert_bounded(said)


def assert_bounded(value: object) -> None:
    """What was taken is of a kind and size that an honest guest could have sent."""
    if isinstance(value, str):
        assert len(value) <= max(LIMITS.message_bytes, 20_000)
        value.encode()
    elif isinstance(value, int):
        assert 0 <= value < 1 << 63
    elif isinstance(value, tuple):
        for item in value:
            assert_bounded(item)
    elif isinstance(value, dict):
        assert_bounded(tuple(value))
    elif value is not None:
        assert_bounded(tuple(getattr(value, name) for name in value.__dataclass_fields__))


@given(
    st.sampled_from(sorted(HONEST)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_an_honest_frame_with_bytes_overwritten(kind, changes):
    frame = bytearray(pack({"t": kind, **HONEST[kind]}))
    for place, byte in changes:
        frame[place % len(frame)] = byte
    heard(bytes(frame))


@given(st.lists(st.sampled_from(sorted(HONEST)), min_size=1, max_size=4), st.data())
def test_a_stream_that_breaks_off_gives_its_whole_messages_and_waits(kinds, data):
    frames = [pack({"t": kind, **HONEST[kind]}) for kind in kinds]
    stream = b"".join(frames)
    end = data.draw(st.integers(0, len(stream) - 1))
    whole = sum(sum(map(len, frames[: number + 1])) <= end for number in range(len(frames)))

    assert len(heard(stream[:end])) == whole
    assert len(heard(stream)) == len(frames)


@given(st.integers(1, 300_000), st.sampled_from(["[", '{"a":', '[{"$":']), st.booleans())
def test_any_nesting(levels, opening, is_closed):
    closing = {"[": "]", '{"a":': "}", '[{"$":': "}]"}[opening]
    inner = opening * levels + "1" + (closing * levels if is_closed else "")
    header = f'{{"t":"call","requests":{inner}}}'.encode()[:HEADER_BYTES]

    assert heard(framed(header)) == []


@pytest.mark.parametrize("levels", [DEPTH + 1, 900, 1_100, 20_000])
def test_nesting_is_refused_by_name_and_not_by_a_broken_stack(levels):
    with pytest.raises(BadFrame):
        list(Splitter(LIMIT).feed(framed(b'{"t":' + b"[" * levels + b"]" * levels + b"}")))


@given(st.sampled_from([b"9" * 5_000, b"-1e999999", b"1e-999999", b"0.1" + b"0" * 9_000]))
def test_monstrous_numbers(number):
    heard(framed(b'{"t":"call","id":' + number + b"}"))
