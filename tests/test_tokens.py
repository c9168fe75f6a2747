"""The estimate is near what tokenizers count, and its cost does not grow with the text."""

import pytest

from rlm_mcp.tokens import estimate_sampled, estimate_tokens


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        (" ", 1, 1),
        ("The quick brown fox jumps over the lazy dog.", 9, 12),
        ("2026-01-02 03:04:05,678 ERROR [svc-3] timed out after 300ms", 24, 34),
        ("0.123,4.567,8.901\n" * 10, 100, 160),
        ("这是一个句子。", 4, 8),
        ("ACGT" * 100, 130, 250),
        ("\ud800", 1, 1),
    ],
)
def test_an_estimate_is_near_the_count(text, least, most):
    assert least <= estimate_tokens(text) <= most


def test_a_long_text_is_sampled_all_over():
    half = 50_000
    text = "word " * half + "0,1;2 " * half
    parts = estimate_tokens("word " * half) + estimate_tokens("0,1;2 " * half)
    assert abs(estimate_tokens(text) - parts) < parts * 0.1


def test_a_sample_reads_no_more_than_it_was_allowed():
    read = []

    def slice_of(start, end):
        read.append((start, end))
        return "word " * ((end - start) // 5)

    estimate = estimate_sampled(10**9, slice_of, sample_chars=128 << 10)
    assert sum(end - start for start, end in read) <= 128 << 10
    assert (read[0][0], read[-1][1]) == (0, 10**9)
    assert estimate == pytest.approx(10**9 / 5, rel=0.01)
