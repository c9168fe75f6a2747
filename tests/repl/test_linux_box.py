"""The Linux box leaves everyday code its modules; its filter is well formed."""

import pytest
from repl_driver import Driver

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import boxes
from rlm_mcp.repl.guest import seccomp
from rlm_mcp.repl.local import LocalBackend

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def linux():
    try:
        boxes.load("linux").require()
    except SandboxUnavailable as refusal:
        pytest.skip(refusal.message)


EVERYDAY = [
    "import statistics, bisect, heapq, itertools, math\nstatistics.median([1, 3, 2])",
    "import regex\nregex.findall(r'(?i)\\p{L}+', 'Éa 1')",
    "import datetime\ndatetime.datetime.strptime('2024-02-29', '%Y-%m-%d').isoformat()",
    "from collections import Counter, defaultdict\nCounter('aab').most_common(1)",
    "import hashlib\nhashlib.sha256(b'').hexdigest()[:8]",
    "import random, secrets\nrandom.seed(1); random.randint(1, 1)",
    "import csv, io, json, re, difflib\nlist(csv.reader(io.StringIO('a,b')))",
    "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1\nP()",
    "import pickle\nclass Q: pass\npickle.loads(pickle.dumps(Q()))",
    "import textwrap, string, fractions, decimal, uuid, base64, zlib\nfractions.Fraction(1, 3)",
    "import ast, tokenize, html\nimport xml.etree.ElementTree as E\nE.fromstring('<a/>').tag",
    "import asyncio\nasync def f():\n    await asyncio.sleep(0); return 7\nasyncio.run(f())",
    "'é'.encode('cp1252').decode('cp1252'), 'ü'.encode('idna')",
    "import threading\nt = threading.Thread(target=print, args=(1,)); t.start(); t.join()",
]


async def test_everyday_modules_work_without_files(cache):
    async with LocalBackend(cache, "linux") as backend:
        repl = Driver(backend)
        await repl.open()
        for code in EVERYDAY:
            result = await repl.run(code)
            assert result.status == "ok", result.error


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("machine", sorted(seccomp.MACHINES))
def test_the_filter_is_well_formed_on_every_machine(machine, gated):
    lines = seccomp.program(machine, gated=gated)
    assert len(lines) < 4096
    for index, (code, if_true, if_false, _) in enumerate(lines):
        if code in {seccomp.EQUAL, seccomp.AT_LEAST, seccomp.ANY_BIT}:
            assert index + 1 + max(if_true, if_false) < len(lines)
    assert lines[-1][0] == seccomp.RETURN
    numbers = seccomp.MACHINES[machine][1]
    assert len(set(numbers.values())) == len(numbers)
    known = {*seccomp.FREE, *seccomp.CHECKED, "seccomp"}
    assert set(numbers) <= known


async def test_a_cell_that_asks_to_fork_again_and_again_is_undone(cache):
    async with LocalBackend(cache, "linux") as backend:
        repl = Driver(backend)
        await repl.open()
        await repl.run("kept = 1")
        result = await repl.run(
            "kept = 2\nimport os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
        )
        assert (result.status, result.lost) == ("died", False)
        assert "it tries to fork again and again" in result.error
        assert await repl.value("kept") == "1"


async def test_without_a_descriptor_left_cells_run_on_without_a_checkpoint(cache):
    async with LocalBackend(cache, "linux") as backend:
        repl = Driver(backend)
        await repl.open()
        await repl.run(
            "import socket\nheld = []\ntry:\n    while True: held.append(socket.socketpair())\n"
            "except OSError: pass"
        )
        assert await repl.value("len(held) > 20") == "True"
        assert (await repl.run("import os\nos._exit(1)")).status == "died"
        assert (await repl.run("len(held) > 20")).output.endswith("True\n")


async def test_what_a_cell_hangs_on_forks_does_not_run_in_the_copy(cache):
    async with LocalBackend(cache, "linux") as backend:
        repl = Driver(backend)
        await repl.open()
        await repl.run(
            "import os, random\nran = []\n"
            "os.register_at_fork(after_in_child=lambda: ran.append(1))\n"
            "random.seed(7)\nstate = random.getstate()"
        )
        await repl.run("os._exit(1)")
        assert await repl.value("ran, random.getstate() == state") == "([], True)"
