"""Every example is run as a reader would run it, against a scripted model over HTTP."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from rlm_mcp.llm.scripted import serve

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[1] / "examples"

# What a model would write for each question an example asks, by a word of that question.
CODE = {
    "what can end it": """
import re
path, text = next((p, t) for p, t in files.items() if "def _limit(" in t)
line = 1 + text[:text.index("def _limit(")].count("\\n")
FINAL(f"The loop's limits are in {path}:{line}.")
""",
    "What went wrong": """
lines = context.splitlines()
failed = [number for number, line in enumerate(lines, 1) if " ERROR " in line]
cause = llm_query("What does this say?", lines[failed[0] - 1])
FINAL(f"{cause}, first at shop.log:{failed[0]}")
""",
    "How many requests failed": "FINAL(f'{len(failed):,} requests')",
    "complains about delivery": """
late = [name for name in files if llm_query("Late or lost?", files[name]) == "yes"]
FINAL(", ".join(late))
""",
    "Who does not": "FINAL(', '.join(name for name in files if name not in late))",
    "ordered in the end": "FINAL(context.splitlines()[-1])",
    "Which tools": """
import re
text = files["server/tools.py"]
FINAL(", ".join(re.findall(r'^    "([a-z_]+)": Tool\\(', text, re.M)))
""",
    "In one sentence": "FINAL(f'{contexts} says {context[:10]}')",
}

SAID = {
    "ask_repository.py": ["engine/loop.py:", "def _limit(self)", "1 turns, 1 calls"],
    "ask_log.py": ["payment timeout, first at shop.log:", "requests\n", "both: 3 calls"],
    "library.py": ["ana.txt, cho.txt\nben.txt\n", "two of the small ones", "sub: 3 calls"],
    "mcp_stdio.py": ["loaded ", "  ... looking", "load_context, ", "calls: 1 root, 0 sub"],
    "mcp_http.py": ["the invoice: ", "says Invoice 17", "the letter: ", "says Dear Sir,"],
}


def script(messages):
    if messages[0].role != "system":
        prompt = messages[-1].content
        if "504" in prompt:
            return "payment timeout"
        return "yes" if "late" in prompt.split("?")[1] or "Never" in prompt else "no"
    question = messages[1].content.rpartition("Question:\n")[2]
    code = next(code for word, code in CODE.items() if word in question)
    return f"```repl\n{code}\n```"


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
async def test_an_example_runs_and_prints_what_its_reader_expects(example):
    async with serve(script) as server:
        with anyio.fail_after(60):
            ran = await anyio.run_process(
                [sys.executable, example], env=os.environ | {"RLM_API_URL": server.url}, check=False
            )

    assert ran.returncode == 0, ran.stderr.decode()
    for words in SAID[example.name]:
        assert words in ran.stdout.decode()
