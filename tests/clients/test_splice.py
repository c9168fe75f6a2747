import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm_mcp.clients import splice
from rlm_mcp.clients.jsonc import parse
from rlm_mcp.errors import ConfigUnreadable

OURS = {"command": "/x/rlm-mcp", "args": []}
PATH = ("mcpServers", "rlm")
# Texts as people have them. Each becomes itself again once ours is put in and taken out.
TEXTS = {
    "others": '{\n  "mcpServers": {\n    "a": {\n      "command": "x"\n    }\n  }\n}\n',
    "last_of_several_keys": '{\n  "mcpServers": {"a": {}},\n  "theme": "dark"\n}\n',
    "four_spaces": '{\n    "mcpServers": {\n        "a": {}\n    }\n}',
    "tabs": '{\n\t"mcpServers": {\n\t\t"a": {}\n\t}\n}\n',
    "windows": '{\r\n  "mcpServers": {\r\n    "a": {}\r\n  }\r\n}\r\n',
    "one_line": '{"mcpServers": {"a": {"command": "x"}}, "b": [1, 2]}',
    "no_servers": '{\n  "theme": "dark"\n}\n',
    "no_servers_one_line": '{"theme": "dark"}',
    "mark": '\ufeff{\n  "theme": "dark"\n}\n',
    "wide": '{\n  "wörter": "\\u00e9 é 😀",\n  "number": 1.50e3\n}\n',
    "odd_spacing": '{ "theme" :"dark" ,\n"mcpServers":{ "a":{} }}',
}
COMMENTED = {
    "remarks": '// mine\n{\n  // servers\n  "mcpServers": {\n    "a": {} // the first\n  }\n}\n',
    "trailing_commas": '{\n  "mcpServers": {\n    "a": {}, // the first\n  },\n}\n',
    "block": '{\n  /* one\n     two */\n  "mcpServers": {\n    "a": {} /* x */\n  }\n}\n',
    "remark_at_the_end": '{\n  "theme": "dark"\n  // "old": 1,\n}\n',
    "only_a_remark": '{\n  "mcpServers": {\n    // none yet\n  }\n}\n',
}


@pytest.mark.parametrize("name", [*TEXTS, *COMMENTED])
def test_what_is_put_in_is_there_and_everything_else_is_as_it_was(name):
    comments = name in COMMENTED
    text = (TEXTS | COMMENTED)[name]
    before = parse(text, comments=comments).value

    put = splice.put(text, PATH, OURS, comments=comments)

    servers = {**before.get("mcpServers", {}), "rlm": OURS}
    assert parse(put, comments=comments).value == {**before, "mcpServers": servers}
    assert is_in_order(text.replace(",", ""), put.replace(",", ""))


def is_in_order(parts, whole):
    """Whether all characters of `parts` stand in `whole`, in their order."""
    letters = iter(whole)
    return all(letter in letters for letter in parts)


@pytest.mark.parametrize("name", [*TEXTS, *COMMENTED])
def test_what_is_put_in_and_taken_out_leaves_every_byte_as_it_was(name):
    comments = name in COMMENTED
    text = (TEXTS | COMMENTED)[name]

    put = splice.put(text, PATH, OURS, comments=comments)

    assert splice.take(put, PATH, comments=comments) == text


@pytest.mark.parametrize("name", [*TEXTS, *COMMENTED])
def test_putting_in_what_is_there_changes_nothing(name):
    comments = name in COMMENTED
    put = splice.put((TEXTS | COMMENTED)[name], PATH, OURS, comments=comments)

    assert splice.put(put, PATH, OURS, comments=comments) == put


def test_a_remark_behind_a_value_stays_behind_it():
    put = splice.put(COMMENTED["remarks"], PATH, OURS, comments=True)

    assert '    "a": {}, // the first\n    "rlm": {' in put


def test_line_ends_and_indentation_are_those_of_the_file():
    windows = splice.put(TEXTS["windows"], PATH, OURS, comments=False)
    tabs = splice.put(TEXTS["tabs"], PATH, OURS, comments=False)

    assert "\n" not in windows.replace("\r\n", "")
    assert '\n\t\t"rlm": {\n\t\t\t"command"' in tabs


@pytest.mark.parametrize("text", ["", "\n", "{}", "{ }\n", "{\n}\n"])
def test_an_empty_file_gets_an_object_on_lines_of_its_own(text):
    put = splice.put(text, PATH, OURS, comments=False)

    assert put.startswith('{\n  "mcpServers": {\n    "rlm": {\n      "command": "/x/rlm-mcp",\n')
    assert json.loads(put) == {"mcpServers": {"rlm": OURS}}


