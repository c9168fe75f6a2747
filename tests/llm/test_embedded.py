"""A model file and no server: ours is started, kept to ourselves, restarted, and gone with us."""

import importlib.util
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import pytest
from scripted_gguf import TRAINED_WINDOW, Said, write_model

from rlm_mcp.errors import EndpointBusy, EndpointFailed, ModelUnusable, SettingsInvalid
from rlm_mcp.llm.embedded.gguf import ModelFile, read_model
from rlm_mcp.llm.embedded.server import LOG, EmbeddedServer
from rlm_mcp.llm.embedded.sizing import SLOTS, WINDOWS, Machine, Wish, plan, this_machine
from rlm_mcp.llm.models import Models
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio
runs_it = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None or sys.platform != "linux",
    reason="llama.cpp is not installed, or there is no /proc to see its process in",
)

WITHIN_S = 60.0
GB = 10**9
HELLO = [Message("user", "Hello")]
HELD = """
import sys, anyio
from pathlib import Path
from rlm_mcp.llm.embedded.server import EmbeddedServer
from rlm_mcp.llm.embedded.sizing import Wish

async def main():
    async with EmbeddedServer(sys.argv[1], Path(sys.argv[2]), Wish()) as server:
        print((await server.address(None, None)).url, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "scripted.gguf"
    return write_model(path, Said("true", "```repl\nFINAL('forty-two')\n```"))


@pytest.fixture
def settings(model_file, own_environment):
    return Settings(model_path=str(model_file), home=own_environment)


def server_of(source, home, wish=Wish()):  # noqa: B008 - frozen
    return EmbeddedServer(str(source), home, wish)


def children(pid):
    """The servers that a process has started and that still run."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(each) for each in listed.split() if is_server(each)]


def is_server(pid):
    return b"embedded.child" in told_to_all(pid, "cmdline")


