"""Every tool through the official client, in memory, in both eras."""

import pytest

from rlm_mcp.llm.scripted import ScriptedReply

pytestmark = pytest.mark.anyio

TWO_TURNS = [
    "```repl\nfirst = context.splitlines()[0]\nprint(first)\n```",
    "```repl\nsaid = llm_query('What is this? ' + first)\nFINAL(said)\n```",
    "It is at notes.txt:1-2",
]


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "notes.txt").write_text("alpha\nbeta\n", encoding="utf-8")
    (folder / "picture.bin").write_bytes(b"\x00\x01\x02")
    return folder


async def test_a_loaded_folder_is_asked_and_answered_with_citations(bench, era, notes):
    async with bench(TWO_TURNS, era) as b:
        loaded = await b.call("load_context", source=str(notes))
        result = await b.client.call_tool("rlm_query", {"query": "What is it?"})

    context, answer = loaded["context"], result.structured_content
    assert context["documents"] == 1
    assert context["skipped"] == {"count": 1, "first": [["picture.bin", "binary"]], "all": None}
    assert context["uri"] == f"rlm://context/{context['id']}"
    assert answer["status"] == "done"
    assert answer["stopped_by"] == "answer"
    assert answer["answer"] == "It is at notes.txt:1-2"
    assert answer["session"] == loaded["session"]
    assert answer["usage"]["calls"] == 3
    assert [(c["path"], c["start"], c["end"], c["found"]) for c in answer["citations"]] == [
        ("notes.txt", 1, 2, True)
    ]
    text = result.content[0].text
    assert text.startswith("It is at notes.txt:1-2\n")
    assert answer["run_id"] in text


async def test_load_context_points_to_its_resource(bench, era):
    async with bench((), era) as b:
        result = await b.client.call_tool("load_context", {"text": "alpha", "name": "greek"})

    text, link = result.content
    assert "'greek'" in text.text
    assert result.structured_content["next"] in text.text
    assert link.uri == result.structured_content["context"]["uri"]
    assert (link.type, link.name, link.mime_type) == ("resource_link", "greek", "application/json")
    assert link.description  # Claude Code shows it behind the address


async def test_text_that_is_json_is_loaded_as_it_stands(bench, era):
    async with bench((), era) as b:
        loaded = await b.call("load_context", text='{"a": 1}')

    assert loaded["context"]["chars"] == len('{"a": 1}')


async def test_several_sources_may_come_as_json_text(bench, notes):
    async with bench() as b:
        loaded = await b.call("load_context", source=f'["{notes}/notes.txt"]', name="n")

    assert loaded["context"]["name"] == "n"


async def test_costs_tell_the_time_that_models_took_and_add_it_up(bench):
    async with bench(TWO_TURNS) as b:
        await b.call("load_context", text="alpha\nbeta")
        run = await b.call("rlm_query", query="What is it?")
        told = await b.client.call_tool("get_costs", {"scope": "run", "id": run["run_id"]})

    costs = told.structured_content
    each = [costs["root"]["seconds"], costs["sub"]["seconds"]]
    assert min(each) > 0
    assert costs["total"]["seconds"] == pytest.approx(sum(each), abs=0.002)
    assert f"{costs['total']['seconds']:.1f} s of model time" in told.content[0].text


async def test_costs_are_what_the_model_server_billed(bench, era):
    async with bench(TWO_TURNS, era) as b:
        await b.call("load_context", text="alpha\nbeta")
        run = await b.call("rlm_query", query="What is it?")
        by_session = await b.call("get_costs")
        by_run = await b.call("get_costs", scope="run", id=run["run_id"])
        by_day = await b.call("get_costs", scope="day")
        of_all = await b.call("get_costs", scope="all")
        ledger = b.model.ledger

    for costs in (by_session, by_run, by_day, of_all):
        assert costs["total"]["calls"] == ledger.calls == 3
        assert costs["total"]["input_tokens"] == ledger.input_tokens
        assert costs["total"]["output_tokens"] == ledger.output_tokens
        assert costs["total"]["cost"] is None
        assert costs["root"]["calls"] == 2
        assert costs["sub"]["calls"] == 1
        assert costs["by_model"].keys() == {"scripted"}
    assert by_session["id"] == run["session"]


async def test_a_price_makes_costs_known(bench):
    async with bench(TWO_TURNS, price_in=1.0, price_out=2.0) as b:
        await b.call("load_context", text="alpha\nbeta")
        run = await b.call("rlm_query", query="What is it?")
        costs = await b.call("get_costs")

    total = costs["total"]
    expected = (total["input_tokens"] + 2 * total["output_tokens"]) / 1e6
    assert run["cost"] == pytest.approx(expected)
    assert total["cost"] == pytest.approx(expected)


