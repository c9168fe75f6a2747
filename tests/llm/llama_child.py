"""llama.cpp's own HTTP server on loopback: `llama_child.py MODEL PORT` says when it serves."""

import sys
import threading

SLOTS, WINDOW = 4, 32_768


def main():
    import xllamacpp  # here, for the tests take our numbers where it is not installed

    model, port = sys.argv[1:]
    asked = xllamacpp.CommonParams()
    asked.model.path = model
    asked.model_alias = {"scripted"}
    asked.port = int(port)
    asked.n_parallel, asked.n_ctx = SLOTS, SLOTS * WINDOW
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 1
    asked.cache_ram_mib, asked.fit_params, asked.warmup = 64, False, False
    asked.endpoint_metrics = True
    asked.verbosity = 1
    server = xllamacpp.Server(asked)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
