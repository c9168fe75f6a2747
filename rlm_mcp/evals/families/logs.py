"""Questions about logs: a simulated day of a shop with six services, in four formats."""

import random
from hashlib import blake2b
from itertools import islice

from rlm_mcp.evals import log_counts as counts
from rlm_mcp.evals import log_questions as questions
from rlm_mcp.evals.items import Item
from rlm_mcp.evals.log_corpus import FILES, simulate
from rlm_mcp.evals.log_programs import program
from rlm_mcp.evals.posed import Posed

ASKED = {
    counts.by_message: 1,
    counts.by_level: 1,
    counts.by_status: 1,
    questions.occurrence: 2,
    questions.absent: 2,
    counts.percentile: 1,
    counts.top_errors: 1,
    questions.longest_gap: 1,
    questions.request_path: 1,
    counts.retried: 1,
    counts.last_cause: 1,
    questions.root_cause: 1,
    questions.changed: 1,
}


def items(chars: int, seed: int) -> list[Item]:
    """Questions of twelve kinds over about `chars` characters; the same for the same arguments.

    A kind whose gold would not be clear in a text is left out.
    """
    log = simulate(chars, seed)
    hashed = blake2b("".join(log.documents.values()).encode(), digest_size=6).hexdigest()
    posed: list[Posed] = []
    for pose, most in ASKED.items():
        posed += islice(pose(log, random.Random(f"{pose.__name__} {seed}")), most)
    about = (
        f"These are the logs of {', '.join(FILES)} of {log.day:%Y-%m-%d}. Times are"
        " in UTC unless they name an offset. Some records arrived late, so that lines are not"
        " quite in order of time, and some arrived twice; a record counts once."
    )
    return [
        one.item(
            f"logs-{hashed}-{number:02}-{one.kind}",
            log.documents,
            about,
            program(one.program, {"YEAR": log.day.year, **one.names}),
        )
        for number, one in enumerate(posed, 1)
    ]
