"""Runs scripted policies through the real engine and REPL, and judges how each run ended."""

import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import anyio

from rlm_mcp.errors import RlmError, RunBroken
from rlm_mcp.evals.policy import Actor, Mode, Policy
from rlm_mcp.evals.running import FORCED
from rlm_mcp.evals.scoring import is_exact
from rlm_mcp.llm.models import ModelPair, Models
from rlm_mcp.llm.scripted import ScriptedModel, serve
from rlm_mcp.service import Query, Service, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Answer
from rlm_mcp.words import clip, count

Outcome = Literal["exact", "flagged", "silent", "crash", "hang"]
MODES: tuple[Mode, ...] = ("stubborn", "teachable")
HANG_S = 60.0
AT_ONCE = 4
LEAST_PASSED = 0.96
ANSWER_CHARS = 200
ROOT, SUB = "scripted-root", "scripted-sub"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one policy fared in one mode. `turns` None: the run gave no answer at all.

    `wasted` are the turns beyond those of a model that behaves. `exact`: the gold, however the run
    ended. `flagged`: wrong, but it ended at a limit, with a note or as an error that says why.
    `told`: the policy's lesson was said.
    """

    policy: str
    row: int | None
    mode: Mode
    outcome: Outcome
    passed: bool
    turns: int | None
    wasted: int | None
    stopped_by: str
    answer: str
    notes: tuple[str, ...]
    told: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Sums:
    """What a set of verdicts comes to."""

    cases: int
    passed: int
    silent: int
    crashed: int
    hung: int
    wasted: int

    @property
    def share(self) -> float:
        """Of the cases, those that passed."""
        return self.passed / self.cases if self.cases else 0.0

    @property
    def is_good(self) -> bool:
        """Whether an engine of these verdicts may be given to people."""
        return self.share >= LEAST_PASSED and not (self.silent or self.crashed or self.hung)


def sums(verdicts: Sequence[Verdict]) -> Sums:
    """Count the verdicts."""
    outcomes = [verdict.outcome for verdict in verdicts]
    return Sums(
        cases=len(verdicts),
        passed=sum(verdict.passed for verdict in verdicts),
        silent=outcomes.count("silent"),
        crashed=outcomes.count("crash"),
        hung=outcomes.count("hang"),
        wasted=sum(verdict.wasted or 0 for verdict in verdicts),
    )


def as_json(verdicts: Sequence[Verdict]) -> str:
    """The sums and every verdict as one JSON object."""
    whole = sums(verdicts)
    record = {**asdict(whole), "good": whole.is_good, "verdicts": [asdict(v) for v in verdicts]}
    return json.dumps(record, ensure_ascii=False, indent=2)


def settings_for_grading(home: Path, sandbox: str | None = None) -> Settings:
    """Tight limits, so that a policy which never ends is ended soon."""
    return Settings.load(
        {},
        home=home,
        sandbox=sandbox,
        cell_s=1.0,
        memory_mb=256,
        max_sessions=AT_ONCE,
        timeout_s=10.0,
        **FORCED,
    )


async def grade(
    policies: Sequence[Policy],
    modes: Sequence[Mode] = MODES,
    *,
    sandbox: str | None = None,
    on_verdict: Callable[[Verdict], None] = lambda _: None,
) -> tuple[Verdict, ...]:
    """The verdicts on every policy in every mode, in that order; a few run at a time.

    The runs leave no trace: their journal is in a temporary folder.
    """
    verdicts: dict[tuple[str, Mode], Verdict] = {}
    queue = iter(policies)

    async def work(service: Service) -> None:
        for policy in queue:
            before: Verdict | None = None
            for mode in modes:
                before = await _judged(service, policy, mode, before)
                verdicts[policy.name, mode] = before
                on_verdict(before)

    with tempfile.TemporaryDirectory(prefix="rlm-grade-") as folder:
        settings = settings_for_grading(Path(folder), sandbox)
        async with open_service(settings) as service, anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(work, service)
    return tuple(verdicts[policy.name, mode] for policy in policies for mode in modes)


async def _judged(service: Service, policy: Policy, mode: Mode, before: Verdict | None) -> Verdict:
    """One verdict; what a mode without a lesson did `before` is what every mode does."""
    if before is not None and not before.told:
        return replace(before, mode=mode, passed=_passes(policy, mode, before.outcome))
    actor = Actor(policy, mode)
    began = anyio.current_time()
    ending: Answer | RlmError | None = None
    with anyio.move_on_after(HANG_S):
        try:
            async with _models(service.settings, policy, actor) as pair:
                ending = await _run(service, policy, pair)
        except RlmError as error:
            ending = error
    return _verdict(policy, mode, ending, actor, anyio.current_time() - began)


async def _run(service: Service, policy: Policy, pair: ModelPair) -> Answer | RlmError | None:
    item = policy.trial().item
    session = await service.new_session()
    try:
        await service.load(session, [], text=item.context, name=item.id)
        query = Query(item.question, budget=policy.budget, models=pair)
        job = await service.start(session, query)
        await job.ended.wait()
    finally:
        await service.end_session(session.handle)
    return job.outcome


@asynccontextmanager
async def _models(settings: Settings, policy: Policy, actor: Actor) -> AsyncIterator[ModelPair]:
    leaf = policy.leaf(policy.trial())
    if policy.quirks is None:
        root = ScriptedModel(actor, name=ROOT, window_tokens=policy.window_tokens)
        yield ModelPair(root, ScriptedModel(leaf, name=SUB))
        return
    scripts = {ROOT: actor, SUB: leaf}
    window = policy.window_tokens
    async with serve(scripts, window_tokens=window, quirks=policy.quirks) as server:
        named = settings.model_copy(update={"api_url": server.url, "model": ROOT, "sub_model": SUB})
        async with Models(named) as models:
            yield await models.resolve()


def _verdict(
    policy: Policy, mode: Mode, ending: Answer | RlmError | None, actor: Actor, seconds: float
) -> Verdict:
    answer = ending if isinstance(ending, Answer) else None
    outcome = _outcome(policy, ending)
    return Verdict(
        policy=policy.name,
        row=policy.row,
        mode=mode,
        outcome=outcome,
        passed=_passes(policy, mode, outcome),
        turns=answer.turns if answer else None,
        wasted=max(0, answer.turns - policy.turns) if answer else None,
        stopped_by=answer.stopped_by if answer else type(ending).__name__,
        answer=clip(answer.text if answer else str(ending), ANSWER_CHARS),
        notes=answer.notes if answer else (),
        told=actor.told,
        seconds=round(seconds, 3),
    )


def _passes(policy: Policy, mode: Mode, outcome: Outcome) -> bool:
    may_fail = policy.expects == "never" or (policy.expects == "flagged" and mode == "stubborn")
    return outcome == "exact" or (outcome == "flagged" and may_fail)


def _outcome(policy: Policy, ending: Answer | RlmError | None) -> Outcome:
    item = policy.trial().item
    if ending is None:
        return "hang"
    if isinstance(ending, RlmError):
        return "crash" if isinstance(ending, RunBroken) else "flagged"
    if is_exact(ending.text, item.gold):
        return "exact"
    if ending.stopped_by == "time":
        return "hang"
    return "flagged" if ending.stopped_by != "answer" or ending.notes else "silent"


def table(verdicts: Sequence[Verdict], *, whole: bool = False) -> Iterator[str]:
    """A line for each policy that failed, or for each there is if `whole`; then the sums."""
    by_policy: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_policy.setdefault(verdict.policy, []).append(verdict)
    shown = {
        name: its for name, its in by_policy.items() if whole or not all(v.passed for v in its)
    }
    width = max(map(len, shown), default=0)
    for name, its in shown.items():
        parts = [
            f"{each.mode}: {'ok' if each.passed else 'FAIL'} {each.outcome}"
            f" in {count(each.turns or 0, 'turn')}"
            for each in its
        ]
        yield f"{name:<{width}}  {'   '.join(parts)}"
    summed = sums(verdicts)
    yield (
        f"{summed.passed} of {summed.cases} passed ({summed.share:.1%}) · {summed.silent} silently"
        f" wrong · {summed.crashed} crashed · {summed.hung} hung · {summed.wasted} turns wasted"
    )
