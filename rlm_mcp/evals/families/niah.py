"""Needles in haystacks, after RULER; scored as its recall, and 0 where a decoy comes back too."""

from collections.abc import Sequence
from functools import partial
from random import Random

from rlm_mcp.evals.chains import frequent, tracking
from rlm_mcp.evals.items import Item
from rlm_mcp.evals.needles import (
    FALSE_CODES,
    Finder,
    Form,
    Needle,
    ValueKind,
    across,
    ceiling,
    hay,
    joined,
    keys,
    planted,
    values,
)
from rlm_mcp.evals.scoring import clean_recall, recall

DEPTHS = tuple(tenth / 10 for tenth in range(11))
VALUE_KINDS: tuple[ValueKind, ...] = ("number", "words", "uuid")
VALUES_OF_ONE, KEYS_AT_ONCE = 4, 4
SERVICES = ("billing", "search", "mail")
BORDERS = (1_000, 4_000, 10_000, 100_000)
FORMS: tuple[Form, ...] = ("prose", "log", "crlf", "multibyte", "fence", "capture")
PIECE_CHARS = 8_000

_SEARCH = '''
import re

pieces = chunks(context, {tokens}, overlap=40)
print(f"{len(pieces):,} pieces; the first: {pieces[0][:1500]}")
question = """{ask}"""
replies = {}
for attempt in range(3):
    left = [piece for piece in pieces if piece not in replies]
    for at in range(0, len(left), 200):
        group = left[at:at + 200]
        for piece, reply in zip(group, llm_query_batched([f"{question}\\n\\n{p}" for p in group])):
            if reply:
                replies[piece] = str(reply)
found = []
for piece in pieces:
    for code in re.findall(r"^code of .+?: (\\S+)\\s*$", replies.get(piece, ""), re.M):
        if code not in found:
            found.append(code)
FINAL("\\n".join(found) or "none")
'''


def items(chars: int, seed: int) -> list[Item]:
    """Needles by depth, key, value, service, border and form of the text; chains; frequent words.

    Most ask about one text. Borders that a text of that length does not reach are left out.
    """
    return [
        *_many(chars, seed),
        *_borders(chars, seed),
        *(_formed(form, chars, seed) for form in FORMS),
        tracking(chars, seed),
        frequent(chars, seed),
    ]


def _many(chars: int, seed: int) -> list[Item]:
    """Questions over one text that holds all their needles."""
    random = Random(f"many {chars} {seed}")
    names = keys(len(DEPTHS) + KEYS_AT_ONCE + 2, random)
    at_depth = [
        Needle(names.pop(), values(VALUE_KINDS[number % len(VALUE_KINDS)], 1, random)[0])
        for number in range(len(DEPTHS))
    ]
    near, shared = names.pop(), names.pop()
    numbers = values("number", KEYS_AT_ONCE + VALUES_OF_ONE + len(SERVICES), random)
    together = [Needle(name, numbers.pop()) for name in names]
    valued = [Needle(shared, numbers.pop()) for _ in range(VALUES_OF_ONE)]
    services = [Needle(f"{near} in {service}", numbers.pop()) for service in SERVICES]
    needles = dict(zip(DEPTHS, at_depth, strict=True))
    needles |= {random.uniform(0.01, 0.99): needle for needle in together + valued + services}
    text = joined(planted(hay("prose", chars - 60 * len(needles), random), needles), "prose")
    finder = Finder(tuple(needles.values()), seed)
    asked: list[tuple[str, str, list[str]]] = [
        (f"depth-{round(100 * depth):03}", "multi_key", [needle.key])
        for depth, needle in zip(DEPTHS, at_depth, strict=True)
    ]
    asked += [
        ("multi_value", "multi_value", [shared]),
        ("multi_query", "multi_query", [needle.key for needle in together]),
        ("near", "near", [services[0].key]),
    ]
    return [_item(name, kind, text, (finder, wanted)) for name, kind, wanted in asked]


def _borders(chars: int, seed: int) -> list[Item]:
    """Questions over one huge line, with needles across the borders of naive pieces."""
    random = Random(f"borders {chars} {seed}")
    within = [border for border in BORDERS if border + 200 <= chars]
    needles = {
        border: Needle(key, value)
        for border, key, value in zip(
            within,
            keys(len(within), random),
            values("uuid", len(within), random),
            strict=True,
        )
    }
    pieces = hay("one_line", chars - 80 * len(needles), random)
    text = across(joined(pieces, "one_line"), needles)
    finder = Finder(tuple(needles.values()), seed)
    return [
        _item(f"border-{border}", "border", text, (finder, [needle.key]), piece_chars=border)
        for border, needle in needles.items()
    ]


def _formed(form: Form, chars: int, seed: int) -> Item:
    """A lone needle in a text of that form."""
    random = Random(f"{form} {chars} {seed}")
    needle = Needle(keys(1, random)[0], values("number", 1, random)[0])
    pieces = planted(hay(form, chars - 60, random), {random.uniform(0.2, 0.8): needle})
    kind = "single" if form == "prose" else form
    decoys = FALSE_CODES if form == "capture" else ()
    asked = (Finder((needle,), seed), [needle.key])
    return _item(kind, kind, joined(pieces, form), asked, decoys=decoys)


def _item(
    name: str,
    kind: str,
    text: str,
    asked: tuple[Finder, list[str]],
    *,
    piece_chars: int = PIECE_CHARS,
    decoys: Sequence[str] = (),
) -> Item:
    """A question for the codes of the wanted keys; all other codes of the text are decoys."""
    finder, wanted = asked
    gold = [needle.value for needle in finder.needles if needle.key in wanted]
    others = [needle.value for needle in finder.needles if needle.key not in wanted]
    score = partial(clean_recall, gold=gold, decoys=[*others, *decoys])
    quoted = ", ".join(f'"{key}"' for key in wanted)
    ask = f"Which access codes does the text give for {quoted}?"
    leaf_ask = f"{ask} Reply with a line `code of KEY: CODE` for each, or none."
    program = _SEARCH.replace("{tokens}", str(piece_chars // 4)).replace("{ask}", leaf_ask)
    return Item(
        id=f"niah/{name}",
        kind=kind,
        context=text,
        question=f"{ask} Answer with all of them and with no other code.",
        gold="\n".join(gold),
        score=score,
        lenient=partial(recall, gold=gold),
        program=program.strip(),
        leaf=finder,
        ceiling=ceiling(finder, wanted, score),
    )
