"""A run as one HTML page that needs no server and no network, made of its events and a template.

What models, files and prompts say is hostile until shown otherwise. It enters the page as JSON in
which no character has a meaning to HTML, the page's script writes it as text only, and a content
security policy lets nothing run but that script, and nothing be fetched.
"""

import base64
import dataclasses
import hashlib
import html
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from rlm_mcp.events import Event, to_json
from rlm_mcp.runs.journal import Journal, Recorded, RunRow
from rlm_mcp.words import clip

TEMPLATE = Path(__file__).with_name("viewer.html")
# Beyond so much, a browser is slow to open the page; long texts are then cut.
MOST_PAGE_CHARS = 64_000_000
LEAST_PIECE_CHARS = 400
LONG_FIELDS = ("prompt", "reply", "code", "output", "error", "text")
# In JSON these stand in strings only, so their escapes are the same text. The last two end lines
# in older JavaScript.
ESCAPES = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


async def view_page(journal: Journal, run_id: str) -> str:
    """The page of a run as far as it has come.

    Raises:
        UnknownRun: the journal has none of that id.
    """
    run = await journal.run(run_id)
    return await journal.folded(run_id, lambda recorded: page(run, recorded))


def page(run: RunRow, recorded: Iterable[Recorded]) -> str:
    """The page of `run` over its events, in order.

    Where they are longer than `MOST_PAGE_CHARS`, long texts are cut to a length that the page then
    names: head and tail of each, at least `LEAST_PIECE_CHARS` characters.
    """
    rows = list(recorded)
    lines = [_line(row, rows[0]) for row in rows]
    cut = None
    if sum(map(len, lines)) > MOST_PAGE_CHARS:
        cut = max(LEAST_PIECE_CHARS, MOST_PAGE_CHARS // (2 * len(rows)))
        lines = [
            _line(dataclasses.replace(row, event=_cut(row.event, cut)), rows[0]) for row in rows
        ]
    head = json.dumps({"run": dataclasses.asdict(run), "cut": cut})
    record = f'{{"head":{head},"events":[{",".join(lines)}]}}'
    return _filled(run.id, record.translate(ESCAPES))


def _line(row: Recorded, first: Recorded) -> str:
    """An event as JSON with `at`, the milliseconds since the run's first one."""
    passed = datetime.fromisoformat(row.at) - datetime.fromisoformat(first.at)
    return f'{{"at":{passed.total_seconds() * 1000:.0f},{to_json(row.event)[1:]}'


def _cut(event: Event, most: int) -> Event:
    long: dict[str, Any] = {
        name: clip(text, most)
        for name in LONG_FIELDS
        if isinstance(text := getattr(event, name, None), str) and len(text) > most
    }
    return dataclasses.replace(event, **long) if long else event


def _filled(run_id: str, record: str) -> str:
    """The template with its policy, which names script and style by their hashes, and the run."""
    template = TEMPLATE.read_text(encoding="utf-8")
    allowed = {
        f"@{tag.upper()}_HASH@": _hash(template.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0])
        for tag in ("style", "script")
    }
    for mark, value in {**allowed, "@RUN_ID@": html.escape(run_id)}.items():
        template = template.replace(mark, value)
    before, _, after = template.partition("@RECORD@")
    return before + record + after


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
