"""URLs: off unless allowed, never to a private address unless that is allowed too."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest

from rlm_mcp.contexts.download import is_public
from rlm_mcp.contexts.loader import load
from rlm_mcp.errors import SourceForbidden, SourceMissing, SourceTooLarge, SourceUnreadable
from rlm_mcp.rules import LoadRules

pytestmark = pytest.mark.anyio

ANY = LoadRules(http="any")
PUBLIC = LoadRules(http="public")
LONG = "".join(f"line {number}\n" for number in range(200_000))


class Pages(BaseHTTPRequestHandler):
    """What the site of these tests has."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.server.asked.append(self.path)
        if path.startswith("/hop"):
            number = int(path.removeprefix("/hop"))
            self.redirect(f"/hop{number - 1}" if number else "/notes.txt")
        elif path == "/to":
            self.redirect(query)
        elif path == "/notes.txt":
            self.page(b"some notes\n", "text/plain")
        elif path == "/long":
            self.page(LONG.encode(), "text/plain")
        elif path == "/russian":
            self.page("да\n".encode("koi8-r"), "text/plain; charset=koi8-r")
        elif path == "/picture":
            self.page(b"\x89PNG\0\0", "image/png")
        elif path == "/cut":
            self.page(b"half", "text/plain", length=8)
        elif path == "/endless":
            self.endless()
        else:
            self.send_error(404)

    def page(self, body, kind, length=None):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"more and more\n" * 1000)
        except OSError:
            self.server.left.set()

    def redirect(self, where):
        self.send_response(302)
        self.send_header("Location", where)
        self.end_headers()

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.asked, server.left = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def url(site):
    return f"http://127.0.0.1:{site.server_port}"


async def text_of(store, source, rules=ANY):
    info = await load(store, [source], rules=rules)
    return store.read(info, 0, info.chars)


async def test_a_url_is_one_document(store, url):
    info = await load(store, [f"{url}/notes.txt?page=1"], rules=ANY)
    assert (info.name, info.documents) == ("notes.txt", 1)
    assert store.read(info, 0, info.chars) == "some notes\n"
    assert await text_of(store, f"{url}/long") == LONG


async def test_urls_are_off_unless_they_are_allowed(store, url, site):
    with pytest.raises(SourceForbidden, match="URLs are off") as caught:
        await load(store, [f"{url}/notes.txt"])
    assert "RLM_HTTP=public" in caught.value.hint
    assert site.asked == []


async def test_a_declared_charset_is_believed(store, url):
    assert await text_of(store, f"{url}/russian") == "да\n"


async def test_five_redirects_are_followed_and_no_sixth(store, url):
    assert await text_of(store, f"{url}/hop4") == "some notes\n"
    with pytest.raises(SourceUnreadable, match="redirects more than 5 times"):
        await text_of(store, f"{url}/hop5")


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://example.org/x", ""])
async def test_a_redirect_leads_nowhere_else(store, url, where):
    with pytest.raises(SourceUnreadable, match="redirects"):
        await text_of(store, f"{url}/to?{where}")


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("/nowhere", "the server answered 404"),
        ("/picture", "binary"),
        ("/cut", "the connection failed"),
    ],
)
async def test_what_brings_no_text_is_an_error(store, url, page, reason):
    with pytest.raises(Exception, match=reason) as caught:
        await text_of(store, url + page)
    assert caught.value.hint


async def test_a_server_that_is_not_there_is_an_error(store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SourceUnreadable, match="the connection failed"):
        await text_of(store, f"http://127.0.0.1:{port}/x")


async def test_a_page_without_end_is_cut_off_at_the_limit(store, url, site):
    with anyio.fail_after(30), pytest.raises(SourceTooLarge, match="more than the 1 MB"):
        await text_of(store, f"{url}/endless", LoadRules(http="any", most_bytes=10**6))
    assert site.left.wait(10)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",  # asked for, not bound
        "2130706433",
        "0x7f.1",
        "169.254.169.254",
        "10.1.2.3",
        "192.168.1.1",
        "100.64.0.1",
    ],
)
async def test_a_private_address_is_not_reached_however_it_is_written(store, site, host):
    with pytest.raises(SourceUnreadable, match="its address is private"):
        await text_of(store, f"http://{host}:{site.server_port}/notes.txt", PUBLIC)
    assert site.asked == []


async def test_a_name_with_one_private_address_is_not_reached(store, monkeypatch):
    rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 80)) for a in ("8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)
    with pytest.raises(SourceUnreadable, match="its address is private"):
        await text_of(store, "http://two.example/", PUBLIC)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("fe80::1%eth0", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses_are_those_of_the_open_internet(address, public):
    assert is_public(address) is public


async def test_a_url_with_a_password_is_refused_without_showing_it(store):
    with pytest.raises(SourceForbidden) as caught:
        await text_of(store, "https://me:hunter2@example.org/x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("source", ["http://[::1/x", "http://a:b:c/x", "http://host/\x00"])
async def test_what_is_no_url_says_so(store, source):
    with pytest.raises((SourceMissing, SourceUnreadable), match="is no URL"):
        await text_of(store, source)
