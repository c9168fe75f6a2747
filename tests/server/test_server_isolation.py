"""Twenty users of one HTTP server at once: nobody is told anything of another."""

import json

import anyio
import pytest
from mcp import MCPError, types

pytestmark = pytest.mark.anyio

USERS = [f"user{number:02}" for number in range(20)]
ERAS = ["auto", "legacy"]


def canary(user):
    return f"canary-of-{user}"


def script(messages):
    """Keeps the context in a variable of its own; asked again, tells which such variables are."""
    asked = messages[-1].content
    if "which variables" in asked:
        return "```repl\nFINAL(repr([k for k in dir() if k.startswith('kept_')]))\n```"
    user = next(user for user in USERS if f"ask for {user}" in asked)
    return f"```repl\nkept_{user} = context\nprint(context)\nFINAL('kept ' + context)\n```"


class Seen:
    """All that one user is told, without the ids it itself asked about."""

    def __init__(self, user, bench):
        self.user = user
        self.bench = bench
        self.texts = []

    def note(self, text, *asked):
        for each in asked:
            text = text.replace(each, "<asked>")
        self.texts.append(text)
        return text

    async def call(self, tool, **arguments):
        result = await self.bench.client.call_tool(tool, arguments)
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
    """One user at work; the ids of all that is its own."""
    user = seen.user
    loaded = await seen.call("load_context", text=canary(user), name=f"notes-{user}")
    session, context = loaded["session"], loaded["context"]["id"]
    first = await seen.call("rlm_query", query=f"ask for {user}", session=session)
    second = await seen.call("rlm_query", query="which variables", session=session)
    assert canary(user) in first["answer"]
    assert second["answer"] == repr([f"kept_{user}"])
    return {"session": session, "context": context, "run": first["run_id"]}


async def looked(seen, own):
    """Everything that lists or sums: only its own is in there."""
    session, run, context = own["session"], own["run"], own["context"]
    listed = await seen.call("list_contexts", session=session)
    assert [each["id"] for each in listed["contexts"]] == [context]
    trace = await seen.call("get_trace", run_id=run, detail="full")
    assert canary(seen.user) in json.dumps(trace)
    of_session = await seen.call("get_costs", scope="session", id=session)
    for scope in ("day", "all"):
        summed = await seen.call("get_costs", scope=scope)
        assert summed["total"] == of_session["total"]
    client = seen.bench.client
    resources = (await client.list_resources()).resources
    seen.note(json.dumps([str(each.uri) for each in resources]))
    assert [str(each.uri) for each in resources] == [f"rlm://context/{context}"]
    text = await client.read_resource(f"rlm://context/{context}/text")
    assert text.contents[0].text == canary(seen.user)
    ref = types.ResourceTemplateReference(uri="rlm://context/{id}{?page}")
    completed = await client.complete(ref, {"name": "id", "value": ""})
    assert completed.completion.values == [context]
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


async def test_twenty_sessions_at_once_leak_nothing_and_give_nothing_away(team):
    everyone, own = {}, {}
    all_worked = anyio.Event()

    async def work(t, number, user):
        async with t.client(user, ERAS[number % len(ERAS)]) as bench:
            seen = everyone[user] = Seen(user, bench)
            own[user] = await used(seen)
            if len(own) == len(USERS):
                all_worked.set()
            await all_worked.wait()
            await looked(seen, own[user])
            for step in (1, 2):
                theirs = own[USERS[(number + step) % len(USERS)]]
                never = await pried(seen, made_up(theirs))
                assert await pried(seen, theirs) == never
            # What others were refused has changed nothing.
            await looked(seen, own[user])

    async with team(script, USERS) as t:
        async with anyio.create_task_group() as tasks:
            for number, user in enumerate(USERS):
                tasks.start_soon(work, t, number, user)
        prompts = [json.dumps(each, default=str) for each in t.model.requests]
        said = await t.said()

    for user in USERS:
        told = "\n".join(everyone[user].texts)
        others = [other for other in USERS if other != user]
        assert canary(user) in told
        for other in others:
            for secret in (other, *own[other].values(), t.tokens[other]):
                assert secret not in told
    about = [{user for user in USERS if user in prompt} for prompt in prompts]
    assert len(prompts) >= 2 * len(USERS)
    assert max(len(users) for users in about) == 1
    assert not [token for token in t.tokens.values() if token in said]


async def test_who_comes_back_after_a_restart_finds_its_runs_and_nobody_elses(team):
    async with team(script, USERS[:2]) as t, t.client(USERS[0]) as bench:
        own = await used(Seen(USERS[0], bench))
    async with team(script, USERS[:2]) as t:
        async with t.client(USERS[0]) as bench:
            answer = await bench.call("get_answer", run_id=own["run"])
            costs = await bench.call("get_costs", scope="all")
            text = await bench.client.read_resource(f"rlm://context/{own['context']}/text")
        async with t.client(USERS[1]) as bench:
            seen = Seen(USERS[1], bench)
            theirs, never = await pried(seen, own), await pried(seen, made_up(own))
            nothing = await bench.call("get_costs", scope="all")

    assert canary(USERS[0]) in answer["answer"]
    assert text.contents[0].text == canary(USERS[0])
    assert theirs == never
    assert costs["total"]["calls"] > nothing["total"]["calls"] == 0


async def test_the_same_text_belongs_to_all_who_loaded_it(team):
    async with team() as t, t.client("alice") as alice, t.client("bob") as bob:
        first = await alice.call("load_context", text="shared")
        uri = f"{first['context']['uri']}/text"
        with pytest.raises(MCPError):
            await bob.client.read_resource(uri)
        second = await bob.call("load_context", text="shared")
        read = await bob.client.read_resource(uri)

    assert first["context"]["id"] == second["context"]["id"]
    assert first["session"] != second["session"]
    assert read.contents[0].text == "shared"
