"""Whatever a caller gets wrong is answered with what happened and what to do now."""

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("rlm_query", {"query": "?", "session_id": "x"}, ["`session_id`", "`session`?"]),
        ("rlm_query", {"qurey": "?"}, ["`qurey`", "`query`?"]),
        ("rlm_query", {"query": "?", "budget": {"turn": 1}}, ["`budget.turn`", "`turns`?"]),
        ("rlm_query", {"query": "?", "budget": {"turns": 0}}, ["`budget.turns`", "0"]),
        ("rlm_query", {"query": "?", "wait_s": "soon"}, ["`wait_s`", '"soon"']),
        ("rlm_query", {"query": ""}, ["`query`", "at least 1 character"]),
        ("rlm_query", {}, ["needs `query`"]),
        ("rlm_query", {"query": "?"}, ["load_context first"]),
        ("rlm_query", {"query": "?", "session": "ses_gone"}, ["'ses_gone'", "load_context"]),
        ("list_contexts", {"session": "ses_gone"}, ["'ses_gone'", "load_context"]),
        ("load_context", {}, ["source", "text"]),
        ("load_context", {"source": "a", "text": "b"}, ["one of the two"]),
        ("load_context", {"source": "/nowhere.txt"}, ["/nowhere.txt"]),
        ("load_context", {"source": 5}, ["`source`", "5", "paths"]),
        ("get_answer", {"run_id": "run_gone"}, ["'run_gone'", "rlm_query"]),
        ("cancel_query", {"run_id": "run_gone"}, ["'run_gone'"]),
        ("get_trace", {"run_id": "run_gone"}, ["'run_gone'"]),
        ("get_trace", {"run_id": "r", "detail": "all"}, ["`detail`", "'turns'"]),
        ("get_costs", {}, ["load_context first"]),
        ("get_costs", {"id": "ses_gone"}, ["'ses_gone'"]),
        ("get_costs", {"scope": "run"}, ["needs `id`"]),
        ("get_costs", {"scope": "run", "id": "run_gone"}, ["'run_gone'"]),
        ("get_costs", {"scope": "day", "id": "today"}, ["'today'", "YYYY-MM-DD"]),
        ("rlm_qery", {}, ["`rlm_qery`", "`rlm_query`?"]),
        ("zzz", {}, ["`zzz`", "load_context, rlm_query"]),
    ],
)
async def test_a_wrong_call_is_told_what_to_change(bench, era, tool, arguments, words):
    async with bench((), era) as b:
        text = await b.refusal(tool, **arguments)

    assert [word for word in words if word not in text] == []
    assert "\n" in text  # what happened, and what to do now


async def test_an_unknown_context_lists_the_loaded_ones(bench, era):
    async with bench((), era) as b:
        await b.call("load_context", text="alpha", name="greek")
        text = await b.refusal("rlm_query", query="?", contexts=["latin"])

    assert "'latin'" in text
    assert "'greek'" in text


async def test_an_endpoint_that_is_down_is_named_and_the_next_call_works(bench):
    async with bench((), api_url="http://127.0.0.1:9/v1") as b:
        loaded = await b.call("load_context", text="alpha")
        text = await b.refusal("rlm_query", query="?")
        listed = await b.call("list_contexts")

    assert "127.0.0.1:9" in text
    assert listed["session"] == loaded["session"]


async def test_a_data_folder_that_cannot_be_used_is_every_calls_answer(bench, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder", encoding="utf-8")
    async with bench((), home=blocked) as b:
        texts = [
            await b.refusal("list_contexts"),
            await b.refusal("load_context", text="alpha"),
            await b.refusal("rlm_query", query="?"),
        ]
        tools = await b.client.list_tools()

    assert all("RLM_HOME" in text for text in texts)
    assert tools.tools
