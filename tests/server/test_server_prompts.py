"""Prompts: what hosts list, what their models read, and what people are offered as they type."""

import os
import sys

import pytest
from mcp import MCPError, types

from rlm_mcp.contexts.private import Private
from rlm_mcp.rules import LoadRules
from rlm_mcp.server.prompts import PROMPTS
from rlm_mcp.server.suggestions import paths
from rlm_mcp.server.tools import TOOLS

pytestmark = pytest.mark.anyio

ANSWERS = ["```repl\nFINAL('ok')\n```"]
GIVEN = {
    "ask_codebase": {"source": "/srv/shop", "question": 'Where is the "total" rounded?'},
    "investigate_log": {"source": "/var/log/shop.log", "problem": "Payments fail since 14:00."},
    "explain_trace": {"run_id": "run_1"},
}


@pytest.fixture
def code(tmp_path):
    for path in ("code/src/app.py", "code/src/deep/app.py", "code/.git/config", "other/x.log"):
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("text\n", encoding="utf-8")
    (tmp_path / "code" / "out").symlink_to(tmp_path / "other")
    return tmp_path / "code"


async def text_of(b, name, **given):
    (message,) = (await b.client.get_prompt(name, given)).messages
    assert message.role == "user"
    return message.content.text


async def offered(b, prompt, name, value=""):
    ref = types.PromptReference(name=prompt)
    return (await b.client.complete(ref, {"name": name, "value": value})).completion.values


async def test_hosts_list_three_prompts_with_words_for_people(bench, era):
    async with bench((), era) as b:
        listed = (await b.client.list_prompts()).prompts

    assert [prompt.name for prompt in listed] == list(GIVEN)
    for prompt in listed:
        assert prompt.title
        assert prompt.description.endswith(".")
        assert all(each.title and each.description for each in prompt.arguments)


async def test_the_words_of_prompts_are_as_agreed(bench, era, golden):
    async with bench((), era) as b:
        told = [f"=== {name}\n{await text_of(b, name, **given)}\n" for name, given in GIVEN.items()]
        bare = await text_of(b, "investigate_log", source="/var/log/shop.log")

    golden("prompts.txt", "\n".join([*told, f"=== investigate_log, no problem named\n{bare}\n"]))


@pytest.mark.parametrize("name", GIVEN)
async def test_a_prompt_names_only_tools_that_there_are(bench, name):
    async with bench() as b:
        text = await text_of(b, name, **GIVEN[name])

    called = {word.strip(".,:;") for word in text.split() if "_" in word and word.isascii()}
    named = {word for word in called if word.split("_")[0] in {"load", "rlm", "get", "list"}}
    assert named
    assert named <= TOOLS.keys()


async def test_a_prompt_about_a_loaded_context_loads_nothing(bench, era, code):
    async with bench((), era) as b:
        loaded = await b.call("load_context", source=str(code), name="shop")
        text = await text_of(b, "ask_codebase", source="shop", question="Where?")

    asked = f'{{"query": "Where?", "contexts": ["shop"], "session": "{loaded["session"]}"}}'
    assert f"Call rlm_query with {asked}." in text
    assert "load_context" not in text


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("ask_codebas", {}, "There are: ask_codebase, "),
        ("ask_codebase", {"source": "/x", "question": " "}, "ask_codebase needs `question`: "),
        ("explain_trace", {"run_id": "run_1", "page": "2"}, "has no argument `page`"),
    ],
)
async def test_a_prompt_that_cannot_be_written_says_why(bench, era, name, given, told):
    async with bench((), era) as b:
        with pytest.raises(MCPError, match=told) as raised:
            await b.client.get_prompt(name, given)

    assert raised.value.error.code == types.INVALID_PARAMS


