"""A model over HTTP: odd streams, broken lines, busy servers, cancellation, limits, secrets."""

import base64
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import anyio.lowlevel
import orjson
import pytest
from anyio.abc import SocketAttribute
from wire_server import CHAT, delta, drop, events, raw_server, reply, silence, then

from rlm_mcp.engine.replies import parse
from rlm_mcp.errors import (
    EndpointBusy,
    EndpointError,
    EndpointFailed,
    EndpointRefused,
    EndpointUnreachable,
    NotTheProtocol,
    PromptTooLong,
)
from rlm_mcp.llm.counts import BEYOND
from rlm_mcp.llm.models import Models
from rlm_mcp.llm.refusals import read_refusal
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.settings import Settings
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

HELLO = [Message("user", "Hello there, model.")]
OK = events(delta("OK"), delta(finish="stop"))
WHOLE = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "OK"}}]}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3}
BUSY = reply(503, b'{"error":{"message":"Loading model","code":503}}', "Retry-After: 0")
SECRET = "sk-very-secret"


@asynccontextmanager
async def model_at(*answers, patience_s=20.0, **settings):
    """A model and the server that gives these answers to its requests, the last one for ever."""
    async with raw_server({CHAT: answers}) as server:
        given = Settings(**{"api_url": server.url, "model": "tiny", **settings})
        async with Models(given, patience_s=patience_s) as models:
            yield (await models.resolve()).root, server


def sse(body: str) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + body.encode()


CHUNK = orjson.dumps(delta("OK")).decode()
END = orjson.dumps(delta(finish="stop")).decode()
STREAMS = {
    "no blank after data:": sse(f"data:{CHUNK}\n\ndata:{END}\n\n"),
    "CRLF": sse(f"data: {CHUNK}\r\n\r\ndata: {END}\r\n\r\ndata: [DONE]\r\n\r\n"),
    "comments and ids": sse(f": wait\n\nid: 1\nevent: x\ndata: {CHUNK}\n\n: w\n\ndata: {END}\n\n"),
    "no blank lines": sse(f"data: {CHUNK}\ndata: {END}\n"),
    "no last line end": sse(f"data: {CHUNK}\n\ndata: {END}"),
    "null content": events(delta(None), delta("OK"), delta(None, "stop")),
    "empty choices": events({"choices": []}, delta("OK"), delta(finish="stop")),
    "content in parts": events(
        {"choices": [{"delta": {"content": [{"type": "text", "text": "OK"}]}}]},
        delta(finish="stop"),
    ),
    "no finish reason": events(delta("OK")),
    "event stream unlabelled as whole": reply(
        200, b"\n\n \n" + orjson.dumps(WHOLE), kind="text/plain"
    ),
    "dropped after the finish reason": then(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n"
        + f"data: {CHUNK}\n\ndata: {END}\n\n".encode(),
        drop,
    ),
}


@pytest.mark.parametrize("shape", STREAMS)
async def test_a_reply_is_read_in_whatever_shape_it_comes(shape):
    async with model_at(STREAMS[shape], patience_s=0) as (model, _):
        completion = await model.complete(HELLO)
    assert completion.text == "OK"
    assert completion.usage.estimated_calls == 1
    assert completion.usage.input_tokens == estimate_tokens(HELLO[0].content)
    assert completion.usage.cost is None


def timed(fresh, made, cached):
    return {"timings": {"prompt_n": fresh, "predicted_n": made, "cache_n": cached}}


@pytest.mark.parametrize(
    "chunks",
    [
        [delta("OK"), {**delta(finish="stop"), "usage": USAGE}],
        [delta("OK"), delta(finish="stop"), {"choices": [], "usage": USAGE}],
        [delta("OK"), delta(finish="stop"), {"usage": USAGE}],
        [
            {**delta("OK"), "usage": {**USAGE, "completion_tokens": 1}},
            {**delta(finish="stop"), "usage": USAGE},
        ],
        [delta("OK"), {**delta(finish="stop"), "timings": {"prompt_n": 7, "predicted_n": 3}}],
        [delta("OK"), {**delta(finish="stop"), **timed(7, 3, -5)}],
    ],
)
async def test_usage_is_found_wherever_a_stream_reports_it(chunks):
    async with model_at(events(*chunks)) as (model, _):
        usage = (await model.complete(HELLO)).usage
    assert (usage.input_tokens, usage.output_tokens) == (7, 3)
    assert (usage.estimated_calls, usage.cached_tokens) == (0, None)


