"""Questions about a simulated day of logs that places, names or a stretch of time answer."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby, pairwise

from rlm_mcp.evals import log_programs as programs
from rlm_mcp.evals import scoring
from rlm_mcp.evals.log_corpus import (
    Log,
    as_message,
    drawn,
    drawn_window,
    evidence_of,
    first_of,
    grouped,
    told,
    whole,
)
from rlm_mcp.evals.log_counts import LEAST_COUNTED, NUMBER, TOLERANCE
from rlm_mcp.evals.log_simulator import DEPLOYED, EXHAUSTED, RETRIED, SAYINGS
from rlm_mcp.evals.posed import Posed

PLACE = "Answer with its first line alone, as path:line, or with none if there is no such record."
GAP_LEAD = 1.05
TIMES, LEAST_CHANGED = 5, 5
HOURS = 24
NEVER = (
    "certificate expired",
    "disk almost full",
    "killed by the memory limit",
    "clock stepped back",
    "configuration rejected",
)


def occurrence(log: Log, rng: random.Random) -> Iterator[Posed]:
    """Where a message was logged for the first and for the last time."""
    by_text = grouped(log.records, lambda placed: placed.record.message)
    several = sorted(m for m, found in by_text.items() if len(found) >= LEAST_COUNTED)
    for number, message in enumerate(drawn(rng, several)):
        which = ("first", "last")[number % 2]
        found = by_text[message] if which == "first" else by_text[message][::-1]
        if found[0].moment == found[1].moment:
            continue
        yield Posed(
            which,
            f"Which is the {which} record, by the times written, with the message `{message}`?",
            PLACE,
            found[0].place,
            scoring.place(found[0].places),
            programs.FIRST_OR_LAST,
            {"MESSAGE": message, "WHICH": which, **whole(log)},
            (found[0].evidence,),
        )


def absent(log: Log, rng: random.Random) -> Iterator[Posed]:
    """Where something was logged that never was, or not in that stretch of the day."""
    by_text = grouped(log.records, lambda placed: placed.record.message)
    quiet = []
    for message, found in sorted(by_text.items()):
        window = drawn_window(log, rng)
        if not any(window[0] <= placed.moment < window[1] for placed in found):
            quiet.append((message, window))
    never = [(message, drawn_window(log, rng)) for message in NEVER]
    pairs = zip(drawn(rng, never), [*drawn(rng, quiet), *drawn(rng, never)], strict=False)
    for message, window in (one for pair in pairs for one in pair):
        yield Posed(
            "absent",
            f"Which is the first record with the message `{message}` {told(window)}?",
            PLACE,
            "none",
            scoring.nothing,
            programs.FIRST_OR_LAST,
            {"MESSAGE": message, "WHICH": "first", "START": window[0], "END": window[1]},
            (),
        )


def longest_gap(log: Log, rng: random.Random) -> Iterator[Posed]:
    """The longest time for which a service logged nothing."""
    by_service = grouped(log.records, lambda placed: placed.record.service)
    for service in ["db", *drawn(rng, sorted(SAYINGS.keys() - {"db"}))]:
        gaps = sorted(
            ((b.moment - a.moment).total_seconds(), n)
            for n, (a, b) in enumerate(pairwise(by_service[service]))
        )
        if len(gaps) < 2 or gaps[-1][0] < GAP_LEAD * gaps[-2][0]:
            continue
        gold, at = gaps[-1]
        yield Posed(
            "gap",
            f"For how many seconds at most did {service} log nothing, between two of its records"
            " that follow each other in time?",
            NUMBER,
            f"{gold:g}" if gold.is_integer() else f"{gold:.3f}",
            scoring.within(gold, TOLERANCE),
            programs.LONGEST_GAP,
            {"GLOB": f"{service}*"},
            evidence_of(by_service[service][at : at + 2]),
        )


def request_path(log: Log, rng: random.Random) -> Iterator[Posed]:
    """The services a request went through; one that was tried again, if there is any."""
    by_request = grouped(log.records, lambda placed: str(placed.record.fields.get("req", "")))
    by_request.pop("", None)
    requests = drawn(rng, sorted(by_request))
    again = {r for r, found in by_request.items() if RETRIED in {p.record.message for p in found}}
    for request in sorted(requests, key=lambda request: request in again, reverse=True):
        found = by_request[request]
        if len({placed.moment for placed in found}) < len(found):
            continue
        gold = [service for service, _ in groupby(p.record.service for p in found)]
        yield Posed(
            "path",
            f"Which services logged request {request}, in order of time? Name a service again"
            " whenever it logs after another one.",
            "Answer with their names alone, as first -> next -> last.",
            " -> ".join(gold),
            scoring.sequence(gold),
            programs.REQUEST_PATH,
            {"REQUEST": request},
            evidence_of(found),
        )


def root_cause(log: Log, _: random.Random) -> Iterator[Posed]:
    """What led to requests that ended with 503: a deploy, an exhausted pool, an answer."""
    pool = first_of(log, lambda placed: placed.record.message == EXHAUSTED)
    failed = first_of(log, lambda placed: placed.record.fields.get("status") == 503)
    deploys = [
        placed
        for placed in log.records
        if placed.record.message == DEPLOYED
        and placed.record.fields["service"] == pool.record.service
        and placed.moment <= pool.moment
    ]
    chain = [deploys[-1], pool, failed]
    yield Posed(
        "root_cause",
        "Some requests were answered with status 503. What led to that? Name three records: the"
        " finished deploy that began it, the first exhausted connection pool after it, and the"
        " first request answered with 503.",
        "Answer with their first lines alone, as path:line -> path:line -> path:line.",
        " -> ".join(placed.place for placed in chain),
        scoring.places_in_order([placed.places for placed in chain]),
        programs.ROOT_CAUSE,
        {},
        evidence_of(chain),
    )


def changed(log: Log, _: random.Random) -> Iterator[Posed]:
    """The messages that were far more frequent in one hour than in the rest of the day."""
    start = log.day + timedelta(hours=log.burst)
    window = start, start + timedelta(hours=1)
    inside = [placed for placed in log.records if window[0] <= placed.moment < window[1]]
    in_hour = Counter(placed.record.message for placed in inside)
    in_day = Counter(placed.record.message for placed in log.records)
    names = {
        message
        for message, n in in_hour.items()
        if n >= LEAST_CHANGED and n >= TIMES * (in_day[message] - n) / (HOURS - 1)
    }
    yield Posed(
        "changed",
        f"Which messages have at least {LEAST_CHANGED} records {told(window)}, and at least"
        f" {TIMES} times as many as in an average hour of the rest of the day?",
        "Answer with the messages alone, separated by commas, or with none.",
        ", ".join(sorted(names)) or "none",
        scoring.set_f1(names, as_message),
        programs.CHANGED,
        {"START": window[0], "END": window[1], "LEAST": LEAST_CHANGED, "TIMES": TIMES},
        evidence_of(placed for placed in inside if placed.record.message in names),
    )
