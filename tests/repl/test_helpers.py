"""The functions code finds in the REPL: they find what is there, name its place and stay short."""

import json
import re
import string
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.repl.guest import contexts
from rlm_mcp.repl.guest.helpers import reading, searching, symbols

pytestmark = pytest.mark.anyio
needs = pytest.mark.needs
FILES = {
    "app/main.py": '"""Start."""\n\nclass App:\n    """The app."""\n\n    def run(self):\n'
    "        return 1\n\n@cache\ndef main():\n    App().run()\n",
    "app/server.go": "package app\n\nfunc (s *Server) Run(port int) error {\n\treturn nil\n}\n",
    "web/view.ts": "export class View {\n}\nexport const draw = async (x) => x\n",
    "README.md": "# App\n\nRun it with main().\n\n## Use\nruns\n",
}


@contextmanager
def loading():
    """Put documents where the helpers look, as a loaded context has them."""
    before = contexts.present.context

    def load(files):
        rows, parts, offset = [], [], 0
        for path, text in sorted(files.items()):
            header = f"=== {path} ===\n"
            rows.append([path, offset + len(header), len(text), text.count("\n"), len(text)])
            parts += [header, text, "" if text.endswith("\n") else "\n"]
            offset += sum(map(len, parts[-3:]))
        manifest = json.dumps({"documents": rows}).encode()
        contexts.present.context = contexts.Context("c", "".join(parts), manifest)

    yield load
    contexts.present.context = before


@pytest.fixture
def loaded():
    with loading() as load:
        yield load


def naive(files, pattern):
    return [
        (path, number)
        for path, text in sorted(files.items())
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]


@pytest.mark.parametrize(
    "pattern", ["main", "def main", r"\bRun\b", "(?i)run", "^#", r"\)$", "=== ", "[Aa]pp", "absent"]
)
def test_grep_gives_path_and_line_of_every_line_that_matches(loaded, pattern):
    loaded(FILES)
    found = searching.grep(pattern)
    assert [(match.path, match.line) for match in found] == naive(FILES, pattern)
    assert found.total == len(found)


@given(
    st.lists(st.text("ab\t =#", max_size=12), max_size=12),
    st.sampled_from(["a", "aab", "ab?a", "^a+", "b$", "=== ", "a.b", "(?i)AB", "a|b", r"\s"]),
)
def test_grep_agrees_with_a_loop_over_lines(lines, pattern):
    files = {"x.txt": "\n".join([*lines[:6], "end"]), "y.txt": "\n".join([*lines[6:], "end"])}
    with loading() as load:
        load(files)
        found = searching.grep(pattern, limit=1000)
    assert [(match.path, match.line) for match in found] == naive(files, pattern)


def test_grep_shows_a_few_and_counts_all(loaded):
    loaded({"log": "hit\n" * 1234})
    found = searching.grep("hit", limit=3)
    assert (len(found), found.total) == (3, 1234)
    assert repr(found).splitlines()[-2:] == ["log:3: hit", "[3 of 1,234 lines that match]"]


def test_grep_shows_lines_around_and_cuts_long_ones(loaded):
    loaded({"log": f"a\nb\n{'x' * 5000}HIT{'y' * 5000}\nc\nd\n"})
    (match,) = searching.grep("HIT", before=1, after=5)
    assert (match.before, match.after) == (("b",), ("c", "d"))
    assert "HIT" in match.text
    assert len(match.text) <= searching.LINE_CHARS + 2
    assert repr(match).splitlines()[0] == "log-2- b"


def test_a_glob_narrows_what_is_searched(loaded):
    loaded(FILES)
    assert {match.path for match in searching.grep("(?i)run", "*.py")} == {"app/main.py"}
    assert [str(match) for match in searching.refs("main", "*.md")] == [
        "README.md:3: Run it with main()."
    ]


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        (r"\bid=4235\b", "id=4235"),
        ("abc|def", ""),
        ("(?i)needle", ""),
        ("(?x) needle", ""),
        (r"user \d+ failed login", " failed login"),
        (r"colou?r of it", "r of it"),
        ("(?:foobar){e<=1}", ""),
        ("(abc)def", "def"),
        ("abcd{0}", "abc"),
        (r"a\nb long", ""),
        ("(unclosed", ""),
    ],
)
def test_the_literal_that_is_looked_for_first_is_in_every_match(pattern, literal):
    assert searching.mandatory(pattern) == literal


def test_read_numbers_lines_and_says_how_to_go_on(loaded):
    loaded({"a.txt": "".join(f"line {n}\n" for n in range(1, 501))})
    shown = reading.read("a.txt", 2, 4)
    assert shown == "     2: line 2\n     3: line 3\n     4: line 4"
    assert reading.read("a.txt").endswith(f"… more: read('a.txt', {reading.LINES + 1})")
    assert reading.read("a.txt", 500) == "   500: line 500"
    assert reading.read("a.txt", 501) == "a.txt ends before line 501"
    with pytest.raises(KeyError, match=r"did you mean 'a\.txt'"):
        reading.read("a.tx")


