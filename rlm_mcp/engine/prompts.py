"""Every word the root model reads: system prompt, task, reports of what its code did.

The shape is the paper's (arXiv 2512.24601, algorithm 1 and appendix): constant-size metadata first,
then code, then a constant-size view of its output. The words are ours. The system prompt of a run
never changes, so that a server's prefix cache serves every turn; what changes stands last.
"""

from collections.abc import Sequence

from rlm_mcp.conduct import Citation, Covered
from rlm_mcp.types import CellResult, ContextInfo, Variable
from rlm_mcp.words import clip, count, size

SYSTEM = """\
You answer a question about text that is too long to be shown to you. The text is a variable in
a Python REPL. You look at it by writing code; what the code prints is shown to you, and you go on
until you can answer.

To run code, write one block:

```repl
print(len(context), context[:500])
```

Variables live on from block to block. In the REPL:
- `context`: the whole text, a str. Several documents stand in it one after the other, each under
  a line `=== path ===`.
- `files`: a mapping of path -> text of that document. `files.at(offset)` turns an offset in
  `context` into (path, line); `files("**/*.py")` are those whose path matches.
- `lines`: the lines of `context`, cut when looked at: `lines[0]`, `lines[-20:]`.
- `contexts`: all loaded texts by name, each with `.text` and `.files`; `context` and `files` are
  the first one's.
- `llm_query(prompt, context=None)`: asks a language model and returns its answer as a str. It sees
  only what you pass. Use it to read, judge or summarise pieces that code cannot; {capacity}
- `llm_query_batched(prompts)`: the same for a list, answered at the same time, in order. Prefer it
  to a loop. An item that failed is a `Failed` value, not a str.
- `rlm_query(prompt, context=None)` and `rlm_query_batched(prompts)`: {recursion}
- `FINAL(value)`: ends the run with that answer. `FINAL_VAR("name")`: ends it with that variable.
- `SHOW_VARS()`: lists your variables.
{helpers}
How to work:
1. Look first: sizes, paths, a few hundred characters of what matters.
2. {search} Count with code, not by eye.
3. Ask sub-models only about pieces you have cut out, many in one batch.
4. Put results into variables and print only what you need; long output is cut in the middle.
5. Check the answer against the text, then call FINAL in a block.

In the answer, name the places it rests on as `path:line` or `path:first-last`. {numbers}

Common mistakes:
- answering before looking, or from memory: the text may differ from what you know
- writing FINAL next to code whose output you have not seen
- printing whole documents instead of searching them
- one sub-call per line: group many lines into one prompt
- guessing line numbers instead of computing them
"""

SEARCH = "Search with code (`re`, `in`, loops over `files.items()`)."
NUMBERS = """To get a line
number:

```repl
import re
for m in re.finditer(r"def main", context):
    print(files.at(m.start()), context[m.start():m.start() + 120])
```"""
AT_HAND = "Functions at hand; `help()` lists more, `help(grep)` tells all of one:"
SEARCH_HELPED = "Search with `grep`, then `read` around what it finds."
NUMBERS_HELPED = """`grep` and
`read` give them:

```repl
print(grep(r"def main", "*.py"))
print(read("src/app.py", 40, 60))
```"""

CAPACITY_KNOWN = "one prompt may hold about {chars:,} characters."
HUGE_BYTES = 1 << 30
CAPACITY_UNKNOWN = "keep one prompt under about 12,000 characters."
RECURSION_ON = (
    "a sub-run with a REPL of its own over the\n  text you pass (yours if none). For parts that"
    " need several steps; it costs many calls."
)
RECURSION_OFF = "here the same as llm_query."

NO_CODE = """\
There was no code block in that reply and no answer, so nothing was run. Write one block:

```repl
print(len(context))
```

or, if you are done, a block that calls FINAL("your answer with its places")."""
EXAMPLE_ANSWERS = frozenset({"the answer in words", "your answer with its places"})
LOOK_FIRST = """\
That answer was given before looking at the text, so it was not taken. Look with a code block first;
if you are sure, give the same answer again."""
FINAL_BESIDE_CODE = """\
The FINAL beside the code was not taken: it was written before the code had run. The output is
above. If it supports the answer, call FINAL now."""
FINAL_EMPTY = "FINAL was empty, so it was not taken. Call FINAL with the answer in words."
FINAL_EXAMPLE = "That was the example, not an answer. Call FINAL with what you found."
CUT = """\
Your reply was cut at its limit of {tokens} tokens, so an answer in it was not taken. Be shorter:
put a long answer into a variable with code, then call FINAL_VAR."""
NOT_RUN = "The blocks after this one were not run."
LOST = "The REPL had to be restarted: your variables are gone, `context` and `files` are back."

