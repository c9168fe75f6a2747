"""Events as the journal keeps them: JSON and back."""

import pytest

from rlm_mcp.conduct import Citation
from rlm_mcp.events import CellEnded, RunEnded, from_json, to_json
from rlm_mcp.types import Usage

USED = Usage(1, 10, 5, None, 0, None, 1.0)


def cell(output):
    return CellEnded("1.2", "c1", 3, "ok", output, len(output), None, 0.5, lost=True)


def ended(answer, excerpt):
    cited = Citation("ctx_1", "a.py", 1, 2, found=True, excerpt=excerpt)
    return RunEnded("", "answer", answer, (cited,), USED, USED, 2, 1.5, ("mind the gap",))


@pytest.mark.parametrize("event", [cell("ä\u2028\U0001f600"), ended("yes", "x = 1\n")])
def test_an_event_comes_back_as_it_was(event):
    assert from_json(to_json(event)) == event


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (cell("a\ud800\u00e4"), cell("a?\u00e4")),
        (ended("\udfff", "x"), ended("?", "x")),
        (ended("yes", "x\udc80"), ended("yes", "x?")),
    ],
)
def test_what_has_no_utf_8_form_costs_an_event_that_character_only(event, kept):
    assert from_json(to_json(event)) == kept
