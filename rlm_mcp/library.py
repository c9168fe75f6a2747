"""The engine as a Python library: ask about text that is already in your program.

    from rlm_mcp import RLM

    with RLM() as rlm:
        print(rlm.completion(context=text, query="How many customers complain about delivery?"))
        print(rlm.cost_summary().total.usage)

Models and everything else come from the arguments, then from RLM_ environment variables. Runs are
in the same journal as those of the server: `rlm-mcp traces` lists them.
"""

import atexit
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal

from rlm_mcp.conduct import Plan, Strategy
from rlm_mcp.engine.session import Session
from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.llm.models import ModelPair
from rlm_mcp.protocols import Model
from rlm_mcp.replaying import Replay, replay
from rlm_mcp.resuming import recorded_answer, resume
from rlm_mcp.runs.costs import Costs
from rlm_mcp.runs.jobs import Job
from rlm_mcp.service import Query, Service, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Answer

T = TypeVar("T")

Context = str | Path | list[Any] | dict[str, Any]
"""Text as it is; a file or folder to load; documents; or chat messages.

Strings in a list become documents named 1, 2, ..., strings in a dict documents named by their keys.
A list of {"role", "content"} becomes a transcript. Everything else becomes JSON text.
"""

NAME = "context"


class AsyncRLM:
    """A session with a REPL that lives from one completion to the next. An async context manager.

    `model` writes code, `recursive_model` answers what code asks: names at the endpoint, or `Model`
    objects (then `auto` is the same object). Completions that run at the same time take turns.
    """

    def __init__(
        self,
        model: str | Model = "auto",
        recursive_model: str | Model = "auto",
        max_iterations: int = 10,
        api_url: str | None = None,
        api_key: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        """`max_iterations` limits the root model's turns; `settings` hold all other limits.

        Raises:
            SettingsInvalid: an argument or an RLM_ variable has a value that cannot work.
            ArgumentInvalid: one model is an object and the other a name.
        """
        self._models = _pair(model, recursive_model)
        own = (settings or Settings.load()).model_dump(exclude_unset=True)
        own["max_turns"] = max_iterations
        own.setdefault("roots", "*")  # its caller names what to load, not a model
        own |= {} if api_url is None else {"api_url": api_url}
        own |= {} if api_key is None else {"api_key": api_key}
        if self._models is None:
            names = {"model": model, "sub_model": recursive_model}
            own |= {key: name for key, name in names.items() if name != "auto"}
        self.settings = Settings.load({}, **own)
        self._stack = AsyncExitStack()
        self._service: Service | None = None
        self._session: Session | None = None

    async def __aenter__(self) -> Self:
        """Open the journal and the models' connections.

        Raises:
            JournalFailed: the data folder cannot be used.
        """
        self._service = await self._stack.enter_async_context(open_service(self.settings))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._service = self._session = None
        await self._stack.__aexit__(kind, error, trace)

    async def completion(self, context: Context | None = None, *, query: str) -> str:
        """The answer to `query` about `context`; without one, about the context of before.

        A budget that ends the run gives the best answer so far; `answer` tells them apart.

        Raises:
            RlmError: the context cannot be loaded, or the run failed.
        """
        return (await self.answer(context, query=query)).text

    async def answer(
        self,
        context: Context | None = None,
        *,
        query: str,
        schema: Mapping[str, Any] | None = None,
        strategy: Strategy | None = None,
    ) -> Answer:
        """The same with citations, usage and what ended the run.

        With a JSON `schema` the text is JSON that fits it, unless a note says that it does not. A
        `strategy` of `rlm` never puts the text into the prompt, `direct` always does; None is that
        of the settings.

        Raises:
            ArgumentInvalid: the schema is none, or the text does not fit the strategy.
            RlmError: the context cannot be loaded, or the run failed.
        """
        service, session = await self._opened()
        if context is not None:
            await _load(service, session, context)
        asked = Query(query, models=self._models, strategy=strategy, schema=schema)
        return await _settled(service, await service.start(session, asked))

    async def resume(self, run_id: str) -> Answer:
        """Go on with a run that a crash, a lost endpoint, a full disk or an exit has stopped.

        Its code runs again on the answers it had; only what was not answered is asked, and it has
        what its limits then had left. It has a REPL of its own, and counts for the session it was
        started in. Of a run that has ended by itself this is the answer it had.

        Raises:
            UnknownRun: the journal has none of that id.
            RunElsewhere: another process works on it.
            ArgumentInvalid: nothing of it was recorded.
            RlmError: it failed, or its texts are no longer there.
        """
        service, session = await self._opened()
        job = await resume(service, run_id, models=self._models)
        if job is None:
            return await recorded_answer(service, run_id)
        try:
            return await _settled(service, job)
        finally:
            if job.session != session.handle:
                await service.end_session(job.session)

    async def plan(
        self, context: Context | None = None, *, query: str, strategy: Strategy | None = None
    ) -> Plan:
        """How `query` would be asked and about what that takes; asks no model.

        Raises:
            RlmError: the context cannot be loaded, or no model answers.
        """
        service, session = await self._opened()
        if context is not None:
            await _load(service, session, context)
        return await service.plan(session, Query(query, models=self._models, strategy=strategy))

    async def cost_summary(self) -> Costs:
        """What was used since the start or the last `reset`: root, sub, total and by model."""
        service, session = await self._opened()
        return await service.costs("session", session.handle)

    async def replay(self, run_id: str) -> Replay:
        """The code of a recorded run, run again on the answers it had; asks no model.

        Raises:
            UnknownRun: the journal has none of that id.
        """
        service, _ = await self._opened()
        return await replay(service, run_id)

    async def reset(self) -> None:
        """Forget the context, the variables and the costs; the next completion starts afresh."""
        service, session = await self._opened()
        self._session = None
        await service.end_session(session.handle)

    async def _opened(self) -> tuple[Service, Session]:
        if self._service is None:
            raise ArgumentInvalid("This AsyncRLM is not open.", "Use it inside `async with`.")
        if self._session is None:
            self._session = await self._service.new_session()
        return self._service, self._session


class RLM:
    """`AsyncRLM` for code that is not async: the engine runs in a thread of its own.

    `close`, or a `with` block, ends its REPL; the end of the program does so too.
    """

    def __init__(
        self,
        model: str | Model = "auto",
        recursive_model: str | Model = "auto",
        max_iterations: int = 10,
        api_url: str | None = None,
        api_key: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        """As `AsyncRLM`; opens at once.

        Raises:
            SettingsInvalid: an argument or an RLM_ variable has a value that cannot work.
            ArgumentInvalid: one model is an object and the other a name.
            JournalFailed: the data folder cannot be used.
        """
        self._rlm = AsyncRLM(model, recursive_model, max_iterations, api_url, api_key, settings)
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(self._portal.wrap_async_context_manager(self._rlm))
            self._stack = stack.pop_all()
        atexit.register(self.close)

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self._rlm.settings

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def completion(self, context: Context | None = None, *, query: str) -> str:
        """See `AsyncRLM.completion`."""
        return self.answer(context, query=query).text

    def answer(
        self,
        context: Context | None = None,
        *,
        query: str,
        schema: Mapping[str, Any] | None = None,
        strategy: Strategy | None = None,
    ) -> Answer:
        """See `AsyncRLM.answer`."""
        return self._wait(
            lambda: self._rlm.answer(context, query=query, schema=schema, strategy=strategy)
        )

    def resume(self, run_id: str) -> Answer:
        """See `AsyncRLM.resume`."""
        return self._wait(lambda: self._rlm.resume(run_id))

    def plan(
        self, context: Context | None = None, *, query: str, strategy: Strategy | None = None
    ) -> Plan:
        """See `AsyncRLM.plan`."""
        return self._wait(lambda: self._rlm.plan(context, query=query, strategy=strategy))

    def cost_summary(self) -> Costs:
        """See `AsyncRLM.cost_summary`."""
        return self._wait(self._rlm.cost_summary)

    def replay(self, run_id: str) -> Replay:
        """See `AsyncRLM.replay`."""
        return self._wait(lambda: self._rlm.replay(run_id))

    def reset(self) -> None:
        """See `AsyncRLM.reset`."""
        self._wait(self._rlm.reset)

    def close(self) -> None:
        """End the REPL and the thread. Nothing happens if that was done before."""
        atexit.unregister(self.close)
        self._stack.close()

    def _wait(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work` in the engine's thread; Ctrl-C here cancels it there."""
        future = self._portal.start_task_soon(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise


def _pair(model: str | Model, recursive_model: str | Model) -> ModelPair | None:
    """Both models if they are objects, None if both are names."""
    if isinstance(model, str) and isinstance(recursive_model, str):
        return None
    if recursive_model == "auto":
        recursive_model = model
    if isinstance(model, str) or isinstance(recursive_model, str):
        raise ArgumentInvalid(
            "One model is an object and the other a name.",
            'Give two names or two objects; recursive_model="auto" takes the same object.',
        )
    return ModelPair(model, recursive_model)


async def _settled(service: Service, job: Job) -> Answer:
    """The run's answer; who no longer waits for it stops it."""
    try:
        await job.ended.wait()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await service.cancel(job.run_id)
        raise
    return job.answer()


async def _load(service: Service, session: Session, context: Context) -> None:
    if isinstance(context, Path):
        await service.load(session, [str(context)], name=NAME)
    else:
        await service.load(session, [], text=as_text(context), name=NAME)


def as_text(context: str | list[Any] | dict[str, Any]) -> str | dict[str, str]:
    """A text, or documents by name; see `Context`."""
    if isinstance(context, str):
        return context
    if isinstance(context, dict):
        if context and all(isinstance(value, str) for value in context.values()):
            return {str(key): value for key, value in context.items()}
    elif context and all(isinstance(value, str) for value in context):
        width = len(str(len(context)))
        return {f"{number:0{width}}": value for number, value in enumerate(context, 1)}
    elif context and all(_is_message(value) for value in context):
        return "\n\n".join(
            f"[{number}] {message['role']}:\n{_said(message['content'])}"
            for number, message in enumerate(context, 1)
        )
    return json.dumps(context, ensure_ascii=False, indent=1, default=str)


def _is_message(value: object) -> bool:
    return isinstance(value, Mapping) and {"role", "content"} <= value.keys()


def _said(content: object) -> str:
    """A message's content as text; it may be a list of parts."""
    if isinstance(content, list):
        return "\n".join(
            str(part.get("text", "")) if isinstance(part, Mapping) else str(part)
            for part in content
        )
    return "" if content is None else str(content)
