"""Encodings: every file becomes text, and the same text however its bytes are cut into chunks."""

import codecs

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from rlm_mcp.contexts.decode import Decoder, is_binary

WESTERN = "café crème brûlée, naïve Größe\r\n"


def decoded(raw, size=1 << 20):
    chunks = [raw[start : start + size] for start in range(0, len(raw), size)] or [b""]
    decoder = Decoder(raw[:1024])
    pieces = [*map(decoder.decode, chunks), decoder.decode(b"", True)]
    whole = b"".join(utf8 for _, utf8 in pieces).decode("utf-8")
    parts = (text if isinstance(text, str) else text.decode("ascii") for text, _ in pieces)
    assert "".join(parts) == whole
    return whole


def encoding_of(raw):
    decoder = Decoder(raw[:1024])
    decoder.decode(raw, True)
    return decoder.encoding


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"plain\r\n", "plain\r\n"),
        (WESTERN.encode("utf-8"), WESTERN),
        (codecs.BOM_UTF8 + WESTERN.encode("utf-8"), WESTERN),
        (WESTERN.encode("utf-16"), WESTERN),
        (codecs.BOM_UTF16_BE + WESTERN.encode("utf-16-be"), WESTERN),
        (WESTERN.encode("utf-32"), WESTERN),
        (codecs.BOM_UTF32_BE + WESTERN.encode("utf-32-be"), WESTERN),
        (WESTERN.encode("latin-1"), WESTERN),
        (b"user=bob\n" * 500 + WESTERN.encode("latin-1"), "user=bob\n" * 500 + WESTERN),
        (("Журнал событий.\n" * 20).encode("cp1251"), "Журнал событий.\n" * 20),
        (
            ("これは日本語のログです。\n" * 20).encode("shift_jis"),
            "これは日本語のログです。\n" * 20,
        ),
        ("größer ".encode() * 9 + b"stray \xe9", "größer " * 9 + "stray é"),
        ("cut short: é".encode()[:-1] + b"", "cut short: Ã"),
        (codecs.BOM_UTF16_LE + b"a\0b", "a\ufffd"),
    ],
)
def test_a_file_is_decoded_as_what_it_is(raw, text):
    assert decoded(raw) == text
    assert not is_binary(raw)


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (b"plain", "utf-8"),
        (WESTERN.encode("utf-8"), "utf-8"),
        (codecs.BOM_UTF8 + b"plain", "utf-8-sig"),
        (WESTERN.encode("utf-16"), "utf-16-le"),
        (codecs.BOM_UTF32_BE + b"\0\0\0a", "utf-32-be"),
        (WESTERN.encode("latin-1"), "cp1252"),
        ("größer ".encode() * 9 + b"stray \xe9", "utf-8 with stray bytes"),
        (b"# -*- coding: koi8-r -*-\n# " + "но".encode("koi8-r"), "koi8-r"),
        (b'<?xml version="1.0" encoding="windows-1251"?>' + "да".encode("cp1251"), "cp1251"),
        (b'<meta charset="Shift_JIS">' + "日本".encode("shift_jis"), "shift_jis"),
        (b'@charset "iso-8859-15"; a{content:"\xa4"}', "iso8859-15"),
        (b"# coding: utf-7\n" + WESTERN.encode("latin-1"), "cp1252"),
        (b"# coding: unheard-of\n" + WESTERN.encode("latin-1"), "cp1252"),
        (b"# coding: rot13\n" + WESTERN.encode("latin-1"), "cp1252"),
        (b"# coding: cp037\n" + WESTERN.encode("latin-1"), "cp1252"),
    ],
)
def test_what_bytes_were_taken_for_is_told(raw, encoding):
    assert encoding_of(raw) == encoding


def test_a_declared_encoding_decides_where_utf_8_does_not():
    assert decoded(b"# coding: koi8-r\n" + "но".encode("koi8-r")) == "# coding: koi8-r\nно"
    assert decoded("# coding: koi8-r\nно".encode()) == "# coding: koi8-r\nно"


def test_a_wrong_byte_far_behind_other_wide_characters_does_not_change_them():
    raw = "größer\n".encode() * 100 + b"a" * 100_000 + b"\xff" + "größer".encode()
    assert decoded(raw, 64 << 10) == "größer\n" * 100 + "a" * 100_000 + "ÿgrößer"


@given(text=st.text(), size=st.integers(1, 9), encoding=st.sampled_from(["utf-8", "utf-16"]))
def test_chunks_may_be_cut_anywhere(text, size, encoding):
    assume(not text.startswith("\0"))  # behind a UTF-16 mark it makes a UTF-32 one
    raw = text.encode(encoding)
    assert decoded(raw, size) == (text.removeprefix("\ufeff") if encoding == "utf-8" else text)


@given(raw=st.binary(), size=st.integers(1, 9))
@example(raw=b"\x05\x05\x05qt\xf5p", size=6)  # taken for EBCDIC, which has gaps
def test_no_bytes_make_it_fail(raw, size):
    decoded(raw, size)


@pytest.mark.parametrize(
    ("head", "binary"),
    [
        (b"\x89PNG\r\n\x1a\n\0", True),
        (b"text" + b"\0", True),
        (b"a" * 8192 + b"\0", False),
        ("text".encode("utf-16"), False),
        (b"\x80\x81", False),
    ],
)
def test_a_nul_near_the_start_means_binary(head, binary):
    assert is_binary(head) is binary