FORCED = """\
The run ends now. Do not search further. Give the best answer you have from what you found, as one
line:

FINAL(the answer in words)

or, if a variable holds it:

FINAL_VAR(name)"""

DIRECT = """\
You answer a question about the text you are shown. Each document stands under a line
`=== path ===`, its lines with their numbers in front. Answer from this text alone; if it does not
say, say so. Behind what you state, name its place as `path:line` or `path:first-last`, with the
words it rests on in double quotes: src/app.py:12 "def main(argv):"."""
UNREAD = """\
The answer was not taken yet: if the question is about all of the text, read the rest and mend the
answer; if not, call FINAL again."""
DOUBTS = "The answer was not taken yet. These places do not bear it out:"
DOUBTS_CURE = """\
Look them up (`grep`, `read`), then call FINAL with places and quotes as they stand in the text, or
without what is not there. The next answer is taken as it is."""
MOST_DOUBTS = 5
QUOTE_CHARS = 120
REPEATED = """\
This code and its output are the same as in turn {turn}. Do something else, or call FINAL with what
you have."""
SUMMARY = """\
Your first turns were dropped to save room. What they assigned is still in your variables:
SHOW_VARS() lists them. They began like this:"""
GIST_CHARS = 120
MOST_GISTS = 30

Loaded = tuple[ContextInfo, str]  # with the outline of its documents


def system(
    *,
    window_tokens: int | None,
    recursion: bool,
    helpers: Sequence[str] = (),
    dialect: str | None = None,
) -> str:
    """The system prompt of a run. `window_tokens` is the sub-model's window, None if unknown.

    `helpers` are functions of the REPL, a line each. `dialect` is what the model must know of a
    Python that is not the one it knows.
    """
    if window_tokens is None:
        capacity = CAPACITY_UNKNOWN
    else:
        # Half the window at 3 characters a token: room for the reply and for dense text.
        chars = round(window_tokens * 1.5, -3 if window_tokens > 4000 else -2)
        capacity = CAPACITY_KNOWN.replace("{chars:,}", f"{chars:,.0f}")
    parts = {
        "{capacity}": capacity,
        "{recursion}": RECURSION_ON if recursion else RECURSION_OFF,
        "{helpers}": _listed(helpers),
        "{search}": SEARCH_HELPED if helpers else SEARCH,
        "{numbers}": NUMBERS_HELPED if helpers else NUMBERS,
    }
    words = SYSTEM
    for name, part in parts.items():
        words = words.replace(name, part)
    return f"{words}\n\n{dialect}" if dialect else words


def _listed(helpers: Sequence[str]) -> str:
    if not helpers:
        return ""
    called = [line.partition("): ") for line in helpers]
    return "\n".join(["", AT_HAND, *(f"- `{call})`: {does}" for call, _, does in called), ""])


def task(query: str, loaded: Sequence[Loaded], variables: Sequence[Variable]) -> str:
    """The first user message: what is loaded, what is left from before, the question."""
    parts = [describe(loaded)]
    if variables:
        parts.append("Variables left from earlier questions:\n" + listing(variables))
    parts.append("Question:\n" + query)
    return "\n\n".join(parts)


def describe(loaded: Sequence[Loaded]) -> str:
    """What is loaded, in two lines a context; never any of its text."""
    if not loaded:
        return "No text is loaded: `context` is empty. Work with code and sub-models alone."
    lines = [
        f"- contexts[{info.name!r}]: {count(info.documents, 'document')},"
        f" {info.chars:,} characters, {info.lines:,} lines, about {info.tokens_estimate:,} tokens"
        + _scan(info)
        + (f"\n  {where}" if where else "")
        for info, where in loaded
    ]
    return "Loaded text (not shown; `context` is the first):\n" + "\n".join(lines)


def _scan(info: ContextInfo) -> str:
    """What a look at all of a huge text costs: its characters may be wider than a byte each."""
    stored = info.chars * info.kind.width
    if stored < HUGE_BYTES:
        return ""
    wide = f" at {info.kind.width} bytes a character" if info.kind.width > 1 else ""
    return f"; searching all of it reads {size(stored)}{wide}"


