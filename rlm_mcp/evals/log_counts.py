"""Questions about a simulated day of logs that a number or a ranking answers.

They are about records, so what arrived twice counts once.
"""

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping

from rlm_mcp.evals import log_programs as programs
from rlm_mcp.evals import scoring
from rlm_mcp.evals.log_corpus import (
    Log,
    Placed,
    as_message,
    drawn,
    drawn_window,
    evidence_of,
    told,
    whole,
)
from rlm_mcp.evals.log_simulator import ANSWERED, CAUSES, RETRIED, SAYINGS
from rlm_mcp.evals.posed import Posed

NUMBER = "Answer with the number alone."
LEAST_COUNTED = 3
LEAST_ANSWERS = 20
TOLERANCE = 0.01
WINDOWS_TRIED = 24


def by_message(log: Log, rng: random.Random) -> Iterator[Posed]:
    """How often a message was logged in the whole day."""
    counted = Counter(placed.record.message for placed in log.records)
    for message in drawn(rng, sorted(m for m, n in counted.items() if n >= LEAST_COUNTED)):
        yield _count(
            log,
            f"How many records have the message `{message}`?",
            [placed for placed in log.records if placed.record.message == message],
            {"MESSAGE": message},
        )


def by_level(log: Log, rng: random.Random) -> Iterator[Posed]:
    """How many records of a level one service logged in a stretch of the day."""
    for service in drawn(rng, sorted(SAYINGS)):
        level, window = rng.choice(["ERROR", "WARN"]), drawn_window(log, rng)
        yield _count(
            log,
            f"How many records of level {level} did {service} log {told(window)}?",
            [
                placed
                for placed in log.records
                if (placed.record.service, placed.record.level) == (service, level)
                and window[0] <= placed.moment < window[1]
            ],
            {"LEVEL": level, "GLOB": f"{service}*", "START": window[0], "END": window[1]},
        )


def by_status(log: Log, rng: random.Random) -> Iterator[Posed]:
    """How many requests ended with a status."""
    for status in drawn(rng, [402, 409, 429, 502]):
        yield _count(
            log,
            f"How many requests were answered with status {status}?",
            [placed for placed in log.records if placed.record.fields.get("status") == status],
            {"GLOB": "gateway*", "FIELDS": {"status": status}},
        )


def retried(log: Log, _: random.Random) -> Iterator[Posed]:
    """How many requests were tried again."""
    found = [placed for placed in log.records if placed.record.message == RETRIED]
    gold = len({placed.record.fields["req"] for placed in found})
    yield Posed(
        "retried",
        f"How many requests have at least one record with the message `{RETRIED}`?",
        NUMBER,
        str(gold),
        scoring.number(gold),
        programs.RETRIED,
        {"MESSAGE": RETRIED},
        evidence_of(found),
    )


def last_cause(log: Log, rng: random.Random) -> Iterator[Posed]:
    """How many stack traces end in a cause."""
    traced = [placed for placed in log.records if placed.record.trace]
    for cause in drawn(rng, CAUSES) if traced else ():
        message = rng.choice(sorted({placed.record.message for placed in traced}))
        found = [p for p in traced if p.record.message == message and _cause(p) == cause]
        yield Posed(
            "last_cause",
            f"How many records with the message `{message}` have a stack trace whose last"
            f" `Caused by:` is `{cause}`?",
            NUMBER,
            str(len(found)),
            scoring.number(len(found)),
            programs.LAST_CAUSE,
            {"MESSAGE": message, "CAUSE": cause},
            evidence_of(found),
        )


def percentile(log: Log, rng: random.Random) -> Iterator[Posed]:
    """The 95th percentile of how long answers took in a stretch of the day."""
    answers = [placed for placed in log.records if placed.record.message == ANSWERED]
    for _ in range(WINDOWS_TRIED):
        window = drawn_window(log, rng)
        inside = [placed for placed in answers if window[0] <= placed.moment < window[1]]
        if len(inside) < max(1, min(LEAST_ANSWERS, len(answers) // 6)):
            continue
        took = sorted(int(placed.record.fields["duration_ms"]) for placed in inside)
        gold = took[math.ceil(0.95 * len(took)) - 1]
        yield Posed(
            "p95",
            f"What is the 95th percentile of duration_ms of the requests answered {told(window)}?"
            " That is the least value that 95 of 100 do not exceed (nearest rank).",
            NUMBER,
            str(gold),
            scoring.within(gold, TOLERANCE),
            programs.PERCENTILE,
            {"START": window[0], "END": window[1]},
            evidence_of(inside),
        )


def top_errors(log: Log, _: random.Random) -> Iterator[Posed]:
    """The commonest messages of level ERROR, as many as stand clear of the rest."""
    errors = [placed for placed in log.records if placed.record.level == "ERROR"]
    ranked = Counter(placed.record.message for placed in errors).most_common()
    leads = [
        (ranked[k - 1][1] / ranked[k][1], k)
        for k in (3, 4, 5)
        if k < len(ranked) and ranked[k - 1][1] > ranked[k][1]
    ]
    if leads:
        k = max(leads)[1]
        names = [message for message, _ in ranked[:k]]
        yield Posed(
            "top",
            f"Which {k} messages have the most records of level ERROR?",
            "Answer with the messages alone, separated by commas.",
            ", ".join(names),
            scoring.set_f1(names, as_message),
            programs.TOP,
            {"K": k},
            evidence_of(placed for placed in errors if placed.record.message in names),
        )


def _count(log: Log, question: str, found: list[Placed], asked: Mapping[str, object]) -> Posed:
    every = {"MESSAGE": None, "LEVEL": None, "FIELDS": {}, "GLOB": "*", **whole(log)}
    return Posed(
        "count",
        question,
        NUMBER,
        str(len(found)),
        scoring.number(len(found)),
        programs.COUNT,
        every | dict(asked),
        evidence_of(found),
    )


def _cause(placed: Placed) -> str:
    """The last cause of a stack trace."""
    causes = [line for line in placed.record.trace if line.startswith("Caused by: ")]
    return causes[-1].removeprefix("Caused by: ")
