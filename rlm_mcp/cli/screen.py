"""What models and files say, on a terminal: text only, never commands to it."""

import re
import sys

import click

# Controls (ECMA-48), which move the cursor or write the clipboard, and what reorders text.
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The text with each character named that would steer a terminal, as in `[U+001B]`."""
    return UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text.replace("\r\n", "\n"))


def show(text: str, *, err: bool = False) -> None:
    """Print it with a line end: to a file or a pipe as it is, on a terminal made harmless."""
    stream = sys.stderr if err else sys.stdout
    click.echo(harmless(text) if stream.isatty() else text, err=err)
