"""What the tests of a family ask: its module names the `items`, their size and their seed."""

import pytest


@pytest.fixture(scope="module")
def asked(request):
    return request.module.items(request.module.CHARS, request.module.SEED)


@pytest.fixture(scope="module")
def documents(asked):
    return asked[0].context
