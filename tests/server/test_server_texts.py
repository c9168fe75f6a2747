"""The words of results, as a model reads them."""

from dataclasses import replace

import pytest

from rlm_mcp.conduct import Citation
from rlm_mcp.errors import EndpointUnreachable, ReplUnavailable
from rlm_mcp.runs.standing import RunView
from rlm_mcp.server import texts
from rlm_mcp.server.leftovers import MOST_CITATIONS
from rlm_mcp.server.results import ContextLoaded, LoadedContext, RunResult
from rlm_mcp.types import Answer, ContextInfo, Skip, TextKind, Usage

USED = Usage(calls=3, input_tokens=12_345, output_tokens=678, cost=0.0123, seconds=4.0)
ANSWER = Answer(
    run_id="run_1",
    text="In a.py:1-2 and b.py:9.",
    stopped_by="answer",
    citations=(
        Citation("ctx_1", "a.py", 1, 2, found=True, excerpt="x = 1\ny = 2\n"),
        Citation("ctx_1", "b.py", 9, 9, found=False, excerpt=""),
    ),
    root=USED,
    sub=replace(USED, estimated_calls=1),
    turns=2,
    seconds=18.04,
    notes=("No sandbox: the code ran with your rights.",),
)
RUNS = {
    "done": RunView("run_1", "ses_1", answer=ANSWER),
    "out of turns": RunView("run_1", "ses_1", answer=replace(ANSWER, stopped_by="turns")),
    "nothing yet": RunView(
        "run_1", "ses_1", answer=replace(ANSWER, text="", stopped_by="time", citations=())
    ),
    "no endpoint": RunView("run_1", "ses_1", answer=replace(ANSWER, stopped_by="endpoint")),
    "no journal": RunView("run_1", "ses_1", answer=replace(ANSWER, stopped_by="journal")),
    "no server": RunView("run_1", "ses_1", answer=replace(ANSWER, stopped_by="server")),
    "session ended": RunView(
        "run_1", "ses_1", answer=replace(ANSWER, stopped_by="cancelled"), is_open=False
    ),
    "no price": RunView(
        "run_1", "ses_1", answer=replace(ANSWER, root=replace(USED, cost=None), notes=())
    ),
    "running": RunView("run_1", "ses_1", line="turn 2/20 · waiting for m, 9 s · 1 calls · 9 s"),
    "failed": RunView("run_1", "ses_1", error=ReplUnavailable("No guest starts.", "Look why.")),
    "failed for now": RunView(
        "run_1",
        "ses_1",
        error=EndpointUnreachable("Nobody is there.", "Start it."),
        may_go_on=True,
    ),
}


def test_runs_read_well(golden):
    told = []
    for title, view in RUNS.items():
        result = RunResult.of(view)
        words = texts.failed_text if result.status == "failed" else texts.run_text
        told.append(f"=== {title}\n{words(result)}\n")

    golden("runs.txt", "\n".join(told))


def test_a_loaded_context_reads_well(golden, tmp_path):
    info = ContextInfo(
        id="ctx_1",
        name="src",
        documents=1204,
        bytes=41_000_000,
        chars=40_000_000,
        lines=1_000_000,
        tokens_estimate=10_000_000,
        skipped=tuple(Skip(f"lib/{number}.so", "binary") for number in range(25)),
        kind=TextKind.ASCII,
        blob=tmp_path,
        manifest=tmp_path,
    )

    loaded = ContextLoaded.of("ses_1", LoadedContext.of(info))
    golden("loaded.txt", texts.loaded_text(loaded) + "\n")


@pytest.mark.parametrize("number", [MOST_CITATIONS, MOST_CITATIONS + 1])
def test_citations_beyond_the_cap_are_counted(number):
    many = tuple(replace(ANSWER.citations[0], start=line) for line in range(number))
    result = RunResult.of(RunView("run_1", "ses_1", answer=replace(ANSWER, citations=many)))

    assert len(result.citations) == MOST_CITATIONS
    assert any(f"of {number} citations" in note for note in result.notes) == (
        number > MOST_CITATIONS
    )
