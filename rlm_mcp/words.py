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


def size(amount: int) -> str:
    """Bytes in the unit that suits them: `512 bytes`, `1.5 GB` (of 1000 MB each)."""
    if amount < 1000:
        return count(amount, "byte")
    for unit, factor in (("kB", 10**3), ("MB", 10**6)):
        if amount < 999.5 * factor:
            return f"{amount / factor:.3g} {unit}"
    return f"{amount / 10**9:,.3g} GB" if amount < 10**12 else f"{amount / 10**9:,.0f} GB"


def sendable(text: str) -> str:
    """The text with `?` for each lone surrogate: those have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")
