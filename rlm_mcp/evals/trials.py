"""Small tasks of known gold that a model must solve with an RLM's means.

Each is a few dozen kilobytes: too much to read by eye, little enough that a run takes a minute on a
slow machine. All of a text is made from a seed, so that a task is the same wherever it is run.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from rlm_mcp.evals.items import Item
from rlm_mcp.evals.noise import misread
from rlm_mcp.evals.scoring import says
from rlm_mcp.types import Message

LINES = 3_000
TICKETS = 240
REGIONS = 60
SERVICES = ("billing", "search", "mail", "login", "stock", "export", "audit", "proxy")
LEVELS = ("INFO",) * 14 + ("WARN",) * 3 + ("ERROR",) * 3
EVENTS = ("request served", "cache refreshed", "queue drained", "upstream slow", "row locked")
LATE = (
    "My parcel was promised for Monday and it is Friday now.",
    "Ten days of waiting and still nothing at my door.",
    "You said two days. It took three weeks to get here.",
    "The courier never showed up on the day you named.",
    "Still not here, although the tracking page has said 'tomorrow' since last week.",
)
OTHER = (
    "The jacket is a size too small, can I swap it?",
    "Please send the invoice to my office address.",
    "It got here a day early, thank you!",
    "The app logs me out each time I open my basket.",
    "Which of the two chargers fits the older model?",
    "I was billed twice for one order.",
    "The lid was cracked when I opened the box.",
)
_TICKET = re.compile(r"^T(\d{3}): (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Trial:
    """One task. `skill` says what it takes of a model.

    `work` leaves the gold in `total` and prints it; `guess` is what one says who did not look at
    all of the text. `turns` is what a model needs that does one thing at a time.
    """

    item: Item
    skill: str
    work: str
    guess: str
    turns: int = 2

    def leaf(self, messages: Sequence[Message]) -> str:
        """What a sub-model that reads without a mistake says to a prompt."""
        return "" if self.item.leaf is None else self.item.leaf(messages[-1].content, 1.0)


@cache
def total() -> Trial:
    """Add up a field over all lines of one kind: code alone does it."""
    rng = random.Random(11)
    lines = [
        f"2031-04-{1 + n // 120:02} {n % 24:02}:{rng.randrange(60):02} {rng.choice(LEVELS):5}"
        f" {rng.choice(SERVICES)} ms={rng.randrange(2, 90)} {rng.choice(EVENTS)}"
        for n in range(LINES)
    ]
    cost = [int(re.findall(r"ms=(\d+)", line)[0]) * (" ERROR " in line) for line in lines]
    work = (
        'rows = [line for line in context.splitlines() if " ERROR " in line]\n'
        'total = sum(int(row.partition("ms=")[2].split()[0]) for row in rows)\n'
        "print(total)"
    )
    question = "What is the sum of `ms` over all lines of level ERROR? Answer with the number."
    return _trial(
        "count", "compute over all lines", ("\n".join(lines), question, str(sum(cost)), work),
        guess=str(sum(cost[: LINES // 5])),
    )  # fmt: skip


@cache
def find() -> Trial:
    """Find one line among many documents: a search does it."""
    rng = random.Random(12)
    ports = rng.sample(range(2_000, 60_000), REGIONS)
    files = {
        f"regions/r{number:02}.conf": "\n".join(
            [f"# region r{number:02}"]
            + [f"{name}.workers = {rng.randrange(1, 64)}" for name in SERVICES for _ in range(3)]
            + [f"{'gateway' if number != 37 else 'legacy_gateway'}.port = {port}"]
        )
        for number, port in enumerate(ports)
    }
    work = (
        'import re\ntotal = re.search(r"legacy_gateway\\.port = (\\d+)", context)[1]\nprint(total)'
    )
    question = "On which port does the legacy gateway listen? Answer with the number."
    return _trial(
        "find", "search many files", (files, question, str(ports[37]), work), guess=str(ports[0])
    )


@cache
def read() -> Trial:
    """Judge what no search finds: sub-calls do it."""
    rng = random.Random(13)
    late = set(rng.sample(range(TICKETS), 57))
    text = "\n".join(
        f"T{number:03}: {rng.choice(LATE if number in late else OTHER)}"
        for number in range(TICKETS)
    )
    work = (
        "import re\n"
        'rows = [line for line in context.splitlines() if line.startswith("T")]\n'
        'parts = ["\\n".join(rows[at:at + 40]) for at in range(0, len(rows), 40)]\n'
        'ask = "List the ids of the tickets that complain of late delivery.\\n"\n'
        "said = llm_query_batched([ask + part for part in parts])\n"
        'total = len({each for one in said for each in re.findall(r"T\\d{3}", str(one))})\n'
        "print(total)"
    )
    question = (
        "How many of the tickets complain that a delivery came late or not at all?"
        " Each ticket is one line and has to be read: no keyword tells. Answer with the number."
    )
    early = sum(number in late for number in range(40))
    return _trial(
        "read", "read by sub-calls", (text, question, str(len(late)), work), guess=str(early)
    )


@cache
def steps() -> Trial:
    """Follow one finding to the next: several looks do it."""
    rng = random.Random(14)
    codes = rng.sample(range(10_000, 99_999), REGIONS)
    files = {
        f"orders/{code}.txt": f"order {code}\ncustomer C{rng.randrange(100, 999)}\n"
        f"replaced by {codes[at + 1]}\ntotal {rng.randrange(1_000, 9_000)}"
        if at % 10 != 9
        else f"order {code}\ncustomer C{rng.randrange(100, 999)}\nshipped\n"
        f"total {rng.randrange(1_000, 9_000)}"
        for at, code in enumerate(codes)
    }
    first, last = codes[20], codes[29]
    gold = files[f"orders/{last}.txt"].rpartition(" ")[2]
    work = (
        f'path = "orders/{first}.txt"\n'
        'while "replaced by " in files[path]:\n'
        '    path = "orders/" + files[path].partition("replaced by ")[2].split()[0] + ".txt"\n'
        'total = files[path].rpartition(" ")[2].strip()\n'
        "print(total)"
    )
    question = (
        f"Order {first} was replaced by another order, perhaps several times over. What is the"
        " `total` of the order that was shipped in the end? Answer with the number."
    )
    guess = files[f"orders/{first}.txt"].rpartition(" ")[2]
    return _trial("steps", "follow several steps", (files, question, gold, work), guess=guess)


@cache
def report() -> Trial:
    """Give an answer longer than a reply should be: a variable does it."""
    rng = random.Random(15)
    rows = [f"part-{rng.randrange(10**6):06} shelf {rng.randrange(1, 400)}" for _ in range(900)]
    chosen = [row.split()[0] for row in rows if int(row.split()[2]) <= 150]
    gold = "\n".join(chosen)
    work = (
        "rows = [line.split() for line in context.splitlines() if line.strip()]\n"
        'total = "\\n".join(row[0] for row in rows if int(row[2]) <= 150)\n'
        'print(len(total.split("\\n")), "parts")'
    )
    question = (
        "List every part that lies on a shelf from 1 to 150: the part's name alone, one a line, in"
        " the order of the text. The list is long: build it with code and give the variable."
    )

    return _trial(
        "report", "answer from a variable", ("\n".join(rows), question, gold, work), guess="none",
        score=lambda answer: float(re.findall(r"part-\d{6}", answer) == chosen),
    )  # fmt: skip


TRIALS: tuple[Callable[[], Trial], ...] = (total, find, read, steps, report)

_Parts = tuple[str | Mapping[str, str], str, str, str]


def _trial(
    name: str,
    skill: str,
    parts: _Parts,
    *,
    guess: str,
    score: Callable[[str], float] | None = None,
) -> Trial:
    context, question, gold, work = parts
    item = Item(
        id=name,
        kind=name,
        context=context,
        question=question,
        gold=gold,
        score=score or (lambda answer: says(answer, gold)),
        program=f"{work}\nFINAL(total)",
        leaf=_late if name == "read" else None,
    )
    return Trial(item, skill, work, guess)


def _late(prompt: str, accuracy: float) -> str:
    """The late ones of the tickets shown; of one alone, yes or no."""
    shown = _TICKET.findall(prompt)
    late = [at for at, words in shown if (words in LATE) != misread(TICKETS, at, accuracy)]
    if len(shown) == 1:
        return "yes" if late else "no"
    return ", ".join(f"T{number}" for number in late) or "none"
