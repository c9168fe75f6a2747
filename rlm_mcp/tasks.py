"""Task groups that let one error out as itself."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from rlm_mcp.errors import RlmError


@asynccontextmanager
async def background() -> AsyncIterator[TaskGroup]:
    """Tasks that end with the block.

    One error, of the block or of a task, comes out as it was raised, and of several errors of ours
    the first; whatever else comes together comes as a group.
    """
    failure = None
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        first, *others = _leaves(group)
        if not all(isinstance(error, RlmError) for error in (first, *others)) and others:
            raise
        failure = first
    if failure is not None:
        raise failure  # out here, so that it keeps the cause it has


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error