@pytest.mark.parametrize(
    "told",
    [
        {"usage": {"prompt_tokens": BEYOND, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": 7, "completion_tokens": 2**64 - 1}},
        {"usage": {"prompt_tokens": 7, "completion_tokens": -1}},
        {"usage": {"prompt_tokens": True, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": 1e400, "completion_tokens": []}},
        timed(2**64 - 1, 3, None),
        timed(BEYOND - 1, 3, 1),
        timed(-4, 3, 9),
    ],
)
async def test_counts_that_cannot_be_are_estimated_instead(told):
    async with model_at(events(delta("OK"), {**delta(finish="stop"), **told})) as (model, _):
        usage = (await model.complete(HELLO)).usage
    assert usage.estimated_calls == 1
    assert usage.input_tokens == estimate_tokens(HELLO[0].content)


@pytest.mark.parametrize("cached", [-5, 8, 2**63, True, "3"])
async def test_no_more_tokens_are_cached_than_were_sent(cached):
    told = {**USAGE, "prompt_tokens_details": {"cached_tokens": cached}}
    async with model_at(events(delta("OK"), {**delta(finish="stop"), "usage": told})) as (model, _):
        usage = (await model.complete(HELLO)).usage
    assert (usage.input_tokens, usage.cached_tokens) == (USAGE["prompt_tokens"], None)
    assert usage.estimated_calls == 0


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("<think>hm\n</think>\n\nYes.", "Yes.", "hm\n"),
        ("hm\n</think>\n\nYes.", "Yes.", "hm"),
        ("It removes `</think>` from text.", "It removes `</think>` from text.", ""),
        ("<think>all of it", "all of it", ""),
    ],
)
async def test_thinking_inside_the_content_is_kept_apart(content, text, reasoning):
    async with model_at(events(delta(content), delta(finish="stop"))) as (model, _):
        completion = await model.complete(HELLO)
    assert (completion.text, completion.reasoning) == (text, reasoning)


async def test_a_request_has_standard_fields_only_and_carries_the_key():
    async with model_at(OK, api_key=SECRET) as (model, server):
        await model.complete([Message("system", "s"), Message("user", "é\ud800")], max_tokens=9)
    (seen,) = server.chats
    assert seen.json == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "é?"}],
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert f"authorization: Bearer {SECRET}\r\n" in seen.head


@pytest.mark.parametrize(
    ("answers", "attempts", "requests"),
    [
        ([drop, OK], 2, 2),
        ([BUSY, BUSY, OK], 3, 3),
        ([reply(429, b"{}", "llm_provider-retry-after: 0"), OK], 2, 2),
        ([reply(502, b"<html>Bad gateway</html>", "retry-after: 0"), OK], 2, 2),
        ([reply(500, b"oops"), OK], 2, 2),
        ([then(events(delta("O"), done=False), drop), OK], 2, 2),
        ([events(delta("O"), {"error": {"message": "x", "code": 503}}, done=False), OK], 2, 2),
        (
            [reply(400, b'{"error":"stream_options: unknown"}'), reply(200, orjson.dumps(WHOLE))],
            1,
            2,
        ),
    ],
)
async def test_what_may_pass_is_tried_again(answers, attempts, requests):
    retries = []

    async with model_at(*answers) as (model, server):
        completion = await model.complete(HELLO, on_retry=retries.append)
    assert completion.text == "OK"
    assert completion.attempts == attempts
    assert len(server.chats) == requests
    assert [retry.attempt for retry in retries] == list(range(1, attempts))
    assert all(server.url in retry.reason for retry in retries)


@pytest.mark.parametrize(
    ("answer", "error", "words", "requests"),
    [
        (drop, EndpointUnreachable, "without a reply", 2),
        (reply(500, b"oops"), EndpointFailed, "500: oops", 1),
        (BUSY, EndpointBusy, "Loading model", 2),
        (reply(429, b'{"error":{"code":"insufficient_quota"}}'), EndpointRefused, "quota", 1),
        (reply(200, b"<!DOCTYPE html><p>Hi", kind="text/html"), NotTheProtocol, "HTML", 1),
        (reply(200, b'{"hello":1}'), NotTheProtocol, "no chat reply", 1),
        (reply(302, b"", "location: /login"), NotTheProtocol, "answered 302", 1),
        (reply(200, b'{"choices":[{"mess'), EndpointFailed, "empty reply", 1),
        (events(delta("O"), b'{"choices":[{"de'), EndpointFailed, "after 1 char", 1),
        (then(events(delta("O"), done=False), drop), EndpointFailed, "after 1 char", 1),
        (reply(200, b'{"error":"model crashed"}'), EndpointFailed, "model crashed", 1),
        (reply(200, b'{"object":"error","message":"no","code":400}'), EndpointRefused, "no", 1),
        (
            reply(400, b"maximum context length is " + b"9" * 5000),
            PromptTooLong,
            "does not fit the model's window at",
            1,
        ),
    ],
)
async def test_what_does_not_pass_is_one_clear_error(answer, error, words, requests):
    async with model_at(answer, patience_s=0) as (model, server):
        with pytest.raises(error) as caught:
            await model.complete(HELLO)
    assert words in caught.value.message
    assert caught.value.url == server.url
    assert len(server.chats) == requests


