"""Completion: clients that fill in a template are offered ids and paths."""

import pytest
from mcp import types

from rlm_mcp.server import completion

pytestmark = pytest.mark.anyio

FILE = types.ResourceTemplateReference(uri="rlm://context/{id}/files/{+path}{?start,end,chars}")


@pytest.fixture
def folder(tmp_path):
    for path in ("src/app.py", "src/deep/app_test.py", "lib/src.c"):
        place = tmp_path / "code" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("text\n", encoding="utf-8")
    return tmp_path / "code"


async def offered(b, name, value, **arguments):
    argument = {"name": name, "value": value}
    result = await b.client.complete(FILE, argument, context_arguments=arguments or None)
    return result.completion


async def test_paths_of_a_context_are_offered_those_that_begin_so_first(bench, era, folder):
    async with bench((), era) as b:
        context = (await b.call("load_context", source=str(folder)))["context"]
        found = await offered(b, "path", "src", id=context["id"])

    assert found.values == ["src/app.py", "src/deep/app_test.py", "lib/src.c"]
    assert (found.total, found.has_more) == (3, False)


async def test_no_more_than_a_page_of_paths_is_offered(bench, folder, monkeypatch):
    monkeypatch.setattr(completion, "MOST_VALUES", 2)
    async with bench() as b:
        context = (await b.call("load_context", source=str(folder)))["context"]
        found = await offered(b, "path", "", id=context["id"])

    assert (len(found.values), found.total, found.has_more) == (2, 3, True)


async def test_ids_of_loaded_contexts_are_offered(bench, folder):
    async with bench() as b:
        assert (await offered(b, "id", "")).values == []
        context = (await b.call("load_context", source=str(folder)))["context"]
        assert (await offered(b, "id", "ctx_")).values == [context["id"]]


@pytest.mark.parametrize(
    ("name", "arguments"), [("path", {}), ("path", {"id": "ctx_0"}), ("page", {"id": "x"})]
)
async def test_what_is_not_known_offers_nothing(bench, folder, name, arguments):
    async with bench() as b:
        await b.call("load_context", source=str(folder))
        assert (await offered(b, name, "", **arguments)).values == []