async def test_paths_within_the_roots_are_offered_and_no_others(bench, era, code):
    async with bench((), era, roots=str(code)) as b:
        roots = await offered(b, "ask_codebase", "source")
        inside = await offered(b, "ask_codebase", "source", f"{code}/")
        begun = await offered(b, "investigate_log", "source", f"{code}/src/a")
        hidden = await offered(b, "ask_codebase", "source", f"{code}/.g")
        outside = [
            await offered(b, "ask_codebase", "source", typed)
            for typed in (f"{code.parent}/other/", f"{code}/../other/", f"{code}/out/", "/", "src/")
        ]

    assert roots == [f"{code}/"]
    assert inside == [f"{code}/src/"]
    assert begun == [f"{code}/src/app.py"]
    assert hidden == [f"{code}/.git/"]
    # On the way to a root the root itself is offered.
    assert outside == [[], [], [], [f"{code}/"], []]


async def test_without_roots_every_folder_of_the_machine_is_offered(bench, code):
    async with bench() as b:
        found = await offered(b, "ask_codebase", "source", f"{code.parent}/o")
        nothing = await offered(b, "ask_codebase", "source", f"{code.parent}/nowhere/x")

    assert found == [f"{code.parent}/other/"]
    assert nothing == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
async def test_a_folder_that_cannot_be_read_offers_nothing(bench, code):
    (code / "src").chmod(0)
    async with bench() as b:
        found = await offered(b, "ask_codebase", "source", f"{code}/src/")
    (code / "src").chmod(0o755)

    assert found == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep no such names")
async def test_a_name_that_json_cannot_carry_is_not_offered(bench, era, code):
    (code / "src" / os.fsdecode(b"caf\xe9.py")).write_text("text\n", encoding="utf-8")
    async with bench((), era) as b:
        found = await offered(b, "ask_codebase", "source", f"{code}/src/")

    assert found == [f"{code}/src/app.py", f"{code}/src/deep/"]


async def test_who_else_is_on_the_machine_is_not_told(bench):
    async with bench() as b:
        assert await offered(b, "ask_codebase", "source", "~nobody-of-that-name/x") == []


async def test_a_huge_folder_is_looked_at_once_and_not_once_for_each_of_its_files(
    code, monkeypatch
):
    """Else one keystroke of one user keeps all others waiting for many seconds."""
    told = []
    of = Private.of
    monkeypatch.setattr(Private, "of", lambda rules: told.append(rules) or of(rules))
    for number in range(20):
        (code / f"{number:02}.txt").touch()
    found = paths(LoadRules(roots=(code,), private=(code / "07.txt",)), f"{code}/")

    assert found == [f"{code}/{n:02}.txt" for n in range(20) if n != 7] + [f"{code}/src/"]
    assert len(told) == 1


async def test_names_of_loaded_contexts_and_ids_of_runs_are_offered(bench, era):
    async with bench(ANSWERS * 2, era) as b:
        before = await offered(b, "explain_trace", "run_id")
        await b.call("load_context", text="alpha", name="greek")
        runs = [(await b.call("rlm_query", query="?"))["run_id"] for _ in range(2)]
        names = await offered(b, "ask_codebase", "source", "gr")
        ids = await offered(b, "explain_trace", "run_id", "run_")
        nothing = await offered(b, "ask_codebase", "question", "gr")

    assert before == []
    assert names == ["greek"]
    assert ids == runs[::-1]
    assert nothing == []


async def test_what_is_listed_at_the_start_opens_nothing(bench, own_environment):
    async with bench() as b:
        await b.client.list_prompts()
        await text_of(b, "ask_codebase", source="/x", question="Where?")
        await offered(b, "ask_codebase", "source", "/")

    assert not (own_environment / "journal.sqlite3").exists()


async def test_every_prompt_has_a_test_of_its_words():
    assert PROMPTS.keys() == GIVEN.keys()


async def test_a_path_that_cannot_be_is_offered_nothing(bench):
    async with bench() as b:
        assert await offered(b, "ask_codebase", "source", "~no-such-user/src") == []
        assert await offered(b, "ask_codebase", "source", "/with\0nul/") == []
