"""The same over Streamable HTTP: two clients on one server, each in a session of its own.

RLM_API_URL=http://localhost:8080/v1 rlm-mcp serve --http
python examples/mcp_http.py [URL]

Without a URL it starts a server for itself.
"""

import subprocess
import sys
from contextlib import contextmanager

import anyio
from mcp import Client

SERVER = [sys.executable, "-m", "rlm_mcp", "serve", "--http", "--port", "0"]
TEXTS = {
    "the invoice": "Invoice 17. Two lamps, 40.00 each. Due on 1 June.",
    "the letter": "Dear Sir, the lamps are broken. We shall not pay. Yours, C. Ho",
}
QUESTION = "In one sentence: what is this, and what is it about?"


@contextmanager
def running_server():
    """A server of our own; its first line on stderr ends in its address."""
    with subprocess.Popen(SERVER, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = server.stderr.readline()
            yield line.split()[-1]
        finally:
            server.terminate()


async def ask(url, name, text):
    async with Client(url) as client:
        loaded = await client.call_tool("load_context", {"text": text, "name": name})
        if loaded.is_error:
            raise SystemExit(loaded.content[0].text)
        session = loaded.structured_content["session"]
        result = await client.call_tool("rlm_query", {"query": QUESTION, "session": session})
        if result.is_error:
            raise SystemExit(result.content[0].text)
        print(f"{name}: {result.structured_content['answer']}")


async def ask_all(url):
    async with anyio.create_task_group() as clients:
        for name, text in TEXTS.items():
            clients.start_soon(ask, url, name, text)


def main():
    if len(sys.argv) > 1:
        anyio.run(ask_all, sys.argv[1])
        return
    with running_server() as url:
        anyio.run(ask_all, url)


if __name__ == "__main__":
    main()
