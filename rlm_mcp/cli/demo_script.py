"""What the scripted models of `rlm-mcp demo` say.

The root's replies are the code a language model would write for this question; nothing they find is
typed in here. The sub-model is one rule: it reads the piece of source it is sent, and nothing else.
"""

import re
from collections.abc import Sequence

from rlm_mcp.llm.scripted import Script
from rlm_mcp.types import Message

QUESTION = (
    "Which parts of this Python's standard library announce that they will be removed,"
    " and in which version?"
)

LOOK = r"""First a look at what there is.

```repl
import re
tests = {path for path in files if re.search(r"\b(idle_)?tests?/", path)}
library = [path for path in files if path not in tests]
print(f"{len(context):,} characters in {len(files):,} files:")
print(f"{len(tests):,} are tests, {len(library):,} the library itself, like {library[::200]}")
```
"""

SEARCH = r"""Removals are announced by deprecation warnings. I cut out every call that gives one.

```repl
import ast

def calls(node, owner=""):
    "Every call below a node, with the class or function around it."
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, owner
        is_scope = isinstance(child, (ast.ClassDef, ast.FunctionDef))
        yield from calls(child, f"{owner}.{child.name}" if is_scope else owner)

places = []
for path in library:
    text = files[path]
    if "DeprecationWarning" not in text and "_deprecated(" not in text:
        continue
    lines = text.split("\n")
    for call, owner in calls(ast.parse(text)):
        name = ast.unparse(call.func).split(".")[-1]
        code = "\n".join(lines[call.lineno - 1:call.end_lineno])
        if name == "_deprecated" or name == "warn" and "DeprecationWarning" in code:
            above = "\n".join(lines[max(0, call.lineno - 8):call.lineno - 1])
            places.append((path, call.lineno, owner[1:], f"{above}\n{code}"))

print(len(places), "deprecation warnings in", len({path for path, *_ in places}), "files")
path, line, owner, piece = places[len(places) // 2]
print(f"for example {path}:{line} in {owner}:\n{piece[-200:]}")
```
"""

ASK = r"""Which version a warning names, if any, is a matter of reading: a sub-question for each,
once where two read the same.

```repl
question = "In which Python version will this be removed? Answer: the version, or none."
versions = llm_query_batched([f"{question}\n\n{piece}" for *_, piece in places])
removals = {}
for (path, line, owner, _), version in zip(places, versions):
    if version and version != "none":
        key = tuple(int(number) for number in version.split("."))
        removals.setdefault(key, []).append((path, line, owner))
for key, found in sorted(removals.items()):
    print(f"%d.%d: {len(found)}, the first {found[0]}" % key)
```
"""

ANSWER = r"""Some are whole modules, some are parts of one. Each place was computed, so I answer.

```repl
named = sum(map(len, removals.values()))
answer_lines = [f"{named} of {len(places)} deprecation warnings name the version of a removal."]
for key, found in sorted(removals.items()):
    whole = [f"{path}:{line}" for path, line, owner in found if not owner]
    parts = [f"{owner} {path}:{line}" for path, line, owner in found if owner]
    if whole:
        answer_lines.append("%d.%d, whole modules: " % key + ", ".join(whole))
    if parts:
        rest = f" and {len(parts) - 5} more" if len(parts) > 5 else ""
        answer_lines.append("%d.%d, parts: " % key + ", ".join(parts[:5]) + rest)
FINAL("\n".join(answer_lines))
```
"""

TURNS = (LOOK, SEARCH, ASK, ANSWER)

_REMOVAL = re.compile(r"remov(?:al|ed?)\b\D{0,60}?(?<!\d)(\d)(?:\.|, ?)(\d+)", re.IGNORECASE)
_SEAM = re.compile(r"""["']\s*\n\s*f?["']""")


def root(messages: Sequence[Message]) -> str:
    """The next of the four replies; the last one again if it was not taken."""
    said = sum(message.role == "assistant" for message in messages)
    return TURNS[min(said, len(TURNS) - 1)]


def sub(messages: Sequence[Message]) -> str:
    """The version that follows the last "removed" of the piece, `none` if there is none."""
    _, _, piece = messages[-1].content.partition("\n\n")
    found = _REMOVAL.findall(_SEAM.sub("", piece))
    return ".".join(found[-1]) if found else "none"


MODELS: dict[str, Script] = {"scripted-root": root, "scripted-sub": sub}
