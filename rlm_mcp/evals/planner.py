"""What a perfect root model writes to have rows labelled: code for the REPL, as text."""

from rlm_mcp.evals.wording import LABELS

_LABELLING = r'''
import re
from collections import Counter

LABELS = {labels}
ROW = re.compile(r"(\d{4}-\d\d-\d\d) \|\| (\d+) \|\| (.+)")
rows = [match.groups() for match in map(ROW.fullmatch, lines) if match]
{kept}print(f"{len(rows):,} rows, the first: {rows[:1]}")

def prompt(batch):
    numbered = "\n".join(f"{number}: {text}" for number, text in enumerate(batch, 1))
    return f"""Give each question the label of what it asks for, one of: {", ".join(LABELS)}.
Reply with a line `number: label` for each.

{numbered}"""

labels = {}
pending = sorted({text for _, _, text in rows})
for attempt in range(3):
    batches = [pending[at:at + 80] for at in range(0, len(pending), 80)]
    for at in range(0, len(batches), 200):
        group = batches[at:at + 200]
        for batch, reply in zip(group, llm_query_batched([prompt(batch) for batch in group])):
            for number, label in re.findall(r"^\W*(\d+)\W+(.*?)\W*$", str(reply or ""), re.M):
                if label.lower() in LABELS and 1 <= int(number) <= len(batch):
                    labels[batch[int(number) - 1]] = label.lower()
    pending = [text for text in pending if text not in labels]
    if not pending:
        break
print(f"{len(labels):,} questions have a label, {len(pending):,} have none")
labelled = [(day, user, labels[text]) for day, user, text in rows if text in labels]
'''


def program(aggregate: str, kept: str = "") -> str:
    """Code that labels the rows for which `kept` holds (without one, all), then runs `aggregate`.

    `kept` is an expression over `day`, `user` and `text`; `aggregate` finds `labelled`, a list of
    (day, user, label), and calls FINAL.
    """
    choice = f"rows = [(day, user, text) for day, user, text in rows if {kept}]\n" if kept else ""
    start = _LABELLING.replace("{labels}", repr(list(LABELS))).replace("{kept}", choice)
    return f"{start.strip()}\n\n{aggregate.strip()}\n"
