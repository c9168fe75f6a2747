"""Several endpoints for the sub-model: shared load, one that fails, one that comes back."""

from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from wire_server import CHAT, raw_server, reply

from rlm_mcp.errors import EndpointRefused, EndpointUnreachable, SettingsInvalid
from rlm_mcp.llm.models import Models
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.llm.sites import server_of
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

HELLO = [Message("user", "Hello there, model.")]
PAUSE_S = 0.05


class Stage:
    """Answers once it may; `asked` is set by the first request."""

    def __init__(self, *, is_open=True):
        self.asked = anyio.Event()
        self.open = anyio.Event()
        if is_open:
            self.open.set()

    async def __call__(self, messages):
        self.asked.set()
        await self.open.wait()
        return messages[-1].content


def port_of(server):
    return int(server.url.rsplit(":", 1)[1].removesuffix("/v1"))


@asynccontextmanager
async def models_at(root, *urls, patience_s=PAUSE_S, **settings):
    """Models with a root of its own and a sub-model that these addresses share."""
    given = {"api_url": root.url, "sub_api_url": ", ".join(urls), **settings}
    async with Models(Settings(**given), patience_s=patience_s) as models:
        yield models


@asynccontextmanager
async def two(first, second, **options):
    """A sub-model at two servers, each with two slots, and what is between."""
    async with (
        serve(first, slots=2) as one,
        serve(second, slots=2) as other,
        models_at(one, one.url, other.url, **options) as models,
    ):
        yield (await models.resolve()).sub, one, other


@asynccontextmanager
async def mortal(script, **options):
    """A server, and a way to end it while requests are under way."""
    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def run(*, task_status):
            with scope:
                async with serve(script, **options) as server:
                    task_status.started(server)
                    await anyio.sleep_forever()

        yield await tasks.start(run), scope
        tasks.cancel_scope.cancel()


async def ask_all(model, prompts):
    """The replies to all prompts at once, in their order."""
    replies = {}

    async def ask(prompt):
        replies[prompt] = await model.complete([Message("user", prompt)])

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for prompt in prompts:
                tasks.start_soon(ask, prompt)
    return [replies[prompt] for prompt in prompts]


async def test_servers_share_the_calls_and_none_has_more_than_its_slots():
    first, second = Stage(is_open=False), Stage(is_open=False)
    async with two(first, second) as (model, one, other), anyio.create_task_group() as tasks:
        tasks.start_soon(ask_all, model, [f"p{n}" for n in range(12)])
        with anyio.fail_after(20):
            while one.in_flight + other.in_flight < 4:
                await anyio.lowlevel.checkpoint()
        first.open.set()
        second.open.set()
    assert model.slots == 4
    assert (one.peak, other.peak) == (2, 2)
    assert one.ledger.calls + other.ledger.calls == 12


async def test_prompts_that_begin_alike_go_to_one_server_while_it_has_room():
    async with two(Stage(), Stage()) as (model, one, other):
        for topic in ("x" * 2000, "y" * 2000, "z" * 2000):
            before = one.ledger.calls, other.ledger.calls
            for number in range(4):
                await model.complete([Message("user", f"{topic} {number}")])
            asked = one.ledger.calls - before[0], other.ledger.calls - before[1]
            assert sorted(asked) == [0, 4]


async def test_a_server_lost_in_the_middle_is_told_and_no_caller_notices():
    dying, there = Stage(is_open=False), Stage()
    async with (
        mortal(dying, slots=2) as (one, end),
        serve(there, slots=2) as other,
        models_at(other, one.url, other.url, patience_s=30.0) as models,
    ):
        model = (await models.resolve()).sub
        answered = []

        async def ask(prompt):
            answered.append(await model.complete([Message("user", prompt)]))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(ask, f"p{number}")
            with anyio.fail_after(20):
                await dying.asked.wait()
                while one.in_flight < 2:
                    await anyio.lowlevel.checkpoint()
            end.cancel()
    assert sorted(each.text for each in answered) == sorted(f"p{n}" for n in range(20))
    assert other.ledger.calls == 20
    assert sum(each.usage.calls for each in answered) == 20
    notes = {note for each in answered for note in each.notes}
    assert any(one.url in note and "other servers" in note for note in notes)


async def test_a_lost_server_is_asked_again_after_a_pause():
    async with (
        mortal(Stage()) as (one, end),
        serve(Stage()) as other,
        models_at(other, one.url, other.url) as models,
    ):
        model, port = (await models.resolve()).sub, port_of(one)
        end.cancel()
        with anyio.fail_after(30):
            while not (await ask_all(model, ["p1", "p2"]))[0].notes:
                await anyio.lowlevel.checkpoint()
            async with serve(Stage(), port=port) as back:
                while not back.ledger.calls:
                    await ask_all(model, [f"p{n}" for n in range(8)])
                assert (await model.complete(HELLO)).notes == ()


async def test_a_server_that_is_down_at_the_start_is_left_out_and_found_when_it_is_up():
    async with serve(Stage(), slots=3) as gone:
        port, url = port_of(gone), gone.url
    async with serve(Stage(), slots=2) as there, models_at(there, url, there.url) as models:
        model = (await models.resolve()).sub
        completion = await model.complete(HELLO)
        assert model.slots == 2
        assert any(url in note for note in completion.notes)
        async with serve(Stage(), port=port, slots=3):
            with anyio.fail_after(20):
                while (model := (await models.resolve()).sub).slots != 5:
                    await anyio.sleep(PAUSE_S)
                assert (await model.complete(HELLO)).notes == ()