async def test_a_trace_shows_code_output_and_answer(bench, era):
    async with bench(TWO_TURNS, era) as b:
        await b.call("load_context", text="alpha\nbeta")
        run = await b.call("rlm_query", query="What is it?")
        result = await b.client.call_tool("get_trace", {"run_id": run["run_id"]})

    page = result.structured_content
    assert (page["status"], page["page"], page["pages"], page["next"]) == ("done", 1, 1, None)
    kinds = [step["kind"] for step in page["steps"]]
    assert kinds[:4] == ["question", "model", "code", "output"]
    assert kinds[-1] == "answer"
    assert "first = context.splitlines()[0]" in result.content[0].text


async def test_a_second_query_sees_the_variables_of_the_first(bench, era):
    script = ["```repl\nkept = 41\nFINAL('ok')\n```", "```repl\nFINAL(kept + 1)\n```"]
    async with bench(script, era) as b:
        await b.call("load_context", text="alpha")
        await b.call("rlm_query", query="Keep it.")
        answer = await b.call("rlm_query", query="And now?")

    assert answer["answer"] == "42"


async def test_contexts_are_listed_under_their_names(bench, era):
    async with bench((), era) as b:
        before = await b.client.call_tool("list_contexts", {})
        loaded = await b.call("load_context", text="alpha", name="first")
        await b.call("load_context", text="beta", name="second")
        after = await b.call("list_contexts")

    assert (before.structured_content["session"], before.structured_content["contexts"]) == (
        None,
        [],
    )
    assert "load_context" in before.structured_content["next"]
    assert before.structured_content["next"] == before.content[0].text
    assert after["session"] == loaded["session"]
    assert [context["name"] for context in after["contexts"]] == ["first", "second"]


async def test_only_the_named_contexts_are_in_play(bench):
    async with bench(["```repl\nFINAL(context)\n```"]) as b:
        await b.call("load_context", text="alpha", name="first")
        await b.call("load_context", text="beta", name="second")
        answer = await b.call("rlm_query", query="Which?", contexts=["second"])

    assert answer["answer"] == "beta"


async def test_a_spent_budget_is_a_result_that_says_how_to_go_on(bench, era):
    script = ["```repl\nanswer['content'] = 'half'\n```"] * 9
    async with bench(script, era) as b:
        await b.call("load_context", text="alpha")
        result = await b.client.call_tool("rlm_query", {"query": "?", "budget": {"turns": 1}})

    answer = result.structured_content
    assert not result.is_error
    assert (answer["status"], answer["stopped_by"]) == ("done", "turns")
    assert "turns" in answer["next"]
    assert answer["next"] in result.content[0].text


async def test_a_budget_replaces_only_what_it_names(bench):
    async with bench(["```repl\nprint(1)\n```"] * 9, max_turns=2) as b:
        await b.call("load_context", text="alpha")
        answer = await b.call("rlm_query", query="?", budget={"calls": 8})

    assert answer["stopped_by"] == "turns"


async def test_a_run_that_fails_names_cause_cure_and_run(bench, era):
    async with bench([ScriptedReply("no such key", status=401)], era) as b:
        await b.call("load_context", text="alpha")
        result = await b.client.call_tool("rlm_query", {"query": "?"})
        again = await b.client.call_tool(
            "get_answer", {"run_id": result.structured_content["run_id"]}
        )

    failed = result.structured_content
    assert result.is_error
    assert failed["status"] == "failed"
    assert failed["answer"] is None
    assert failed["run_id"] in result.content[0].text
    assert failed["next"]
    assert again.is_error


async def test_notes_reach_the_caller_in_structure_and_text(bench):
    async with bench(["```repl\nFINAL('x')\n```"], sandbox="plain") as b:
        await b.call("load_context", text="alpha")
        result = await b.client.call_tool("rlm_query", {"query": "?"})

    notes = result.structured_content["notes"]
    assert any("sandbox" in note.lower() for note in notes)
    assert all(note in result.content[0].text for note in notes)


