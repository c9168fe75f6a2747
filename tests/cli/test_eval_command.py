import json
import signal
import sys

import anyio
import pytest

from rlm_mcp.cli.evals import CHARS_PER_TOKEN, evaluate
from rlm_mcp.evals.find import family, names

pytestmark = pytest.mark.anyio


async def test_an_oracle_run_prints_json_and_tells_its_progress_apart(desk):
    code, out, err = await desk.run(
        "eval", "niah", "--size", "2k", "--oracle", "--limit", "2", "--json"
    )

    assert code == 0
    record = json.loads(out)
    assert (record["family"], record["accuracy"], record["all"]["score"]) == ("niah", 1.0, 1.0)
    assert record["tokens"] == round(record["chars"] / CHARS_PER_TOKEN)
    assert record["usage"]["calls"] == sum(item["calls"] for item in record["items"])
    ids = [item["id"] for item in record["items"]]
    assert err.splitlines()[0] == "making the text"
    assert [line.split()[1] for line in err.splitlines()[1:]] == ids
    assert len(ids) == 2
    _, trace, _ = await desk.run("traces", "show", record["items"][0]["run_id"])
    assert "Which access codes does the text give" in trace


async def test_a_noisy_run_prints_a_table(desk):
    code, out, _ = await desk.run(
        "eval", "pairs/lexical", "--size", "1k", "--noisy", "0.8", "--limit", "2"
    )

    assert code == 0
    assert "the sub-model right 80 % of the time" in out
    *_, whole, empty, spent = out.splitlines()
    assert whole.startswith("all ")
    assert not empty
    assert spent.endswith(" tokens in all.")


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
        (["oolong", "--size", "12"], "is no size from 1k to 64m"),
        (["oolong", "--size", "large"], "is no size from 1k to 64m"),
        (["oolong", "--size", "99999m"], "is no size from 1k to 64m"),
        (["oolong", "--size", "9" * 400 + "m"], "is no size from 1k to 64m"),
        (["--oracle"], "Say which FAMILY"),
        (["--size", "64k"], "Say which FAMILY"),
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


def test_the_help_says_the_most_runs_that_are_made():
    most = max(len(family(name).items(round(32_768 * CHARS_PER_TOKEN), 1)) for name in names())

    assert f"up to {most} runs" in evaluate.help


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child process")
async def test_what_is_done_is_scored_after_ctrl_c(desk):
    second = anyio.Event()

    async def model(messages):
        model.asked += 1
        if model.asked > 1:
            second.set()
            await anyio.sleep_forever()
        return '```repl\nFINAL("Label: location")\n```'

    model.asked = 0
    desk.script = model
    with anyio.fail_after(60):
        async with await desk.start("eval", "oolong", "--size", "2k") as child:
            await second.wait()
            child.send_signal(signal.SIGINT)
            out = b"".join([part async for part in child.stdout]).decode()
            err = b"".join([part async for part in child.stderr]).decode()

    assert child.returncode == 130
    assert "interrupted: 1 of " in err
    assert any(line.split()[:2] == ["all", "1"] for line in out.splitlines())
