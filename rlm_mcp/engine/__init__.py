"""The Recursive Language Model: loop, prompts, replies, sub-calls, budgets, citations."""
