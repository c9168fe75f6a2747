"""What of a batch's prompts a server reads anew that keeps, per slot, what it read last.

Several questions about each of many documents, by the order of the worklist and by plain order with
two workers a slot. No network: slots are played as llama.cpp has them, the idle one with the
longest common beginning taken first. Run as `python tests/perf/prefix_reuse.py`.
"""

import heapq
import random
from collections.abc import Iterator, Sequence

from rlm_mcp.contexts.haystack import same_start
from rlm_mcp.engine.worklist import Worklist

CHARS = 8000


def read_anew(prompts: Sequence[str], workers: list[Iterator[int]], slots: int) -> float:
    """The share of all characters that no slot has in its cache when they are sent."""
    chance = random.Random(1)
    caches, idle = [""] * slots, set(range(slots))
    waiting = [(worker, number) for worker in workers for number in [next(worker, None)]]
    busy: list[tuple[float, int, Iterator[int]]] = []
    now, read = 0.0, 0
    while waiting or busy:
        while waiting and idle:
            worker, number = waiting.pop(0)
            if number is None:
                continue
            prompt = prompts[number]
            shared, slot = max((same_start(caches[slot], prompt), slot) for slot in idle)
            read += len(prompt) - shared
            caches[slot] = prompt
            idle.remove(slot)
            heapq.heappush(busy, (now + chance.uniform(0.5, 1.5), slot, worker))
        if busy:
            now, slot, worker = heapq.heappop(busy)
            idle.add(slot)
            waiting.append((worker, next(worker, None)))
    return read / sum(map(len, prompts))


def main() -> None:
    chance = random.Random(0)
    for documents, questions in ((40, 5), (40, 25), (200, 3)):
        texts = ["".join(chance.choices("abcdefgh \n", k=CHARS)) for _ in range(documents)]
        prompts = [f"{text}\n\nquestion {n}" for n in range(questions) for text in texts]
        for slots in (4, 16):
            numbers, worklist = iter(range(len(prompts))), Worklist(prompts)
            plain = read_anew(prompts, [numbers] * 2 * slots, slots)
            ours = read_anew(prompts, [iter(worklist) for _ in range(slots)], slots)
            print(
                f"{documents} documents x {questions} questions, {slots} slots: read anew"
                f" {ours:.0%}, in plain order {plain:.0%}; the least is {1 / questions:.0%}"
            )


if __name__ == "__main__":
    main()
