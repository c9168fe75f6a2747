"""The library in a plain script: documents, a chat, a follow-up, the bill. No server, no async.

RLM_API_URL=http://localhost:8080/v1 python examples/library.py
"""

from rlm_mcp import RLM

REVIEWS = {
    "ana.txt": "The lamp is bright. It came a week late and the box was wet.",
    "ben.txt": "Good lamp, fair price. Nothing to complain about.",
    "cho.txt": "Never arrived. Two e-mails, no reply.",
}
CHAT = [
    {"role": "user", "content": "Which lamp do you advise?"},
    {"role": "assistant", "content": "The small one; it uses a third of the power."},
    {"role": "user", "content": "Then send me two of the small ones."},
]


def main():
    rlm = RLM(model="auto", recursive_model="auto", max_iterations=10)

    print(rlm.completion(context=REVIEWS, query="Who complains about delivery?"))
    print(rlm.completion(query="Who does not? Use what you found."))
    print(rlm.completion(context=CHAT, query="What was ordered in the end?"))

    costs = rlm.cost_summary()
    for role, spent in (("root", costs.root), ("sub", costs.sub)):
        print(f"{role}: {spent.usage.calls} calls, {spent.usage.tokens:,} tokens")

    rlm.reset()  # forgets texts, variables and costs
    rlm.close()


if __name__ == "__main__":
    main()
