"""Twenty sessions of ten users of one HTTP server at once: nobody is told anything of another."""

import json
import logging

import anyio
import pytest
from mcp import MCPError, types

from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.errors import UnknownContext
from rlm_mcp.server import suggestions

pytestmark = pytest.mark.anyio

USERS = [f"user{number:02}" for number in range(10)]
SESSIONS = [f"{user}-{name}" for user in USERS for name in ("one", "two")]
ERAS = ["auto", "legacy"]


def canary(session):
    return f"canary-of-{session}"


def script(messages):
    """Keeps the context in a variable of its own; asked again, tells which such variables are."""
    asked = messages[-1].content
    if "which variables" in asked:
        return "```repl\nFINAL(repr([k for k in dir() if k.startswith('kept_')]))\n```"
    session = next(session for session in SESSIONS if f"ask for {session}" in asked)
    kept = f"kept_{session.replace('-', '_')}"
    return f"```repl\n{kept} = context\nprint(context)\nFINAL('kept ' + context)\n```"


def answers(_):
    return "```repl\nFINAL('done')\n```"


class Seen:
    """All that one session is told, without the ids it itself asked about."""

    def __init__(self, session, bench):
        self.session = session
        self.bench = bench
        self.texts = []

    def note(self, text, *asked):
        for each in asked:
            text = text.replace(each, "<asked>")
        self.texts.append(text)
        return text

    async def call(self, tool, **arguments):
        async def told(_progress, _total, message):
            self.note(message or "")

        result = await self.bench.client.call_tool(tool, arguments, progress_callback=told)
        self.note(result.model_dump_json())
        assert not result.is_error, result.content[0].text
        return result.structured_content

    async def refused(self, asked, tool, **arguments):
        result = await self.bench.client.call_tool(tool, arguments)
        assert result.is_error
        return self.note(result.model_dump_json(), asked)

    async def missing(self, asked, uri):
        with pytest.raises(MCPError) as caught:
            await self.bench.client.read_resource(uri)
        return self.note(f"{caught.value} {caught.value.error.data}", asked)

    async def paths(self, context):
        ref = types.ResourceTemplateReference(uri="rlm://context/{id}/files/{+path}")
        given = await self.bench.client.complete(
            ref, {"name": "path", "value": ""}, context_arguments={"id": context}
        )
        return given.completion.values


async def used(seen):
    """A session at work; the ids of all that is its own."""
    name = seen.session
    loaded = await seen.call("load_context", text=canary(name), name=f"notes-{name}")
    session, context = loaded["session"], loaded["context"]["id"]
    first = await seen.call("rlm_query", query=f"ask for {name}", session=session)
    second = await seen.call("rlm_query", query="which variables", session=session)
    assert canary(name) in first["answer"]
    assert second["answer"] == repr([f"kept_{name.replace('-', '_')}"])
    return {"session": session, "context": context, "run": first["run_id"]}


async def looked(seen, own, user_has):
    """Everything that lists or sums: only what is the user's own is in there."""
    session, run, context = own["session"], own["run"], own["context"]
    client = seen.bench.client
    listed = await seen.call("list_contexts", session=session)
    assert [each["id"] for each in listed["contexts"]] == [context]
    trace = await seen.call("get_trace", run_id=run, detail="full")
    assert canary(seen.session) in json.dumps(trace)
    sums = [await seen.call("get_costs", scope="session", id=each["session"]) for each in user_has]
    calls = sum(each["total"]["calls"] for each in sums)
    for scope in ("day", "all"):
        assert (await seen.call("get_costs", scope=scope))["total"]["calls"] == calls
    uris = {f"rlm://context/{each['context']}" for each in user_has}
    resources = (await client.list_resources()).resources
    assert {str(each.uri) for each in resources} == uris
    text = await client.read_resource(f"rlm://context/{context}/text")
    assert text.contents[0].text == canary(seen.session)
    manifest = await client.read_resource(f"rlm://context/{context}")
    assert json.loads(manifest.contents[0].text)["name"] == f"notes-{seen.session}"
    page = await client.read_resource(f"rlm://run/{run}/view")
    seen.note(page.contents[0].text)
    ref = types.ResourceTemplateReference(uri="rlm://context/{id}{?page}")
    completed = await client.complete(ref, {"name": "id", "value": ""})
    assert {f"rlm://context/{value}" for value in completed.completion.values} == uris
    assert await seen.paths(context) != []


