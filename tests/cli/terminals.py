"""What a program wrote to a terminal, read from the terminal's own side."""

import os


def read_terminal(descriptor):
    """All of it, once every program has closed the other side; a single read may give a part."""
    chunks = []
    try:
        while chunk := os.read(descriptor, 4096):
            chunks.append(chunk)
    except OSError:
        pass  # Linux says so when the other side is closed
    os.close(descriptor)
    return b"".join(chunks).decode()