async def test_a_refused_port_is_unreachable_and_found_again_when_something_listens():
    async with serve(["late"]) as first:
        port = int(first.url.rsplit(":", 1)[1].removesuffix("/v1"))
    async with Models(Settings(api_url=first.url), patience_s=0) as models:
        with pytest.raises(EndpointUnreachable, match="Nothing answers at http://127"):
            await models.resolve()
        async with serve(["late"], port=port):
            pair = await models.resolve()
            assert (await pair.root.complete(HELLO)).text == "late"
        with pytest.raises(EndpointUnreachable):
            await pair.root.complete(HELLO)
        async with serve({"other": ["new"]}, port=port):
            assert (await models.resolve()).root.name == "other"


async def test_a_wait_longer_than_the_callers_deadline_is_not_begun():
    answer = reply(503, b"{}", "Retry-After: 60")
    async with model_at(answer) as (model, _):
        with anyio.fail_after(30), pytest.raises(EndpointBusy) as caught:
            await model.complete(HELLO)
    assert caught.value.retry_after_s == 60


async def test_a_name_and_password_in_the_address_are_sent_and_never_shown():
    async with raw_server({CHAT: [OK, drop]}) as server:
        address = server.url.replace("//", "//me:pass%20word@")
        async with Models(Settings(api_url=address, model="tiny"), patience_s=0) as models:
            model = (await models.resolve()).root
            await model.complete(HELLO)
            with pytest.raises(EndpointUnreachable) as caught:
                await model.complete(HELLO)
    assert "authorization: Basic bWU6cGFzcyB3b3Jk\r\n" in server.chats[0].head
    assert "pass" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("echo", ["Basic {basic}", "me:{plain}", "of {plain}", "of {quoted}"])
async def test_a_password_that_a_server_repeats_is_in_no_error(status, echo):
    plain, quoted = "pass word/7", "pass%20word%2F7"
    basic = base64.b64encode(f"me:{plain}".encode()).decode()
    said = echo.format(basic=basic, plain=plain, quoted=quoted)
    body = orjson.dumps({"error": {"message": f"bad: {said}", "code": said, "type": said}})
    async with raw_server({CHAT: reply(status, body)}) as server:
        address = server.url.replace("//", f"//me:{quoted}@")
        async with Models(Settings(api_url=address, model="tiny"), patience_s=0) as models:
            model = (await models.resolve()).root
            with pytest.raises(EndpointError, match=r"bad: .*\*\*\*") as caught:
                await model.complete(HELLO)
            shown = f"{caught.value!r} {caught.value} {model.servers[0].connection.endpoint!r}"
            shown += repr(model.servers[0].connection.endpoint.target("x"))
    assert not [secret for secret in (plain, quoted, basic) if secret in shown]


def test_retry_after_may_be_a_date_and_a_past_one_is_at_once():
    def read(value):
        return read_refusal(503, {"retry-after": value}, b"{}").retry_after_s

    def date(seconds):
        return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)

    assert 3500 < read(date(3600)) <= 3600
    assert read(date(-3600)) == 0
    assert read("Sunday, 06-Nov-94 08:49:37 GMT") == 0
    assert read("Sun Nov  6 08:49:37 1994") == 0
    assert read("7") == 7
    assert [read(value) for value in ("", "soon", "-1", "Wed, 99 Nov 2029 07:28:00 GMT")] == [
        None
    ] * 4


async def test_a_date_beyond_all_patience_is_not_waited_for():
    answer = reply(429, b"{}", "Retry-After: Wed, 28 Nov 2999 07:28:00 GMT")
    async with model_at(answer) as (model, _):
        with anyio.fail_after(30), pytest.raises(EndpointBusy):
            await model.complete(HELLO)


async def test_no_slot_is_held_while_a_request_waits_for_its_next_attempt():
    is_waiting = anyio.Event()
    busy = reply(503, b"{}", "Retry-After: 60")

    async def patient(model):
        await model.complete(HELLO, on_retry=lambda _: is_waiting.set())

    async with (
        model_at(busy, OK, concurrency=1) as (model, server),
        anyio.create_task_group() as group,
    ):
        group.start_soon(patient, model)
        with anyio.fail_after(20):
            await is_waiting.wait()
            await model.complete(HELLO)
        group.cancel_scope.cancel()
    assert len(server.chats) == 2


