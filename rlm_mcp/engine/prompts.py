"""What the root model reads while it works: its task, and reports of what its code did.

The shape is the paper's (arXiv 2512.24601, algorithm 1 and appendix): constant-size metadata first,
then code, then a constant-size view of its output. The words are ours. What changes stands
last, so that a server's prefix cache serves every turn.
"""

from collections.abc import Sequence

from rlm_mcp.conduct import Citation, Covered
from rlm_mcp.types import CellResult, ContextInfo, Variable
from rlm_mcp.words import clip, count, size

HUGE_BYTES = 1 << 30
BLOCK = "```repl\n{code}\n```"
NO_CODE = """\
There was no code block in that reply and no answer, so nothing was run. Write one block:

{block}

or, if you are done, a block that calls FINAL("your answer with its places")."""
EXAMPLE_ANSWERS = frozenset(
    {
        "the answer in words",
        "your answer with its places",
        'payments, 41 times, mostly out of memory: app.log:812 "payments restarted (oom)"',
    }
)
LOOK_FIRST = """\
That answer was given before looking at the text, so it was not taken. Look with a code block first;
if you are sure, give the same answer again."""
FINAL_BESIDE_CODE = """\
The FINAL beside the code was not taken: it was written before the code had run. The output is
above. If it supports the answer, call FINAL now."""
FINAL_EMPTY = "FINAL was empty, so it was not taken. Call FINAL with the answer in words."
FINAL_EXAMPLE = "That was an example or a placeholder, no answer. Call FINAL with what you found."
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
NOT_TAKEN = "The answer was not taken yet. Said once; the next one is taken as it is."
UNREAD = "If the question is about all of the text, read the rest; if not, call FINAL again."
UNSEEN = "No output shows {number}: compute and print it with code, then call FINAL."
STILL = """\
Your variables have not changed for some blocks: if one of them holds the answer, call FINAL_VAR
with its name."""
DOUBTS = "These places do not bear it out:"
DOUBTS_CURE = """\
Look them up, then call FINAL with places and quotes as they stand in the text, or without what is
not there."""
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


def no_code(form: str) -> str:
    """A reply in which nothing was to be run. `form` is how this model gives code."""
    return NO_CODE.replace("{block}", form.replace("{code}", "print(len(context))"))


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


def unread(lacking: Sequence[Covered], first: str | None) -> str:
    """What a reading of pieces has left out; "" for nothing. `first` is what `context` holds."""
    parts = []
    for each in lacking:
        text = "context" if each.context == first else f"contexts[{each.context!r}].text"
        holes = ", ".join(f"{text}[{start}:{end}]" for start, end in each.missing)
        parts.append(
            f"Sub-models have read {each.read:,} of {each.pieces:,} pieces of {each.name};"
            f" not read: {holes}."
        )
    return "\n".join(parts)


def unseen(number: str) -> str:
    """A number in an answer that the model has seen nowhere."""
    return UNSEEN.replace("{number}", number)


def failed(number: int) -> str:
    """Sub-calls without an answer, as the beginning of a sentence."""
    return f"{count(number, 'sub-call')} failed"


def part(taken: int, chars: int) -> str:
    """A program that has looked at one slice of the text alone."""
    return f"Code has worked on {taken:,} of {chars:,} characters of `context`."


def doubts(citations: Sequence[Citation]) -> str:
    """Places of an answer that the text does not bear out."""
    lines = [
        f"- {_place(each)}"
        + (f' "{clip(each.quote, QUOTE_CHARS)}"' if each.quote else "")
        + f": {each.reason}"
        for each in citations[:MOST_DOUBTS]
    ]
    return "\n".join([DOUBTS, *lines, DOUBTS_CURE])


def _place(citation: Citation) -> str:
    first, last = citation.claimed or (citation.start, citation.end)
    if not first:
        return citation.path
    return f"{citation.path}:{first}" + (f"-{last}" if last != first else "")


def repeated(turn: int) -> str:
    """Code that was run before and printed the same."""
    return REPEATED.replace("{turn}", f"{turn}")


def folded(chars: int) -> str:
    """What stands in the history for an output that was dropped to make room."""
    return f"[output of {chars:,} characters dropped to save room; print again what you need]"
