"""Ask a log two questions, the second about what the first one left in the REPL.

RLM_API_URL=http://localhost:8080/v1 python examples/ask_log.py [FILE]

Without a file it writes itself a day of a web shop: 120,000 lines with one thing gone wrong in it.
"""

import random
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from rlm_mcp import AsyncRLM

LINES = 120_000
QUESTIONS = (
    "What went wrong, when did it begin, and which line is the first sign of it?",
    "How many requests failed because of it?",
)


def write_log(path):
    """Every 0.7 s a request; after 14:00 the payment service answers slower and slower."""
    luck = random.Random(7)
    start = datetime(2026, 3, 9, tzinfo=UTC)
    with path.open("w", encoding="utf-8") as log:
        for number in range(LINES):
            at = start + timedelta(seconds=0.7 * number)
            page = luck.choice(["/", "/search", "/item", "/cart", "/pay"])
            delay = max(0, number - 72_000) // 2 if page == "/pay" else 0
            took = luck.randint(10, 90) + min(delay, 5_000)
            state = "ERROR 504 payment timeout" if took >= 5_000 else "INFO 200"
            log.write(f"{at:%Y-%m-%d %H:%M:%S} {state} {page} {took} ms\n")


async def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shop.log")
        if len(sys.argv) > 1:
            path = Path(sys.argv[1])
        else:
            write_log(path)
        async with AsyncRLM(max_iterations=15) as rlm:
            first, second = QUESTIONS
            print(f"> {first}\n{await rlm.completion(path, query=first)}\n")
            print(f"> {second}\n{await rlm.completion(query=second)}\n")
            usage = (await rlm.cost_summary()).total.usage
    print(
        f"both: {usage.calls} calls, {usage.tokens:,} tokens, {usage.seconds:.1f} s of model time"
    )


if __name__ == "__main__":
    anyio.run(main)