def told_to_all(pid, page):
    """What anybody can read of a process; nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/{page}").read_bytes()
    except OSError:
        return b""


async def until_gone(*pids):
    with anyio.fail_after(WITHIN_S):
        while any(map(is_server, pids)):
            await anyio.sleep(0.01)


@runs_it
async def test_ask_needs_a_model_file_and_nothing_else(model_file, environment_of, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Nothing of interest.", encoding="utf-8")
    environment = environment_of(RLM_MODEL_PATH=str(model_file), RLM_STRATEGY="rlm")

    command = [sys.executable, "-m", "rlm_mcp", "ask", "-q", str(text), "What is it?"]
    with anyio.fail_after(WITHIN_S):
        ran = await anyio.run_process(command, env=environment, check=False)

    assert ran.stdout.decode() == "forty-two\n", ran.stderr.decode()


@runs_it
async def test_it_is_found_sized_and_named_after_its_file_and_gone_at_the_end(settings):
    with anyio.fail_after(WITHIN_S):
        async with Models(settings) as models:
            root = (await models.resolve()).root
            ours = children(os.getpid())
            reply = await root.complete(HELLO)

    assert reply.text.startswith("```repl")
    assert (root.name, root.url) == ("scripted", settings.model_path)
    assert (root.window_tokens, root.slots) == (TRAINED_WINDOW, SLOTS[0])
    assert len(ours) == 1
    assert not is_server(ours[0])


@runs_it
async def test_settings_size_it(settings):
    sized = settings.model_copy(update={"context_window": 2048, "concurrency": 3})
    with anyio.fail_after(WITHIN_S):
        async with Models(sized) as models:
            root = (await models.resolve()).root
            address = await models._embedded.address(None, None)
            async with httpx.AsyncClient() as client:
                key = {"authorization": f"Bearer {address.key}"}
                slots = (await client.get(address.url[:-3] + "/slots", headers=key)).json()

    assert (root.window_tokens, root.slots) == (2048, 3)
    assert [slot["n_ctx"] for slot in slots] == [2048] * 3


@runs_it
async def test_what_was_measured_of_it_is_known_again_on_another_port(settings):
    small = settings.model_copy(update={"context_window": 2048, "concurrency": 2})
    with anyio.fail_after(WITHIN_S):
        async with Models(small) as models:
            (measured,) = await models.measure()
        async with Models(small) as models:
            root = (await models.resolve()).root
            known = await models.kept(root)

    assert known == measured
    assert (measured.window_tokens, measured.overflow, measured.shares_context) == (
        2048,
        None,
        False,
    )
    assert (measured.usage, measured.chars_per_token) == ("reported", 1.0)


@runs_it
async def test_nobody_else_may_use_it_and_its_log_is_the_users_own(model_file, own_environment):
    with anyio.fail_after(WITHIN_S):
        async with server_of(model_file, own_environment) as server:
            address = await server.address(None, None)
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"{address.url}/models")
            (pid,) = children(os.getpid())
            known = told_to_all(pid, "cmdline") + told_to_all(pid, "environ")

    log = own_environment / LOG
    assert address.url.startswith("http://127.0.0.1:")
    assert answer.status_code == 401
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert address.key.encode() not in known + log.read_bytes()


@runs_it
async def test_it_is_gone_when_its_parent_is_killed(model_file, own_environment):
    command = [sys.executable, "-c", HELD, str(model_file), str(own_environment)]
    with anyio.fail_after(WITHIN_S):
        async with await anyio.open_process(command) as parent:
            assert (await parent.stdout.receive()).startswith(b"http://127.0.0.1:")
            ours = children(parent.pid)
            os.kill(parent.pid, signal.SIGKILL)
            await parent.wait()
            await until_gone(*ours)

    assert len(ours) == 1


@runs_it
async def test_it_is_gone_when_its_parent_is_killed_while_it_loads(tmp_path, own_environment):
    slow = write_model(tmp_path / "slow.gguf", Said("true", "Ready."), slow_start=100_000)
    command = [sys.executable, "-c", HELD, str(slow), str(own_environment)]
    with anyio.fail_after(WITHIN_S):
        async with await anyio.open_process(command) as parent:
            while not (ours := children(parent.pid)):
                await anyio.sleep(0.01)
            while b"llama" not in told_to_all(ours[0], "maps"):
                await anyio.sleep(0.01)
            os.kill(parent.pid, signal.SIGKILL)
            await parent.wait()
            await until_gone(*ours)


@runs_it
async def test_a_server_that_dies_is_started_again_for_the_call_that_lost_it(settings):
    retries = []
    with anyio.fail_after(WITHIN_S):
        async with Models(settings) as models:
            root = (await models.resolve()).root
            (first,) = children(os.getpid())
            os.kill(first, signal.SIGKILL)
            await until_gone(first)
            reply = await root.complete(HELLO, on_retry=retries.append)
            (second,) = children(os.getpid())

    assert reply.text.startswith("```repl")
    assert retries
    assert second != first


@runs_it
async def test_a_server_that_dies_again_and_again_is_given_up(model_file, own_environment):
    deaths = 0
    with anyio.fail_after(WITHIN_S):
        async with server_of(model_file, own_environment) as server:
            await server.address(None, None)
            while server._is_running:
                for pid in children(os.getpid()):
                    os.kill(pid, signal.SIGKILL)
                    await until_gone(pid)
                    deaths += 1
                await anyio.sleep(0.01)
            problem = server._problem

    assert isinstance(problem, EndpointFailed)
    assert f"has died {deaths} times within an hour" in problem.message
    assert LOG in problem.hint


@runs_it
async def test_a_server_that_was_given_up_is_started_anew_for_the_next_question(settings):
    with anyio.fail_after(WITHIN_S):
        async with Models(settings) as models:
            await models.resolve()
            server = models._embedded
            while server._is_running:
                for pid in children(os.getpid()):
                    os.kill(pid, signal.SIGKILL)
                    await until_gone(pid)
                await anyio.sleep(0.01)
            reply = await (await models.resolve()).root.complete(HELLO)

    assert reply.text.startswith("```repl")


@runs_it
async def test_a_server_that_cannot_be_started_is_an_error_of_the_call(model_file):
    with anyio.fail_after(WITHIN_S):
        async with server_of(model_file, model_file) as server:
            with pytest.raises(EndpointFailed, match="cannot be started"):
                await server.address(None, None)


@runs_it
async def test_who_does_not_wait_to_the_end_is_told_what_it_is_doing(model_file, own_environment):
    said = []
    with anyio.fail_after(WITHIN_S):
        async with server_of(model_file, own_environment) as server:
            with pytest.raises(EndpointBusy) as at_once:
                await server.address(said.append, 0.0)
            while not (ours := children(os.getpid())):
                await anyio.sleep(0.01)
            os.kill(ours[0], signal.SIGSTOP)
            with pytest.raises(EndpointBusy) as later:
                await server.address(said.append, 0.0)
            os.kill(ours[0], signal.SIGCONT)
            await server.address(None, None)

    assert at_once.value.message == f"{model_file} is not ready yet: starting."
    assert later.value.message == f"{model_file} is not ready yet: loading {model_file.name}."
    assert said == ["starting", f"loading {model_file.name}"]


@runs_it
async def test_a_call_with_little_patience_is_told_and_the_next_finds_it_ready(settings):
    with anyio.fail_after(WITHIN_S):
        async with Models(settings) as models:
            models.wait_s = 0.0
            with pytest.raises(EndpointBusy):
                await models.resolve()
            models.wait_s = None
            assert (await models.resolve()).root.name == "scripted"


@runs_it
async def test_a_damaged_model_is_an_error_in_llama_cpps_words(model_file, own_environment):
    damaged = own_environment / "damaged.gguf"
    damaged.write_bytes(model_file.read_bytes()[:-64])

    with pytest.raises(ModelUnusable) as caught:
        await asked_of(damaged, own_environment)

    assert str(damaged) in caught.value.message
    assert "not within the file bounds" in caught.value.message
    assert LOG in caught.value.hint


@pytest.mark.parametrize(
    "source",
    ["org/repo:../../../x.gguf", "../..:x.gguf", "org/repo:/tmp/x.gguf", "org/repo:..\\x.gguf"],
)
async def test_no_name_on_the_hub_leads_out_of_the_folder_of_models(source, own_environment):
    async with EmbeddedServer(source, own_environment, Wish()) as server:
        with pytest.raises(ModelUnusable) as caught:
            await server.address(None, None)

    assert f"{source} cannot be read" in caught.value.message
    assert not (own_environment / "models").exists()


@runs_it
async def test_a_window_beyond_the_memory_is_refused_before_it_is_tried(
    model_file, own_environment
):
    with pytest.raises(ModelUnusable) as caught:
        await asked_of(model_file, own_environment, Wish(window_tokens=10**12))

    assert "scripted.gguf needs" in caught.value.message
    assert "GB are free" in caught.value.message


async def asked_of(source, home, wish=Wish()):  # noqa: B008 - frozen
    with anyio.fail_after(WITHIN_S):
        async with server_of(source, home, wish) as server:
            return await server.address(None, None)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read: No such file"), (b"PK\x03\x04 zipped", "is no GGUF file")],
)
async def test_a_file_that_is_no_model_is_refused_with_a_hint(own_environment, content, words):
    path = own_environment / "model.gguf"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ModelUnusable) as caught:
        await asked_of(path, own_environment)

    assert f"RLM_MODEL_PATH: {path} {words}" in caught.value.message
    assert caught.value.hint


async def test_without_llama_cpp_the_error_says_what_to_install(
    model_file, own_environment, monkeypatch
):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    with pytest.raises(ModelUnusable) as caught:
        await asked_of(model_file, own_environment)

    assert "extra `llama`" in caught.value.hint
    assert "pip install '.[llama]'" in caught.value.hint


def test_an_address_and_a_model_file_are_not_both_taken(own_environment):
    both = Settings(api_url="http://localhost:8080/v1", model_path="x.gguf", home=own_environment)

    with pytest.raises(SettingsInvalid):
        Models(both)


def test_the_header_tells_window_and_memory(model_file):
    found = read_model(model_file)

    assert found.size_bytes == model_file.stat().st_size
    assert found.trained_tokens == TRAINED_WINDOW
    assert found.cache_bytes == 2 * 32 * 2  # keys and values, 32 wide, 2 bytes each


@pytest.mark.parametrize("kept", [4, 20, 24, 1000])
def test_a_header_that_breaks_off_is_refused(model_file, own_environment, kept):
    path = own_environment / "cut.gguf"
    path.write_bytes(model_file.read_bytes()[:kept])

    with pytest.raises(ModelUnusable, match="breaks off or is damaged"):
        read_model(path)


def test_all_parts_of_a_split_model_count(model_file, own_environment):
    for number in (1, 2):
        part = own_environment / f"big-0000{number}-of-00002.gguf"
        part.write_bytes(model_file.read_bytes())

    found = read_model(own_environment / "big-00001-of-00002.gguf")

    assert found.size_bytes == 2 * model_file.stat().st_size


def qwen3_8b(path):
    """As its header has it: 36 layers, 8 cached heads of 128, 5 GB in four bits."""
    return ModelFile(path, 5 * GB, 40_960, 36 * 8 * (128 + 128) * 2)


@pytest.mark.parametrize(
    ("memory", "window", "slots"),
    [(64 * GB, 32_768, 4), (16 * GB, 32_768, 2), (12 * GB, 32_768, 1), (8 * GB, 16_384, 1)],
)
def test_the_window_comes_first_and_slots_beside_it_as_memory_allows(
    tmp_path, memory, window, slots
):
    planned = plan(qwen3_8b(tmp_path / "qwen.gguf"), Machine(memory, 8), Wish())

    assert (planned.window_tokens, planned.slots, planned.threads) == (window, slots, 8)


def test_a_model_larger_than_the_memory_is_refused_with_both_sizes(tmp_path):
    with pytest.raises(ModelUnusable) as caught:
        plan(qwen3_8b(tmp_path / "qwen.gguf"), Machine(4 * GB, 8), Wish())

    assert "4.0 GB are free" in caught.value.message
    assert f"a window of {WINDOWS[-1]:,} tokens" in caught.value.message


def test_a_wish_is_kept_or_refused_but_never_made_smaller(tmp_path):
    model = qwen3_8b(tmp_path / "qwen.gguf")

    planned = plan(model, Machine(64 * GB, 8), Wish(window_tokens=10_000, slots=7))

    assert (planned.window_tokens, planned.slots) == (10_000, 7)
    with pytest.raises(ModelUnusable):
        plan(model, Machine(8 * GB, 8), Wish(window_tokens=40_960, slots=7))


def test_memory_that_is_not_told_stops_nothing(tmp_path):
    planned = plan(qwen3_8b(tmp_path / "qwen.gguf"), Machine(None, 2), Wish())

    assert (planned.window_tokens, planned.slots) == (WINDOWS[0], SLOTS[0])


def test_a_small_model_gets_one_thread(model_file):
    assert plan(read_model(model_file), Machine(GB, 16), Wish()).threads == 1


def test_this_machine_has_cores_and_memory():
    machine = this_machine()

    assert 1 <= machine.threads <= os.cpu_count()
    assert machine.memory_bytes is None or machine.memory_bytes > 0


def test_nothing_of_it_is_imported_where_no_model_file_is_set():
    code = (
        "import sys, anyio, rlm_mcp.llm.models as m, rlm_mcp.settings as s\n"
        "async def main():\n"
        "    async with m.Models(s.Settings()):\n"
        "        print([name for name in sys.modules if 'embedded' in name])\n"
        "anyio.run(main)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert child.stdout.strip() == "[]"
