"""What carries a guest's bytes: one socket, along which open files pass, or a pair of pipes."""

import _socket
import array
import os
import sys
from collections.abc import Sequence
from typing import Protocol

CHUNK_BYTES = 1 << 16
PASSED_AT_A_TIME = 4
# Bound once: code may patch the modules.
_array, _read, _write, _socket_on = array.array, os.read, os.write, _socket.socket
if sys.platform != "win32":
    _LOCAL_STREAM = (_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    _RIGHTS = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
    _ROOM = _socket.CMSG_SPACE(PASSED_AT_A_TIME * _array("i").itemsize)


class Line(Protocol):
    """The host is at its other end. `descriptors` are those it stands on."""

    descriptors: tuple[int, ...]
    passes_descriptors: bool

    def read(self) -> tuple[bytes, Sequence[int]]:
        """The next bytes, none once the host is gone, and the descriptors that came along."""
        ...

    def write(self, frame: bytes, descriptors: Sequence[int] = ()) -> None:
        """Write all of it."""
        ...

    def forget(self) -> None:
        """Its descriptors are closed already, or somebody else's."""
        ...


class SocketLine:
    """A socket of the host's pair."""

    passes_descriptors = True

    def __init__(self, descriptor: int) -> None:
        self.descriptors: tuple[int, ...] = (descriptor,)
        # Said outright: to ask the system what it is would be refused in a box.
        self._socket = _socket_on(*_LOCAL_STREAM, descriptor)

    def read(self) -> tuple[bytes, Sequence[int]]:
        """See `Line.read`."""
        chunk, extra, _, _ = self._socket.recvmsg(CHUNK_BYTES, _ROOM)
        passed = _array("i")
        for level, kind, payload in extra:
            if (level, kind) == _RIGHTS:
                passed.frombytes(payload)
        return chunk, passed

    def write(self, frame: bytes, descriptors: Sequence[int] = ()) -> None:
        """See `Line.write`."""
        if descriptors:
            rights = _array("i", descriptors)
            frame = frame[self._socket.sendmsg([frame], [(*_RIGHTS, rights)]) :]
        self._socket.sendall(frame)

    def forget(self) -> None:
        """See `Line.forget`."""
        self._socket.detach()


class PipeLine:
    """The two pipes of a process whose standard input and output the host holds."""

    passes_descriptors = False

    def __init__(self, incoming: int, outgoing: int) -> None:
        self.descriptors: tuple[int, ...] = (incoming, outgoing)

    def read(self) -> tuple[bytes, Sequence[int]]:
        """See `Line.read`."""
        return _read(self.descriptors[0], CHUNK_BYTES), ()

    def write(self, frame: bytes, _descriptors: Sequence[int] = ()) -> None:
        """See `Line.write`."""
        rest = memoryview(frame)
        while rest:
            rest = rest[_write(self.descriptors[1], rest) :]

    def forget(self) -> None:
        """See `Line.forget`."""


def line_on(descriptors: Sequence[int]) -> Line:
    """The line that stands on one descriptor, a socket, or on two, pipes."""
    return SocketLine(*descriptors) if len(descriptors) == 1 else PipeLine(*descriptors)
