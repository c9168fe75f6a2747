"""`rlm-mcp resume`: a killed `rlm-mcp ask` goes on, and so does a run whose endpoint went away."""

import json

import anyio
import pytest

from rlm_mcp.library import AsyncRLM
from rlm_mcp.llm.scripted import ScriptedReply
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio

LOG = "calm\nboom at noon\ncalm\n"
ASK = """```repl
said = llm_query("When?", context.splitlines()[1])
print(said)
```"""
ANSWER = """```repl
FINAL(f"It went boom {said}, see log.txt:2.")
```"""
ANSWERED = "It went boom at noon, see log.txt:2.\n"
GONE_FOR_LONG = ScriptedReply("Loading model", status=503, headers={"retry-after": "3600"})


class Holds:
    """A model that does not answer the second turn of the root until it is let go."""

    def __init__(self, instead=None):
        self.instead = instead
        self.reached = anyio.Event()
        self.let_go = anyio.Event()
        self.asked_subs = 0

    async def play(self, messages):
        if messages[0].role != "system":
            self.asked_subs += 1
            return "at noon"
        turn = sum(message.role == "assistant" for message in messages)
        if turn == 1 and not self.let_go.is_set():
            self.reached.set()
            if self.instead is not None:
                return self.instead
            await self.let_go.wait()
        return [ASK, ANSWER][turn]


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text(LOG, encoding="utf-8")
    return str(path)


async def newest(desk):
    _, listed, _ = await desk.run("traces", "-n", "1", "--json")
    (record,) = json.loads(listed)
    return record


async def killed(desk, log):
    """The model that a killed `ask` had asked, and the id of its run."""
    model = Holds()
    desk.script = model.play
    with anyio.fail_after(60):
        process = await desk.start("ask", log, "When did it go boom?")
        await model.reached.wait()
        process.kill()
        await process.wait()
    model.let_go.set()
    record = await newest(desk)
    assert record["status"] == "died"
    return model, record["id"]


async def test_a_killed_question_goes_on_and_asks_nothing_twice_that_was_answered(desk, log):
    model, run_id = await killed(desk, log)

    code, out, err = await desk.run("resume", run_id)

    assert (code, out) == (0, ANSWERED)
    assert "cost       4 calls · " in err  # that of the killed process, too
    assert model.asked_subs == 1
    assert (await newest(desk))["status"] == "done"


async def test_an_ended_run_is_printed_once_more_with_the_texts_it_was_asked_about(desk, log):
    desk.script = Holds(instead=ANSWER).play
    _, asked, _ = await desk.run("ask", log, "When did it go boom?", "--json")
    first = json.loads(asked)

    code, again, err = await desk.run("resume", first["run_id"], "--json", "--quiet")

    assert (code, err) == (0, "")
    assert json.loads(again) == first


async def test_a_lost_endpoint_names_the_command_that_goes_on(desk, log):
    model = Holds(instead=GONE_FOR_LONG)
    desk.script = model.play
    code, out, err = await desk.run("ask", log, "When did it go boom?")
    run_id = (await newest(desk))["id"]
    model.let_go.set()

    assert (code, out) == (1, "at noon\n")
    stopped = "the model endpoint failed; the best answer so far"
    assert f"stopped    {stopped}; rlm-mcp resume {run_id}\n" in err

    code, out, _ = await desk.run("resume", run_id, "-q")

    assert (code, out) == (0, ANSWERED)
    assert model.asked_subs == 1


async def test_a_run_that_is_not_there_is_an_error_in_words(desk):
    code, out, err = await desk.run("resume", "run_nobody")

    assert (code, out) == (1, "")
    assert err.startswith("error: There is no run 'run_nobody'.\n")


async def test_a_program_goes_on_with_a_run_that_was_killed(desk, log, home):
    model, run_id = await killed(desk, log)
    settings = Settings.load({}, api_url=desk.environment["RLM_API_URL"], home=home)

    with anyio.fail_after(60):
        async with AsyncRLM(settings=settings) as rlm:
            answer = await rlm.resume(run_id)
            again = await rlm.resume(run_id)
            own = await rlm.cost_summary()

    assert (answer.text, answer.stopped_by) == (ANSWERED.strip(), "answer")
    assert again == answer
    assert model.asked_subs == 1
    assert own.total.usage.calls == 0
