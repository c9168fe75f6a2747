"""A cheap guess of how many tokens a text is, for text whose tokenizer is not at hand.

Within -6 to +19 % of four tokenizers on prose, code, JSON, logs, tables and Chinese, where a fixed
number of characters per token is wrong by up to 2.9 times; base64 comes out at half.
"""

import re
import string
from collections.abc import Callable

_SAMPLE_CHARS = 64 << 10
_WINDOW_CHARS = 8 << 10

_LETTERS = string.ascii_letters.encode("ascii")
_DIGITS = string.digits.encode("ascii")
_SPACES = string.whitespace.encode("ascii")
_LETTERS_ONLY = bytes(byte if byte in _LETTERS else ord(" ") for byte in range(256))
_BREAK = re.compile(rb"\n+|[ \t]{2,}")


def estimate_tokens(text: str) -> int:
    """About how many tokens `text` is; 0 only for no text. Costs a few milliseconds at most."""
    return estimate_sampled(len(text), lambda start, end: text[start:end])


def estimate_sampled(
    chars: int, read: Callable[[int, int], str], *, sample_chars: int = _SAMPLE_CHARS
) -> int:
    """The same for a text of `chars` characters of which `read(start, end)` gives a slice.

    A text longer than `sample_chars` is read in evenly spaced windows of that total length.
    """
    if chars <= sample_chars:
        return _rounded(_weigh(read(0, chars)), chars)
    count = sample_chars // _WINDOW_CHARS
    last = chars - _WINDOW_CHARS
    starts = (last * number // (count - 1) for number in range(count))
    weight = sum(_weigh(read(start, start + _WINDOW_CHARS)) for start in starts)
    return _rounded(weight * chars / (count * _WINDOW_CHARS), chars)


def _rounded(tokens: float, chars: int) -> int:
    return max(round(tokens), 1 if chars else 0)


def _weigh(text: str) -> float:
    """Whole tokens for words, fractions for digits, signs, other scripts and breaks."""
    raw = text.encode("ascii", "replace")
    wide = len(text) - len(text.encode("ascii", "ignore"))
    words = sum(map(_weigh_word, raw.translate(_LETTERS_ONLY).split()))
    digits = len(raw) - len(raw.translate(None, _DIGITS))
    signs = len(raw.translate(None, _LETTERS + _DIGITS + _SPACES)) - wide
    breaks = len(_BREAK.findall(raw))
    return words + 0.55 * digits + 0.75 * signs + 0.8 * wide + 0.7 * breaks


def _weigh_word(word: bytes) -> float:
    # A longer run of letters is no word (DNA, base64): tokenizers cut it far finer.
    return (len(word) + 5) // 6 if len(word) <= 18 else len(word) / 2.2
