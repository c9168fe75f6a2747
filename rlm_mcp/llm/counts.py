"""Numbers that an endpoint tells of itself and of its replies, taken only if they can be true."""

from typing import Any

# No window and no reply has as many tokens, and a table of SQLite holds the sum of any such calls.
BEYOND = 2**31


def count_of(value: Any) -> int | None:
    """A JSON value that counts something, 0 included; None if it is no number or cannot be one."""
    return value if type(value) is int and 0 <= value < BEYOND else None


def count_in(digits: str | bytes) -> int | None:
    """A count in decimal digits, however many: a reply may be all digits. None as `count_of`."""
    return count_of(int(digits)) if len(digits) <= len(str(BEYOND)) else None
