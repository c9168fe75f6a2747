"""The official conformance suite against the real server over HTTP, in both revisions."""

import re
from pathlib import Path

import anyio
import pytest
from node_clients import CONFORMANCE, needs_node_clients, node, served

from rlm_mcp.llm.scripted import serve

pytestmark = pytest.mark.anyio

EXPECTED = Path(__file__).parent / "conformance.yml"


@needs_node_clients
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_the_official_suite_finds_no_more_than_what_we_do_not_serve(
    environment_for, tmp_path, revision
):
    with anyio.fail_after(240):
        async with serve(()) as model, served(environment_for(model.url)) as url:
            suite = ["--suite", "all", "--spec-version", revision, "--output-dir", str(tmp_path)]
            code, out, err = await node(
                CONFORMANCE, "server", "--url", url, *suite, "--expected-failures", str(EXPECTED)
            )

    summary = out.partition("=== SUMMARY ===")[2] + err
    assert code == 0, summary
    passed = set(re.findall(r"^✓ ([a-z0-9-]+): ", summary, re.MULTILINE))
    assert passed >= {"tools-list", "tools-call-error", "prompts-list", "completion-complete"}


def test_every_expected_failure_has_a_reason():
    entries = [
        line
        for line in EXPECTED.read_text(encoding="utf-8").splitlines()
        if line.startswith("  - ")
    ]

    assert entries
    assert all(re.fullmatch(r"  - [a-z0-9:-]+ # \S.+", entry) for entry in entries)
