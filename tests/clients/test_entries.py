import json
import tomllib

import pytest

from rlm_mcp.clients import tables
from rlm_mcp.clients.entries import entries, is_of_older, with_server, without_server
from rlm_mcp.clients.formats import Server, client, clients, server_of
from rlm_mcp.errors import ConfigUnreadable

SERVER = Server(
    "/opt/rlm/bin/rlm-mcp",
    (),
    {"RLM_API_URL": "http://localhost:8080/v1", "RLM_ROOTS": "/code"},
)
KEY = ("RLM_API_KEY",)
IDS = [each.id for each in clients()]
CODEX = """\
model = "x"  # the one I like

[mcp_servers.other]
command = "y"

# tools
[tools]
web = true
"""


@pytest.mark.parametrize("name", IDS)
def test_the_entry_is_the_one_agreed_on(golden, name):
    known = client(name)
    text = with_server(known, "", "rlm", SERVER)

    golden(f"entry_{name}.{'toml' if known.format == 'toml' else 'json'}", text)
    assert server_of(known, entries(known, text)["rlm"]) == SERVER


@pytest.mark.parametrize("name", IDS)
def test_adding_twice_changes_nothing_and_taking_out_restores(name):
    known = client(name)
    start = CODEX if known.format == "toml" else '{\n  "theme": "dark"\n}\n'

    once = with_server(known, start, "rlm", SERVER, KEY)

    assert with_server(known, once, "rlm", SERVER, KEY) == once
    assert without_server(known, once, "rlm") == start


def test_vs_code_is_told_to_ask_for_the_key_and_no_value_stands_there():
    text = with_server(client("vscode"), "", "rlm", SERVER, KEY)
    written = json.loads(text)

    assert written["servers"]["rlm"]["env"]["RLM_API_KEY"] == "${input:rlm-api-key}"
    assert [(each["id"], each["password"]) for each in written["inputs"]] == [("rlm-api-key", True)]


def test_questions_of_other_servers_stay_with_vs_code():
    theirs = {"type": "promptString", "id": "github", "description": "Token"}
    start = json.dumps({"inputs": [theirs], "servers": {}}, indent=2)

    with_ours = with_server(client("vscode"), start, "rlm", SERVER, KEY)

    assert len(json.loads(with_ours)["inputs"]) == 2
    assert json.loads(without_server(client("vscode"), with_ours, "rlm"))["inputs"] == [theirs]


def test_an_entry_keeps_what_the_user_has_added_to_it():
    cursor = client("cursor")
    theirs = {
        "command": "/old/rlm-mcp",
        "args": ["-v"],
        "disabled": True,
        "env": {"RLM_MODEL": "q"},
    }
    text = json.dumps({"mcpServers": {"rlm": theirs}})

    entry = entries(cursor, with_server(cursor, text, "rlm", SERVER))["rlm"]

    assert entry["disabled"] is True
    assert entry["env"] == {"RLM_MODEL": "q", **SERVER.env}
    assert (entry["command"], entry["args"]) == (SERVER.command, [])


def test_a_time_limit_that_the_user_has_set_stays():
    codex = client("codex")
    text = '[mcp_servers.rlm]\ncommand = "/old/rlm-mcp"\ntool_timeout_sec = 9\n'

    entry = entries(codex, with_server(codex, text, "rlm", SERVER))["rlm"]

    assert entry["tool_timeout_sec"] == 9
    assert entry["command"] == SERVER.command


def test_codex_keeps_its_remarks_its_order_and_its_line_ends():
    codex = client("codex")
    windows = CODEX.replace("\n", "\r\n")

    text = with_server(codex, windows, "rlm", SERVER)

    assert set(CODEX.splitlines()) <= set(text.splitlines())
    assert "\n" not in text.replace("\r\n", "")
    assert tomllib.loads(text)["mcp_servers"]["rlm"]["env"] == SERVER.env


def test_lines_that_end_now_so_now_so_stay_as_they_are():
    text = CODEX.replace("\n", "\r\n", 2)

    assert with_server(client("codex"), text, "rlm", SERVER).startswith(text)


