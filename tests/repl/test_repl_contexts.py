"""Loaded texts in the guest: mapped, of every width, cut into files, several at a time."""

from dataclasses import replace

import pytest
from repl_driver import LIMITS

from rlm_mcp.errors import ReplUnavailable
from rlm_mcp.types import TextKind

pytestmark = pytest.mark.anyio
needs = pytest.mark.needs

SAMPLES = {
    TextKind.ASCII: "plain text\n",
    TextKind.LATIN1: "déjà vu ÿ\n",
    TextKind.UCS2: "漢字 and \ud800 too\n",
    TextKind.UCS4: "rocket \U0001f680 \udfff\n",
}


@pytest.mark.parametrize(
    "kind",
    [
        TextKind.ASCII,
        TextKind.LATIN1,
        pytest.param(TextKind.UCS2, marks=needs("surrogates")),
        pytest.param(TextKind.UCS4, marks=needs("surrogates")),
    ],
)
async def test_the_context_is_a_str_equal_to_what_was_written(repl, snapshot, kind):
    text = SAMPLES[kind] * 1000 + "END"
    await repl.open(contexts=[snapshot({"a.txt": text}, kind=kind)])
    await repl.run(f"plain = {SAMPLES[kind]!a} * 1000 + 'END'")
    for claim in (
        "isinstance(context, str) and type(context[3:9]) is str",
        "context == plain and plain == context and hash(context) == hash(plain)",
        "context.find('END') == plain.find('END') and 'END' in context",
        "context.splitlines() == plain.splitlines() and context.count('\\n') == 1000",
        "context.upper() == plain.upper() and context + '!' == plain + '!'",
        "import re\nlen(re.findall(r'\\w+', context)) == len(re.findall(r'\\w+', plain))",
        "[m.start() for m in re.finditer('END', context)] == [plain.find('END')]",
        "files['a.txt'] == plain and len(files) == 1",
    ):
        assert await repl.value(claim) == "True", claim


@needs("views")
async def test_lines_and_globs_show_parts_of_the_context(repl, snapshot):
    await repl.open(contexts=[snapshot({"a.txt": "one\ntwo\n", "lib/b.py": "x = 1\ny = 2"})])
    assert await repl.value("lines[1], lines[-1]") == "('one', 'y = 2')"
    assert await repl.value("list(lines) == context.splitlines()") == "True"
    assert await repl.value("list(files('*.py')), files('*.py').at(context.find('y = 2'))") == (
        "(['lib/b.py'], ('lib/b.py', 2))"
    )
    await repl.run("files = None; del lines")
    assert await repl.value("lines[1], len(files('**'))") == "('one', 2)"


@needs("regex")
async def test_the_regex_module_searches_the_context_too(repl, snapshot):
    await repl.open(contexts=[snapshot({"a": "x" * 9000 + "END"})])
    code = "import regex\n[m.start() for m in regex.finditer('END', context)]"
    assert await repl.value(code) == "[9000]"


async def test_a_text_that_fills_its_last_page_ends_where_it_ends(repl, snapshot):
    await repl.open(contexts=[snapshot({"a": "x" * 8192})])
    assert await repl.value("float('1' + context.replace('x', '0')[:3]), len(context)") == (
        "(1000.0, 8192)"
    )


async def test_printing_and_repr_of_the_context_are_bounded(repl, snapshot):
    await repl.open(contexts=[snapshot({"a": "x" * 10**6})])
    assert (await repl.run("print(context)")).output_chars == 10**6 + 1
    assert len(await repl.value("context")) < 2_100
    assert len(await repl.value("[context] * 3")) < 2_100


@needs("mapped contexts")
async def test_a_context_larger_than_the_memory_limit_is_searched_in_place(repl, snapshot):
    book = snapshot({"a": "x" * (160 << 20) + "needle"})
    await repl.open("small", contexts=[book], limits=replace(LIMITS, memory_bytes=128 << 20))
    assert await repl.value("context.find('needle')", "small") == str(160 << 20)
    for copy in ("context + '!'", "context.lower()", "context.encode()", "f'{context}!'"):
        result = await repl.run(copy, "small")
        assert result.status == "memory", copy
        assert all(name in result.error for name in ("`lines`", "slices", "`grep()`", "`files`"))
    assert await repl.value("len(context)", "small") == str((160 << 20) + 6)


