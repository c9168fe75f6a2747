"""What an answer rests on, as it says itself: places, and the quotes that stand with them."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from rlm_mcp.engine.marks import Marked, marked, unwrapped
from rlm_mcp.engine.quotes import LEAST_CHARS, LEAST_WORD_CHARS

# An answer with more than so many places and quotes is not read to its end.
MOST_READ = 20_000

Known = Callable[[str], bool]

_PATH = r"[^\s`'\"()\[\]<>,;:*]"
# Tried only where a path can begin and over no more than one can have: linear in any answer.
_PLACE = re.compile(
    rf"(?<!{_PATH})(?P<path>{_PATH}{{1,400}}+)"
    r":L?(?P<start>\d{1,9})(?:[-–]L?(?P<end>\d{1,9}))?"
)
_ONLY_PLACE = re.compile(rf"[\s(\[{{]*{_PLACE.pattern}[\s)\]}}.,;:]*")
_WORD = re.compile(rf"(?<!{_PATH}){_PATH}{{1,400}}+(?P<colon>:)?")
_NAME = re.compile(r"[\w.$:#@/-]+(?:\(\))?")
_KEY = re.compile(r"\s*:")
_LIST_MARK = r"[ \t]*(?:[-*+•|>]|\d{1,3}[.)])?[ \t]*"
_NEW_LINE = re.compile(rf"[^\n]*\n(?:[ \t]*\n)?{_LIST_MARK}")
_ONE_WORD = re.compile(r"(?:[^\w.;!?]|[.;!?](?!\s))*(?:\w+(?:[^\w.;!?]|[.;!?](?!\s))*)?")
_FEW_WORDS = re.compile(r"[^\w\n.;!?]*(?:\w+[^\w\n.;!?]+){0,4}")
_PARENTHESIS = re.compile(r"[\s*_,.;:]{0,4}[-–—]?\s?[(\[][\s`*\[(]{0,4}(?:\w+ ){0,3}[`*\[(]{0,3}")
_CREDIT = re.compile(
    r"\s{0,8}(?:[-–—~(\[*_`]{1,4}\s?|(?:source|from|in|at|see):?\s)[\s`*(\[]{0,4}", re.IGNORECASE
)
_CREDIT_END = re.compile(
    rf"(?:^|\s)[-–—~(\[]{{1,3}}[\s*_`(\[]{{0,4}}(?:\w+:? ){{0,2}}[`*(\[]{{0,3}}{_PLACE.pattern}"
    r"[)\]*_`. ]{0,6}$"
)
_PASTED = re.compile(rf"[ \t]*{_PLACE.pattern}(?::[ \t]*|[ \t]+)(?P<line>\S[^\n]*)")
_COMMENT_LINE = re.compile(rf"\s*(?:#|//|--|/\*|;|<!--|%)[^\n]{{0,40}}?{_PLACE.pattern}[^\n]*")
_WORDLESS = re.compile(r"[^\w\n]*")
_REACH = 600
_FRONT_REACH = 80


@dataclass(frozen=True, slots=True)
class Claim:
    """A place and a quote that is said to stand there.

    `first` and `last` are None where only a document is named. `sure` False: the marked text may
    be a name and no quote, and counts only where it is found.
    """

    path: str
    first: int | None
    last: int | None
    quote: str | None
    sure: bool = True


@dataclass(slots=True)
class _Place:
    start: int
    end: int
    path: str
    first: int
    last: int
    reach: int
    took_front: bool = False


def claims(text: str, known: Known) -> Iterator[Claim]:
    """The places of an answer that are documents, with their quotes, in order and one at a time.

    A quote belongs to a place in parentheses behind it, else to the place before it, on the same
    line or the line above, else to one close behind it. `known` says whether a path is a document.
    """
    return _Reader(text, known).claims()


class _Reader:
    def __init__(self, text: str, known: Known) -> None:
        self.text, self.known = text, known
        self.quotes: list[Marked] = []
        outside: list[_Place] = []
        position = 0
        self.inside: list[_Place] = []
        for quote in marked(text):
            if quote.kind in {"marks", "code"} and self._names(quote.text):
                continue
            outside += self._places(position, quote.start)
            self.quotes.append(quote)
            self.inside += self._places(quote.start, quote.end)
            position = quote.end
            if len(self.quotes) + len(outside) > MOST_READ:
                break
        self.outside = [*outside, *self._places(position, len(text))]
        self.starts = [place.start for place in self.outside]

    def claims(self) -> Iterator[Claim]:
        """In the order of the places, bare ones at their own place, quotes at theirs."""
        bare = sorted([*self.outside, *self.inside], key=lambda place: place.start)
        done = 0
        for quote in self.quotes:
            while done < len(bare) and bare[done].start < quote.start:
                yield _bare(bare[done])
                done += 1
            yield from self._of(quote)
        yield from map(_bare, bare[done:])

    def _names(self, content: str) -> bool:
        """Whether marked text is a place or a document's path, and so no quote."""
        place = _ONLY_PLACE.fullmatch(content)
        return self.known(place["path"] if place else content.strip())

    def _places(self, start: int, end: int) -> list[_Place]:
        found = (
            _Place(
                match.start(),
                match.end(),
                match["path"],
                int(match["start"]),
                int(match["end"] or match["start"]),
                match.end(),
            )
            for match in _PLACE.finditer(self.text, start, end)
            if self.known(match["path"])
        )
        return list(islice(found, MOST_READ))

    def _of(self, quote: Marked) -> Iterator[Claim]:
        if quote.kind == "fence" and (opening := self._in_first_line(quote)) is not None:
            yield opening
            return
        if quote.kind != "fence" and (credit := self._at_the_end(quote)) is not None:
            yield credit
            return
        if quote.kind != "marks" and (pasted := self._pasted(quote)):
            yield from pasted
            return
        content = _content(quote)
        if sum(map(str.isalnum, content)) < LEAST_WORD_CHARS:
            return
        if quote.kind == "marks" and _KEY.match(self.text, quote.end):
            return
        index = bisect_left(self.starts, quote.end)
        behind = self.outside[index] if index < len(self.outside) else None
        before = self.outside[index - 1] if index else None
        place, gap = self._governing(quote, before, behind)
        if place is not None:
            short = len(content) < LEAST_CHARS and "\n" not in content
            sure = not short or (not _NAME.fullmatch(content) and bool(_ONE_WORD.fullmatch(gap)))
            yield Claim(place.path, place.first, place.last, content, sure)
            return
        path = self._bare_path(quote, before)
        if path is not None:
            yield Claim(path, None, None, content)

    def _governing(
        self, quote: Marked, before: _Place | None, behind: _Place | None
    ) -> tuple[_Place | None, str]:
        """The place a quote belongs to, and what stands between the two."""
        inline = quote.kind in {"marks", "code"}
        back = front = None
        if before is not None and not before.took_front and quote.start - before.reach <= _REACH:
            gap = self.text[before.reach : quote.start]
            if self._follows(quote, gap) and self._path_in(gap, quote) is None:
                back = gap
        if behind is not None and behind.start - quote.end <= _FRONT_REACH:
            gap = self.text[quote.end : behind.start]
            if self._precedes(quote, gap) or (inline and _PARENTHESIS.fullmatch(gap)):
                front = gap
        if behind is not None and front is not None:
            close = back is not None and _WORDLESS.fullmatch(back)
            lines = back is not None and "\n" in back
            credited = inline and (lines or _PARENTHESIS.fullmatch(front))
            if back is None or (credited and not close):
                behind.took_front = True
                return behind, front
        if before is not None and back is not None:
            before.reach = quote.end
            return before, back
        return None, ""

    @staticmethod
    def _follows(quote: Marked, gap: str) -> bool:
        if quote.kind in {"block", "fence"}:
            return bool(re.fullmatch(r"[^\n]*\n(?:[ \t]*\n)?[ \t]*", gap))
        return "\n" not in gap or _NEW_LINE.fullmatch(gap) is not None

    @staticmethod
    def _precedes(quote: Marked, gap: str) -> bool:
        if quote.kind in {"block", "fence"}:
            return _CREDIT.fullmatch(gap) is not None
        return bool(_FEW_WORDS.fullmatch(gap) or _CREDIT.fullmatch(gap))

    def _bare_path(self, quote: Marked, before: _Place | None) -> str | None:
        """A document named without lines right before a quote, or in parentheses behind it."""
        front = _PARENTHESIS.match(self.text, quote.end)
        if front is not None and (word := _WORD.match(self.text, front.end())) is not None:
            path = word[0].rstrip(":.")
            if _is_path(path) and self.known(path):
                return path
        start = max(quote.start - _REACH // 2, before.end if before else 0)
        return self._path_in(self.text[start : quote.start], quote)

    def _path_in(self, gap: str, quote: Marked) -> str | None:
        """The last document that is named in front of a quote, if few words come between."""
        for word in reversed(list(_WORD.finditer(gap))[-6:]):
            path = word[0].rstrip(":.")
            if (_is_path(path) or word["colon"]) and self.known(path):
                return path if self._follows(quote, gap[word.end() :]) else None
            if word[0][-1] in ".;!?":
                return None
        return None

    def _in_first_line(self, quote: Marked) -> Claim | None:
        """Of a fence that says in its first line, or a comment in the next, where it is from."""
        named = _PLACE.search(quote.opening)
        body = quote.text
        if named is None and (named := _COMMENT_LINE.match(body)) is not None:
            body = body[named.end() :]
        if named is None or not self.known(named["path"]) or not body.strip():
            return None
        return _claim(named, body)

    def _at_the_end(self, quote: Marked) -> Claim | None:
        """Of a quote that ends with its source."""
        body = quote.text.rstrip()
        named = _CREDIT_END.search(body, max(len(body) - _REACH, 0))
        if named is None or not self.known(named["path"]) or not body[: named.start()].strip():
            return None
        return _claim(named, unwrapped(body[: named.start()]))

    def _pasted(self, quote: Marked) -> list[Claim]:
        """Of lines that all begin with their place, as `grep` prints them."""
        found = []
        for line in quote.text.splitlines():
            named = _PASTED.fullmatch(line)
            if named is not None and self.known(named["path"]):
                found.append(_claim(named, unwrapped(named["line"])))
            elif line.strip():
                return []
        return found


def _is_path(word: str) -> bool:
    return "." in word or "/" in word


def _bare(place: _Place) -> Claim:
    return Claim(place.path, place.first, place.last, None)


def _claim(named: re.Match[str], quote: str) -> Claim:
    first = int(named["start"])
    return Claim(named["path"], first, int(named["end"] or first), quote.strip("\n"))


def _content(quote: Marked) -> str:
    """The quote itself; a comma or full stop in front of the last mark is the answer's own."""
    if quote.kind == "fence":
        return quote.text.strip("\n")
    content = unwrapped(quote.text)
    return content.rstrip(".,") if quote.kind == "marks" and content[-2:] != ".." else content