def listing(variables: Sequence[Variable]) -> str:
    """Variables by name, type, size and a short preview."""
    return "\n".join(
        f"- {v.name}: {v.type}{'' if v.size is None else f' of {v.size:,}'} = {v.preview}"
        for v in variables
    )


def report(results: Sequence[CellResult], *, unrun: bool) -> str:
    """What the code of one turn did."""
    parts = [_cell(number, len(results), result) for number, result in enumerate(results, 1)]
    if unrun:
        parts.append(NOT_RUN)
    return "\n\n".join(parts)


def _cell(number: int, count: int, result: CellResult) -> str:
    name = "Output" if count == 1 else f"Output of block {number}"
    size = f" ({result.output_chars:,} characters)" if result.output_chars else ""
    parts = [
        f"{name}{size}:\n{result.output}" if result.output else f"{name}: nothing was printed."
    ]
    if result.error:
        parts.append(result.error)
    if result.restored:
        names = ", ".join(f"`{name}`" for name in result.restored)
        parts.append(f"{names} was overwritten; it is back. Use another name.")
    if result.lost:
        parts.append(LOST)
    return "\n".join(parts)


def footer(turn: int, turns: int | None, left: str) -> str:
    """The last line of a report: where the run stands and what it may still use."""
    place = f"Turn {turn} of {turns} is done." if turns is not None else f"Turn {turn} is done."
    if turns is not None and turns - turn == 1:
        place += " The next turn is the last: call FINAL in it."
    return f"{place} Left: {left}." if left else place


def cut(tokens: int) -> str:
    """What a model is told whose reply was longer than it may be."""
    return CUT.replace("{tokens}", f"{tokens:,}")


def forced(variables: Sequence[Variable]) -> str:
    """Ask for the answer at once, naming the variables that may hold it."""
    if not variables:
        return FORCED
    return FORCED + "\n\nYour variables:\n" + listing(variables)


def numbered(path: str, text: str) -> str:
    """A document under its path, with its line numbers."""
    lines = text.removesuffix("\n").split("\n")
    return "\n".join([f"=== {path} ===", *(f"{n}: {line}" for n, line in enumerate(lines, 1))])


def direct_task(text: str, query: str) -> str:
    """Text first, so that a server's cache serves the next question about it."""
    return f"{text}\n\nQuestion:\n{query}"


def shaped(schema: str) -> str:
    """Behind a question whose answer must fit a JSON Schema."""
    return f"The answer must be JSON that fits this JSON Schema, as FINAL(value): {schema}"


def misfit(why: str) -> str:
    """An answer that does not fit the schema."""
    return f"The answer was not taken: {why}. Give it again as JSON that fits the schema."


def gist(reply: str) -> str:
    """A turn in one line: how its reply began, words and code."""
    lines = [line.strip() for line in reply.splitlines()]
    telling = [line for line in lines if line and not line.startswith(("```", "~~~", "#"))]
    return " ".join(telling)[:GIST_CHARS]


def summary(gists: Sequence[str]) -> str:
    """What stands in the history for turns that were dropped to make room."""
    named = [f"- {number}: {each}" for number, each in enumerate(gists, 1)][-MOST_GISTS:]
    return "\n".join([SUMMARY, *named])


def unread(lacking: Sequence[Covered]) -> str:
    """What a reading of pieces has left out."""
    parts = []
    for each in lacking:
        holes = ", ".join(f"context[{start}:{end}]" for start, end in each.missing)
        parts.append(
            f"Sub-models have read {each.read:,} of {each.pieces:,} pieces of {each.name};"
            f" not read: {holes}."
        )
    return "\n".join(parts)


def doubts(citations: Sequence[Citation]) -> str:
    """Places of an answer that the text does not bear out."""
    lines = [
        f"- {each.path}:{each.start}-{each.end}"
        + (f' "{clip(each.quote, QUOTE_CHARS)}"' if each.quote else "")
        + f": {each.reason}"
        for each in citations[:MOST_DOUBTS]
    ]
    return "\n".join([DOUBTS, *lines, DOUBTS_CURE])


def repeated(turn: int) -> str:
    """Code that was run before and printed the same."""
    return REPEATED.replace("{turn}", f"{turn}")


def folded(chars: int) -> str:
    """What stands in the history for an output that was dropped to make room."""
    return f"[output of {chars:,} characters dropped to save room; print again what you need]"
