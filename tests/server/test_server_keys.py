"""The keys of an issuer: fetched over real HTTP, seldom, and only those that may verify."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from rlm_mcp.server import keys as module
from rlm_mcp.server.issuer import ALGORITHMS
from rlm_mcp.server.keys import Keys

pytestmark = pytest.mark.anyio


def public(kid, **more):
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key)) | {"kid": kid} | more


class Issuer:
    """What it answers, and how often it was asked."""

    def __init__(self):
        self.status = 200
        self.body = json.dumps({"keys": [public("one")]}).encode()
        self.asked = 0
        self.url = ""

    def publishes(self, *keys):
        self.body = json.dumps({"keys": keys}).encode()


@pytest.fixture
def issuer():
    told = Issuer()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            told.asked += 1
            self.send_response(told.status)
            self.send_header("location", told.url)
            self.send_header("content-length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    told.url = f"http://127.0.0.1:{server.server_port}/keys"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


async def test_names_that_are_not_there_cost_one_fetch(issuer):
    keys = Keys(issuer.url, ALGORITHMS)
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(keys.find, f"unknown {number}")
    known = await keys.find("one")

    assert known.key_id == "one"
    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (302, b""),
        (200, b"no json"),
        (200, b"[]"),
        (200, b'{"keys": []}'),
        (200, b"\xff"),
    ],
)
async def test_after_a_failure_it_is_not_asked_again_at_once(issuer, status, body):
    issuer.status, issuer.body = status, body
    keys = Keys(issuer.url, ALGORITHMS)
    found = [await keys.find("one") for _ in range(5)]

    assert found == [None] * 5
    assert issuer.asked == 1


async def test_an_issuer_that_cannot_be_reached_verifies_nobody():
    assert await Keys("http://127.0.0.1:1/keys", ALGORITHMS).find("one") is None


async def test_a_new_key_is_found_after_the_pause_and_an_old_one_is_gone(issuer, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0)
    keys = Keys(issuer.url, ALGORITHMS)
    before = await keys.find("one")
    issuer.publishes(public("two"))

    assert before.key_id == "one"
    assert (await keys.find("two")).key_id == "two"
    assert await keys.find("one") is None


async def test_keys_outlive_a_failure_for_a_time_only(issuer, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0)
    monkeypatch.setattr(module, "FRESH_S", 0)
    keys = Keys(issuer.url, ALGORITHMS)
    await keys.find("one")
    issuer.status = 500
    still = await keys.find("one")
    monkeypatch.setattr(module, "KEPT_S", 0)

    assert still.key_id == "one"
    assert await keys.find("one") is None


async def test_a_key_that_is_not_for_signing_or_signs_itself_is_no_key(issuer):
    secret = base64.urlsafe_b64encode(b"x" * 32).decode()
    issuer.publishes(
        public("encrypts", use="enc"),
        {"kty": "oct", "k": secret, "kid": "shared", "alg": "HS256"},
        {key: value for key, value in public("").items() if key != "kid"},
        public("signs", use="sig"),
    )
    keys = Keys(issuer.url, ALGORITHMS)

    assert (await keys.find("signs")).key_id == "signs"
    assert [await keys.find(name) for name in ("encrypts", "shared", "", None, 1)] == [None] * 5
