"""What a server process of a test is started with."""

import os

import pytest


@pytest.fixture
def environment_for(own_environment):
    """The variables of a server that asks `url`, with a data folder of the test's own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RLM_")}

    def made(url, **settings):
        named = {f"RLM_{name.upper()}": str(value) for name, value in settings.items()}
        ours = {
            "RLM_API_URL": url,
            "RLM_HOME": str(own_environment),
            "RLM_ROOTS": "*",
            "RLM_CONFIG": os.devnull,
        }
        return inherited | ours | named

    return made
