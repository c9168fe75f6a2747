"""The match ladder: where a quote stands in a text, and what may differ there.

    verified    the same characters, but for blanks and line ends, the shape of quotation marks and
                dashes, JSON escapes, line numbers in front, and parts left out at an ellipsis
    near        at most one token in ten differs (see `engine.likeness`)
    unverified  all else

Letters, digits and other signs are never folded: a look-alike is another character. A match ends
where words and numbers end, so that "able" is not found in "unable" nor "5 s" in "1.5 s".
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

MOST_QUOTE_CHARS = 8_000
# A quote that identifies its place may stand anywhere in its document (measured on the Python
# standard library: a line of 20 characters or two lines are mostly unique within their file).
LEAST_CHARS, LEAST_LINES, LEAST_LETTERS = 20, 2, 8
LEAST_WORD_CHARS = 3
LEAST_PART_CHARS = 12
GAP_LINES, GAP_CHARS = 20, 2_000
SMALL_GAP_LINES = 3
MOST_MATCHES = 1_000
MOST_ANCHORS = 12
# A long pattern that fails late everywhere would take the square of the time: so it is tried in
# steps, and the characters that were matched in vain are counted.
MOST_UNITS = 100
MOST_VAIN = 8
STEP_CHARS = 64 << 10

# Scripts that set no blanks between words have no word ends to look for.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_LETTER = rf"[^\W{UNSPACED}]"
_NUMBER_FRONT = r"\d[.,]\d$|(?:^|[^\w)\]])[-+\u2212]\d$"
_NUMBER_BACK = r"^\d[.,]\d"
_MARKS_BACK = r"^.[\u0300-\u036f\u20d0-\u20f0]"
_WORD = re.compile(f"{_LETTER}+")
_CUT_FRONT = re.compile(rf"(?<!\\){_LETTER}{_LETTER}$|{_NUMBER_FRONT}")
_CUT_BACK = re.compile(rf"(?s:^{_LETTER}{_LETTER}|{_NUMBER_BACK}|{_MARKS_BACK})")
_CUT_NUMBER_FRONT = re.compile(rf"\d\d$|{_NUMBER_FRONT}")
_CUT_NUMBER_BACK = re.compile(rf"(?s:^\d\d|{_NUMBER_BACK}|{_MARKS_BACK})")

DOUBLE, SINGLE, DASH = '"“”„‟', "'‘’‚‛", "-‐‑‒–—―−"
_UNIT = re.compile(
    rf"(?P<blank>(?:\s|\\[nrt])+)|(?P<dots>\.{{3}}|…)"
    rf"|\\*(?:(?P<double>[{DOUBLE}])|(?P<single>[{SINGLE}]))"
    r"|(?P<hyphens>(?<!-)-{2,3}(?!-))|(?P<long>[–—―])|(?P<dash>[-‐‑‒−])"
    r"|\\?(?P<slash>/)|\\(?P<marked>[_`])|(?P<backslash>\\\\?)|(?P<plain>[^\s\\.…/–—―‐‑‒−"
    rf"{DOUBLE}{SINGLE}-]+|.)",
    re.DOTALL,
)
_ESCAPED_BLANK = re.compile(r"\\([nrt])|\s+")
_ELLIPSIS = re.compile(
    r"^[ \t]*(?:\#|//|--|;|%|/\*)[ \t]*(?:\.{3}|…)[ \t]*(?:\*/)?[ \t]*$"
    r"|\[\s?(?:\.{3}|…)\s?\]|(?<=\s)\((?:\.{3}|…)\)"
    r"|…(?:[ ]?\[[\d,]+[ ]characters\])?|\.{3,}",
    re.MULTILINE,
)
# Lines as `read` and `grep` print them, and as other tools number theirs.
_NUMBERED = re.compile(
    r"[ \t]*(?:(?P<path>[^\s:]{1,400})[:-])?(?P<number>\d{1,9})"
    r"(?:[:|](?!\d)|→|\t|-(?=\s|$))[ ]?(?P<line>.*)"
)
_MORE = re.compile(r"\n… more: read\([^\n]*$")

Span = tuple[int, int]


@dataclass(slots=True)
class Work:
    """How many characters were looked at, and how many may be."""

    most: int
    done: int = 0

    def add(self, chars: int) -> None:
        """Count characters that were looked at."""
        self.done += chars

    def allows(self, chars: int) -> bool:
        """Whether so many more may be looked at."""
        return self.done + chars <= self.most


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a quote without gaps.

    Its patterns match one behind the other; `anchors` are strings that each match holds. An open
    end is one at which an ellipsis cut a word.
    """

    patterns: tuple[re.Pattern[str], ...]
    anchors: tuple[str, ...]
    chars: int
    open_front: bool = False
    open_back: bool = False