async def pried(seen, other):
    """All answers to questions about the ids of `other`, which may be another's or made up."""
    session, run, context = other["session"], other["run"], other["context"]
    refused = [
        await seen.refused(session, "list_contexts", session=session),
        await seen.refused(session, "load_context", text="x", session=session),
        await seen.refused(session, "rlm_query", query="?", session=session),
        await seen.refused(session, "rlm_query", query="?", session=session, estimate=True),
        await seen.refused(session, "get_costs", scope="session", id=session),
        await seen.refused(run, "get_costs", scope="run", id=run),
        await seen.refused(run, "get_answer", run_id=run, wait_s=0),
        await seen.refused(run, "get_answer", run_id=run, wait_s=0, resume=True),
        await seen.refused(run, "cancel_query", run_id=run),
        await seen.refused(run, "get_trace", run_id=run),
    ]
    parts = ("", "/text", "/files/text", "/files/text?chars=0-9")
    addresses = [(context, f"rlm://context/{context}{part}") for part in parts]
    addresses += [(run, f"rlm://run/{run}{part}") for part in ("", "/answer", "/view")]
    missing = [await seen.missing(asked, uri) for asked, uri in addresses]
    return [*refused, *missing, await seen.paths(context)]


def made_up(real):
    """Ids of the same form that were never given out."""
    return {kind: own[:4] + "0" * (len(own) - 4) for kind, own in real.items()}


async def test_twenty_sessions_at_once_leak_nothing_and_give_nothing_away(team, caplog):
    everyone, own = {}, {}
    all_worked = anyio.Event()
    caplog.set_level(logging.INFO)

    async def work(t, number, session):
        user = session[:6]
        async with t.client(user, ERAS[number % len(ERAS)]) as bench:
            seen = everyone[session] = Seen(session, bench)
            own[session] = await used(seen)
            if len(own) == len(SESSIONS):
                all_worked.set()
            await all_worked.wait()
            mine = [has for other, has in own.items() if other.startswith(user)]
            await looked(seen, own[session], mine)
            if number % 5 == 0:  # some of either era
                theirs = own[SESSIONS[(number + 2) % len(SESSIONS)]]
                assert await pried(seen, theirs) == await pried(seen, made_up(theirs))
            # What others were refused has changed nothing.
            assert (await seen.call("get_answer", run_id=own[session]["run"]))["answer"]

    async with team(script, USERS) as t:
        async with anyio.create_task_group() as tasks:
            for number, session in enumerate(SESSIONS):
                tasks.start_soon(work, t, number, session)
        prompts = [json.dumps(each, default=str) for each in t.model.requests]

    for session in SESSIONS:
        told = "\n".join(everyone[session].texts)
        assert canary(session) in told
        for other in SESSIONS:
            if other[:6] != session[:6]:
                secrets = (other, *own[other].values(), t.tokens[other[:6]])
                assert not [secret for secret in secrets if secret in told]
    about = [{session for session in SESSIONS if session in prompt} for prompt in prompts]
    assert len(prompts) >= 2 * len(SESSIONS)
    assert max(len(sessions) for sessions in about) == 1
    assert not [token for token in t.tokens.values() if token in caplog.text]


async def test_who_comes_back_after_a_restart_finds_its_runs_and_nobody_elses(team):
    session = SESSIONS[0]
    async with team(script, USERS[:2]) as t, t.client(USERS[0]) as bench:
        own = await used(Seen(session, bench))
    async with team(script, USERS[:2]) as t:
        async with t.client(USERS[0]) as bench:
            answer = await bench.call("get_answer", run_id=own["run"])
            costs = await bench.call("get_costs", scope="all")
            text = await bench.client.read_resource(f"rlm://context/{own['context']}/text")
        async with t.client(USERS[1]) as bench:
            seen = Seen(SESSIONS[2], bench)
            theirs, never = await pried(seen, own), await pried(seen, made_up(own))
            nothing = await bench.call("get_costs", scope="all")

    assert canary(session) in answer["answer"]
    assert text.contents[0].text == canary(session)
    assert theirs == never
    assert costs["total"]["calls"] > nothing["total"]["calls"] == 0


async def test_the_same_text_is_another_context_for_each(team):
    async with team() as t, t.client("alice") as alice, t.client("bob") as bob:
        first = await alice.call("load_context", text="shared")
        again = await alice.call("load_context", text="shared")
        second = await bob.call("load_context", text="shared")
        with pytest.raises(MCPError):
            await bob.client.read_resource(f"{first['context']['uri']}/text")
        read = await bob.client.read_resource(f"{second['context']['uri']}/text")

    assert first["context"]["id"] == again["context"]["id"] != second["context"]["id"]
    assert read.contents[0].text == "shared"


