"""What a command of a test is started with."""

import os

import pytest


@pytest.fixture
def environment_of(own_environment):
    """The variables of a command with a data folder of the test's own, and those named."""

    def made(**variables):
        return os.environ | {"RLM_HOME": str(own_environment)} | variables

    return made
