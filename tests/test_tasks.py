"""Task groups that let one error out as itself."""

from functools import partial

import anyio
import pytest

from rlm_mcp.errors import EndpointBusy, RlmError, StaleEpoch
from rlm_mcp.tasks import background

pytestmark = pytest.mark.anyio


async def fail(error):
    raise error


async def fail_below(error):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail, error)


async def start(work, *errors):
    async with background() as tasks:
        for error in errors:
            tasks.start_soon(work, error)
        await anyio.sleep_forever()


async def raise_in_block(error):
    async with background() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        raise error


async def test_tasks_end_with_the_block():
    with anyio.fail_after(10):
        async with background() as tasks:
            tasks.start_soon(anyio.sleep_forever)


@pytest.mark.parametrize("error", [StaleEpoch("a", "b"), ValueError("x")])
@pytest.mark.parametrize("work", [raise_in_block, partial(start, fail), partial(start, fail_below)])
async def test_one_error_comes_out_as_it_was_raised(work, error):
    error.__cause__ = cause = OSError("the reason")

    with pytest.raises(type(error)) as caught:
        await work(error)

    assert caught.value is error
    assert error.__cause__ is cause


async def test_of_several_errors_of_ours_the_first_comes_out():
    with pytest.raises(RlmError, match="first"):
        await start(fail, StaleEpoch("first", ""), EndpointBusy("second", ""))


async def test_what_else_comes_together_comes_as_a_group():
    with pytest.raises(ExceptionGroup) as caught:
        await start(fail, StaleEpoch("ours", ""), ValueError("a fault"))

    assert len(caught.value.exceptions) == 2


async def test_cancellation_passes():
    with anyio.CancelScope() as scope:
        async with background() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
