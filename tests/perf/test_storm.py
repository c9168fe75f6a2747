"""A batch in bad weather, small: every item is answered or says why, and the bill is exact."""

import anyio
import pytest
from storm import Weather, storm

pytestmark = pytest.mark.anyio

SLOTS = 8


async def test_a_batch_in_a_storm_is_answered_in_order_billed_exactly_and_never_too_wide(
    own_environment,
):
    weather = Weather(150, 0.005)

    with anyio.fail_after(60):
        passed = await storm(weather, SLOTS, str(own_environment))

    assert passed.in_order
    assert len(passed.replies) == weather.calls
    assert passed.unanswered == weather.refused | weather.never
    assert passed.kinds == {
        "EndpointRefused": len(weather.refused),
        "EndpointFailed": len(weather.never),
    }
    assert weather.peak <= SLOTS
    assert passed.on_the_bill == passed.of_the_server
    assert passed.failed_attempts == passed.failed_at_the_server


async def test_a_thousand_slow_calls_of_one_batch_are_all_answered(own_environment):
    weather = Weather(1000, 0.055, is_calm=True)

    with anyio.fail_after(120):
        passed = await storm(weather, 16, str(own_environment))

    assert passed.replies == [f"answer {number}" for number in range(weather.calls)]
    assert passed.kinds == {}
    assert weather.peak <= 16
    assert passed.on_the_bill == passed.of_the_server
