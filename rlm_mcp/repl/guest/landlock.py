"""Landlock: a rule set without a rule, so that no path, port or foreign process can be reached.

See landlock(7). The kernel's ABI tells which rights it knows; what it does not know it cannot deny.
"""

import ctypes
import os
import struct

from .kernel import system_call

CREATE, RESTRICT = 444, 446
ASK_VERSION = 1
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
TCP_BIND_AND_CONNECT = 3
ABSTRACT_SOCKETS_AND_SIGNALS = 3


def abi() -> int:
    """The kernel's version of Landlock, 0 where it has none."""
    try:
        return system_call(CREATE, None, 0, ASK_VERSION)
    except OSError:
        return 0


def install(version: int) -> None:
    """Deny everything that ABI can deny. Needs no_new_privs; may raise OSError."""
    files = (1 << max(bits for since, bits in FILE_RIGHTS.items() if since <= version)) - 1
    fields = [files]
    if version >= 4:
        fields.append(TCP_BIND_AND_CONNECT)
    if version >= 6:
        fields.append(ABSTRACT_SOCKETS_AND_SIGNALS)
    attributes = struct.pack(f"<{len(fields)}Q", *fields)
    rules = system_call(CREATE, ctypes.create_string_buffer(attributes), len(attributes), 0)
    system_call(RESTRICT, rules, 0)
    os.close(rules)
