"""The system prompt of a run: what the REPL offers and how to work in it, for the model at hand.

It is generated from the windows, the slots and the helpers there are, and never changes within a
run, so that a server's prefix cache serves every turn. An example of a whole run, if only of
another task, lifts the first steps (arXiv 2512.24601, figure 4a).
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
- `llm_query_batched(prompts)`: the same for a list, {slots} in order. Prefer it
  to a loop. An item that failed is a `Failed` value, not a str.
- `rlm_query(prompt, context=None)` and `rlm_query_batched(prompts)`: {recursion}
- `FINAL(value)`: ends the run with that answer. `FINAL_VAR("name")`: ends it with that variable.
- `SHOW_VARS()`: lists your variables.
{helpers}
How to work:
1. Look first: sizes, paths, a few hundred characters of what matters.
2. {search} Count with code, not by eye.
3. Ask sub-models only about pieces you have cut out, many in one batch.
4. Put results into variables and print only what you need; {output}
5. Check the answer against the text, then call FINAL in a block.

In the answer, name the places it rests on as `path:line` or `path:first-last`, each with the words
that say so in double quotes, copied exactly: src/app.py:12 "def main(argv):". {numbers}
{example}
Common mistakes:
- answering before looking, or from memory: the text may differ from what you know
- writing FINAL next to code whose output you have not seen
- printing whole documents instead of searching them
- one sub-call per line: group many lines into one prompt
- stopping after the first pieces when the question is about all of the text
- counting with a pattern that matches too much or too little: print a few of its matches
- taking a `Failed` item for an answer
- guessing line numbers instead of computing them
"""

EXAMPLE = """
A run on another text, asked which service restarts most and why:

```repl
import re
from collections import Counter
hits = [(m[1], m.start()) for m in re.finditer(r"(\\w+) restarted", context)]
print(Counter(name for name, _ in hits).most_common(3))
```

It prints [('payments', 41), ('mail', 3)]. The next block:

```repl
spots = [context[max(0, at - 1500) : at + 500] for name, at in hits if name == "payments"]
whys = llm_query_batched([f"In three words, why did payments restart?\\n\\n{s}" for s in spots])
print(Counter(map(str, whys)).most_common(3), files.at(hits[0][1]))
```

It prints [('out of memory', 38), ...] ('app.log', 812). The last block:

```repl
FINAL('payments, 41 times, mostly out of memory: app.log:812 "payments restarted (oom)"')
```
"""
# An example that takes more than this share of the window costs more than it gives.
EXAMPLE_WINDOW_TOKENS = 12_000

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

CAPACITY = "one prompt may hold about\n  {chars} characters"
CAPACITY_UNKNOWN = "keep one prompt under about\n  {chars} characters"
UNKNOWN_CHARS = 12_000
CUT_BY = ", as `chunks(text, {tokens})` cuts them"
CHARS_PER_TOKEN = 4  # of `chunks`
SLOTS = "{slots} at the same time,"
ONE_SLOT = "one after the other,"
RECURSION_ON = (
    "a sub-run with a REPL of its own over the\n  text you pass (yours if none). For parts that"
    " need several steps; it costs many calls."
)
RECURSION_OFF = "here the same as llm_query."
OUTPUT = "of one output you see\n   at most {chars} characters, its head and tail."


@dataclass(frozen=True, slots=True)
class Means:
    """What a run has to work with, as far as the root model is told.

    The windows are in tokens, None if unknown. `slots` is how many sub-calls are answered at a
    time, `output_chars` what is shown of one output. `helpers` are functions of the REPL, a line
    each; `dialect` is what the model must know of a Python that is not the one it knows.
    """

    window_tokens: int | None
    sub_window_tokens: int | None
    slots: int
    output_chars: int
    recursion: bool
    helpers: Sequence[str] = ()
    dialect: str | None = None


def system(means: Means) -> str:
    """The system prompt of a run: all that does not change while it goes on."""
    helped, window = bool(means.helpers), means.window_tokens
    has_room = window is None or window >= EXAMPLE_WINDOW_TOKENS
    parts = {
        "{capacity}": _capacity(means.sub_window_tokens, helped=helped),
        "{slots}": ONE_SLOT if means.slots == 1 else SLOTS.replace("{slots}", f"{means.slots:,}"),
        "{recursion}": RECURSION_ON if means.recursion else RECURSION_OFF,
        "{helpers}": _listed(means.helpers),
        "{search}": SEARCH_HELPED if helped else SEARCH,
        "{output}": OUTPUT.replace("{chars}", f"{means.output_chars:,}"),
        "{numbers}": NUMBERS_HELPED if helped else NUMBERS,
        "{example}": EXAMPLE if has_room else "",
    }
    words = SYSTEM
    for name, part in parts.items():
        words = words.replace(name, part)
    return f"{words}\n\n{means.dialect}" if means.dialect else words


def _capacity(window_tokens: int | None, *, helped: bool) -> str:
    """What one prompt of a sub-call may hold: half the window, at 3 characters a token."""
    words, chars = CAPACITY_UNKNOWN, UNKNOWN_CHARS
    if window_tokens is not None:
        words = CAPACITY
        chars = int(round(window_tokens * 1.5, -3 if window_tokens > 4000 else -2))
    by = CUT_BY.replace("{tokens}", f"{chars // CHARS_PER_TOKEN:.0f}") if helped else ""
    return words.replace("{chars}", f"{chars:,.0f}") + by + "."


def _listed(helpers: Sequence[str]) -> str:
    if not helpers:
        return ""
    called = [line.partition("): ") for line in helpers]
    return "\n".join(["", AT_HAND, *(f"- `{call})`: {does}" for call, _, does in called), ""])
