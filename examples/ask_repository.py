"""Ask a repository: the folder you name, or the one this example is in.

RLM_API_URL=http://localhost:8080/v1 python examples/ask_repository.py [FOLDER] [QUESTION]
"""

import sys
from pathlib import Path

from rlm_mcp import RLM

QUESTION = "Where is the loop that asks the model and runs its code, and what can end it?"


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    question = sys.argv[2] if len(sys.argv) > 2 else QUESTION

    with RLM() as rlm:
        answer = rlm.answer(folder, query=question)

    print(answer.text)
    for place in answer.citations:
        found = place.excerpt.strip() if place.found else "(not in the text: do not trust this one)"
        print(f"\n{place.path}:{place.start}\n    {found}")
    print(f"\n{answer.turns} turns, {answer.usage.calls} calls, {answer.usage.tokens:,} tokens")


if __name__ == "__main__":
    main()
