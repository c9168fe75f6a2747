"""Every fault at every place a run can meet it: its outcome has a name, and the bill is exact."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from e2e_server import call
from mcp import Client, StdioServerParameters

from rlm_mcp.llm.scripted import ScriptedReply, serve

resource = pytest.importorskip("resource")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="fills the disk of a child"),
]

SERVER = Path(__file__).with_name("jumping_server.py")
WITHIN_S = 30
SILENCE_S = 1.5
VOTES = 4


def code(text):
    return f"```repl\n{text}\n```"


DRAFT = code("answer['content'] = 'a draft'")
# What the root model says next and at last, what comes of it, and what if one item has failed.
PLAYS = {
    "root call": (code("seen = len(context)"), code("FINAL('all read')"), "all read", None),
    "sub-call": (
        code(
            "verdict = None\ntry: verdict = llm_query('Judge ' + context)\nexcept Exception: pass"
        ),
        code("FINAL(f'judged: {bool(verdict)}')"),
        "judged: True",
        "judged: False",
    ),
    "batch item": (
        code(f"votes = llm_query_batched([f'Vote {{n}} on ' + context for n in range({VOTES})])"),
        code("FINAL(f'{sum(map(bool, votes))} votes')"),
        f"{VOTES} votes",
        f"{VOTES - 1} votes",
    ),
}
SAME, ITEM, STOP, UNKEPT = (
    "the same answer",
    "that item is an error, the rest is answered",
    "a resumable stop",
    "a resumable stop that is not recorded",
)

HOUR = {"retry-after": "3600"}
SOON = {"retry-after": "0"}
HTML = {"content-type": "text/html"}
EVENTS = {"content-type": "text/event-stream"}
HALF_A_LINE = b'data: {"choices":[{"index":0,"delta":{"content":"y"}}]}\n\ndata: {"choices":[{"del'


@dataclass(frozen=True)
class Fault:
    """`replies` come in place of an answer, the last for ever if so; or `does` to the server."""

    replies: tuple[ScriptedReply, ...] = ()
    for_ever: bool = False
    does: Callable[["Desk"], None] | None = None


FAULTS = {
    "reset in the stream": Fault((ScriptedReply("y" * 600, fault="drop_mid"),)),
    "half a JSON line": Fault((ScriptedReply(raw=HALF_A_LINE, headers=EVENTS, prompt_tokens=0),)),
    "500": Fault((ScriptedReply("oops", status=500),)),
    "500 for ever": Fault((ScriptedReply("oops", status=500),), for_ever=True),
    "503, then fine": Fault((ScriptedReply("Loading model", status=503, headers=SOON),) * 2),
    "503 for ever": Fault(
        (ScriptedReply("Loading model", status=503, headers=HOUR),), for_ever=True
    ),
    "HTML page": Fault(
        (ScriptedReply(raw=b"<!DOCTYPE html><p>Log in", headers=HTML, prompt_tokens=0),),
        for_ever=True,
    ),
    "comments without a word": Fault((ScriptedReply(fault="trickle"),)),
    "disk full": Fault(does=lambda desk: desk.fill_disk()),
    "clock a day ahead": Fault(does=lambda desk: desk.jump(signal.SIGUSR1)),
    "clock a day back": Fault(does=lambda desk: desk.jump(signal.SIGUSR2)),
}
OUTCOMES = {
    #                         root call, sub-call, batch item
    "reset in the stream": (SAME, SAME, SAME),
    "half a JSON line": (SAME, SAME, SAME),
    "500": (SAME, SAME, SAME),
    "500 for ever": (STOP, ITEM, ITEM),
    "503, then fine": (SAME, SAME, SAME),
    "503 for ever": (STOP, STOP, STOP),
    "HTML page": (STOP, ITEM, ITEM),
    "comments without a word": (SAME, SAME, SAME),
    "disk full": (UNKEPT, UNKEPT, UNKEPT),
    "clock a day ahead": (SAME, SAME, SAME),
    "clock a day back": (SAME, SAME, SAME),
}
CELLS = [
    (fault, place, outcome)
    for fault, outcomes in OUTCOMES.items()
    for place, outcome in zip(PLAYS, outcomes, strict=True)
]


class Desk:
    """A real server with its client, and the endpoint behind it, which plays one fault."""

    def __init__(self, pid_file):
        self._pid_file = pid_file
        self.no_replies = 0  # of the endpoint's bill: what it sent of them was none
        self.client = None
        self.endpoint = None
        self.begin("root call", Fault())

    def begin(self, place, fault):
        self.place, self.fault, self.left = place, fault, list(fault.replies)
        self.asked = 0
        self._is_full = self._is_done = False

    def play(self, messages):
        self.asked += 1
        if self._is_full:
            return ScriptedReply(fault="hang")
        if _is_at(self.place, messages):
            if self.left:
                reply = self.left[0] if self.fault.for_ever else self.left.pop(0)
                self.no_replies += reply.raw is not None
                return reply
            if self.fault.does is not None and not self._is_done:
                self._is_done = True
                self.fault.does(self)
        if messages[0].role != "system":
            return "yes"
        asks, answers, *_ = PLAYS[self.place]
        return [DRAFT, asks, answers][min(_turn(messages), 2)]

    def fill_disk(self):
        """No file of the server's can grow any more, as on a disk that is full."""
        self._is_full = True
        self._limit_files(1)

    def repair(self):
        self._limit_files(resource.RLIM_INFINITY)
        self._is_full, self.left = False, []

    def jump(self, number):
        os.kill(self._pid, number)

    def _limit_files(self, size):
        hard = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (size, hard))

    @property
    def _pid(self):
        return int(self._pid_file.read_text(encoding="utf-8"))

    @property
    def bill(self):
        ledger = self.endpoint.ledger
        return ledger.calls - self.no_replies, ledger.input_tokens, ledger.output_tokens


