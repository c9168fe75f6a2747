import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import rlm_mcp
from rlm_mcp import RLM, ArgumentInvalid, AsyncRLM, Settings
from rlm_mcp.errors import ModelUnknown, SourceMissing
from rlm_mcp.library import as_text
from rlm_mcp.llm.scripted import ScriptedModel, serve


def says(messages):
    """A root model that runs the question as code, and a sub-model that says yes."""
    if messages[0].role != "system":
        return "yes"
    code = messages[1].content.rpartition("Question:\n")[2]
    return f"```repl\n{code}\n```"


@pytest.fixture
def rlm():
    with RLM(model=ScriptedModel(says)) as rlm:
        yield rlm


def test_variables_live_on_from_completion_to_completion_until_reset(rlm):
    first = rlm.completion(context="some text", query="kept = len(context)\nFINAL(kept)")
    second = rlm.completion(query="FINAL(f'{kept} of {context}')")
    rlm.reset()
    third = rlm.completion(query="FINAL(f'{\"kept\" in globals()} {context!r}')")

    assert (first, second, third) == ("9", "9 of some text", "False ''")


@pytest.mark.parametrize(
    ("context", "code", "answer"),
    [
        ("a text", "FINAL(context)", "a text"),
        (
            {"b/one.txt": "1", "a.txt": "2"},
            "FINAL(dict(files))",
            '{"a.txt": "2", "b/one.txt": "1"}',
        ),
        ([str(n) for n in range(10)], "FINAL(list(files.items())[1])", '["02", "1"]'),
        ({"rows": [1, None]}, "import json\nFINAL(json.loads(context)['rows'])", "[1, null]"),
        ([1, "two"], "import json\nFINAL(json.loads(context))", '[1, "two"]'),
        ([], "FINAL(context)", "[]"),
        (
            [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
            "FINAL(context)",
            "[1] user:\nhi\n\n[2] assistant:\nho",
        ),
    ],
)
def test_a_context_of_any_shape_is_text_for_the_code(rlm, context, code, answer):
    assert rlm.completion(context=context, query=code) == answer


def test_an_answer_may_have_to_fit_a_schema():
    with RLM(model=ScriptedModel(["```repl\nFINAL({'n': 1})\n```"])) as rlm:
        answer = rlm.answer("some text", query="How many?", schema={"required": ["n"]})
        assert answer.text == '{"n": 1}'
        with pytest.raises(ArgumentInvalid, match="is no JSON Schema"):
            rlm.answer(query="How many?", schema={"type": "nothing"})


def test_a_message_of_parts_or_without_text_is_a_transcript_too():
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {}}]

    assert as_text([{"role": "user", "content": parts}]) == "[1] user:\nlook\n"
    assert as_text([{"role": "assistant", "content": None}]) == "[1] assistant:\n"


def test_a_path_is_loaded_and_cited(rlm, tmp_path):
    (tmp_path / "one.txt").write_text("first\nsecond\n", encoding="utf-8")
    (tmp_path / "two.txt").write_text("third\n", encoding="utf-8")

    answer = rlm.answer(tmp_path, query="FINAL('see one.txt:2')")

    assert [(place.path, place.excerpt) for place in answer.citations] == [("one.txt", "second\n")]


def test_costs_are_kept_apart_for_root_and_sub_and_start_anew_after_reset(rlm):
    rlm.completion(context="text", query="FINAL(llm_query('is it?'))")
    costs = rlm.cost_summary()
    rlm.reset()

    assert (costs.root.usage.calls, costs.sub.usage.calls) == (1, 1)
    assert costs.total.usage.tokens == costs.root.usage.tokens + costs.sub.usage.tokens
    assert rlm.cost_summary().total.usage.calls == 0


def test_max_iterations_ends_a_run_with_its_best_answer():
    with RLM(model=ScriptedModel(says), max_iterations=1) as rlm:
        answer = rlm.answer("text", query="answer['content'] = 'a draft'")

    assert (answer.stopped_by, answer.text) == ("turns", "a draft")


