"""What starting our server costs beyond importing the SDK alone, in CPU milliseconds.

python tests/perf/start_up.py [ROUNDS]
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile

SDK = "import mcp.server, mcp.server.stdio"
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "perf", "version": "1"},
}


def children_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def sdk_alone() -> float:
    began = children_ms()
    subprocess.run([sys.executable, "-c", SDK], check=True)
    return children_ms() - began


def our_server(home: str) -> float:
    """From nothing to the answer of `tools/list`, and down again."""
    began = children_ms()
    with subprocess.Popen(
        [sys.executable, "-m", "rlm_mcp"],
        env=os.environ | {"RLM_HOME": home},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        for number, (method, params) in enumerate([("initialize", HELLO), ("tools/list", {})]):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            while json.loads(server.stdout.readline()).get("id") != number:
                pass
        server.stdin.close()
    return children_ms() - began


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        our_server(home)
        pairs = [(sdk_alone(), our_server(home)) for _ in range(rounds)]
    sdk = statistics.median(pair[0] for pair in pairs)
    ours = statistics.median(pair[1] for pair in pairs)
    print(f"SDK alone          {sdk:7.0f} ms CPU")
    print(f"our server         {ours:7.0f} ms CPU, to tools/list and down again")
    print(
        f"our share          {ours - sdk:7.0f} ms CPU (target 150), {ours / sdk:.2f} times the SDK"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
