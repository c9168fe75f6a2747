"""Whether a model can drive an RLM: small tasks run on it, and what their outcome advises."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rlm_mcp.errors import PromptTooLong, ReplyEmpty, RlmError
from rlm_mcp.evals import slips
from rlm_mcp.evals.trials import TRIALS, Trial
from rlm_mcp.events import Event
from rlm_mcp.llm.models import ModelPair
from rlm_mcp.service import Query, Service
from rlm_mcp.settings import PREFIX, Settings
from rlm_mcp.types import StoppedBy
from rlm_mcp.words import count

SOLVED = 0.999
MOST_TURNS = 6.0
_WINDOW_TOLD = re.compile(rf"{PREFIX}CONTEXT_WINDOW=(\d+)")


@dataclass(frozen=True, slots=True)
class Drive:
    """How a model did on one task. `run_id` None: the run never began; `error` says why.

    `judged` False: it was not the model that failed, so that the task tells nothing of it.
    """

    trial: str
    skill: str
    solved: bool
    stopped_by: StoppedBy | None
    turns: int
    calls: int
    seconds: float
    slips: Mapping[str, int]
    notes: tuple[str, ...]
    answer: str
    run_id: str | None
    error: str | None = None
    judged: bool = True


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting worth changing: its environment name, the value to give it, and the reason."""

    name: str
    value: str
    why: str


class _Kept:
    """A sink that keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """See `Sink.emit`."""
        self.events.append(event)


async def drive(
    service: Service,
    models: ModelPair,
    on_drive: Callable[[Drive], None] = lambda _: None,
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> tuple[Drive, ...]:
    """Run every task, one after the other, each in a session of its own.

    `on_trial` hears of each before it is run, `on_drive` after.

    Raises:
        RlmError: the first task failed, and not by the model; so would all.
    """
    drives: list[Drive] = []
    for make in TRIALS:
        on_trial(make())
        drives.append(await _driven(service, models, make(), is_first=not drives))
        on_drive(drives[-1])
    return tuple(drives)


async def _driven(service: Service, models: ModelPair, trial: Trial, *, is_first: bool) -> Drive:
    item, kept = trial.item, _Kept()
    session = await service.new_session()
    try:
        await service.load(session, [], text=item.context, name=item.id)
        job = await service.start(session, Query(item.question, models=models), kept)
        await job.ended.wait()
    finally:
        await service.end_session(session.handle)
    answer, found = job.outcome, slips.slips(kept.events)
    if answer is None or isinstance(answer, RlmError):
        judged = isinstance(answer, ReplyEmpty | PromptTooLong)
        if is_first and answer is not None and not judged:
            raise answer
        return Drive(
            item.id, trial.skill, solved=False, stopped_by=None, turns=0, calls=0, seconds=0.0,
            slips=found, notes=(), answer="", run_id=job.run_id,
            error=answer.message if answer else None, judged=judged,
        )  # fmt: skip
    return Drive(
        trial=item.id,
        skill=trial.skill,
        solved=item.score(answer.text) >= SOLVED and answer.stopped_by == "answer",
        stopped_by=answer.stopped_by,
        turns=answer.turns,
        calls=answer.usage.calls,
        seconds=answer.seconds,
        slips=found,
        notes=answer.notes,
        answer=answer.text,
        run_id=job.run_id,
        judged=answer.stopped_by != "endpoint" or slips.THINKING in found,
    )


def can_drive(drives: Sequence[Drive]) -> bool:
    """Whether most of the tasks that tell something of the model were solved."""
    judged = [each for each in drives if each.judged]
    return 2 * sum(each.solved for each in judged) > len(judged)


def verdict(model: str, drives: Sequence[Drive]) -> str:
    """Plain sentences on whether this model can drive an RLM, and on what tells nothing of it."""
    judged = [each for each in drives if each.judged]
    left_out = len(drives) - len(judged)
    if not judged:
        return f"Nothing is known of {model}: no task could be run."
    words = _verdict(model, judged)
    if left_out:
        words += f" {count(left_out, 'task')} left out: the endpoint or the sandbox failed."
    return words


def _verdict(model: str, drives: Sequence[Drive]) -> str:
    solved = [each for each in drives if each.solved]
    failed = [each.skill for each in drives if not each.solved]
    score = f"{len(solved)} of {count(len(drives), 'task')} solved"
    turns = sum(each.turns for each in solved) / len(solved) if solved else 0.0
    if not failed and turns <= MOST_TURNS:
        return f"{model} drives an RLM well: {score}, in {turns:.1f} turns each."
    if not failed:
        return (
            f"{model} can drive an RLM, slowly: {score}, but in {turns:.1f} turns each."
            " A stronger root model needs fewer."
        )
    if can_drive(drives):
        return f"{model} can drive an RLM, with care: {score}. It failed to {_joined(failed)}."
    return (
        f"{model} cannot drive an RLM: {score}."
        " Give the code to a stronger root model, and let this one answer the sub-calls."
    )


def advice(drives: Sequence[Drive], models: ModelPair, settings: Settings) -> tuple[Advice, ...]:
    """Settings that the outcome speaks for, the most urgent first; none if the ones there do."""
    total = sum((Counter(each.slips) for each in drives), Counter[str]())
    failed = {each.trial for each in drives if each.judged and not each.solved}
    given: list[tuple[str, object, str]] = []
    told = _WINDOW_TOLD.search("\n".join(note for each in drives for note in each.notes))
    if told:
        given.append(("context_window", told[1], "the server cuts longer prompts without a word"))
    elif models.root.window_tokens is None:
        words = "the server does not tell its window: give the one it was started with"
        given.append(("context_window", "?", words))
    if total[slips.THINKING] or total[slips.EMPTY]:
        words = "replies ended before they said anything; or switch the model's thinking off"
        given.append(("max_output_tokens", 4 * settings.max_output_tokens, words))
    if total[slips.CROWDED]:
        words = "the endpoint could not take as many requests at a time"
        given.append(("concurrency", max(1, models.sub.slots // 2), words))
    if failed and not can_drive(drives):
        given.append(("model", "?", "a stronger model, to write the code"))
        given.append(("sub_model", models.root.name, "this one, to answer the sub-calls"))
    elif failed == {"read"}:
        given.append(("sub_model", "?", "a stronger model: this one misreads what it is sent"))
    if any(each.stopped_by == "turns" for each in drives if not each.solved):
        given.append(("max_turns", 2 * settings.max_turns, "a task ended before the model did"))
    if total[slips.TIME]:
        given.append(("cell_s", round(2 * settings.cell_s), "code ran out of its computing time"))
    return tuple(Advice(PREFIX + name.upper(), str(value), why) for name, value, why in given)


def _joined(skills: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(skills[:-1]), skills[-1]]))
