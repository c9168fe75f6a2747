"""Who shares a session: handles, and what each transport implies."""

import anyio
import pytest

pytestmark = pytest.mark.anyio


async def test_loads_at_the_same_time_share_the_local_session(bench, era):
    handles = []

    async def load(b, text):
        handles.append((await b.call("load_context", text=text))["session"])

    async with bench((), era) as b:
        async with anyio.create_task_group() as tasks:
            for text in ("alpha", "beta", "gamma"):
                tasks.start_soon(load, b, text)
        listed = await b.call("list_contexts")

    assert len(set(handles)) == 1
    assert len(listed["contexts"]) == 3


async def test_a_failed_first_load_does_not_lose_the_session_of_others(bench, era):
    async with bench((), era) as b:
        await b.refusal("load_context", source="/no/such/place")
        loaded = await b.call("load_context", text="alpha")
        listed = await b.call("list_contexts", session=loaded["session"])

    assert len(listed["contexts"]) == 1


async def test_a_query_before_anything_is_loaded_says_what_to_call(bench, era):
    async with bench((), era) as b:
        await b.refusal("load_context", source="/no/such/place")
        text = await b.refusal("rlm_query", query="?")

    assert "load_context" in text


async def test_an_expired_local_session_is_told_and_loading_starts_another(bench, era):
    async with bench((), era) as b:
        first = await b.call("load_context", text="alpha")
        await (await b.app.service()).end_session(first["session"])
        text = await b.refusal("rlm_query", query="?")
        second = await b.call("load_context", text="alpha")
        listed = await b.call("list_contexts")

    assert "expired" in text
    assert second["session"] != first["session"]
    assert listed["session"] == second["session"]


async def test_two_servers_see_nothing_of_each_other(bench, tmp_path):
    async with bench(()) as one, bench((), home=tmp_path / "home") as two:
        loaded = await one.call("load_context", text="alpha")
        text = await two.refusal("list_contexts", session=loaded["session"])
        listed = await two.call("list_contexts")

    assert loaded["session"] in text
    assert listed["contexts"] == []
