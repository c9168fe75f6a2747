"""A guest on Windows: in a job of its own, and in an AppContainer of its own where that is wanted.

An AppContainer has no capability: it reaches no network, no file, registry key or process that is
not granted to it. A job holds one process, bounds its memory, and ends it when the last handle
to it is closed, so with this process too. Nothing is inherited but three handles.

The profile of an AppContainer is a folder and a registry key that it may write to. So each guest
has one of its own, deleted after it; one whose host was killed stays behind, empty of ours.
"""

import contextlib
import ctypes
import importlib
import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from rlm_mcp.repl import win32
from rlm_mcp.repl.launch import BARE_PYTHON, ENVIRONMENT, Started
from rlm_mcp.repl.pipes import STANDARD
from rlm_mcp.repl.program import Program
from rlm_mcp.repl.threaded import ThreadedWire

PIPE_BYTES = 1 << 18
# Of fcntl.h; without it a descriptor of Windows rewrites line ends.
O_BINARY = 0x8000
# What an interpreter has committed before the first cell; the limit counts from there.
INTERPRETER_BYTES = 96 << 20
KILLED = 1
MITIGATIONS = (
    win32.HEAP_TERMINATE
    | win32.BOTTOM_UP_ASLR
    | win32.HIGH_ENTROPY_ASLR
    | win32.EXTENSION_POINT_DISABLE
    | win32.FONT_DISABLE
    | win32.IMAGE_LOAD_NO_REMOTE
    | win32.IMAGE_LOAD_NO_LOW_LABEL
)
CREATION = win32.DETACHED | win32.CREATE_UNICODE_ENVIRONMENT | win32.EXTENDED_STARTUPINFO_PRESENT


class Contained:
    """A running guest; `released` lets go of all that Windows holds for it."""

    def __init__(self, pid: int, handle: int, job: int, event: int) -> None:
        self.pid = pid
        self.released = contextlib.ExitStack()
        self._handle, self._job, self._event = handle, job, event
        self._waiting = anyio.CapacityLimiter(1)
        self._status: int | None = None

    @property
    def status(self) -> int | None:
        """See `Running.status`."""
        if self._status is None:
            code = ctypes.c_uint32()
            win32.checked("GetExitCodeProcess", self._handle, ctypes.byref(code))
            if code.value != win32.STILL_ACTIVE:
                self._status = code.value
        return self._status

    def interrupt(self) -> None:
        """See `Running.interrupt`."""
        win32.call("SetEvent", self._event)

    def kill(self) -> None:
        """See `Running.kill`."""
        win32.call("TerminateJobObject", self._job, KILLED)

    async def wait(self) -> None:
        """See `Running.wait`."""
        await anyio.to_thread.run_sync(
            win32.call, "WaitForSingleObject", self._handle, win32.INFINITE,
            abandon_on_cancel=True, limiter=self._waiting,
        )  # fmt: skip

    def sweep(self) -> None:
        """See `Running.sweep`."""
        self.released.close()


def start(python: Path, program: Program, memory_bytes: int, *, contained: bool) -> Started:
    """Start a guest of that interpreter, which must be no launcher of another one.

    Its last argument is the number of the event that interrupts it; see guest/events.py.

    Raises:
        OSError: Windows does not let it; nothing is left behind.
    """
    stack = contextlib.ExitStack
    with stack() as held, stack() as theirs, stack() as ours:
        container = _container(held, theirs) if contained else None
        job = _closing(held, win32.checked("CreateJobObjectW", None, None))
        _limit(job, memory_bytes)
        event = win32.checked("CreateEventW", win32.inheritable(), 0, 0, None)
        _closing(held, event)
        read, to = _pipe(theirs, ours)
        back, write = _pipe(ours, theirs)
        for handle in (read, write):
            win32.checked("SetHandleInformation", handle, *2 * (win32.HANDLE_FLAG_INHERIT,))
        attributes = win32.Attributes(values(container, job, (read, write, event)))
        theirs.callback(attributes.close)
        startup = startup_of(read, write, attributes.address)
        made = _create(
            [str(python), *BARE_PYTHON, program.loader, STANDARD, str(program.file), str(event)],
            startup,
        )
        _closing(theirs, made.thread)
        running = Contained(made.process_id, _closing(held, made.process), job, event)
        ours.pop_all()
        wire = ThreadedWire(_descriptor(back, os.O_RDONLY), _descriptor(to, os.O_WRONLY))
        running.released = held.pop_all()
    return Started(running, wire)


