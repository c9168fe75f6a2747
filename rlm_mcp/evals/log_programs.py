"""What a perfect root model runs to answer questions about logs; each sets `answer`.

The capitals are bound by `program`, to what the question names.
"""

from collections.abc import Mapping

RECORDS = r'''
import json
import re

LEVELS = {"WARNING": "WARN"}

def parsed(event):
    head = event.text.split("\n", 1)[0]
    if event.path.endswith(".jsonl"):
        fields = json.loads(head)
        return fields["level"], fields["msg"], fields
    fields = {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|\S+)', head)}
    if "msg" in fields:
        level, message = fields["level"].upper(), fields["msg"]
    else:
        java = r"[-\d:, +]+ (\w+) +\[\S+\] \S+ - (.*)"
        syslog = r"\w+ +\d+ [\d:]+ \S+ \S+: (\w+): (.*)"
        level, rest = re.match(java if event.path == "payments.log" else syslog, head).groups()
        message = re.split(r" \w+=", rest)[0]
    return LEVELS.get(level, level), message, fields

def records(glob="*"):
    """Time, event, level, message and fields of every record once, those of late lines too."""
    seen = set()
    for path in files(glob):
        for event in events(path):
            if event.text not in seen:
                seen.add(event.text)
                yield event.time.replace(year=YEAR), event, *parsed(event)

def place(event):
    return f"{event.path}:{event.line}"
'''

COUNT = """
answer = sum(
    (MESSAGE is None or message == MESSAGE)
    and (LEVEL is None or level == LEVEL)
    and START <= time < END
    and all(fields.get(name) == value for name, value in FIELDS.items())
    for time, event, level, message, fields in records(GLOB)
)
"""

FIRST_OR_LAST = """
found = [
    (time, place(event)) for time, event, level, message, fields in records()
    if message == MESSAGE and START <= time < END
]
answer = (min(found) if WHICH == "first" else max(found))[1] if found else "none"
"""

PERCENTILE = """
import math

took = sorted(
    fields["duration_ms"] for time, event, level, message, fields in records("gateway*")
    if message == "request answered" and START <= time < END
)
answer = took[math.ceil(0.95 * len(took)) - 1]
"""

TOP = """
from collections import Counter

counted = Counter(message for *_, level, message, _ in records() if level == "ERROR")
answer = ", ".join(message for message, _ in counted.most_common(K))
"""

LONGEST_GAP = """
times = sorted(time for time, *_ in records(GLOB))
answer = max((b - a).total_seconds() for a, b in zip(times, times[1:]))
"""

REQUEST_PATH = """
path = []
for time, event, *_ in sorted(
    (record for record in records() if record[-1].get("req") == REQUEST), key=lambda r: r[0]
):
    service = event.path.partition(".")[0]
    if path[-1:] != [service]:
        path.append(service)
answer = " -> ".join(path)
"""

RETRIED = """
answer = len({fields["req"] for *_, message, fields in records("orders*") if message == MESSAGE})
"""

LAST_CAUSE = """
answer = 0
for time, event, level, message, fields in records("payments*"):
    causes = re.findall("^Caused by: (.*)", event.text, re.MULTILINE)
    answer += message == MESSAGE and causes[-1:] == [CAUSE]
"""

ROOT_CAUSE = """
told = list(records())
failed = min((time, place(event)) for time, event, level, message, fields in told
             if message == "request answered" and fields["status"] == 503)
pool, first, service = min(
    (time, place(event), event.path.partition(".")[0])
    for time, event, level, message, fields in told if message == "connection pool exhausted"
)
deploy = max((time, place(event)) for time, event, level, message, fields in told
             if message == "deploy finished" and fields["service"] == service and time <= pool)
answer = " -> ".join([deploy[1], first, failed[1]])
"""

CHANGED = """
from collections import Counter

inside, outside = Counter(), Counter()
for time, event, level, message, fields in records():
    (inside if START <= time < END else outside)[message] += 1
answer = ", ".join(
    message for message, n in inside.items() if n >= LEAST and n >= TIMES * outside[message] / 23
) or "none"
"""


def program(body: str, names: Mapping[str, object]) -> str:
    """A whole program: what it is asked about, how records are read, and the answer given."""
    bound = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    return f"import datetime\n{bound}{RECORDS}{body}\nFINAL(answer)\n"
