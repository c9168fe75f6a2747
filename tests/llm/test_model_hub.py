"""Models of the hub: downloaded once, gone on with after a break, refused if they are not right."""

import hashlib
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest
from scripted_gguf import Said, write_model

from rlm_mcp.errors import ModelUnusable
from rlm_mcp.llm.embedded.server import EmbeddedServer
from rlm_mcp.llm.embedded.sizing import Wish

pytest.importorskip("huggingface_hub", reason="the hub's client is not installed")
pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
from rlm_mcp.llm.embedded.hub import Download, Stopped

pytestmark = pytest.mark.anyio

REPO, NAME = "someone/scripted", "scripted.gguf"
SOURCE = f"{REPO}:{NAME}"
COMMIT = "0" * 40
WITHIN_S = 60.0
# The hub's client writes blocks of 10 MB, so that much must have come to be gone on from.
BLOCK, CUT, PADDING = 10 << 20, 11 << 20, 12 << 20


class Hub(BaseHTTPRequestHandler):
    """The two requests of a download. `server` holds the file and what is wrong with it."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        hub = self.server
        hub.asked.append((self.command, self.path, self.headers.get("Range")))
        if self.path.startswith(f"/{REPO}/resolve/") and self.path.endswith(f"/{NAME}"):
            # Large files lie on another host; the hub says what they are.
            linked = {"X-Linked-Etag": f'"{hub.digest}"', "X-Linked-Size": str(len(hub.body))}
            self._send(302, {"Location": f"{hub.store}/store", "X-Repo-Commit": COMMIT} | linked)
        elif self.path == "/store":
            self._send_file(hub)
        else:
            self._send(404, {"X-Error-Code": "RepoNotFound"})

    def _send_file(self, hub):
        start = int((self.headers.get("Range") or "bytes=0-")[6:].rstrip("-"))
        body = hub.body[start:]
        whole = f"bytes {start}-{len(hub.body) - 1}/{len(hub.body)}"
        self._send(206 if start else 200, {"Content-Range": whole}, len(body))
        if self.command == "HEAD":
            return
        if hub.cuts:
            hub.cuts -= 1
            body = body[:CUT]
            self.close_connection = True
        self.wfile.write(body)

    def _send(self, status, headers, length=0):
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(length)}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def hub(body):
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.body, server.digest = body, hashlib.sha256(body).hexdigest()
        server.asked, server.cuts = [], 0
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        server.store = f"http://localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def served(tmp_path, monkeypatch):
    model = write_model(tmp_path / NAME, Said("true", "```repl\nFINAL('forty-two')\n```"))
    with hub(model.read_bytes() + bytes(PADDING)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


async def fetched(home, source=SOURCE):
    with anyio.fail_after(WITHIN_S):
        async with EmbeddedServer(source, home, Wish()) as server:
            return await server.address(None, None)


async def test_ask_downloads_the_model_goes_on_after_a_break_and_answers(
    served, environment_of, own_environment, tmp_path
):
    text = tmp_path / "text.txt"
    text.write_text("Nothing of interest.", encoding="utf-8")
    environment = environment_of(RLM_MODEL_PATH=SOURCE, RLM_STRATEGY="rlm", HF_ENDPOINT=served.url)
    served.cuts = 1

    command = [sys.executable, "-m", "rlm_mcp", "ask", "-q", str(text), "What is it?"]
    with anyio.fail_after(WITHIN_S):
        ran = await anyio.run_process(command, env=environment, check=False)

    assert ran.stdout.decode() == "forty-two\n", ran.stderr.decode()
    got = [where for _, path, where in served.asked if path == "/store"]
    assert got == [None, f"bytes={BLOCK}-"]
    place = own_environment / "models" / REPO / NAME
    assert place.read_bytes() == served.body


def test_a_download_tells_how_far_it_is_and_is_not_made_twice(served, own_environment):
    said = []

    first = Download(said.append).fetch(REPO, NAME, own_environment)
    asked = len(served.asked)
    second = Download(said.append).fetch(REPO, NAME, own_environment)

    assert first == second
    assert first.read_bytes() == served.body
    size = f"{len(served.body) / 1e6:,.0f}"
    assert said[-2:] == [f"downloading {NAME}: {size} of {size} MB", f"checking {NAME}"]
    assert len(served.asked) == asked


def test_a_download_that_nobody_waits_for_stops_and_goes_on_later(served, own_environment):
    stopped = Download(lambda _: stopped.stop.set())

    with pytest.raises(Stopped):
        stopped.fetch(REPO, NAME, own_environment)

    assert not list((own_environment / "models").rglob("*.gguf"))
    assert Download(lambda _: None).fetch(REPO, NAME, own_environment).is_file()


async def test_a_model_with_a_wrong_checksum_is_refused_and_not_kept(served, own_environment):
    right = served.digest
    served.digest = hashlib.sha256(b"another file").hexdigest()

    with pytest.raises(ModelUnusable) as caught:
        await fetched(own_environment)

    assert f"{NAME} of {REPO} came damaged" in caught.value.message
    assert not list((own_environment / "models").rglob("*.gguf"))
    served.digest = right
    await fetched(own_environment)


async def test_a_repository_that_is_not_there_is_an_error_with_a_hint(served, own_environment):
    with pytest.raises(ModelUnusable) as caught:
        await fetched(own_environment, "nobody/nothing:model.gguf")

    assert "model.gguf of nobody/nothing could not be downloaded" in caught.value.message
    assert "org/repo:file.gguf" in caught.value.hint


async def test_a_hub_out_of_reach_is_an_error_with_a_hint(own_environment, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")

    with pytest.raises(ModelUnusable) as caught:
        await fetched(own_environment)

    assert "what has come is kept" in caught.value.hint