async def test_a_long_answer_is_cut_and_all_of_it_can_be_read(bench, era):
    script = ["```repl\nFINAL('\\n'.join(f'line {n}' for n in range(4000)))\n```"]
    whole = "\n".join(f"line {n}" for n in range(4000))
    async with bench(script, era) as b:
        await b.call("load_context", text="alpha")
        result = await b.client.call_tool("rlm_query", {"query": "?"})
        cut = result.structured_content
        first = await b.call("get_trace", run_id=cut["run_id"], detail="answer")
        pages = [first]
        while pages[-1]["next"]:
            page = len(pages) + 1
            pages.append(
                await b.call("get_trace", run_id=cut["run_id"], detail="answer", page=page)
            )
        resource = await b.client.read_resource(f"rlm://run/{cut['run_id']}/answer")

    assert 9_000 < len(cut["answer"]) < len(whole)
    assert cut["answer"].startswith("line 0\n")
    assert cut["answer"].endswith("\nline 3999")
    assert f"{len(whole):,} characters" in cut["answer"]
    assert 'detail="answer"' in cut["next"]
    assert "".join(step["text"] for page in pages for step in page["steps"]) == whole
    assert resource.contents[0].text == whole


async def test_an_answer_may_be_asked_for_as_json(bench, era):
    schema = {"type": "object", "required": ["place"]}
    replies = ["```repl\nFINAL('somewhere')\n```", "```repl\nFINAL({'place': 'a.txt'})\n```"]
    async with bench(replies, era) as b:
        await b.call("load_context", text="alpha")
        answer = await b.call("rlm_query", query="Where?", answer_schema=schema)

    assert (answer["answer"], answer["usage"]["calls"]) == ('{"place": "a.txt"}', 2)


async def test_a_schema_that_is_none_is_refused_before_a_model_is_asked(bench, era):
    async with bench((), era) as b:
        await b.call("load_context", text="alpha")
        asked = {"query": "Where?", "answer_schema": {"type": "nothing"}}
        result = await b.client.call_tool("rlm_query", asked)

    assert result.is_error
    assert "is no JSON Schema" in result.content[0].text


async def test_an_estimate_asks_no_model_and_says_what_a_run_would_take(bench, era):
    async with bench((), era, context_window=32_768) as b:
        await b.call("load_context", text="word " * 200_000, name="long")
        result = await b.client.call_tool("rlm_query", {"query": "Why?", "estimate": True})

    told, plan = result.content[0].text, result.structured_content["plan"]
    assert (result.structured_content["status"], result.structured_content["run_id"]) == (
        "planned",
        None,
    )
    assert plan["way"] == "rlm"
    assert plan["calls"][0] < plan["calls"][1]
    assert plan["tokens"][1] > 200_000
    assert plan["why"] in told
    assert f"{plan['calls'][1]:,} calls" in told
    assert not b.model.requests


async def test_a_short_text_is_asked_about_in_one_prompt_and_the_answer_says_so(bench, era):
    async with bench(["It is alpha."], era, context_window=32_768) as b:
        await b.call("load_context", text="alpha", name="greek")
        result = await b.client.call_tool("rlm_query", {"query": "What is it?"})

    answer = result.structured_content
    assert (answer["answer"], answer["conduct"]["way"]) == ("It is alpha.", "direct")
    assert answer["usage"]["calls"] == 1
    assert f"Asked in one prompt: {answer['conduct']['why']}" in result.content[0].text


async def test_a_caller_may_want_code_for_a_short_text_too(bench, era):
    async with bench(["```repl\nFINAL(context)\n```"], era, context_window=32_768) as b:
        await b.call("load_context", text="alpha", name="greek")
        answer = await b.call("rlm_query", query="What is it?", strategy="rlm")

    assert (answer["answer"], answer["conduct"]["way"]) == ("alpha", "rlm")


async def test_quotes_and_pieces_read_are_told_with_the_answer(bench, era, notes):
    (notes / "notes.txt").write_text("alpha beta\n" * 3000, encoding="utf-8")
    program = (
        "```repl\npieces = chunks('notes.txt', 1000)\nr = llm_query_batched(pieces[:4])\n```",
        "```repl\nFINAL('It is notes.txt:7 \"alpha beta alpha beta\"')\n```",
    )

    def said(messages):
        turn = sum(message.role == "assistant" for message in messages)
        return program[turn] if messages[0].role == "system" else "fine"

    async with bench(said, era) as b:
        await b.call("load_context", source=str(notes))
        result = await b.client.call_tool("rlm_query", {"query": "What is it?"})

    (covered,) = result.structured_content["conduct"]["coverage"]
    assert covered["read"] == 4 < covered["pieces"]
    text = result.content[0].text
    assert f"Read by sub-models: 4 of {covered['pieces']} pieces of" in text
    (place,) = result.structured_content["citations"]
    assert place["check"] == "verified"
    assert "(verified" in text