DOCUMENTS = {"src/a.py": "one\ntwo", "src/b.py": "three\nfour\nfive", "notes.md": "six"}


async def test_files_are_cut_from_the_context(repl, snapshot):
    await repl.open(contexts=[snapshot(DOCUMENTS)])
    assert await repl.value("dict(files)") == str(DOCUMENTS)
    assert await repl.value("len(files), list(files)") == str((3, list(DOCUMENTS)))
    assert await repl.value("'src/a.py' in files, 'x' in files, files.get('x', 7)") == (
        "(True, False, 7)"
    )


@needs("file offsets")
async def test_files_are_found_by_offset(repl, snapshot):
    await repl.open(contexts=[snapshot(DOCUMENTS)])
    for word, place in (
        ("two", ("src/a.py", 2)),
        ("five", ("src/b.py", 3)),
        ("six", ("notes.md", 1)),
    ):
        assert await repl.value(f"files.at(context.index({word!r}))") == str(place)
    assert await repl.value("files.at(context.index('=== src/b.py'))") == "('src/b.py', 1)"
    assert await repl.value("files.at(0)") == "('src/a.py', 1)"
    assert "3 files" in await repl.value("files")
    assert "did you mean 'src/a.py'?" in (await repl.run("files['src/aa.py']")).error
    assert "IndexError" in (await repl.run("files.at(10**9)")).error
    assert "TypeError" in (await repl.run("files['x'] = 1")).error


async def test_several_contexts_stand_by_name_and_the_first_is_the_default(repl, snapshot):
    await repl.open(contexts=[snapshot({"a": "first"}, "one"), snapshot({"b": "second"}, "two")])
    assert await repl.value("context, files['a'], list(contexts)") == (
        "('first', 'first', ['one', 'two'])"
    )
    assert await repl.value("contexts['two'].text, contexts['two'].files['b']") == (
        "('second', 'second')"
    )
    assert ".text" in await repl.value("contexts['two']")


@needs("near names")
async def test_a_context_named_wrongly_names_the_nearest(repl, snapshot):
    await repl.open(contexts=[snapshot({"a": "first"}, "one"), snapshot({"b": "second"}, "two")])
    assert "did you mean 'two'?" in (await repl.run("contexts['tow']")).error


async def test_without_a_context_there_is_an_empty_one(repl):
    assert await repl.value("context, len(files), len(contexts)") == "('', 0, 0)"


async def test_other_contexts_are_there_after_open_and_variables_stay(repl, snapshot):
    first, second = snapshot({"a": "first"}), snapshot({"a": "second"})
    await repl.open(contexts=[first])
    await repl.run("kept = context")
    await repl.open(contexts=[second])
    assert await repl.value("kept, context") == "('first', 'second')"
    await repl.open(contexts=[])
    assert await repl.value("kept, context") == "('first', '')"


async def test_forty_contexts_do_not_exhaust_the_descriptors(repl, snapshot):
    await repl.open(contexts=[snapshot({"a": str(n)}, f"c{n}") for n in range(40)])
    assert await repl.value("[int(item.text) for item in contexts.values()] == [*range(40)]") == (
        "True"
    )


@needs("os")
async def test_a_fresh_guest_has_the_contexts_again(repl, snapshot):
    await repl.open(contexts=[snapshot({"a": "still here"})])
    assert (await repl.run("import os\nos._exit(1)")).status == "died"
    assert await repl.value("context") == "'still here'"


async def test_a_damaged_snapshot_is_refused(repl, snapshot):
    book = snapshot({"a": "text"})
    book.blob.write_bytes(b"shorter"[:2])
    with pytest.raises(ReplUnavailable, match="snapshot of context 'book' is damaged"):
        await repl.open(contexts=[book])
