"""Text cut and counted for readers."""


def clip(text: str, most: int) -> str:
    """Head and tail of a text longer than `most` characters, with its true size between them."""
    if len(text) <= most:
        return text
    edge = most // 2
    return f"{text[:edge]}\n… [{len(text):,} characters] …\n{text[-edge:]}"


def count(number: int, noun: str) -> str:
    """`1 document`, `1,204 documents`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def sendable(text: str) -> str:
    """The text with `?` for each lone surrogate: those have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")