@pytest.mark.parametrize("start", [b"", events(delta("O"), done=False)])
async def test_cancelling_a_request_closes_its_connection_at_once(start):
    asked = anyio.Event()

    async def answer(wire):
        asked.set()
        await wire.send(start)
        await silence(wire)

    async with model_at(answer) as (model, server):
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(model.complete, HELLO)
                await asked.wait()
                group.cancel_scope.cancel()
            await server.left.wait()


async def test_comments_do_not_keep_a_silent_stream_alive():
    async def mumble(wire):
        while True:
            await wire.send(b": still here\n\n")
            await anyio.sleep(0.01)

    async with model_at(then(sse(""), mumble), timeout_s=0.2, patience_s=0) as (model, server):
        with anyio.fail_after(10):
            with pytest.raises(EndpointFailed, match=r"sent nothing for 0\.2 s"):
                await model.complete(HELLO)
            await server.left.wait()


async def test_a_reply_may_take_longer_than_the_longest_silence():
    async def dictate(wire):
        for _ in range(6):
            await anyio.sleep(0.15)
            await wire.send(b"data: %b\n\n" % orjson.dumps(delta("x")))
        await wire.send(b"data: [DONE]\n\n")

    async with model_at(then(sse(""), dictate), timeout_s=0.7, patience_s=0) as (model, _):
        assert (await model.complete(HELLO)).text == "xxxxxx"


async def test_a_model_that_never_stops_is_stopped():
    async def babble(wire):
        while True:
            await wire.send(b"data: %b\n\n" % orjson.dumps(delta("blah " * 100)))

    async with model_at(then(sse(""), babble)) as (model, server):
        with anyio.fail_after(10):
            completion = await model.complete(HELLO, max_tokens=16)
            await server.left.wait()
    assert completion.finish_reason == "length"
    assert len(completion.text) < 10_000


async def test_a_line_without_end_does_not_fill_the_memory():
    async def pour(wire):
        while True:
            await wire.send(b"data: " + b"x" * (1 << 20))

    async with model_at(then(sse(""), pour), patience_s=0) as (model, server):
        with anyio.fail_after(20):
            with pytest.raises(EndpointFailed, match="more than 8 MB in one reply"):
                await model.complete(HELLO)
            await server.left.wait()


async def test_a_server_that_cannot_stream_is_asked_whole_from_then_on():
    refusal = reply(422, b'{"detail":"Unexpected fields in the request: {\'stream_options\'}"}')
    async with model_at(refusal, reply(200, orjson.dumps(WHOLE))) as (model, server):
        for _ in range(2):
            assert (await model.complete(HELLO)).text == "OK"
    assert [seen.json.get("stream", False) for seen in server.chats] == [True, False, False]


async def test_a_limit_the_server_names_otherwise_is_sent_by_its_name():
    words = b'{"error":{"message":"Use \'max_completion_tokens\' instead of \'max_tokens\'."}}'
    async with model_at(reply(400, words), OK) as (model, server):
        await model.complete(HELLO, max_tokens=5)
    assert server.chats[1].json["max_completion_tokens"] == 5
    assert "max_tokens" not in server.chats[1].json


async def test_an_endpoint_is_never_given_more_requests_than_its_slots():
    scripts = {"root": lambda _: "a", "sub": lambda _: "b"}
    async with serve(scripts, latency_s=0.01, slots=3) as server:
        settings = Settings(api_url=server.url, sub_api_url=server.url + "/")
        async with Models(settings) as models:
            pair = await models.resolve("root", "sub")
            async with anyio.create_task_group() as group:
                for number in range(30):
                    group.start_soon((pair.root, pair.sub)[number % 2].complete, HELLO)
    assert pair.root.slots == pair.sub.slots == 3
    assert server.peak == 3
    assert {name: bill.calls for name, bill in server.ledger.by_model.items()} == {
        "root": 15,
        "sub": 15,
    }


async def test_requests_that_overflow_a_shared_context_together_are_sent_alone():
    full = ScriptedReply(
        "Context size has been exceeded.", status=500, headers={"Retry-After": "0"}
    )

    async def shared(_):
        await anyio.lowlevel.checkpoint()
        return full if server.in_flight > 1 else "done"

    async with serve(shared) as server, Models(Settings(api_url=server.url)) as models:
        model = (await models.resolve()).root
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for _ in range(6):
                    group.start_soon(model.complete, HELLO)
    assert server.ledger.calls == 6


