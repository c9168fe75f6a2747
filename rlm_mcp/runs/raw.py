"""What the calls of a run sent and received, raw, for reading: each message once, in pages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.events import CallEnded, CallStarted
from rlm_mcp.runs.journal import Journal, Recorded, RunRow
from rlm_mcp.runs.messages import PIECE_BYTES, REPLY, THINKING, Place, Size, shared, size_of
from rlm_mcp.runs.pages import PAGE_BYTES, STEP_BYTES, Step, Trace, page_of
from rlm_mcp.words import count, paged, sendable, weight

NOT_KEPT = "(The whole prompt was not kept: an earlier version recorded this run.)"


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a page: characters `start` to `end` of a message in the journal, or of a `text`.

    It takes `weight` bytes on a page at most.
    """

    call: CallStarted
    row: Recorded
    kind: str
    start: int
    end: int
    weight: int
    place: Place | None = None
    text: str = ""


@dataclass(slots=True)
class Exchange:
    """One call: what it sent, where that is, and what came."""

    started: Recorded
    call: CallStarted
    places: Sequence[Place] | None
    known: int = 0
    known_from: str = ""
    ended: Recorded | None = None


@dataclass(slots=True)
class Kept:
    """What the journal has of a run's messages."""

    prompts: dict[int, list[Place]]
    sizes: dict[Place, Size]
    before: dict[str, tuple[str, Sequence[Place]]] = field(default_factory=dict)


async def raw_trace(journal: Journal, run_id: str, page: int, call: str | None) -> Trace:
    """Page `page` of the messages of a run, of all calls or of one; see `runs.trace.trace`."""
    run = await journal.run(run_id)
    pages = paged(await _pieces(journal, run, call), PAGE_BYTES, attrgetter("weight"))
    what = f"Run {run_id}" if call is None else f"Call {call} of run {run_id}"
    pieces, following = page_of(pages, page, what, "messages")
    steps = [await _step(journal, run_id, piece) for piece in pieces]
    return Trace(run, page, len(pages), tuple(steps), following)


async def whole_raw_trace(journal: Journal, run_id: str, call: str | None) -> Trace:
    """All pages as one.

    Raises:
        As `raw_trace`.
    """
    run = await journal.run(run_id)
    steps = [await _step(journal, run_id, each) for each in await _pieces(journal, run, call)]
    return Trace(run, 1, 1, tuple(steps))


async def _pieces(journal: Journal, run: RunRow, call: str | None) -> list[Piece]:
    kept = Kept(await journal.prompts(run.id), await journal.message_sizes(run.id))
    exchanges = await journal.folded(run.id, lambda recorded: _exchanges(recorded, kept))
    if call is not None:
        exchanges = [each for each in exchanges if each.call.call == call]
        if not exchanges:
            raise ArgumentInvalid(
                f"Run {run.id} has no call {call!r}.",
                'Take the name of one, as r1 or s2; detail "calls" names them all.',
            )
    return [
        piece
        for each in exchanges
        for piece in (*_sent(each, kept, whole=call is not None), *_received(each, kept))
    ]


def _exchanges(recorded: Iterable[Recorded], kept: Kept) -> list[Exchange]:
    """All calls in the order of their starts; a dialogue's know what they share with the last."""
    exchanges: list[Exchange] = []
    working: dict[str, Exchange] = {}
    for row in recorded:
        match row.event:
            case CallStarted() as call:
                each = Exchange(row, call, kept.prompts.get(row.seq))
                if call.role == "root" and each.places is not None:
                    name, places = kept.before.get(call.node, ("", ()))
                    each.known, each.known_from = shared(places, each.places), name
                    kept.before[call.node] = call.call, each.places
                exchanges.append(each)
                working[call.call] = each
            case CallEnded(call=name) if name in working:
                working.pop(name).ended = row
            case _:
                pass
    return exchanges


def _sent(each: Exchange, kept: Kept, *, whole: bool) -> list[Piece]:
    if each.places is None:
        return _cut(each, f"{each.call.call} prompt", f"{each.call.prompt}\n{NOT_KEPT}")
    known = 0 if whole else each.known
    pieces = []
    if known:
        words = f"({count(known, 'message')} as {each.known_from} sent, then)"
        pieces += _cut(each, f"{each.call.call} prompt", words)
    for place in each.places[known:]:
        size = kept.sizes[place]
        pieces += _cut(each, f"{each.call.call} {size.role}", size, place)
    return pieces


def _received(each: Exchange, kept: Kept) -> list[Piece]:
    if each.ended is None or not isinstance(each.ended.event, CallEnded):
        return []
    end, pieces = each.ended.event, []
    whole: str | Size = end.reply
    reply = thinking = None
    for part in (0, 1):
        place = (each.ended.seq, part)
        size = kept.sizes.get(place)
        if size is not None and size.role == THINKING:
            thinking = place
        elif size is not None and size.role == REPLY:
            reply, whole = place, size
    if thinking is not None:
        pieces += _cut(each, f"{end.call} {THINKING}", kept.sizes[thinking], thinking)
    if end.outcome == "ok":
        return pieces + _cut(each, f"{end.call} {REPLY}", whole, reply)
    return pieces + _cut(each, f"{end.call} {end.outcome}", end.error or end.outcome)


def _cut(each: Exchange, kind: str, whole: str | Size, place: Place | None = None) -> list[Piece]:
    """A text in pieces that fit on a page; of one in the journal, `whole` is its size."""
    text, size = ("", whole) if isinstance(whole, Size) else (whole, size_of("", whole))
    starts = range(0, max(1, size.chars), size.step)
    heavy = size.weight if len(starts) == 1 else PIECE_BYTES
    return [
        Piece(
            call=each.call,
            row=each.started,
            kind=kind if len(starts) == 1 else f"{kind} {number} of {len(starts)}",
            start=start,
            end=min(size.chars, start + size.step),
            weight=heavy + weight(each.call.node) + STEP_BYTES,
            place=place,
            text=text,
        )
        for number, start in enumerate(starts, 1)
    ]


async def _step(journal: Journal, run_id: str, piece: Piece) -> Step:
    text = piece.text if piece.place is None else await journal.message(run_id, piece.place)
    row, call = piece.row, piece.call
    shown = sendable(text[piece.start : piece.end])
    return Step(row.seq, row.at, call.node, call.turn, piece.kind, shown)
