"""The program of the child: llama.cpp's own HTTP server, for as long as its parent lives.

Takes one line of JSON on standard input and answers one on standard output; what else it or
llama.cpp says goes to standard error, which is the log. The end of standard input is its end.
"""

import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import xllamacpp

from rlm_mcp.errors import ModelUnusable
from rlm_mcp.llm.embedded.gguf import read_model
from rlm_mcp.llm.embedded.sizing import Plan, Wish, plan, this_machine

PR_SET_PDEATHSIG = 1
WARNINGS = 2
MIB = 20
CARDS = {
    xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU,
    xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_IGPU,
}


def main() -> NoReturn:
    """Serve as told until the parent is gone."""
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.buffer.readline())
    _end_with_parent(order["parent"])
    try:
        told, server = _serve(order)
    except ModelUnusable as error:
        told, server = {"problem": error.message, "hint": error.hint}, None
    except RuntimeError:
        told, server = {"problem": f"llama.cpp cannot run {order['path']}"}, None
    json.dump(told, report)
    report.write("\n")
    report.flush()
    if server is not None:
        threading.Event().wait()
    # Not at once: what llama.cpp has to say is written to the log at the end.
    sys.exit(1)


def _end_with_parent(parent: int) -> None:
    # While a model loads no Python thread runs: there the kernel's promise alone holds.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.name == "posix" and os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_end_with_input, daemon=True).start()


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


def _serve(order: dict[str, Any]) -> tuple[dict[str, Any], xllamacpp.Server]:
    cards = [each for each in xllamacpp.get_device_info() if each["type"] in CARDS]
    # A Mac's graphics card has the memory that everything has.
    own = 0 if sys.platform == "darwin" else sum(each["memory_free"] for each in cards)
    machine = this_machine(own)
    model = read_model(Path(order["path"]))
    wish = Wish(order["window_tokens"], order["slots"])
    planned = plan(model, machine, wish)
    server = xllamacpp.Server(_parameters(order, planned, has_card=bool(cards)))
    return {"url": server.listening_address}, server


def _parameters(order: dict[str, Any], planned: Plan, *, has_card: bool) -> xllamacpp.CommonParams:
    asked = xllamacpp.CommonParams()
    asked.model.path = order["path"]
    asked.model_alias = {order["name"]}
    asked.hostnames, asked.port = ["127.0.0.1"], order["port"]
    asked.api_keys = [order["key"]]
    asked.n_ctx = planned.window_tokens * planned.slots
    asked.n_parallel, asked.kv_unified = planned.slots, False
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = planned.threads
    asked.cache_ram_mib = planned.prompts_bytes >> MIB
    asked.fit_params = has_card
    asked.ui = False
    asked.verbosity = WARNINGS
    return asked


if __name__ == "__main__":
    main()
