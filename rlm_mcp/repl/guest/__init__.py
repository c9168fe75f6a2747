"""The program inside the box: standard library and `regex` only, nothing of ours above."""