@pytest.mark.parametrize(
    "rest",
    [
        "\n# tools\n[tools]\nweb = true\n",
        "\n[mcp_servers.z]\ncommand = 'z'\n",
        "\n[[list]]\na = 1\n",
        "# the end\n",
        "",
    ],
)
@pytest.mark.parametrize("head", ['[mcp_servers."rlm"]', "[ mcp_servers . rlm ] # ours"])
def test_a_table_written_by_hand_goes_and_its_neighbours_and_their_remarks_stay(head, rest):
    ours = f"{head}\ncommand = '/x/rlm-mcp'\n# why\nargs = [\n  '-v',\n]\n"
    below = "\n[mcp_servers.rlm.env]\nRLM_MODEL = 'q'\n"

    taken = without_server(client("codex"), f"model = 'x'\n\n{ours}{below}{rest}", "rlm")

    assert taken == f"model = 'x'\n{rest}"


def test_a_changed_table_is_changed_where_it_stands():
    codex = client("codex")
    head, rest = "# mine\n[mcp_servers.rlm]  # rlm\n", "[tools]\nweb = true\n"
    text = f"{head}command = '/x/rlm-mcp' # old\n\n{rest}"

    changed = with_server(codex, text, "rlm", SERVER)

    assert changed.startswith(f'{head}command = "{SERVER.command}" # old\n')
    assert changed.endswith(rest)


