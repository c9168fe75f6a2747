"""Who gets into the HTTP server: tokens, issuers, hosts, origins, and what is refused."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from rlm_mcp.cli.main import command
from rlm_mcp.errors import ArgumentInvalid, AuthMissing, SettingsInvalid
from rlm_mcp.server.auth import auth_of, principal_of
from rlm_mcp.server.http import serve_http
from rlm_mcp.server.issuer import JwtVerifier
from rlm_mcp.server.tokenfile import TokenFile, new_token
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio

ISSUER = "https://issuer.example"
PUBLIC = "https://rlm.example"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"accept": "application/json, text/event-stream"}


def bearer(token):
    return {"authorization": f"Bearer {token}", **ACCEPT}


@pytest.fixture
def tokens(own_environment):
    return own_environment / "tokens"


async def test_who_has_no_token_of_the_file_is_told_nothing(team):
    async with team() as t, t.http() as http:
        answers = [
            await http.post("/mcp", json=INITIALIZE, headers=ACCEPT),
            await http.post("/mcp", json=INITIALIZE, headers=bearer("rlm_wrong")),
        ]

    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert "serverInfo" not in answer.text


async def test_a_token_lets_in_until_its_line_is_removed_or_the_file_breaks(team):
    async with team() as t, t.http() as http:
        alice, bob = bearer(t.tokens["alice"]), bearer(t.tokens["bob"])
        before = await http.post("/mcp", json=INITIALIZE, headers=alice)
        session = {"mcp-session-id": before.headers["mcp-session-id"]}
        lines = t.file.read_text(encoding="utf-8").splitlines()
        t.file.write_text(lines[1], encoding="utf-8")
        after = await http.post("/mcp", json=LIST, headers=alice | session)
        other = await http.post("/mcp", json=INITIALIZE, headers=bob)
        t.file.write_text(f"{lines[1]}\nno line of tokens", encoding="utf-8")
        broken = await http.post("/mcp", json=INITIALIZE, headers=bob)

    codes = [answer.status_code for answer in (before, after, other, broken)]
    assert codes == [200, 401, 200, 401]


async def test_the_session_of_a_client_is_no_use_to_another_user(team):
    async with team() as t, t.http() as http:
        alice, bob = bearer(t.tokens["alice"]), bearer(t.tokens["bob"])
        opened = await http.post("/mcp", json=INITIALIZE, headers=alice)
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        taken = await http.post("/mcp", json=LIST, headers=bob | session)
        ended = await http.delete("/mcp", headers=bob | session)
        never = await http.post("/mcp", json=LIST, headers=bob | {"mcp-session-id": "0" * 32})
        still = await http.post("/mcp", json=LIST, headers=alice | session)

    assert (taken.status_code, taken.text) == (never.status_code, never.text)
    assert [taken.status_code, ended.status_code, still.status_code] == [404, 404, 200]


def test_the_file_keeps_no_token_and_is_its_owners_alone(tokens):
    made = [new_token(tokens, name) for name in ("alice", "bob", "alice")]
    text = tokens.read_text(encoding="utf-8")
    file = TokenFile(tokens)

    assert [file.name_of(token) for token in made] == ["alice", "bob", "alice"]
    assert file.name_of("rlm_wrong") is None
    assert len(set(made)) == len(made)
    assert not [token for token in made if token in text]
    if os.name == "posix":
        assert tokens.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_file_that_others_may_open_is_refused(tokens):
    new_token(tokens, "alice")
    tokens.chmod(0o640)

    with pytest.raises(SettingsInvalid, match="chmod 600"):
        auth_of(Settings.load(token_file=tokens))


def test_a_broken_line_is_named_and_not_shown(tokens):
    new_token(tokens, "alice")
    with tokens.open("a", encoding="utf-8") as file:
        file.write("bob secret-in-clear\n")

    with pytest.raises(SettingsInvalid, match="Line 2") as caught:
        auth_of(Settings.load(token_file=tokens))
    assert "secret-in-clear" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tokens):
    with pytest.raises(SettingsInvalid, match="rlm-mcp token"):
        auth_of(Settings.load(token_file=tokens))


@pytest.mark.parametrize("name", ["", "two words", "a\nb sha256:0", "-x", "x" * 65])
def test_a_name_that_would_break_the_file_is_refused(tokens, name):
    with pytest.raises(ArgumentInvalid):
        new_token(tokens, name)
    assert not tokens.exists()


def test_the_command_prints_a_token_once(tokens):
    result = CliRunner().invoke(command, ["token", "alice", "--file", str(tokens)])

    assert TokenFile(tokens).name_of(result.stdout.strip()) == "alice"
    assert result.stdout.strip() not in result.stderr
    assert str(tokens) in result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
async def test_without_auth_only_this_machine_is_served(host):
    with pytest.raises(AuthMissing, match="rlm-mcp token") as caught:
        await serve_http(Settings.load(), host, 0)
    assert host in caught.value.message


async def test_a_public_name_needs_auth_even_behind_a_proxy_on_this_machine():
    with pytest.raises(AuthMissing, match=r"rlm\.example"):
        await serve_http(Settings.load(public_url=PUBLIC), "127.0.0.1", 0)


async def test_every_address_needs_the_name_that_clients_use(tokens):
    new_token(tokens, "alice")

    with pytest.raises(SettingsInvalid, match="RLM_PUBLIC_URL"):
        await serve_http(Settings.load(token_file=tokens), "0.0.0.0", 0)


async def test_requests_are_for_the_public_name_and_from_named_pages(team):
    wanted = [
        ("host", "rlm.example", 200),
        ("host", "rlm.example:443", 200),
        ("host", "rlm.example.evil.example", 421),
        ("host", "evil.example", 421),
        ("origin", PUBLIC, 200),
        ("origin", "https://app.example", 200),
        ("origin", "http://rlm.example", 403),
        ("origin", "https://evil.example", 403),
    ]
    named = {"public_url": PUBLIC, "origins": "https://app.example"}
    async with team(host="0.0.0.0", **named) as t, t.http() as http:
        alice = bearer(t.tokens["alice"])
        got = [
            (name, value, (await http.post("/mcp", json=INITIALIZE, headers=alice | {name: value})))
            for name, value, _ in wanted
        ]

    assert [(name, value, answer.status_code) for name, value, answer in got] == wanted


async def test_a_request_larger_than_the_limit_is_refused(team):
    async with team(max_body_mb=0.01) as t, t.http() as http:
        alice = bearer(t.tokens["alice"])
        padded = INITIALIZE | {"padding": "x" * 10_000}
        large = await http.post("/mcp", json=padded, headers=alice)
        small = await http.post("/mcp", json=INITIALIZE, headers=alice)

    assert [large.status_code, small.status_code] == [413, 200]


@pytest.fixture
def issuer():
    """An issuer's signing key, and the address of its public keys, over real HTTP."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    body = json.dumps({"keys": [public | {"kid": "one", "use": "sig", "alg": "ES256"}]}).encode()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield key, f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    thread.join()
    server.server_close()


