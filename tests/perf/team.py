"""Does a server for a team stay as small as it was: memory over many runs of several users.

Real HTTP, a scripted model in another process, ten users, a session each. Every 100 runs the
host's resident memory is told; the last line says how much it grew after the first 200.

python tests/perf/team.py [RUNS]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from rlm_mcp.server.tokenfile import new_token

MODEL = """
import anyio
from rlm_mcp.llm.scripted import serve

async def main():
    async with serve(lambda messages: "```repl\\nFINAL(len(context))\\n```") as server:
        print(server.url, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""
USERS = [f"user{number}" for number in range(10)]
EVERY = 100
WARM = 200


def resident_mb(pid: int) -> float:
    """Of one process, in MB (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Counted:
    """How many runs have ended, and what the host's memory was then."""

    def __init__(self, pid: int, most: int) -> None:
        self.pid = pid
        self.most = most
        self.begun = 0
        self.ended = 0
        self.megabytes: list[tuple[int, float]] = []
        self._since = time.monotonic()

    def note(self) -> None:
        self.ended += 1
        if self.ended % EVERY == 0:
            now = resident_mb(self.pid)
            self.megabytes.append((self.ended, now))
            passed = time.monotonic() - self._since
            print(f"  {self.ended:>6,} runs  {passed:6.0f} s  host {now:6.1f} MB", flush=True)


async def work(url: str, token: str, counted: Counted) -> None:
    """One user: loads a text, asks until all is asked, each tenth time in a new session."""
    headers = {"authorization": f"Bearer {token}"}
    while counted.begun < counted.most:
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False, timeout=120) as http,
            Client(streamable_http_client(url, http_client=http), mode="legacy") as client,
        ):
            await client.call_tool("load_context", {"text": f"text of {token}\n" * 1000})
            for _ in range(10):
                if counted.begun >= counted.most:
                    return
                counted.begun += 1
                asked = {"query": f"how long? {counted.begun}", "wait_s": 100}
                answer = await client.call_tool("rlm_query", asked)
                assert not answer.is_error, answer.content[0].text
                counted.note()


async def main(url: str, tokens: list[str], counted: Counted) -> None:
    async with anyio.create_task_group() as tasks:
        for token in tokens:
            tasks.start_soon(work, url, token, counted)


def measured(runs: int, home: Path, model_url: str) -> Counted:
    tokens = [new_token(home / "tokens", user)[0] for user in USERS]
    command = [sys.executable, "-m", "rlm_mcp", "serve", "--http", "--port", "0"]
    with subprocess.Popen(
        [*command, "--token-file", str(home / "tokens")],
        env=os.environ | {"RLM_API_URL": model_url, "RLM_HOME": str(home), "RLM_STRATEGY": "rlm"},
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            url = server.stderr.readline().split()[-1]
            counted = Counted(server.pid, runs)
            anyio.run(main, url, tokens, counted)
            return counted
        finally:
            server.terminate()


if __name__ == "__main__":
    model = subprocess.Popen([sys.executable, "-c", MODEL], stdout=subprocess.PIPE, text=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
            told = measured(wanted, Path(folder), model.stdout.readline().strip()).megabytes
    finally:
        model.kill()
    warm = next(megabytes for ended, megabytes in told if ended >= min(WARM, told[-1][0]))
    print(f"after {told[-1][0]:,} runs {told[-1][1] / warm:.3f} times what it was after {WARM}")
