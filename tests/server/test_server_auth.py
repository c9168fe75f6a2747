"""Who gets into the HTTP server: tokens, issuers, hosts, origins, and what is refused."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import httpx2
import jwt
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from rlm_mcp.cli.main import command
from rlm_mcp.errors import ArgumentInvalid, AuthMissing, SettingsInvalid
from rlm_mcp.llm.scripted import serve
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
    made = [new_token(tokens, name)[0] for name in ("alice", "bob", "alice")]
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


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_file_that_others_may_open_lets_nobody_in_from_then_on(tokens):
    token, _ = new_token(tokens, "alice")
    file = TokenFile(tokens)
    assert file.name_of(token) == "alice"
    tokens.chmod(0o604)
    with pytest.raises(SettingsInvalid, match="Others"):
        file.name_of(token)
    with pytest.raises(SettingsInvalid, match="Others"):
        new_token(tokens, "bob")
    tokens.chmod(0o600)
    assert file.name_of(token) == "alice"


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
    assert tokens.read_text(encoding="utf-8").strip() in result.stderr


async def test_without_auth_only_this_machine_is_served():
    with pytest.raises(AuthMissing, match="rlm-mcp token") as caught:
        await serve_http(Settings.load(), "0.0.0.0", 0)
    assert "0.0.0.0" in caught.value.message


async def test_a_public_name_needs_auth_even_behind_a_proxy_on_this_machine():
    with pytest.raises(AuthMissing, match=r"rlm\.example"):
        await serve_http(Settings.load(public_url=PUBLIC), "127.0.0.1", 0)


async def test_every_address_needs_the_name_that_clients_use(tokens):
    new_token(tokens, "alice")

    with pytest.raises(SettingsInvalid, match="RLM_PUBLIC_URL"):
        await serve_http(Settings.load(token_file=tokens), "0.0.0.0", 0)


async def test_a_sandbox_that_holds_nothing_is_refused_where_users_share_it(tokens):
    new_token(tokens, "alice")

    with pytest.raises(SettingsInvalid, match="RLM_SANDBOX=plain"):
        await serve_http(Settings.load(token_file=tokens, sandbox="plain"), port=0)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
async def test_the_data_folder_is_its_owners_alone(team, own_environment):
    own_environment.chmod(0o755)
    async with team() as t, t.client("alice") as alice:
        await alice.call("load_context", text="alpha")
        modes = {
            place.name: place.stat().st_mode & 0o077
            for place in (own_environment, *own_environment.rglob("*"))
            if "cache" not in place.parts
        }

    assert "journal.sqlite3" in modes
    assert set(modes.values()) == {0}


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


async def test_nobody_is_sent_where_the_host_header_says(team):
    async with team() as t, t.http() as http:
        answer = await http.get("/mcp/", headers={"host": "evil.example"})

    assert (answer.status_code, answer.headers.get("location")) == (404, None)


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
        {"sub": ""},
        {"sub": "  "},
        {"sub": 7},
        {"iss": f"{ISSUER}/"},
        {"aud": f"{PUBLIC}/mcp/"},
        {"scope": 7},
        {"scope": {"rlm": True}},
        {"scope": ["rlm", 7]},
        {"client_id": ["editor"]},
        {"client_id": ""},
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

    forged += [f"{'W10' * depth}.{'W10' * depth}.x" for depth in (1, 1000)]
    forged += [base64.urlsafe_b64encode(b"[" * 20_000).decode() + ".e30.x"]
    assert [await verifier.verify_token(token) for token in forged] == [None] * len(forged)


async def test_what_a_token_says_of_itself_is_not_logged(issuer, caplog):
    key, keys_url = issuer
    verifier = JwtVerifier(ISSUER, f"{PUBLIC}/mcp", keys_url)
    for kid in ("one", "canary-kid"):
        claims = {"sub": "canary", "iss": "canary", "aud": "canary", "exp": time.time() + 60}
        token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid})
        assert await verifier.verify_token(token) is None

    assert "canary" not in caplog.text


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
    assert told.json()["scopes_supported"] == ["rlm"]
    assert [nobody.status_code, alice.status_code, narrow.status_code] == [401, 200, 403]
    for answer, error in ((nobody, "invalid_token"), (narrow, "insufficient_scope")):
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith(f'Bearer error="{error}"')
        assert f'resource_metadata="{PUBLIC}{place}"' in challenge


@pytest.mark.parametrize("name", ["oauth_issuer", "oauth_jwks"])
@pytest.mark.parametrize("url", ["http://issuer.example", "http://127.0.0.1.evil.example"])
def test_an_issuer_beyond_this_machine_is_asked_by_https_only(name, url):
    whole = {"oauth_issuer": ISSUER, "oauth_jwks": f"{ISSUER}/keys", "public_url": PUBLIC}
    assert auth_of(Settings.load(**whole)) is not None
    with pytest.raises(SettingsInvalid, match=f"RLM_{name.upper()} is not https"):
        auth_of(Settings.load(**whole | {name: url}))


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


async def test_tokens_work_through_the_command_line_and_the_official_client(tokens):
    token, _ = new_token(tokens, "alice")
    command = [sys.executable, "-m", "rlm_mcp", "serve", "--http", "--port", "0"]
    with anyio.fail_after(60):
        async with (
            serve(["```repl\nFINAL(context.upper())\n```"]) as model,
            await anyio.open_process(
                [*command, "--token-file", str(tokens)],
                env={**os.environ, "RLM_API_URL": model.url},
                stderr=subprocess.PIPE,
            ) as process,
        ):
            line = await BufferedByteReceiveStream(process.stderr).receive_until(b"\n", 999)
            headers = {"authorization": f"Bearer {token}"}
            async with (
                httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30) as http,
                Client(
                    streamable_http_client(line.decode().split()[-1], http_client=http)
                ) as client,
            ):
                loaded = await client.call_tool("load_context", {"text": "alpha"})
                asked = {"query": "?", "session": loaded.structured_content["session"]}
                answer = await client.call_tool("rlm_query", asked)
            process.terminate()
            said = b"".join([chunk async for chunk in process.stderr])

    assert answer.structured_content["answer"] == "ALPHA"
    assert token.encode() not in line + said