async def test_what_another_has_loaded_shows_in_no_load_of_the_same_folder(team, tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "a.txt").write_text("alpha", encoding="utf-8")
    (folder / "gone.txt").write_text("beta", encoding="utf-8")
    async with team() as t, t.client("alice") as alice, t.client("bob") as bob:
        first = await alice.call("load_context", source=str(folder))
        (folder / "gone.txt").unlink()
        second = await bob.call("load_context", source=str(folder))
        again = await alice.call("load_context", source=str(folder))

    assert "gone.txt" not in json.dumps(second)
    assert first["context"]["id"] not in json.dumps(second)
    assert first["context"]["id"] in json.dumps(again)


async def test_users_load_nothing_of_the_servers_own(team, own_environment, tmp_path):
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    (tmp_path / "link").symlink_to(own_environment)
    async with team() as t, t.client("alice") as alice:
        own = await alice.call("load_context", text="canary")
        places = [own_environment, tmp_path / "link", t.file, own_environment / "journal.sqlite3"]
        places += [own_environment / "contexts" / own["context"]["id"] / "blob"]
        refused = [await alice.refusal("load_context", source=str(each)) for each in places]
        around = await alice.call("load_context", source=str(tmp_path))
        listed = await alice.client.read_resource(around["context"]["uri"])

    assert all("may not be loaded" in each for each in refused)
    assert around["context"]["documents"] == 1
    assert json.loads(listed.contents[0].text)["skipped_files"] == [
        ["home", "the server's own"],
        ["link", "symbolic link"],
    ]


@pytest.mark.parametrize("era", ERAS)
async def test_prompts_offer_each_user_its_own_and_nothing_of_the_servers(
    team, era, own_environment, tmp_path, monkeypatch
):
    monkeypatch.setattr(suggestions, "MOST_RUNS", 1)
    (tmp_path / "link").symlink_to(own_environment)

    async def offered(bench, prompt, name, value=""):
        ref = types.PromptReference(name=prompt)
        argument = {"name": name, "value": value}
        return (await bench.client.complete(ref, argument)).completion.values

    async def told(bench, name):
        given = {"source": name, "question": "?"}
        (message,) = (await bench.client.get_prompt("ask_codebase", given)).messages
        return message.content.text

    async with team(answers) as t, t.client("alice", era) as alice, t.client("bob", era) as bob:
        own = {}
        for user, bench in (("alice", alice), ("bob", bob)):
            session = (await bench.call("load_context", text=user, name=f"of-{user}"))["session"]
            own[user] = (await bench.call("rlm_query", query="?", session=session))["run_id"]
        runs = [await offered(each, "explain_trace", "run_id") for each in (alice, bob)]
        names = [await offered(each, "ask_codebase", "source", "of-") for each in (alice, bob)]
        places = [f"{own_environment}/", f"{tmp_path}/link/", f"{tmp_path}/", "/", "/proc/"]
        paths = [await offered(alice, "ask_codebase", "source", place) for place in places]
        texts = await told(alice, "of-alice"), await told(bob, "of-alice")

    # The current revision names no client, so there nothing is known before a handle is given.
    knows = era == "legacy"
    assert runs == [[own["alice"]] * knows, [own["bob"]] * knows]
    assert names == [["of-alice"] * knows, ["of-bob"] * knows]
    assert paths[:3] == [[], [], []]
    assert "/proc/" not in paths[3]
    assert paths[4] == []
    assert ("load nothing" in texts[0]) == knows
    assert "ses_" not in texts[1]


async def test_who_leaves_ends_the_session_it_had(team):
    async with team(user_sessions=1) as t:
        async with t.client("alice", "legacy") as alice:  # sends DELETE on leaving
            session = (await alice.call("load_context", text="one"))["session"]
        async with t.client("alice") as alice:
            gone = await alice.refusal("list_contexts", session=session)
            await alice.call("load_context", text="two")

    assert "expired" in gone


async def test_a_context_that_is_gone_names_none_of_another(team, own_environment):
    async with team() as t, t.client("alice") as alice:
        mine = (await alice.call("load_context", text="mine"))["context"]
        place = own_environment / "contexts" / mine["id"]
        place.rename(place.with_name(mine["id"][:-1] + ("0" if mine["id"][-1] != "0" else "1")))
        with pytest.raises(MCPError) as caught:
            await alice.client.read_resource(mine["uri"])
    with pytest.raises(UnknownContext) as near:
        ContextStore(own_environment).catalogue(mine["id"])

    assert "Did you mean ctx_" in near.value.hint
    assert "Did you mean" not in str(caught.value)