def signed(key, algorithm="ES256", **claims):
    whole = {
        "iss": ISSUER,
        "aud": f"{PUBLIC}/mcp",
        "sub": "alice",
        "scope": "rlm",
        "exp": int(time.time()) + 600,
    }
    given = {name: value for name, value in (whole | claims).items() if value is not None}
    return jwt.encode(given, key, algorithm=algorithm, headers={"kid": "one"})


async def test_a_token_of_the_issuer_for_this_server_tells_its_subject(issuer):
    key, keys_url = issuer
    verifier = JwtVerifier(ISSUER, f"{PUBLIC}/mcp", keys_url)
    known = await verifier.verify_token(signed(key, client_id="editor"))

    assert (known.subject, known.client_id, known.scopes) == ("alice", "editor", ["rlm"])


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "https://other.example/mcp"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
    ],
)
async def test_a_token_for_another_server_time_or_issuer_is_refused(issuer, claims):
    key, keys_url = issuer
    verifier = JwtVerifier(ISSUER, f"{PUBLIC}/mcp", keys_url)

    assert await verifier.verify_token(signed(key)) is not None
    assert await verifier.verify_token(signed(key, **claims)) is None


async def test_a_token_that_the_issuer_did_not_sign_is_refused(issuer):
    _, keys_url = issuer
    verifier = JwtVerifier(ISSUER, f"{PUBLIC}/mcp", keys_url)
    forged = [
        signed(ec.generate_private_key(ec.SECP256R1())),
        signed("x" * 32, "HS256"),
        signed(None, "none"),
        "no.jwt.atall",
        "",
    ]

    assert [await verifier.verify_token(token) for token in forged] == [None] * len(forged)


async def test_a_resource_server_tells_where_tokens_come_from_and_takes_them(team, issuer):
    key, keys_url = issuer
    named = {"oauth_issuer": ISSUER, "oauth_jwks": keys_url, "oauth_scopes": "rlm"}
    async with team((), (), public_url=PUBLIC, **named) as t, t.http() as http:
        place = "/.well-known/oauth-protected-resource/mcp"
        told = await http.get(place)
        nobody = await http.post("/mcp", json=INITIALIZE, headers=ACCEPT)
        alice = await http.post("/mcp", json=INITIALIZE, headers=bearer(signed(key)))
        narrow = await http.post("/mcp", json=INITIALIZE, headers=bearer(signed(key, scope="mail")))

    assert told.json()["authorization_servers"] == [ISSUER]
    assert told.json()["resource"] == f"{PUBLIC}/mcp"
    assert f"{PUBLIC}{place}" in nobody.headers["www-authenticate"]
    assert [nobody.status_code, alice.status_code, narrow.status_code] == [401, 200, 403]


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"oauth_issuer": ISSUER}, "RLM_PUBLIC_URL"),
        ({"oauth_issuer": ISSUER, "public_url": PUBLIC}, "RLM_OAUTH_JWKS"),
        ({"oauth_issuer": ISSUER, "public_url": PUBLIC, "token_file": "x"}, "RLM_TOKEN_FILE"),
    ],
)
def test_an_issuer_without_what_it_needs_says_what_to_set(settings, cure):
    with pytest.raises(SettingsInvalid, match=cure):
        auth_of(Settings.load(**settings))


def test_a_person_is_the_same_through_every_client_and_not_with_another_issuer():
    def principal(client, subject, issuer=ISSUER):
        claims = {"iss": issuer}
        token = AccessToken(token="", client_id=client, scopes=[], subject=subject, claims=claims)
        return principal_of(AuthenticatedUser(token))

    assert principal("editor", "alice") == principal("terminal", "alice")
    assert principal("editor", "alice") != principal("editor", "bob")
    assert principal("editor", "alice") != principal("editor", "alice", "https://other.example")
    assert principal("alice", None) != principal("editor", "alice")
    assert principal_of(None) is None


async def test_tokens_work_through_the_command_line_and_the_official_client(team, era):
    async with team(["```repl\nFINAL(context.upper())\n```"]) as t:
        async with t.client("alice", era) as alice:
            loaded = await alice.call("load_context", text="alpha")
            answer = await alice.call("rlm_query", query="?", session=loaded["session"])
        said = await t.said()

    assert answer["answer"] == "ALPHA"
    assert t.tokens["alice"] not in said
