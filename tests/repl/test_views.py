"""Lines that are cut when they are looked at are those that str would give, and globs match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.repl.guest import text
from rlm_mcp.repl.guest.contexts import Files, path_pattern
from rlm_mcp.repl.guest.views import Lines

BREAKS = "\n\r\x0b\x0c\x1c\x85\u2028"
TEXTS = st.text(alphabet=st.sampled_from("ab" + BREAKS + "\n\n"), min_size=1, max_size=80)


@given(TEXTS, st.booleans(), st.integers(1, 7))
def test_lazy_splitlines_are_those_of_str(sample, keep_ends, block_chars):
    lines = Lines(sample, every_break=True, keep_ends=keep_ends, block_chars=block_chars)
    assert list(lines) == sample.splitlines(keep_ends)
    assert len(lines) == len(sample.splitlines())


@given(TEXTS, st.integers(1, 7), st.integers(-90, 90), st.integers(-90, 90), st.integers(-3, 3))
def test_a_lazy_split_is_indexed_and_sliced_as_a_list(sample, block_chars, start, stop, step):
    plain, lines = sample.split("\n"), Lines(sample, block_chars=block_chars)
    assert lines[start : stop : step or None] == plain[start : stop : step or None]
    assert list(reversed(lines)) == plain[::-1]
    for index in {0, len(plain) - 1, -1, -len(plain)}:
        assert lines[index] == plain[index]
    for index in (len(plain), -len(plain) - 1):
        with pytest.raises(IndexError):
            lines[index]


@given(TEXTS, st.integers(1, 7))
def test_without_a_rest_lines_are_numbered_as_documents_count_them(sample, block_chars):
    lines = Lines(sample, has_rest=False, block_chars=block_chars)
    assert len(lines) == sample.count("\n") + (not sample.endswith("\n"))
    assert [f"{line}\n" for line in lines] == (sample.removesuffix("\n") + "\n").splitlines(
        keepends=True
    ) or set(sample) & set(BREAKS[1:])


def test_an_empty_text_has_no_lines():
    assert list(Lines("", has_rest=False)) == []
    assert Lines("", has_rest=False)[-3:] == []


def test_the_first_line_of_a_text_costs_no_look_at_the_rest():
    ends = []

    class Watched(str):
        __slots__ = ()

        def count(self, *place):
            ends.append(place[-1])
            return str.count(self, *place)

    assert Lines(Watched("line\n" * 100_000), block_chars=50)[3] == "line"
    assert ends == [50]


def test_only_a_huge_text_is_split_lazily():
    small, huge = text.Text("a\nb"), text.Text("a\r\n" * (text.LAZY_CHARS // 3 + 1))
    assert (type(small.split("\n")), type(small.splitlines())) == (list, list)
    assert (type(huge.split("\n")), type(huge.splitlines())) == (Lines, Lines)
    assert huge.splitlines(keepends=True)[1:3] == ["a\r\n"] * 2
    assert (huge.split("\n")[0], huge.split("\n")[-1]) == ("a\r", "")
    assert huge.split("\n", 1)[0] == "a\r"


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.py", "a.py", True),
        ("*.py", "src/deep/a.py", True),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/deep/a.py", False),
        ("src/**/*.py", "src/a.py", True),
        ("src/**/*.py", "src/x/y/a.py", True),
        ("src/**", "src/x/y/a.py", True),
        ("**/test_*", "tests/test_a.py", True),
        ("a?.[ch]", "ab.c", True),
        ("a?.[!ch]", "ab.c", False),
        ("a?.[!ch]", "ab.d", True),
        ("x+(1).txt", "x+(1).txt", True),
        ("[", "[", True),
    ],
)
def test_globs_match_as_people_expect(glob, path, matches):
    assert bool(path_pattern(glob).fullmatch(path)) is matches


def test_narrowed_files_are_files_and_places_stay_those_of_the_whole():
    documents = [["a.py", 0, 4], ["b.md", 4, 2], ["lib/c.py", 6, 3]]
    manifest = str({"documents": documents}).replace("'", '"').encode()
    files = Files("a\nb\nm\nc=1", manifest)("*.py")
    assert list(files) == ["a.py", "lib/c.py"]
    assert dict(files) == {"a.py": "a\nb\n", "lib/c.py": "c=1"}
    assert files.at(4) == ("b.md", 1)
    assert "b.md" not in files
    assert len(files("c*")) == 1
