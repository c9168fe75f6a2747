import json

import pytest

pytestmark = pytest.mark.anyio


async def test_an_oracle_run_prints_json_and_tells_its_progress_apart(desk):
    code, out, err = await desk.run(
        "eval", "niah", "--size", "2k", "--oracle", "--limit", "2", "--json"
    )

    assert code == 0
    record = json.loads(out)
    assert (record["family"], record["accuracy"], record["all"]["score"]) == ("niah", 1.0, 1.0)
    assert record["tokens"] == 2048
    ids = [item["id"] for item in record["items"]]
    assert [line.split()[1] for line in err.splitlines()] == ids
    assert len(ids) == 2
    _, trace, _ = await desk.run("traces", "show", record["items"][0]["run_id"])
    assert "Which access codes does the text give" in trace


async def test_a_noisy_run_prints_a_table(desk):
    code, out, _ = await desk.run(
        "eval", "pairs/lexical", "--size", "1k", "--noisy", "0.8", "--limit", "2"
    )

    assert code == 0
    assert "the leaf right 80 % of the time" in out
    assert out.splitlines()[-1].startswith("all ")


async def test_without_either_the_users_own_models_are_asked(desk):
    asked = []

    async def model(messages):
        asked.append(messages[1].content)
        return '```repl\nFINAL("Label: location")\n```'

    desk.script = model
    code, out, _ = await desk.run("eval", "oolong", "--size", "2k", "--limit", "1", "--json")

    assert code == 0
    assert "which label is the most frequent?" in asked[0]
    (item,) = json.loads(out)["items"]
    assert item["answer"] == "Label: location"
    assert item["score"] == (item["gold"] == "location")
    assert item["ceiling"] is None


async def test_without_a_family_they_are_listed_with_their_variants(desk):
    code, out, _ = await desk.run("eval")

    assert code == 0
    assert {"oolong", "pairs", "niah"} <= {line.partition(":")[0] for line in out.splitlines()}
    assert "Variants: semantic, lexical, explicit." in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["oolong", "--size", "12"], "is no size of 1k or more"),
        (["oolong", "--size", "large"], "is no size of 1k or more"),
        (["oolong", "--oracle", "--noisy", "0.9"], "do not go together"),
        (["oolong", "--noisy", "90"], "0<=x<=1"),
    ],
)
async def test_wrong_usage_is_said_in_words(desk, arguments, said):
    code, out, err = await desk.run("eval", *arguments)

    assert (code, out) == (2, "")
    assert said in err


async def test_an_unknown_family_names_those_there_are(desk):
    code, _, err = await desk.run("eval", "nothing", "--oracle")

    assert code == 1
    assert "oolong" in err