class Quote:
    """A quote, read once.

    `identifies`: it is long enough to be looked for in a whole document. `numbered` is what it is
    without the numbers in front of its lines, if each has one.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.whole = part(self.text)
        self.parts = _parts(self.text)
        blankless = " ".join(self.text.split())
        letters = sum(map(str.isalnum, blankless))
        chars = len(blankless)
        if len(self.parts) > 1:
            chars = sum(each.chars for each in self.parts if each.chars >= LEAST_PART_CHARS)
        lines = len([line for line in self.text.split("\n") if line.strip()])
        long = chars >= LEAST_CHARS or (lines >= LEAST_LINES and len(self.parts) == 1)
        self.identifies = long and letters >= LEAST_LETTERS
        self.numbered = _numbered(self.text)


@dataclass(frozen=True, slots=True)
class Numbered:
    """A quote as `read` and `grep` print lines: the first number, the path if any, the text."""

    first: int
    path: str | None
    plain: Quote

    def is_of(self, path: str) -> bool:
        """Whether the lines say they are of this document, or of none."""
        return self.path is None or f"/{path}".endswith("/" + self.path.removeprefix("./"))


def spans(quote: Quote, text: str, work: Work, within: Span | None = None) -> list[Span]:
    """Where a quote stands by the strict rungs, in order, at most 1,000 places.

    Time is linear in the text.
    """
    start, end = within or (0, len(text))
    found = list(_matches(quote.whole, text, work, start, end))
    if not found and quote.parts and not _is_whole(quote):
        # Of chains with the same end, the last is the shortest.
        chains = {span[1]: span for span in _chains(quote.parts, text, work, start, end)}
        found = sorted(chains.values())
    return found


def part(quote: str, open_front: bool = False, open_back: bool = False) -> Part:
    """What finds a stretch of a quote: blanks, quotation marks, dashes and escapes are folded."""
    units = list(_UNIT.finditer(quote))
    while units and units[0]["blank"]:
        del units[0]
    while units and units[-1]["blank"]:
        del units[-1]
    folded = [*map(_folded, units)]
    steps = range(0, len(folded), MOST_UNITS)
    patterns = tuple(re.compile("".join(folded[at : at + MOST_UNITS])) for at in steps)
    plain = {unit["plain"] for unit in units if unit["plain"]}
    anchors = tuple(sorted(plain, key=lambda each: (-len(each), each))[:MOST_ANCHORS])
    return Part(patterns, anchors, len(" ".join(quote.split())), open_front, open_back)


def _folded(unit: re.Match[str]) -> str:
    kind = unit.lastgroup
    match kind:
        case "blank":
            return _blank(unit["blank"])
        case "dots":
            return r"(?:\.{3}|…)"
        case "double" | "single":
            return rf"\\{{0,3}}[{DOUBLE if kind == 'double' else SINGLE}]"
        case "hyphens":
            return rf"(?:{unit['hyphens']}|[–—―])"
        case "long":
            return r"(?:-{1,3}|[‐‑‒–—―−])"
        case "dash":
            return rf"[{re.escape(DASH)}]"
        case "slash":
            return r"\\?/"
        case "marked":
            return rf"\\?{unit['marked']}"
        case "backslash":
            return r"\\{1,2}"
        case _:
            return re.escape(unit["plain"])


def _blank(blank: str) -> str:
    """Blanks stand for any blanks; a line end or tab for its escape too, and the other way round.

    An escape of a tab is not any blank: code may tell the two apart.
    """
    if "\\" not in blank:
        if "\n" in blank:
            return r"(?:\s|\\{1,2}[nr](?:\s|\\{1,2}t)*+)++"
        return r"(?:\s|\\{1,2}t)++" if "\t" in blank else r"\s++"
    literal = _ESCAPED_BLANK.sub(lambda m: rf"\\{{1,2}}{m[1]}" if m[1] else r"\s++", blank)
    real = r"[^\S\n]*+\n\s*+" if re.search(r"\n|\\[nr]", blank) else r"[^\S\t]*+\t\s*+"
    return f"(?:{literal}|{real})"


def _is_whole(quote: Quote) -> bool:
    only = quote.parts[0]
    return len(quote.parts) == 1 and only.patterns == quote.whole.patterns and not only.open_back


def _matches(part: Part, text: str, work: Work, start: int, end: int) -> Iterator[Span]:
    """Where a part stands between two offsets and cuts no word or number, without overlaps."""
    front = _CUT_NUMBER_FRONT if part.open_front else _CUT_FRONT
    back = _CUT_NUMBER_BACK if part.open_back else _CUT_BACK

    def instead(first: int, last: int) -> int | None:
        before, behind = text[max(first - 2, 0) : first + 1], text[last - 1 : last + 2]
        if not front.search(before) and not back.search(behind):
            return None
        if part.open_front:
            return last
        word = _WORD.match(text, first)
        return word.end() if word else first + 1

    yield from islice(rough_matches(part, text, work, (start, end), instead), MOST_MATCHES)


def rough_matches(
    part: Part,
    text: str,
    work: Work,
    within: Span,
    instead: Callable[[int, int], int | None] = lambda *_: None,
) -> Iterator[Span]:
    """Where a part stands between two offsets, also in the midst of words, without overlaps.

    A place that is none is turned down by `instead`, which tells from where on to look again.
    """
    if not part.patterns:
        return
    position, vain = within[0], 0
    for start, last, end in _stretches(part, text, work, within):
        position = max(position, start)
        while position < last:
            match = part.patterns[0].search(text, position, end)
            work.add((match.end() if match else end) - position)
            if match is None or match.start() >= last:
                break
            behind, whole = _go_on(part, text, match.end(), end)
            if whole:
                again = instead(match.start(), behind)
                if again is None:
                    yield match.start(), behind
                position = behind if again is None else again
                continue
            vain += behind - match.start()
            work.add(behind - match.start())
            if vain > MOST_VAIN * (within[1] - within[0]):
                return
            position = match.start() + 1


def _go_on(part: Part, text: str, position: int, end: int) -> tuple[int, bool]:
    """How far a part's later patterns match from where its first one ended, and whether all do."""
    for pattern in part.patterns[1:]:
        match = pattern.match(text, position, end)
        if match is None:
            return position, False
        position = match.end()
    return position, True