def values(container: int | None, job: int, handles: tuple[int, ...]) -> dict[int, Any]:
    """The attributes a guest is created with, by their documented keys."""
    confined: dict[int, Any] = {
        win32.ATTRIBUTE_SECURITY_CAPABILITIES: win32.SecurityCapabilities(container, None, 0, 0),
        win32.ATTRIBUTE_CHILD_POLICY: ctypes.c_uint32(win32.NO_CHILDREN),
        win32.ATTRIBUTE_MITIGATION_POLICY: ctypes.c_uint64(MITIGATIONS),
    }
    return {
        win32.ATTRIBUTE_JOB_LIST: (ctypes.c_void_p * 1)(job),
        win32.ATTRIBUTE_HANDLE_LIST: (ctypes.c_void_p * len(handles))(*handles),
        **({} if container is None else confined),
    }


def limits(memory_bytes: int) -> win32.ExtendedLimits:
    """One process, so much memory, and an end with the last handle to the job."""
    extended = win32.ExtendedLimits()
    extended.basic.flags = (
        win32.LIMIT_ACTIVE
        | win32.LIMIT_MEMORY_OF_EACH
        | win32.LIMIT_MEMORY_OF_ALL
        | win32.LIMIT_DIE_ON_UNHANDLED_EXCEPTION
        | win32.LIMIT_KILL_ON_JOB_CLOSE
    )
    extended.basic.active_processes = 1
    extended.process_memory = extended.job_memory = memory_bytes + INTERPRETER_BYTES
    return extended


def startup_of(read: int, write: int, attributes: int) -> win32.StartupInformation:
    """Standard input and output, and no standard error."""
    startup = win32.StartupInformation()
    startup.size = ctypes.sizeof(startup)
    startup.flags = win32.STARTF_USESTDHANDLES
    startup.standard_input, startup.standard_output = read, write
    startup.attributes = attributes
    return startup


def _container(held: contextlib.ExitStack, until_started: contextlib.ExitStack) -> int:
    name, sid = f"rlm-mcp.{os.getpid()}.{secrets.token_hex(8)}", ctypes.c_void_p()
    win32.checked("CreateAppContainerProfile", name, name, name, None, 0, ctypes.byref(sid))
    held.callback(win32.call, "DeleteAppContainerProfile", name)
    until_started.callback(win32.call, "FreeSid", sid)
    assert sid.value
    return sid.value


def _create(command: Sequence[str], startup: win32.StartupInformation) -> win32.Created:
    made = win32.Created()
    environment = {"SystemRoot": os.environ["SYSTEMROOT"], **ENVIRONMENT}
    folder = Path(command[0]).parent
    line = ctypes.create_unicode_buffer(subprocess.list2cmdline(command))
    block = ctypes.create_string_buffer(win32.environment_block(environment))
    win32.checked(
        "CreateProcessW",
        command[0], line, None, None, 1, CREATION,
        block, str(folder), ctypes.byref(startup), ctypes.byref(made),
    )  # fmt: skip
    return made


def _limit(job: int, memory_bytes: int) -> None:
    most, interface = limits(memory_bytes), ctypes.c_uint32(win32.UI_LIMITS)
    for kind, value in (
        (win32.EXTENDED_LIMITS, most),
        (win32.INTERFACE_LIMITS, interface),
    ):
        win32.checked(
            "SetInformationJobObject", job, kind, ctypes.byref(value), ctypes.sizeof(value)
        )


def _pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    reading, writing = ctypes.c_void_p(), ctypes.c_void_p()
    win32.checked("CreatePipe", ctypes.byref(reading), ctypes.byref(writing), None, PIPE_BYTES)
    assert reading.value
    assert writing.value
    return _closing(readers, reading.value), _closing(writers, writing.value)


def _closing(stack: contextlib.ExitStack, handle: int) -> int:
    stack.callback(win32.call, "CloseHandle", handle)
    return handle


def _descriptor(handle: int, flags: int) -> int:
    opened: int = importlib.import_module("msvcrt").open_osfhandle(handle, flags | O_BINARY)
    return opened