def test_an_error_is_raised_as_itself_and_the_next_call_works(rlm):
    with pytest.raises(SourceMissing) as caught:
        rlm.completion(Path("/nowhere/at/all"), query="FINAL(1)")

    assert caught.value.hint
    assert rlm.completion(context="text", query="FINAL(1)") == "1"


@pytest.mark.anyio
async def test_an_error_leaves_a_with_block_as_itself():
    async def ask(url):
        async with AsyncRLM("nobody", api_url=url) as rlm:
            await rlm.completion(context="text", query="q")

    async with serve(says) as server:
        with pytest.raises(ModelUnknown):
            await ask(server.url)


def test_a_model_object_and_a_name_do_not_go_together():
    with pytest.raises(ArgumentInvalid):
        RLM(model=ScriptedModel(says), recursive_model="other")


def test_settings_of_the_environment_count_unless_an_argument_says_otherwise(monkeypatch):
    monkeypatch.setenv("RLM_MODEL", "from-environment")
    monkeypatch.setenv("RLM_MAX_CALLS", "7")

    ours = AsyncRLM(api_url="http://127.0.0.1:9/v1", max_iterations=3).settings
    named = AsyncRLM(model="named", settings=Settings.load({}, max_calls=9)).settings

    assert (ours.model, ours.max_calls, ours.max_turns) == ("from-environment", 7, 3)
    assert (named.model, named.max_calls, named.max_turns) == ("named", 9, 10)


@pytest.mark.anyio
async def test_the_async_form_asks_a_real_endpoint_for_both_models():
    async with (
        serve({"big": says, "small": says}) as server,
        AsyncRLM("big", "small", api_url=server.url) as rlm,
    ):
        said = await rlm.completion(context="text", query="FINAL(llm_query('is it?'))")
        costs = await rlm.cost_summary()

    assert said == "yes"
    assert sorted(costs.by_model) == ["big", "small"]
    assert costs.total.usage.tokens == server.ledger.input_tokens + server.ledger.output_tokens


@pytest.mark.anyio
async def test_a_cancelled_completion_ends_its_run_and_leaves_the_session_usable():
    async with AsyncRLM(ScriptedModel(says)) as rlm:
        with anyio.fail_after(30):
            with anyio.move_on_after(1) as scope:
                await rlm.completion(context="text", query="while True: pass")
            said = await rlm.completion(query="FINAL(context)")

    assert scope.cancelled_caught
    assert said == "text"


@pytest.mark.anyio
async def test_an_async_rlm_outside_its_block_says_so():
    with pytest.raises(ArgumentInvalid, match="not open"):
        await AsyncRLM(ScriptedModel(says)).completion(query="q")


def test_a_script_that_never_closes_ends_by_itself():
    script = """
from rlm_mcp import RLM
from rlm_mcp.llm.scripted import ScriptedModel
print(RLM(model=ScriptedModel(["```repl\\nFINAL(context)\\n```"])).completion("text", query="q"))
"""
    assert run(script) == (0, "text\n", "")


def test_the_public_names_are_those_of_all_and_each_says_what_it_is():
    script = "import sys, rlm_mcp\nprint([n for n in sys.modules if n.startswith('rlm_mcp')])"

    assert run(script)[1] == "['rlm_mcp']\n"
    assert rlm_mcp.__all__ == sorted(rlm_mcp.__all__, key=lambda name: (not name.isupper(), name))
    for name in rlm_mcp.__all__:
        assert getattr(rlm_mcp, name).__doc__
    with pytest.raises(AttributeError):
        getattr(rlm_mcp, "nothing_of_that_name")  # noqa: B009 - the plain form looks unused


def run(script):
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ran.returncode, ran.stdout, ran.stderr


def test_a_run_is_replayed_from_its_answer(rlm):
    answer = rlm.answer(context="some text", query="FINAL(len(context) + 12)")

    again = rlm.replay(answer.run_id)

    assert again.agrees
    assert again.nodes[0].again == answer.text == "21"