async def test_when_all_are_down_the_reason_is_that_of_the_first():
    async with serve(Stage()) as gone, serve(Stage()) as root:
        pass
    async with serve(Stage()) as root, models_at(root, gone.url, gone.url + "/other") as models:
        with pytest.raises(EndpointUnreachable, match=gone.url):
            await models.resolve()


async def test_a_busy_server_is_left_alone_while_another_has_room():
    busy = [ScriptedReply("full", status=429, headers={"Retry-After": "3600"})] * 4
    async with two(busy, Stage(), patience_s=3600.0) as (model, one, other):
        replies = await ask_all(model, [f"p{n}" for n in range(40)])
    assert [each.text for each in replies] == [f"p{n}" for n in range(40)]
    assert one.ledger.failed <= 2
    assert other.ledger.calls == 40


async def test_a_server_that_refuses_its_key_does_not_fail_the_calls():
    def refusing(_):
        return ScriptedReply("no such key", status=401)

    async with two(refusing, Stage()) as (model, _, other):
        replies = await ask_all(model, [f"p{n}" for n in range(20)])
    assert other.ledger.calls == len(replies) == 20


async def test_what_every_server_refuses_is_refused_as_by_one():
    def refusing(_):
        return ScriptedReply("never", status=400)

    async with two(refusing, refusing) as (model, one, other):
        with pytest.raises(EndpointRefused, match="never"):
            await model.complete(HELLO)
        assert (one.ledger.failed, other.ledger.failed) == (1, 1)


async def test_each_server_has_its_own_model_name_and_the_window_is_the_smallest():
    async with (
        serve({"small": Stage()}, window_tokens=4000, slots=1) as one,
        serve({"large": Stage()}, window_tokens=9000, slots=1) as other,
        models_at(other, one.url, other.url) as models,
    ):
        model = (await models.resolve()).sub
        replies = await ask_all(model, ["a", "b"])
    assert (model.name, model.window_tokens) == ("small", 4000)
    assert {each.model for each in replies} == {"small", "large"}


async def test_one_key_goes_to_every_address_of_the_sub_model_and_the_roots_to_its_own():
    page = reply(200, b'{"choices":[{"finish_reason":"stop","message":{"content":"OK"}}]}')
    async with raw_server({CHAT: page}) as one, raw_server({CHAT: page}) as other:
        for key, seen_by_root, seen_by_other in (
            ("sk-sub", "Bearer sk-sub", "Bearer sk-sub"),
            (None, "Bearer sk-root", None),
        ):
            settings = {"api_key": "sk-root", "sub_api_key": key, "model": "m", "sub_model": "m"}
            one.seen.clear()
            other.seen.clear()
            async with models_at(one, one.url, other.url, **settings) as models:
                await models.resolve()
            sent = [
                {
                    line
                    for seen in server.seen
                    for line in seen.head.splitlines()
                    if line.startswith("authorization")
                }
                for server in (one, other)
            ]
            assert f"authorization: {seen_by_root}" in sent[0]
            assert sent[1] == ({f"authorization: {seen_by_other}"} if seen_by_other else set())


@pytest.mark.parametrize(
    "written", ["{0} {1}", "{0},{1}", "{0}, {1}", " {0}\n{1} ", "{0},{1},", "{0} {1} {0}/"]
)
async def test_addresses_stand_with_spaces_or_commas_between_them(written):
    async with serve(Stage(), slots=2) as one, serve(Stage(), slots=3) as other:
        given = Settings(api_url=one.url, sub_api_url=written.format(one.url, other.url))
        async with Models(given) as models:
            assert (await models.resolve()).sub.slots == 5


async def test_one_server_has_one_limit_however_its_address_is_written():
    async def slow(_):
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        return "yes"

    async with serve(slow, slots=2) as server:
        written = [
            server.url.replace("127.0.0.1", name) for name in ("LOCALHOST", "me:x@127.0.0.1")
        ]
        async with models_at(server, *written, concurrency=2) as models:
            pair = await models.resolve()
            assert pair.sub.slots == 2
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    for number in range(10):
                        for model in (pair.root, pair.sub):
                            tasks.start_soon(model.complete, [Message("user", f"{number}")])
    assert server.peak == 2


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("http://localhost:80/v1", "http://127.0.0.1/v1/", True),
        ("https://Models.example.org/v1", "https://me:x@models.example.org:443", True),
        ("http://[::1]:8080/v1", "http://a.localhost:8080/v1", True),
        ("http://localhost:8080/v1", "http://localhost:8081/v1", False),
        ("http://localhost:8080/a/v1", "http://localhost:8080/b/v1", False),
        ("http://example.org/v1", "https://example.org/v1", False),
        ("http://10.0.0.1:8080/v1", "http://10.0.0.2:8080/v1", False),
    ],
)
def test_spellings_of_one_server_are_told_from_two_servers(one, other, is_same):
    assert (server_of(one) == server_of(other)) is is_same


@pytest.mark.parametrize("between", [" ", ",", ", "])
def test_one_bad_address_among_several_is_refused_by_name(between):
    with pytest.raises(SettingsInvalid, match="RLM_SUB_API_URL"):
        Models(Settings(sub_api_url=f"http://localhost:8080/v1{between}localhost:8081"))


def test_a_comma_in_a_password_is_no_separator():
    Models(Settings(sub_api_url="http://me:a,b@localhost:8080/v1"))