def _turn(messages):
    return sum(message.role == "assistant" for message in messages)


def _is_at(place, messages):
    if messages[0].role == "system":
        return place == "root call" and _turn(messages) == 1
    said = messages[-1].content
    return (place == "sub-call" and "Judge" in said) or (place == "batch item" and "Vote 2" in said)


@asynccontextmanager
async def opened(folder, program_cache):
    home, pid_file = folder / "home", folder / "pid"
    home.mkdir()
    (home / "cache").symlink_to(program_cache, target_is_directory=True)
    desk = Desk(pid_file)
    own = {
        "RLM_HOME": str(home),
        "RLM_STRATEGY": "rlm",
        "RLM_TIMEOUT_S": str(SILENCE_S),
        "RLM_CONCURRENCY": "1",  # so nothing is on its way when a run is stopped
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RLM_")}
    async with serve(desk.play) as desk.endpoint:
        server = StdioServerParameters(
            command=sys.executable,
            args=[str(SERVER), str(pid_file)],
            env=inherited | own | {"RLM_API_URL": desk.endpoint.url},
        )
        async with Client(server) as desk.client:
            await call(desk.client, "load_context", text="the case")
            yield desk


@pytest.fixture(scope="module")
async def matrix_desk(tmp_path_factory, program_cache):
    async with opened(tmp_path_factory.mktemp("matrix"), program_cache) as desk:
        yield desk


@pytest.fixture
def desk(matrix_desk):
    yield matrix_desk
    matrix_desk.repair()


@pytest.mark.parametrize(("fault", "place", "outcome"), CELLS)
async def test_a_fault_has_one_outcome_and_an_exact_bill(desk, fault, place, outcome):
    desk.begin(place, FAULTS[fault])
    *_, whole, without = PLAYS[place]
    before = desk.bill
    with anyio.fail_after(WITHIN_S):
        ended = await call(desk.client, "rlm_query", query=f"{fault}, {place}?")
        run = {"run_id": ended["run_id"]}
        assert_billed(ended["usage"], before, desk.bill)
        if outcome in {STOP, UNKEPT}:
            assert ended["stopped_by"] == {STOP: "endpoint", UNKEPT: "journal"}[outcome]
            assert ended["answer"] == "a draft"
            assert "resume=true" in ended["next"]
            assert ended["notes"]
            traced = await call(desk.client, "get_trace", **run)
            assert traced["status"] == ended["status"]
            desk.repair()
            again = await call(desk.client, "get_answer", resume=True, **run)
            assert (again["stopped_by"], again["answer"]) == ("answer", whole)
        else:
            expected = {SAME: whole, ITEM: without}[outcome]
            assert (ended["stopped_by"], ended["answer"]) == ("answer", expected), ended["notes"]
        costs = (await call(desk.client, "get_costs", scope="run", id=run["run_id"]))["total"]

    if outcome != UNKEPT:
        answered = costs["calls"] - costs["failed"] - costs["cancelled"]
        assert_billed(costs, before, desk.bill)
        assert answered == desk.bill[0] - before[0]
    if outcome in {SAME, ITEM}:
        assert costs["calls"] + costs["retried"] == desk.asked


def assert_billed(ours, before, after):
    """Tokens are those the endpoint counted since."""
    theirs = tuple(new - old for new, old in zip(after, before, strict=True))
    assert (ours["input_tokens"], ours["output_tokens"]) == theirs[1:]
