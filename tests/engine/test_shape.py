"""Answers that must fit a JSON Schema: they do, or the model hears why not, or the user does."""

import functools
import json
import threading

import anyio
import pytest

from rlm_mcp.engine import shape as shapes
from rlm_mcp.engine.shape import MOST_SCHEMA_CHARS, Shape
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


async def test_a_schema_is_checked_while_all_others_go_on():
    loop_went_on = threading.Event()

    class Slow(dict):
        def items(self):
            assert loop_went_on.wait(20)
            return super().items()

    async def go_on():
        loop_went_on.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go_on)
        shape = await Shape.of(Slow(SCHEMA))
    assert shape.text == json.dumps(SCHEMA)
    assert await shape.checked(json.dumps(GOOD)) == (json.dumps(GOOD), None)


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


NAMED = "http://json-schema.org/draft-07/schema#"
MANY = [{"a": number} for number in range(20_000)]
# What a check one by one would take hours or more memory than there is for.
LONG = {
    "a reference by name in a large schema": (
        {
            "$defs": {"a": {"$anchor": "a", "type": "integer"}},
            "properties": {f"p{number}": {"type": "string"} for number in range(800)},
            "items": {"$ref": "#a"},
        },
        [1] * 10_000,
    ),
    "references that double": (
        {
            "$schema": NAMED,
            "definitions": {
                **{
                    f"d{n}": {"allOf": [{"$ref": f"#/definitions/d{n + 1}"}] * 2} for n in range(40)
                },
                "d40": {"type": "integer"},
            },
            "allOf": [{"$ref": "#/definitions/d0"}],
        },
        1,
    ),
    "a part that names its draft": (
        {"items": {"$schema": NAMED, "items": {"allOf": [{}] * 500}}},
        [[1] * 10_000],
    ),
    "many names that are required": (
        {"items": {"required": [f"n{number}" for number in range(5000)]}},
        [{}] * 10_000,
    ),
    "many that one name requires": (
        {"items": {"dependentRequired": {"a": [f"n{number}" for number in range(5000)]}}},
        [{"a": 1}] * 100_000,
    ),
    "nothing asked of many": ({"items": {"allOf": [{}] * 1000}}, [1] * 100_000),
    "one large value compared often": ({"allOf": [{"uniqueItems": True}] * 1000}, [MANY]),
    "long words on each of many": ({"anyOf": [{"type": "string"}] * 1000}, MANY),
    "one of many for many": ({"items": {"enum": list(range(10_000))}}, [0.5] * 100_000),
}


@pytest.mark.parametrize("case", LONG)
def test_a_check_that_takes_too_long_is_given_up(case, monkeypatch):
    schema, answer = LONG[case]
    shape = Shape(schema)
    monkeypatch.setattr(shapes, "_MOST_STEPS", 10_000)

    assert "simplify the schema" in shape.read(json.dumps(answer))[1]


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"uniqueItems": True}, MANY),
        ({"items": {"enum": MANY[:3000]}}, MANY[:3000]),
        ({"uniqueItems": True}, [number * (2**61 - 1) for number in range(20_000)]),
        (
            {
                "items": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in "abcde"},
                    "required": list("abcde"),
                    "additionalProperties": False,
                }
            },
            [dict.fromkeys("abcde", "x")] * 5000,
        ),
    ],
)
def test_a_long_answer_is_compared_in_as_many_steps_as_it_is_long(schema, answer):
    text = json.dumps(answer)

    assert Shape(schema).read(text) == (text, None)


def test_a_schema_with_many_values_is_checked_in_as_many_steps():
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "enum": MANY[:4000]}

    assert Shape(old).read('{"a": 3999}') == ('{"a": 3999}', None)


@pytest.mark.parametrize(
    ("schema", "fits", "misfits"),
    [
        ({"uniqueItems": True}, "[1, true, 0, false, null]", "[1, 2, 1.0]"),
        (
            {"uniqueItems": True},
            '[{"a": [1]}, {"a": [true]}]',
            '[{"a": 1, "b": 2}, {"b": 2, "a": 1}]',
        ),
        ({"uniqueItems": False}, "[1, 1]", None),
        ({"uniqueItems": True}, '"11"', None),
        ({"enum": [1, "1", [True]]}, "1.0", "true"),
        ({"enum": [[1]]}, "[1.0]", "[true]"),
        ({"const": 0}, "-0.0", "false"),
        ({"const": {"a": 9007199254740993}}, '{"a": 9007199254740993}', '{"a": 9007199254740992}'),
        ({"const": None}, "null", "0"),
    ],
)
def test_values_are_equal_as_json_schema_has_it(schema, fits, misfits):
    shape = Shape(schema)

    assert shape.read(fits) == (fits, None)
    assert misfits is None or shape.read(misfits)[1].startswith("$: ")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"title": "x" * MOST_SCHEMA_CHARS}, f"{MOST_SCHEMA_CHARS:,}"),
        ({"anyOf": [{"anyOf": [{}] * 100}] * 150}, "simplify"),
        (functools.reduce(lambda inner, _: {"not": inner}, range(300), {}), "nested too deep"),
        (functools.reduce(lambda inner, _: {"not": inner}, range(3000), {}), "nested too deep"),
    ],
)
def test_a_schema_too_large_to_be_checked_is_refused(schema, words, monkeypatch):
    monkeypatch.setattr(shapes, "_MOST_STEPS", 10_000)
    with pytest.raises(ArgumentInvalid) as caught:
        Shape(schema)

    assert words.lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("schema", "answer", "why"),
    [
        ({"$ref": "#"}, "1", "leads too deep"),
        ({"$ref": "#/x", "x": {"type": 7}}, "1", "no schema"),
        ({"$ref": "#/x", "x": {"minimum": "a"}}, "1", "no schema"),
        ({"$ref": "#/x", "x": 7}, "1", "no schema"),
        ({"multipleOf": 0.1}, "1" + "0" * 400, "a number that cannot be checked"),
        ({"type": "integer"}, "1" * 5000, "it is no JSON"),
        ({}, "[" * 100_000, "it is no JSON"),
    ],
)
def test_what_cannot_be_checked_is_said(schema, answer, why):
    assert why in Shape(schema).read(answer)[1]
