"""The rung below a match: a stretch of text in which at most one token in ten differs."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from rlm_mcp.engine.quotes import DASH, DOUBLE, SINGLE, UNSPACED, Span, Work, part, rough_matches

CHANGED_SHARE = 10
MOST_TOKENS = 400
MOST_PLACES = 20
MOST_COMPARED = 100
SHOWN_DIFFERENCES = 2
SHOWN_CHARS = 40

_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s]")
_FOLDS = str.maketrans(
    dict.fromkeys(DOUBLE, '"') | dict.fromkeys(SINGLE, "'") | dict.fromkeys(DASH, "-")
)


@dataclass(frozen=True, slots=True)
class Likeness:
    """Where a text is like a quote, in how many tokens it differs, and in which first."""

    span: Span
    changes: int
    difference: str


def likenesses(quote: str, text: str, work: Work) -> list[Likeness]:
    """The places with the fewest changed tokens, in order; none if more than one in ten changed.

    A quote of k changes, cut in k + 1 pieces, has a piece without any: its places are found first,
    and tokens are compared around those only. Quotes of less than 10 or more than 400 tokens are
    like nothing.
    """
    tokens = list(_TOKEN.finditer(quote))
    most = len(tokens) // CHANGED_SHARE
    if not most or len(tokens) > MOST_TOKENS:
        return []
    words = [_folded(token[0]) for token in tokens]
    borders = [len(tokens) * n // (most + 1) for n in range(most + 2)]
    pieces = sorted(pairwise(borders), key=lambda piece: piece[0] - piece[1])
    compared = 0
    for first, last in pieces:
        piece = part(quote[tokens[first].start() : tokens[last - 1].end()])
        found = {}
        for span in islice(rough_matches(piece, text, work, (0, len(text))), MOST_PLACES):
            compared += 1
            around = _Around(words, (first, last), len(quote), most)
            like = around.compare(text, span, work)
            if like is not None:
                found[like[0]] = like[1]
        if found:
            fewest = min(found.values())
            return [
                Likeness(span, fewest, _difference(words, text, span))
                for span, changes in sorted(found.items())
                if changes == fewest
            ]
        if compared > MOST_COMPARED:
            break
    return []


def _folded(token: str) -> str:
    return token.translate(_FOLDS)


@dataclass(frozen=True, slots=True)
class _Around:
    """A quote's tokens, those of its piece that was found, its length, and the changes allowed."""

    words: list[str]
    piece: tuple[int, int]
    chars: int
    most: int

    def compare(self, text: str, span: Span, work: Work) -> tuple[Span, int] | None:
        """The stretch of text around the found piece that the whole quote stands for."""
        first, last = self.piece
        room = 3 * self.chars + 500
        before = list(_TOKEN.finditer(text, max(span[0] - room, 0), span[0]))
        before = before[-(first + self.most) :][::-1] if first else []
        behind = list(
            islice(
                _TOKEN.finditer(text, span[1], span[1] + room),
                len(self.words) - last + self.most,
            )
        )
        work.add(2 * room + len(self.words) * (2 * self.most + 1))
        left = changes(self.words[:first][::-1], [_folded(each[0]) for each in before], self.most)
        if left is None:
            return None
        right = changes(
            self.words[last:], [_folded(each[0]) for each in behind], self.most - left[0]
        )
        if right is None:
            return None
        start = before[left[1] - 1].start() if left[1] else span[0]
        end = behind[right[1] - 1].end() if right[1] else span[1]
        return (start, end), left[0] + right[0]


def changes(words: Sequence[str], text: Sequence[str], most: int) -> tuple[int, int] | None:
    """The fewest changes that make `words` a beginning of `text`, and how long that beginning is.

    None if there are more than `most`. Only so far off the diagonal is compared (Ukkonen 1985).
    """
    beyond = most + 1
    row = {j: j for j in range(min(most, len(text)) + 1)}
    for i, word in enumerate(words, 1):
        previous, row = row, {}
        for j in range(max(i - most, 0), min(i + most, len(text)) + 1):
            best = previous.get(j, beyond) + 1
            if j:
                best = min(best, row.get(j - 1, beyond) + 1)
                best = min(best, previous.get(j - 1, beyond) + (text[j - 1] != word))
            row[j] = best
        if not row or min(row.values()) > most:
            return None
    fewest, _, length = min((cost, abs(j - len(words)), j) for j, cost in row.items())
    return (fewest, length) if fewest <= most else None


def _difference(words: Sequence[str], text: str, span: Span) -> str:
    """The first places where a quote and the text differ, in words."""
    there = [_folded(token[0]) for token in _TOKEN.finditer(text, *span)]
    compared = difflib.SequenceMatcher(None, words, there, autojunk=False)
    found = []
    for kind, i, j, k, m in compared.get_opcodes():
        ours, theirs = " ".join(words[i:j])[:SHOWN_CHARS], " ".join(there[k:m])[:SHOWN_CHARS]
        if kind == "replace":
            found.append(f"the text has “{theirs}”, the quote “{ours}”")
        elif kind == "insert":
            found.append(f"the quote lacks “{theirs}”")
        elif kind == "delete":
            found.append(f"“{ours}” is in the quote only")
    return "; ".join(found[:SHOWN_DIFFERENCES])
