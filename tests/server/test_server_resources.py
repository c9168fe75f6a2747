"""Contexts and runs as resources: listed, announced, and read in ranges."""

import json

import anyio
import pytest
from mcp import MCPError, types
from mcp.server.subscriptions import ResourcesListChanged

from rlm_mcp.server import resources

pytestmark = pytest.mark.anyio


async def read(b, uri):
    return (await b.client.read_resource(uri)).contents[0].text


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep dir").mkdir(parents=True)
    lines = "".join(f"line {number}\n" for number in range(1, 30_001))
    (folder / "deep dir" / "long#1.txt").write_text(lines, encoding="utf-8")
    (folder / "short.txt").write_text("ü\nv\nw", encoding="utf-8")
    (folder / "blob.bin").write_bytes(b"\x00\x01")
    return folder


async def test_a_manifest_names_documents_and_skipped_files(bench, era, folder):
    async with bench((), era) as b:
        context = (await b.call("load_context", source=str(folder), name="f"))["context"]
        result = await b.client.read_resource(context["uri"])

    manifest = json.loads(result.contents[0].text)
    assert result.contents[0].mime_type == "application/json"
    assert [(f["path"], f["lines"]) for f in manifest["files"]] == [
        ("deep dir/long#1.txt", 30_000),
        ("short.txt", 3),
    ]
    assert manifest["skipped_files"] == [["blob.bin", "binary"]]
    assert (manifest["name"], manifest["page"], manifest["pages"]) == ("f", 1, 1)


async def test_a_long_manifest_is_paged(bench, folder, monkeypatch):
    monkeypatch.setattr(resources, "MANIFEST_ROWS", 1)
    async with bench() as b:
        context = (await b.call("load_context", source=str(folder)))["context"]
        first = json.loads(await read(b, context["uri"]))
        second = json.loads(await read(b, first["next"]))

    assert [f["path"] for f in first["files"] + second["files"]] == [
        "deep dir/long#1.txt",
        "short.txt",
    ]
    assert second["next"] is None


async def test_all_lines_of_a_document_can_be_read_by_following_its_uris(bench, era, folder):
    async with bench((), era) as b:
        context = (await b.call("load_context", source=str(folder)))["context"]
        uri = json.loads(await read(b, context["uri"]))["files"][0]["uri"]
        read_lines, pages = [], 0
        while uri:
            text = await read(b, uri)
            body, _, more = text.partition("\n… [")
            assert len(text) <= resources.MOST_CHARS + 500
            read_lines += body.splitlines()
            uri = more.partition("more: ")[2].partition(",")[0]
            pages += 1

    assert read_lines == [f"line {number}" for number in range(1, 30_001)]
    assert pages > 2


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "ü\nv\nw"),
        ("?start=2", "v\nw"),
        ("?start=2&end=2", "v\n"),
        ("?end=1", "ü\n"),
        ("?start=3&end=99", "w"),
        ("?chars=0-3", "ü\nv"),
        ("?chars=4-99", "w"),
        ("?chars=9-5", ""),
    ],
)
async def test_a_range_of_lines_is_read(bench, folder, query, text):
    async with bench() as b:
        context = (await b.call("load_context", source=str(folder)))["context"]

        assert await read(b, f"{context['uri']}/files/short.txt{query}") == text


async def test_all_of_a_text_can_be_read_by_following_its_uris(bench, era):
    whole = "0123456789" * 25_000
    async with bench((), era) as b:
        context = (await b.call("load_context", text=whole))["context"]
        uri, pieces = f"{context['uri']}/text", []
        while uri:
            body, _, more = (await read(b, uri)).partition("\n… [")
            pieces.append(body)
            uri = more.partition("more: ")[2].partition("]")[0]
        part = await read(b, f"{context['uri']}/text?start=10&end=15")

    assert "".join(pieces) == whole
    assert len(pieces) == 3
    assert part == "01234"


async def test_a_line_longer_than_a_page_is_cut_and_says_where_the_rest_is(bench, tmp_path):
    (tmp_path / "wide.txt").write_text("x" * 150_000, encoding="utf-8")
    async with bench() as b:
        context = (await b.call("load_context", source=str(tmp_path / "wide.txt")))["context"]
        uri = f"{context['uri']}/files/wide.txt"
        text = await read(b, uri)
        first, _, more = (await read(b, f"{uri}?chars=0-150000")).partition("\n… [")
        second = await read(b, more.partition("more: ")[2].partition("]")[0])

    assert text.count("x") < 100_100
    assert f"{uri}?chars=0-150000" in text
    assert first + second == "x" * 150_000