def _stretches(part: Part, text: str, work: Work, within: Span) -> Iterator[tuple[int, int, int]]:
    """Where a match may start, from and up to, and where it ends at the latest.

    What lies between the stretches lacks an anchor, and a pattern is never tried there.
    """
    at, end = within
    reach = 4 * part.chars + 4_096
    seen = dict.fromkeys(part.anchors, -1)
    while at < end:
        for anchor, offset in seen.items():
            if offset < at:
                seen[anchor] = text.find(anchor, at, end)
                work.add((end if seen[anchor] < 0 else seen[anchor]) - at)
                if seen[anchor] < 0:
                    return
        least = max(seen.values(), default=at) - reach
        if least > at:
            at = least
            continue
        last = min(at + max(STEP_CHARS, reach), end)
        yield at, last, min(last + reach, end)
        at = last


def _chains(parts: list[Part], text: str, work: Work, start: int, end: int) -> Iterator[Span]:
    """Where the parts follow each other in order, each not far behind the one before."""
    for first, behind in _matches(parts[0], text, work, start, end):
        position = behind
        for following in parts[1:]:
            small = following.chars < LEAST_PART_CHARS
            reach = _reach(text, position, end, SMALL_GAP_LINES if small else GAP_LINES)
            stop = min(reach + 2 * following.chars + 200, end)
            match = next(_matches(following, text, work, position, stop), None)
            if match is None or match[0] > reach:
                break
            position = match[1]
        else:
            yield first, position


def _reach(text: str, position: int, end: int, lines: int) -> int:
    """The offset so many lines further on, and no more than 2,000 characters."""
    end = min(end, position + GAP_CHARS)
    for _ in range(lines + 1):
        position = text.find("\n", position, end) + 1
        if not position:
            return end
    return position


def _parts(quote: str) -> list[Part]:
    """The stretches between a quote's ellipses; one without is a single part."""
    gaps = [(0, 0), *(gap.span() for gap in _ELLIPSIS.finditer(quote)), (len(quote), len(quote))]
    found = []
    for (_, start), (end, _) in pairwise(gaps):
        stretch = quote[start:end]
        if any(not char.isspace() for char in stretch):
            open_front = start > 0 and not stretch[0].isspace()
            open_back = end < len(quote) and not stretch[-1].isspace()
            found.append(part(stretch, open_front, open_back))
    return found


def _numbered(quote: str) -> Numbered | None:
    """A quote without its line numbers; where lines are left out, an ellipsis stands."""
    lines: list[str] = []
    first = last = path = None
    for line in _MORE.sub("", quote).split("\n"):
        if not line.strip():
            continue
        match = _NUMBERED.fullmatch(line)
        number = int(match["number"]) if match else 0
        if match is None or (last is not None and number <= last):
            return None
        if last is not None and match["path"] != path:
            return None
        if last is not None and number > last + 1:
            lines.append("…")
        lines.append(match["line"])
        first, last, path = first or number, number, match["path"]
    plain = "\n".join(lines)
    return Numbered(first, path, Quote(plain)) if first and plain.strip() else None
