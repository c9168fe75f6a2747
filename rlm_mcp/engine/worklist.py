"""In which order the prompts of a batch are asked: those that begin alike one after another.

A local server keeps what it has read of the last prompt of each slot and reads only what a new one
adds. So who works through a batch follows one chain of prompts that share most of their beginning,
and its slot stays warm; chains that are left are taken over from those who are slow.
"""

from collections import deque
from collections.abc import Iterator, Sequence

# Less than this is read again in the time that a request takes anyhow.
LEAST_SHARED_CHARS = 1024


class Worklist:
    """The numbers of prompts yet to be asked, each given out once."""

    def __init__(self, prompts: Sequence[str]) -> None:
        self._new = deque(deque(chain) for chain in chains(prompts))
        self._begun: list[deque[int]] = []

    def __iter__(self) -> Iterator[int]:
        """The numbers for one worker: its chain's, then those that nobody else has come to."""
        mine: deque[int] = deque()
        while True:
            if not mine and self._new:
                mine = self._new.popleft()
                self._begun.append(mine)
            if not mine:
                self._begun = [chain for chain in self._begun if chain]
                if not self._begun:
                    return
                mine = max(self._begun, key=len)
            yield mine.popleft()


def chains(prompts: Sequence[str]) -> list[list[int]]:
    """The prompts' numbers, those together that share half of their text from its beginning on.

    Prompts that share less than 1,024 characters stay in their order; of others the whole group
    comes where its first one stands, sorted, so that each shares as much as can be with the next.
    """
    groups: dict[str, list[int]] = {}
    for number, prompt in enumerate(prompts):
        groups.setdefault(prompt[:LEAST_SHARED_CHARS], []).append(number)
    found: list[list[int]] = []
    for start, group in groups.items():
        before = None
        for number in sorted(group, key=prompts.__getitem__) if len(group) > 1 else group:
            if before is not None and _share_half(prompts[before], prompts[number], len(start)):
                found[-1].append(number)
            else:
                found.append([number])
            before = number
    return found


def _share_half(one: str, other: str, known: int) -> bool:
    half = min(len(one), len(other)) // 2
    return half <= known or one[known:half] == other[known:half]