async def test_a_request_that_overflows_a_shared_context_alone_is_too_long():
    full = reply(500, b'{"error":{"message":"Context size has been exceeded."}}')
    async with model_at(full, concurrency=1) as (model, server):
        with pytest.raises(PromptTooLong):
            await model.complete(HELLO)
    assert len(server.chats) == 1


async def test_a_window_learned_from_an_overflow_is_remembered():
    async with model_at(
        reply(400, b'{"message":"This model\'s maximum context length is 4096 tokens."}')
    ) as (model, _):
        assert model.window_tokens is None
        with pytest.raises(PromptTooLong):
            await model.complete(HELLO)
        assert model.window_tokens == 4096


async def test_the_key_is_in_no_error_and_no_repr():
    words = reply(401, orjson.dumps({"error": f"Incorrect key {SECRET}"}))
    async with model_at(words, api_key=SECRET) as (model, _):
        with pytest.raises(EndpointRefused, match="RLM_API_KEY") as caught:
            await model.complete(HELLO)
        connection = model.servers[0].connection
        shown = [caught.value, model, connection, connection.endpoint.target("x")]
        assert all(SECRET not in f"{each!r} {each}" for each in shown)
        assert "Incorrect key ***" in caught.value.message


async def test_the_roots_key_goes_only_to_the_roots_address():
    async with raw_server({CHAT: OK}) as root, raw_server({CHAT: OK}) as sub:
        settings = Settings(
            api_url=root.url, api_key=SECRET, model="a", sub_api_url=sub.url, sub_model="b"
        )
        async with Models(settings) as models:
            pair = await models.resolve()
            await pair.root.complete(HELLO)
            await pair.sub.complete(HELLO)
    assert all(SECRET in seen.head for seen in root.seen)
    assert all("authorization" not in seen.head for seen in sub.seen)


async def test_a_proxy_of_the_environment_is_used_but_never_for_loopback(monkeypatch):
    async with raw_server({"http://models.example/v1/chat/completions": OK}) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        async with model_at(OK) as (model, _):
            assert (await model.complete(HELLO)).text == "OK"
        assert proxy.seen == []
        settings = Settings(api_url="http://models.example/v1", model="tiny")
        async with Models(settings) as models:
            assert (await (await models.resolve()).root.complete(HELLO)).text == "OK"


async def test_an_address_with_the_wrong_scheme_says_what_is_wrong_with_it():
    async def plain(stream):
        async with stream:
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra_attributes[SocketAttribute.local_port]()
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, plain)
            async with Models(Settings(api_url=f"https://127.0.0.1:{port}/v1")) as models:
                with pytest.raises(EndpointUnreachable, match="SSL"):
                    await models.resolve()
            group.cancel_scope.cancel()


async def test_cancelling_during_the_tls_handshake_closes_the_connection():
    has_ended = anyio.Event()

    async def mute(stream):
        async with stream:
            async for _ in stream:
                pass
        has_ended.set()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra_attributes[SocketAttribute.local_port]()
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, mute)
            async with Models(Settings(api_url=f"https://127.0.0.1:{port}/v1")) as models:
                with anyio.move_on_after(0.2):
                    await models.resolve()
                with anyio.fail_after(10):
                    await has_ended.wait()
            group.cancel_scope.cancel()


def tool_call(name, arguments):
    call = {"index": 0, "id": "c1", "type": "function"}
    return {**call, "function": {"name": name, "arguments": arguments}}


CODE = "print(context[:100])"
ARGUMENTS = orjson.dumps({"code": CODE}).decode()


@pytest.mark.parametrize(
    "answer",
    [
        events(
            {"choices": [{"delta": {"content": None, "tool_calls": [tool_call("python", "")]}}]},
            {"choices": [{"delta": {"tool_calls": [tool_call(None, ARGUMENTS[:9])]}}]},
            {"choices": [{"delta": {"tool_calls": [tool_call(None, ARGUMENTS[9:])]}}]},
            delta(finish="tool_calls"),
        ),
        reply(
            200,
            orjson.dumps(
                {
                    "choices": [
                        {
                            "finish_reason": "tool_calls",
                            "message": {
                                "content": None,
                                "tool_calls": [tool_call("python", {"code": CODE})],
                            },
                        }
                    ]
                }
            ),
        ),
    ],
    ids=["streamed", "whole"],
)
async def test_a_tool_call_in_place_of_content_becomes_the_text_it_was_read_from(answer):
    async with model_at(answer) as (model, _):
        completion = await model.complete(HELLO, max_tokens=64)
    assert [code.strip() for code in parse(completion.text).code] == [CODE]
