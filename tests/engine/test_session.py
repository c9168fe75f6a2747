"""What a session holds and how its contexts are named."""

from pathlib import Path

import pytest

from rlm_mcp.engine.session import Session
from rlm_mcp.errors import UnknownContext
from rlm_mcp.types import ContextInfo, TextKind

pytestmark = pytest.mark.anyio


def info(id, name):
    nowhere = Path("nowhere")
    return ContextInfo(id, name, 1, 1, 1, 1, 1, (), TextKind.ASCII, nowhere, nowhere)


@pytest.fixture
async def session():
    return Session("ses", 1)


async def test_the_same_source_loaded_again_takes_its_old_place(session):
    session.add(info("ctx_1", "src"), "src/")
    session.add(info("ctx_2", "log"), "log/")
    session.add(info("ctx_3", "src"), "src/")

    assert [(c.name, c.id) for c in session.contexts] == [("src", "ctx_3"), ("log", "ctx_2")]


async def test_another_source_of_the_same_name_gets_a_number(session):
    session.add(info("ctx_1", "src"), "a/src")
    added = session.add(info("ctx_2", "src"), "b/src")

    assert added.name == "src-2"
    assert [c.name for c in session.contexts] == ["src", "src-2"]


async def test_an_explicit_name_takes_the_place_of_what_had_it(session):
    session.add(info("ctx_1", "src"), "a/src")
    session.add(info("ctx_2", "log"), "log")
    session.add(info("ctx_3", "src"), "b/src", explicit=True)

    assert [(c.name, c.id) for c in session.contexts] == [("src", "ctx_3"), ("log", "ctx_2")]


@pytest.mark.parametrize("key", ["log", "ctx_2", "rlm://context/ctx_2"])
async def test_a_context_is_selected_by_name_id_or_uri(session, key):
    session.add(info("ctx_1", "src"), "a")
    session.add(info("ctx_2", "log"), "b")

    assert [c.name for c in session.select([key])] == ["log"]
    assert [c.name for c in session.select(None)] == ["src", "log"]


async def test_a_context_that_is_not_loaded_is_an_error_that_lists_what_is(session):
    session.add(info("ctx_1", "src"), "a")

    with pytest.raises(UnknownContext, match="nope") as caught:
        session.select(["nope"])

    assert "'src'" in caught.value.hint