def test_read_finds_a_line_far_behind(loaded):
    count = reading.BLOCK_CHARS // 4
    loaded({"a": "".join(f"{n}\n" for n in range(1, count + 1))})
    for number in (1, count // 2, count - 1, count):
        assert reading.read("a", number, number).split() == [f"{number}:", str(number)]


@given(st.text(string.ascii_letters + " \n", max_size=400), st.integers(1, 20))
def test_chunks_make_up_the_whole_and_are_never_longer_than_asked(text, tokens):
    pieces = reading.chunks(text, tokens)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= tokens * reading.CHARS_PER_TOKEN for piece in pieces)


@given(st.text("ab \n", min_size=1, max_size=300), st.integers(2, 12), st.data())
def test_overlapping_chunks_begin_with_the_end_of_the_one_before(text, tokens, data):
    overlap = data.draw(st.integers(1, tokens - 1))
    pieces = reading.chunks(text, tokens, overlap)
    again = overlap * reading.CHARS_PER_TOKEN
    assert all(b.startswith(a[-again:]) for a, b in pairwise(pieces))
    assert pieces[0] + "".join(piece[again:] for piece in pieces[1:]) == text


def test_chunks_of_a_file_know_their_lines(loaded):
    text = "".join(f"line {n}\n" for n in range(1, 200))
    loaded({"a.txt": text})
    for piece in reading.chunks("a.txt", 40):
        assert piece.path == "a.txt"
        assert piece.splitlines() == text.splitlines()[piece.first - 1 : piece.last]


def test_an_outline_of_python_is_parsed(loaded):
    loaded(FILES)
    assert repr(symbols.outline("app/main.py")).splitlines() == [
        "app/main.py:3-7: class App  The app.",
        "app/main.py:6-7: def App.run",
        "app/main.py:9-11: def main",
    ]


@pytest.mark.parametrize(
    ("path", "defined"),
    [
        ("app/server.go", [(3, "Run")]),
        ("web/view.ts", [(1, "View"), (3, "draw")]),
        ("README.md", [(1, "App"), (5, "Use")]),
    ],
)
def test_an_outline_of_other_languages_is_read_by_pattern(loaded, path, defined):
    loaded(FILES)
    assert [(symbol.first, symbol.name) for symbol in symbols.outline(path)] == defined


def test_symbols_are_found_in_all_files(loaded):
    loaded(FILES)
    assert [(s.path, s.name) for s in symbols.symbols("run")] == [("app/main.py", "App.run")]
    assert [(s.path, s.name) for s in symbols.symbols("View")] == [("web/view.ts", "View")]


def test_python_that_does_not_parse_has_an_outline_all_the_same(loaded):
    loaded({"old.py": "print 'x'\nclass Old:\n    def go(self):\n        exec code\n"})
    assert [symbol.name for symbol in symbols.outline("old.py")] == ["Old", "go"]


@needs("helpers")
async def test_code_finds_the_helpers(repl, snapshot):
    await repl.open(contexts=[snapshot(FILES)])
    assert await repl.value("grep('class App')") == "app/main.py:3: class App:"
    assert await repl.value("print(read('app/main.py', 9, 9))") == "     9: @cache"
    assert "outline" in await repl.value("help()")
    assert (await repl.value("help(grep)")).startswith("grep(pattern, glob=None, before=0")


@needs("helpers")
async def test_code_finds_the_helpers_for_logs(repl, snapshot):
    lines = [f"2026-01-02 03:{n:02}:00 INFO job {n} done\n" for n in range(60)]
    await repl.open(contexts=[snapshot({"app.log": "".join(lines)})])
    assert await repl.value("w = between('03:10', '03:12'); w.first, w.last, len(w)") == (
        f"(11, 12, {sum(map(len, lines[10:12]))})"
    )
    assert await repl.value("len(list(events(w))), str(parse_time(w))") == (
        "(2, '2026-01-02 03:10:00')"
    )
    assert await repl.value("rate('1h')") == "2026-01-02 03:00:00         60 " + "█" * 40
    assert await repl.value("templates()[0].text") == "'<*> <*> INFO job <*> done'"
    assert await repl.value("len(diff_windows(w, context))") == "0"


@needs("helpers")
async def test_code_may_take_a_helpers_name_and_give_it_back(repl, snapshot):
    await repl.open(contexts=[snapshot(FILES)])
    result = await repl.run("chunks = [1, 2]; lines = context.split('\\n')[:3]")
    assert (result.restored, [v.name for v in result.variables]) == ((), ["chunks", "lines"])
    assert await repl.value("chunks, len(lines)") == "([1, 2], 3)"
    await repl.open(contexts=[snapshot({"b": "x\ny\n"}, name="other")])
    assert await repl.value("chunks, len(lines)") == "([1, 2], 3)"
    result = await repl.run("del chunks, lines")
    assert result.variables == ()
    assert await repl.value("len(chunks('a b')), len(lines)") == "(1, 2)"


@needs("helpers")
async def test_lines_are_those_of_what_is_loaded_now(repl, snapshot):
    await repl.open(contexts=[snapshot({"a": "1\n2\n3\n"})])
    assert await repl.value("len(lines)") == "3"
    await repl.open(contexts=[snapshot({"b": "x\ny\n"}, name="other")])
    assert await repl.value("len(lines)") == "2"