@pytest.mark.parametrize("order", [("rlm", "a", "b"), ("a", "rlm", "b"), ("a", "b", "rlm")])
@pytest.mark.parametrize("indent", [None, 2])
def test_ours_is_taken_from_any_place_and_its_neighbours_stay(order, indent):
    text = json.dumps({"mcpServers": {name: {"command": name} for name in order}}, indent=indent)
    rest = {name: {"command": name} for name in order if name != "rlm"}

    taken = splice.take(text, PATH, comments=False)

    assert taken == json.dumps({"mcpServers": rest}, indent=indent)


def test_a_changed_entry_takes_the_place_of_the_old_one():
    old = splice.put(TEXTS["others"], PATH, OURS, comments=False)
    newer = {"command": "/y/rlm-mcp", "args": ["-v"]}

    put = splice.put(old, PATH, newer, comments=False)

    assert put == splice.put(TEXTS["others"], PATH, newer, comments=False)


def test_an_entry_changes_member_by_member_and_the_remarks_in_it_stay():
    text = (
        '{\n  "mcpServers": {\n    "rlm": {\n      // how it is started\n'
        '      "command": "/old/rlm-mcp", // by hand\n      "args": [],\n      "env": {\n'
        '        /* the fast one */ "RLM_MODEL": "z", // really\n        // "RLM_ROOTS": "*"\n'
        '      },\n      "gone": 1, // with its key\n    },\n  },\n}\n'
    )
    newer = {"command": "/x/rlm-mcp", "args": [], "env": {"RLM_MODEL": "z", "RLM_ROOTS": "/tmp"}}

    put = splice.put(text, PATH, newer, comments=True)

    assert parse(put, comments=True).value == {"mcpServers": {"rlm": newer}}
    assert put == text.replace("/old", "/x").replace(
        '"z", // really\n', '"z", // really\n        "RLM_ROOTS": "/tmp",\n'
    ).replace('\n      "gone": 1,', "")


def test_a_remark_in_an_object_that_is_empty_stays_when_it_is_filled():
    put = splice.put(COMMENTED["only_a_remark"], PATH[:1], {"rlm": OURS}, comments=True)

    assert put == splice.put(COMMENTED["only_a_remark"], PATH, OURS, comments=True)
    assert "// none yet" in put


def test_of_a_name_that_stands_twice_the_last_counts_as_it_does_for_readers():
    text = '{"mcpServers": {"rlm": {"command": "a"}, "rlm": {"command": "b"}}}'

    put = splice.put(text, PATH, {"command": "c"}, comments=False)

    assert json.loads(put)["mcpServers"]["rlm"] == {"command": "c"}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6"),
        ('{"a": 1,}', "line 1, column 8"),
        ("{\n  // no\n}", "line 2, column 3"),
        ('{"a": 1} x', "line 1, column 10"),
        ('{"a": "\\q"}', "line 1, column 7"),
        ('{"a": tru}', "line 1, column 7"),
        ('{"a": "b', "line 1, column 7"),
        ('{"a": 1', "line 1, column 8"),
        ("{'a': 1}", "line 1, column 2"),
        ("[" * 300, "line 1, column 202"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text, where):
    with pytest.raises(ConfigUnreadable) as caught:
        splice.put(text, PATH, OURS, comments=False)

    assert caught.value.message.startswith(f"{where}: ")


@pytest.mark.parametrize("text", ["[]", '{"mcpServers": []}', '{"mcpServers": null}', "3"])
def test_where_no_object_stands_nothing_is_put(text):
    with pytest.raises(ConfigUnreadable) as caught:
        splice.put(text, PATH, OURS, comments=False)

    assert "an object is expected" in caught.value.message


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    VALUES,
    st.dictionaries(st.text(), VALUES, max_size=3),
    st.sampled_from([None, 1, 2, "\t"]),
)
def test_any_json_is_read_as_the_standard_library_reads_it_and_survives(value, servers, indent):
    text = json.dumps({"x": value, "mcpServers": servers | {"z": 1}}, indent=indent)

    put = splice.put(text, PATH, OURS, comments=False)

    assert parse(text, comments=False).value == json.loads(text)
    assert json.loads(put) == {"x": value, "mcpServers": servers | {"z": 1, "rlm": OURS}}
    if "rlm" not in servers:
        assert splice.take(put, PATH, comments=False) == text


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(), VALUES, max_size=4),
    st.dictionaries(st.text(), VALUES, max_size=4),
    st.sampled_from([None, 1, "\t"]),
)
def test_any_entry_becomes_any_other(old, newer, indent):
    text = json.dumps({"mcpServers": {"rlm": old, "z": 1}}, indent=indent)

    put = splice.put(text, PATH, newer, comments=False)

    assert json.loads(put) == {"mcpServers": {"rlm": newer, "z": 1}}