MARKED = "\ufeff" + CODEX.replace("\n", "\r\n")
# Each as a person may have written it, and as it is once RLM_ROOTS is set beside RLM_MODEL.
BY_HAND = {
    "a_table_of_variables": (
        """\
[mcp_servers.rlm]
command = '/x'  # mine

# its variables
[mcp_servers.rlm.env]
RLM_MODEL = "z" # the fast one

# colours of the screen
[tui]
theme = 1
""",
        'RLM_MODEL = "z" # the fast one\n',
        'RLM_ROOTS = "/tmp"\n',
    ),
    "only_remarks_yet": (
        "[mcp_servers.rlm]\ncommand = '/x'\n[mcp_servers.rlm.env]\n\n# the end\n",
        "[mcp_servers.rlm.env]\n",
        'RLM_MODEL = "z"\nRLM_ROOTS = "/tmp"\n',
    ),
    "an_inline_table": (
        "[mcp_servers.rlm]\ncommand = '/x'\nenv = {RLM_MODEL = 'z'} # both\n# the end\n",
        "env = {RLM_MODEL = 'z'",
        ', RLM_ROOTS = "/tmp"',
    ),
    "dotted_keys": (
        "[mcp_servers.rlm]\ncommand = '/x'\nenv.RLM_MODEL = 'z' # fast\n# the end\n",
        "env.RLM_MODEL = 'z' # fast\n",
        'env.RLM_ROOTS = "/tmp"\n',
    ),
    "apart": (
        "[mcp_servers.rlm]\ncommand = '/x'\n[tui]\n[mcp_servers.rlm.env]\nRLM_MODEL = 'z'\n# z\n",
        "RLM_MODEL = 'z'\n",
        'RLM_ROOTS = "/tmp"\n',
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_table_is_changed_key_by_key_and_every_remark_stays_where_it_is(name):
    text, behind, new = BY_HAND[name]
    entry = {"command": "/x", "env": {"RLM_MODEL": "z", "RLM_ROOTS": "/tmp"}}

    put = tables.put(text, ("mcp_servers", "rlm"), entry)

    assert put == text.replace(behind, behind + new)
    assert tomllib.loads(put)["mcp_servers"]["rlm"] == entry


def test_a_key_that_is_new_to_an_entry_stands_before_what_is_said_of_its_tables():
    text = BY_HAND["a_table_of_variables"][0]

    put = with_server(client("codex"), text, "rlm", SERVER)

    entry = tomllib.loads(put)["mcp_servers"]["rlm"]
    assert entry["env"] == {"RLM_MODEL": "z", **SERVER.env}
    assert entry["tool_timeout_sec"] > 0
    assert "# mine\nargs = []\n" in put
    assert "\n\n# its variables\n[mcp_servers.rlm.env]\n" in put


@pytest.mark.parametrize(
    "text",
    [
        '[mcp_servers.rlm.env]\nA = "0"\n[tui]\n[mcp_servers.rlm]\ncommand = "/x"\n',
        '[mcp_servers.rlm]\nenv.A = "0"\nenv.B.c = 1\n[tui]\n',
        'mcp_servers.rlm.env.A = "0"\nx = 1\nmcp_servers.rlm.command = "x"\n',
        '[mcp_servers]\nrlm.env.A = "0"\nrlm.command = "x"\n[q]\n[mcp_servers.z]\n',
        '[mcp_servers.z]\n[q]\n[mcp_servers.rlm]\ncommand = """\nx"""\n[p]\n[mcp_servers.rlm.env]',
        '[[mcp_servers.rlm.more]]\nA = "0"\n[p]\n[mcp_servers.rlm.env]\nA = "0"',
        'mcp_servers = {rlm = {command = "/x"}, z = {}}',
    ],
)
def test_in_whatever_way_a_table_is_written_it_changes_and_nothing_else_does(text):
    before = tomllib.loads(text)
    entry = {"command": "/y", "limit": 3, "env": {"A": "1", "B": "2"}}

    after = tomllib.loads(tables.put(text, ("mcp_servers", "rlm"), entry))

    rlm = after["mcp_servers"].pop("rlm")
    assert rlm == before["mcp_servers"].pop("rlm") | entry
    assert after == before


def test_a_byte_order_mark_is_read_over_and_stays():
    codex = client("codex")

    put = with_server(codex, MARKED, "rlm", SERVER)
    changed = with_server(codex, put, "rlm", Server("/new/rlm-mcp", (), {}))
    ours_alone = "\ufeff[mcp_servers.rlm]\ncommand = '/x/rlm-mcp'\n"

    assert set(entries(codex, MARKED)) == {"other"}
    assert put.startswith(MARKED)
    assert changed == put.replace(SERVER.command, "/new/rlm-mcp")
    assert without_server(codex, put, "rlm") == MARKED
    assert without_server(codex, ours_alone, "rlm") == "\ufeff"


@pytest.mark.parametrize(
    "text",
    [
        "mcp_servers = {rlm = {command = '/x/rlm-mcp'}}\n",
        "mcp_servers.rlm.command = '/x/rlm-mcp'\n",
        "[mcp_servers]\nrlm = {command = '/x/rlm-mcp'}\n",
    ],
)
def test_an_entry_written_in_another_way_is_left_to_its_owner(text):
    with pytest.raises(ConfigUnreadable) as caught:
        without_server(client("codex"), text, "rlm")

    assert "by hand" in caught.value.hint


def test_text_that_looks_like_a_table_is_none():
    codex = client("codex")
    text = 'prompt = """\n[mcp_servers.rlm]\nx\n"""\n'

    put = with_server(codex, text, "rlm", SERVER)

    with pytest.raises(ConfigUnreadable):
        without_server(codex, put, "rlm")
    assert without_server(codex, text, "rlm") == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = \n", "line 1, column 5: Invalid value."),
        ("[a]\nb = 1\n[a]\n", "line 3, column 3"),
        ("mcp_servers = 3\n", "not written as tables"),
        ("mcp_servers = {}\n", "not written as tables"),
    ],
)
def test_toml_that_cannot_take_the_table_is_refused(text, words):
    with pytest.raises(ConfigUnreadable) as caught:
        with_server(client("codex"), text, "rlm", SERVER)

    assert words in caught.value.message


def test_an_opencode_file_of_version_1_is_recognised():
    new, old = client("opencode"), client("opencode-1")

    assert is_of_older(new, with_server(old, "", "rlm", SERVER))
    assert not is_of_older(new, with_server(new, "", "rlm", SERVER))
    assert not is_of_older(new, "")
