"""What a request needs of the disk is read in threads: the requests of others go on meanwhile."""

import pytest
from blockbuster import blockbuster_ctx
from mcp import types

from rlm_mcp.server import views

pytestmark = pytest.mark.anyio


async def test_no_request_reads_the_disk_on_the_event_loop(team, tmp_path):
    (tmp_path / "notes.txt").write_text("some text", encoding="utf-8")
    source = types.PromptReference(name="ask_codebase")
    async with team(roots=str(tmp_path)) as t, t.client("alice") as alice:
        with blockbuster_ctx("rlm_mcp") as watched:
            for each in watched.functions.values():
                each.can_block_in("rlm_mcp/runs/writer.py", "_write")  # a commit: see there
            # Written anew, the file of tokens is read anew.
            t.file.write_text(t.file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
            loaded = await alice.call("load_context", source=str(tmp_path))
            page = await alice.client.read_resource(views.URI)
            asked = {"name": "source", "value": f"{tmp_path}/n"}
            offered = (await alice.client.complete(source, asked)).completion.values

    assert loaded["context"]["documents"] == 1
    assert page.contents[0].text.startswith("<!doctype html>")
    assert offered == [f"{tmp_path}/notes.txt"]
