import base64
import json
import os
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from rlm_mcp.clients.formats import Server, client, clients, server_of, shaped
from rlm_mcp.clients.links import ANYWHERE, example, link, table, untold

ROOT = Path(__file__).parents[2]
UPDATE_GOLDEN = bool(os.environ.get("RLM_UPDATE_GOLDEN"))
AWKWARD = Server("C:\\rlm & co\\rlm-mcp.exe", ("--x=1+2", "ü?"), {"RLM_MODEL": "a/b=c"})
LINKED = [each.id for each in clients() if each.link]


def decoded(name, address):
    """The name and the entry that a link carries, as its client reads them."""
    query = parse_qs(urlsplit(address).query)
    if name == "vscode":
        scheme, _, asked = query["url"][0].partition("?")
        assert scheme == "vscode:mcp/install"
        entry = json.loads(unquote(asked))
        return entry.pop("name"), entry
    return query["name"][0], json.loads(base64.b64decode(query["config"][0], validate=True))


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("server", [ANYWHERE, AWKWARD])
def test_a_link_carries_the_entry_that_would_stand_in_the_file(name, server):
    known = client(name)

    carried, entry = decoded(name, link(known, server, "rlm two"))

    assert carried == "rlm two"
    assert entry == shaped(known, server)
    assert server_of(known, entry) == server


def test_three_clients_have_links():
    assert LINKED == ["cursor", "vscode", "lm-studio"]
    assert link(client("zed")) is None


def test_a_link_is_plain_text_that_markdown_takes():
    for name in LINKED:
        address = link(client(name), AWKWARD)
        assert address.isascii()
        assert not set(address) & set(' ()<>|"')


@pytest.mark.parametrize(
    ("server", "secret"),
    [
        (ANYWHERE, []),
        (AWKWARD, []),
        (
            Server("uvx", (), {"HF_TOKEN": "t", "RLM_API_URL": "http://u:p@host/v1"}),
            ["HF_TOKEN", "RLM_API_URL"],
        ),
        (Server("uvx", ("--from", "rlm-mcp @ git+https://t0p@host/x.git"), {}), ["its command"]),
    ],
)
def test_what_belongs_in_no_link_is_named_and_keeps_there_from_being_one(server, secret):
    assert untold(server) == secret
    assert (link(client("cursor"), server) is None) == bool(secret)


def test_the_table_is_the_one_agreed_on(golden):
    golden("clients_table.md", "\n".join(table()) + "\n")


def test_the_example_file_is_what_would_be_written():
    if UPDATE_GOLDEN:
        (ROOT / "mcp.json.example").write_text(example(), encoding="utf-8")

    assert (ROOT / "mcp.json.example").read_text(encoding="utf-8") == example()
