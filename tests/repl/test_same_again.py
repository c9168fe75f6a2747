"""The same code does the same in every guest, as far as it rests on no clock and no secrets."""

import pytest
from repl_driver import Driver

from rlm_mcp.repl.local import LocalBackend

pytestmark = pytest.mark.anyio

WORDS = "{'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta', 'theta'}"
SAME = f"import random\nprint(list({WORDS}), hash('alpha'), [random.random() for _ in range(3)])"
CHANCE = (
    "__import__('secrets').token_hex(), __import__('uuid').uuid4(), __import__('os').urandom(9)"
)
MISLEADING = {
    "PYTHONHASHSEED": "7",
    "PYTHONPATH": "somewhere",
    "PYTHONHOME": "nowhere",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONINSPECT": "1",
    "PYTHONVERBOSE": "1",
}


@pytest.fixture
async def another(cache, box):
    """A REPL of another back end: a guest of its own."""
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        await driver.open()
        yield driver


async def test_sets_hashes_and_random_are_the_same_in_every_guest(repl, another):
    here, there = await repl.run(SAME), await another.run(SAME)

    assert here.status == "ok"
    assert here.output == there.output


@pytest.mark.needs("cpython")
async def test_secrets_are_the_same_in_none(repl, another):
    for expression in CHANCE.split(", "):
        assert await repl.value(expression) != await another.value(expression)


async def test_each_question_begins_with_the_same_chance(repl):
    draw = "import random\nprint([random.random() for _ in range(3)])"
    first = await repl.run(draw, fresh_answer=True)
    later = await repl.run(draw)
    again = await repl.run(draw, fresh_answer=True)

    assert again.output == first.output != later.output


@pytest.mark.needs("cpython", "os")
async def test_no_variable_of_the_user_reaches_a_guest(cache, box, monkeypatch):
    for name, value in MISLEADING.items():
        monkeypatch.setenv(name, value)
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        await driver.open()
        await driver.run("import os, sys")
        names = await driver.value("sorted(n for n in os.environ if n.startswith('PYTHON'))")
        flags = await driver.value(
            "sys.flags.hash_randomization, sys.flags.optimize, sys.flags.inspect,"
            " sys.flags.verbose, sys.flags.no_site, sys.flags.no_user_site, sys.flags.safe_path"
        )
        options = await driver.value("sys.warnoptions, 'somewhere' in str(sys.path)")

    assert names == "['PYTHONHASHSEED']"
    assert flags == "(0, 0, 0, 0, 1, 1, True)"
    assert options == "([], False)"
