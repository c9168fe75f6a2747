"""Answers that must fit a JSON Schema: they do, or the model hears why not, or the user does."""

import json

import pytest

from rlm_mcp.engine.shape import Shape
from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.llm.scripted import ScriptedModel

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "lines": {"type": "integer", "minimum": 1}},
    "required": ["name", "lines"],
}
GOOD = {"name": "a.py", "lines": 3}


def code(text):
    return f"```repl\n{text}\n```"


async def test_an_answer_that_fits_is_taken_at_once(bench):
    root = ScriptedModel([code(f"FINAL({GOOD!r})")])

    answer = await bench.ask(root, schema=SCHEMA)

    assert (json.loads(answer.text), answer.stopped_by, answer.turns) == (GOOD, "answer", 1)
    assert json.dumps(SCHEMA) in root.requests[0][1].content


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("'it is a.py'", "it is no JSON"),
        ("{'name': 'a.py'}", "$: 'lines' is a required property"),
        ("{'name': 'a.py', 'lines': 0}", "$.lines: 0 is less than the minimum of 1"),
        ("[1]", "$: [1] is not of type 'object'"),
    ],
)
async def test_an_answer_that_does_not_fit_is_asked_for_again(bench, bad, why):
    root = ScriptedModel([code(f"FINAL({bad})"), code(f"FINAL({GOOD!r})")])

    answer = await bench.ask(root, schema=SCHEMA)

    assert json.loads(answer.text) == GOOD
    assert f"The answer was not taken: {why}" in root.requests[1][-1].content


async def test_an_answer_in_words_may_be_json_in_a_fence(bench):
    words = f"FINAL(\n```json\n{json.dumps(GOOD)}\n```\n)"
    root = ScriptedModel([code("print(1)"), words])

    answer = await bench.ask(root, schema=SCHEMA)

    assert json.loads(answer.text) == GOOD


async def test_at_a_limit_the_best_answer_is_given_and_said_not_to_fit(bench):
    root = ScriptedModel(lambda _: code("FINAL({'name': 'a.py'})"))

    answer = await bench.ask(root, schema=SCHEMA, turns=2)

    assert (json.loads(answer.text), answer.stopped_by) == ({"name": "a.py"}, "turns")
    assert answer.notes[-1].startswith("The answer does not have the shape that was asked for: $: ")


@pytest.mark.parametrize("schema", [{"type": "no such type"}, {"required": "name"}])
def test_what_is_no_schema_is_refused(schema):
    with pytest.raises(ArgumentInvalid, match="is no JSON Schema"):
        Shape(schema)


def test_a_schema_that_refers_to_elsewhere_is_not_followed():
    text, why = Shape({"$ref": "https://example.org/schema.json"}).read("{}")
    assert (text, why.startswith("the schema refers to what is not in it")) == ("{}", True)


def test_a_schema_may_refer_to_its_own_parts_and_to_its_draft():
    inner = {"$ref": "#/$defs/name", "$defs": {"name": {"type": "string"}}}
    assert Shape(inner).read('"x"') == ('"x"', None)
    old = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "array"}
    assert Shape(old).read("[1]") == ("[1]", None)


def test_a_schema_that_is_never_done_with_an_answer_says_so():
    doubled = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(40)
    }
    shape = Shape({"$defs": doubled | {"d40": {"type": "integer"}}, "$ref": "#/$defs/d0"})

    assert "simplify the schema" in shape.read("1")[1]


def test_a_schema_is_checked_as_well_the_second_time():
    shape = Shape(SCHEMA)

    assert [shape.read(json.dumps(GOOD))[1] for _ in range(3)] == [None] * 3
    assert shape.read("{}")[1] is not None