async def test_characters_without_a_utf_8_form_do_not_break_the_wire(bench):
    async with bench() as b:
        context = (await b.call("load_context", text="a\ud800b"))["context"]

        assert await read(b, f"{context['uri']}/text") == "a?b"


async def test_a_run_and_its_answer_are_resources(bench, era):
    async with bench(["```repl\nFINAL('so')\n```"], era) as b:
        await b.call("load_context", text="alpha")
        run = await b.call("rlm_query", query="Why?")
        trace = await read(b, f"rlm://run/{run['run_id']}")
        answer = await read(b, f"rlm://run/{run['run_id']}/answer")
        view = (await b.client.read_resource(f"rlm://run/{run['run_id']}/view")).contents[0]

    assert view.mime_type == "text/html"
    assert view.text.startswith("<!doctype html>")
    assert run["run_id"] in view.text
    assert trace.startswith(f"run {run['run_id']} · done")
    assert "Why?" in trace
    assert answer == "so"


@pytest.mark.parametrize(
    "uri",
    [
        "rlm://context/ctx_00000000000000000000",
        "rlm://context/../../etc/passwd",
        "rlm://run/run_gone",
        "rlm://run/run_gone/answer",
        "rlm://run/run_gone/view",
        "rlm://other/x",
        "file:///etc/passwd",
        "rlm://[context/x",
    ],
)
async def test_what_is_not_there_is_invalid_params_with_the_uri(bench, era, uri):
    async with bench((), era) as b:
        with pytest.raises(MCPError) as raised:
            await b.client.read_resource(uri)

    assert raised.value.code == types.INVALID_PARAMS
    assert raised.value.error.data == {"uri": uri}


@pytest.mark.parametrize(
    "rest",
    [
        "/files/none.txt",
        "/files/",
        "/other",
        "?page=9",
        "/text?start=x",
        "/text?start=-1",
        "/text?end=1" + "0" * 5000,
        "?page=1" + "0" * 18,
        "/files/short.txt?chars=x",
        "/files/short.txt?chars=0-1" + "0" * 5000,
        "/files/short.txt?start=" + "9" * 5000,
    ],
)
async def test_what_a_context_does_not_have_is_told(bench, folder, rest):
    async with bench() as b:
        context = (await b.call("load_context", source=str(folder)))["context"]
        with pytest.raises(MCPError) as raised:
            await b.client.read_resource(context["uri"] + rest)

    assert raised.value.code == types.INVALID_PARAMS


async def test_loaded_contexts_are_listed_in_pages(bench, era, monkeypatch):
    monkeypatch.setattr(resources, "LIST_ROWS", 2)
    async with bench((), era) as b:
        for text in ("alpha", "beta", "gamma"):
            await b.call("load_context", text=text, name=text)
        first = await b.client.list_resources()
        second = await b.client.list_resources(cursor=first.next_cursor)
        with pytest.raises(MCPError):
            await b.client.list_resources(cursor="later")
        with pytest.raises(MCPError, match="There is no page"):
            await b.client.list_resources(cursor="9" * 5000)

    assert [each.name for each in first.resources + second.resources] == ["alpha", "beta", "gamma"]
    assert second.next_cursor is None


async def test_templates_are_listed(bench, era):
    async with bench((), era) as b:
        listed = await b.client.list_resource_templates()

    assert [each.uri_template for each in listed.resource_templates] == [
        "rlm://context/{id}{?page}",
        "rlm://context/{id}/text{?start,end}",
        "rlm://context/{id}/files/{+path}{?start,end,chars}",
        "rlm://run/{id}{?page}",
        "rlm://run/{id}/answer{?start,end}",
        "rlm://run/{id}/view",
    ]


async def test_a_listener_hears_of_a_loaded_context(bench):
    async with bench() as b, b.client.listen(resources_list_changed=True) as heard:
        await b.call("load_context", text="alpha")
        event = await anext(aiter(heard))

    assert isinstance(event, ResourcesListChanged)


async def test_a_client_of_an_older_revision_hears_of_a_loaded_context(bench):
    heard = anyio.Event()

    async def take(message):
        if isinstance(message, types.ResourceListChangedNotification):
            heard.set()

    async with bench((), "legacy", on_message=take) as b:
        await b.call("load_context", text="alpha")
        await heard.wait()
