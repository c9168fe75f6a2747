"""A run as one HTML page that needs no server and no network, made of its events and a template.

What models, files and prompts say is hostile until shown otherwise. It enters the page as JSON in
which no character has a meaning to HTML, the page's script writes it as text only, and a content
security policy lets nothing run but that script, and nothing be fetched. Without a run in it, the
same page is what an MCP host shows: it asks the host for the events.
"""

import base64
import dataclasses
import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlm_mcp.events import CallEnded
from rlm_mcp.runs.feed import clipped, timed
from rlm_mcp.runs.journal import Journal, Recorded, RunRow
from rlm_mcp.runs.messages import Place
from rlm_mcp.words import sendable

TEMPLATE = Path(__file__).with_name("viewer.html")
# Beyond so much, a browser is slow to open the page; long texts are then cut.
MOST_PAGE_CHARS = 64_000_000
LEAST_PIECE_CHARS = 400
# Of all that calls sent and received: so long a page still opens at once.
MOST_RAW_CHARS = 16_000_000
# In JSON these stand in strings only, so their escapes are the same text. The last two end lines
# in older JavaScript.
ESCAPES = {each: f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


@dataclass(frozen=True, slots=True)
class Texts:
    """What calls sent and received, as far as the page has room: true size and text by place.

    `prompts` are the places of what each call sent, by the number of the event of its start.
    """

    prompts: Mapping[int, Sequence[Place]] = field(default_factory=dict)
    roles: Mapping[Place, str] = field(default_factory=dict)
    stored: Mapping[Place, tuple[int, str]] = field(default_factory=dict)


async def view_page(journal: Journal, run_id: str, most: int = MOST_PAGE_CHARS) -> str:
    """The page of a run as far as it has come, cut to about `most` characters.

    Raises:
        UnknownRun: the journal has none of that id.
    """
    run = await journal.run(run_id)
    sizes = await journal.message_sizes(run_id)
    share = fair_share([size.chars for size in sizes.values()], min(most, MOST_RAW_CHARS))
    texts = Texts(
        await journal.prompts(run_id),
        {place: size.role for place, size in sizes.items()},
        await journal.messages(run_id, max(LEAST_PIECE_CHARS, share)),
    )
    return await journal.folded(run_id, lambda recorded: page(run, recorded, texts, most))


def app_page() -> str:
    """The page that an MCP host shows and feeds: it has no run in it."""
    return _filled("", "null")


def page(
    run: RunRow,
    recorded: Iterable[Recorded],
    texts: Texts | None = None,
    most: int = MOST_PAGE_CHARS,
) -> str:
    """The page of `run` over its events, in order, and what its calls sent and received.

    Where the events are longer than `most` characters, long texts are cut to a length that the page
    then names: head and tail of each, at least `LEAST_PIECE_CHARS` characters.
    """
    rows, texts = list(recorded), texts or Texts()
    numbers = {place: number for number, place in enumerate(texts.stored)}
    lines = [_line(row, rows[0], texts, numbers) for row in rows]
    cut = None
    if sum(map(len, lines)) > most:
        cut = max(LEAST_PIECE_CHARS, most // (2 * len(rows)))
        short = [dataclasses.replace(row, event=clipped(row.event, cut)) for row in rows]
        lines = [_line(row, rows[0], texts, numbers) for row in short]
    head = json.dumps({"run": dataclasses.asdict(run), "cut": cut})
    stored = json.dumps([[chars, sendable(text)] for chars, text in texts.stored.values()])
    record = f'{{"head":{head},"texts":{stored},"events":[{",".join(lines)}]}}'
    for each, escape in ESCAPES.items():  # a translation takes seconds
        record = record.replace(each, escape)
    return _filled(run.id, record)


def fair_share(sizes: Iterable[int], most: int) -> int:
    """The length to which texts of these sizes are cut so that all together fit into `most`."""
    left = most
    ordered = sorted(sizes)
    for number, size in enumerate(ordered):
        share = left // (len(ordered) - number)
        if size > share:
            return share
        left -= size
    return most


def _line(row: Recorded, first: Recorded, texts: Texts, numbers: Mapping[Place, int]) -> str:
    """An event as JSON; where a call's messages are kept, their roles and numbers with it."""
    line, more = timed(row, first.at), {}
    if row.seq in texts.prompts:
        places = texts.prompts[row.seq]
        more["sent"] = [[texts.roles[place], numbers[place]] for place in places]
    elif isinstance(row.event, CallEnded) and (
        came := [place for part in (1, 0) if (place := (row.seq, part)) in numbers]
    ):
        more["came"] = [[texts.roles[place], numbers[place]] for place in came]
    return f"{line[:-1]},{json.dumps(more)[1:]}" if more else line


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
