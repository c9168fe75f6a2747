"""Win32 as it is documented: structures, numbers, and the functions a contained process needs.

Widths are written out, so that every layout is the one of 64-bit Windows wherever this module is
read; the libraries load when a function is first called. Structures and functions are documented
under https://learn.microsoft.com/windows/win32/api, numbers in winnt.h, winbase.h and userenv.h.
"""

import ctypes
from collections.abc import Mapping
from ctypes import POINTER, Structure, c_int32, c_uint16, c_uint32, c_uint64, c_void_p, c_wchar_p
from functools import cache
from typing import Any

CREATE_SUSPENDED = 0x00000004
# Without a console none is made: its host would be a second process.
DETACHED = 0x00000008
CREATE_UNICODE_ENVIRONMENT = 0x00000400
EXTENDED_STARTUPINFO_PRESENT = 0x00080000
STARTF_USESTDHANDLES = 0x00000100
HANDLE_FLAG_INHERIT = 0x00000001

ATTRIBUTE_HANDLE_LIST = 0x00020002
ATTRIBUTE_MITIGATION_POLICY = 0x00020007
ATTRIBUTE_SECURITY_CAPABILITIES = 0x00020009
ATTRIBUTE_JOB_LIST = 0x0002000D
ATTRIBUTE_CHILD_POLICY = 0x0002000E
NO_CHILDREN = 0x00000001

HEAP_TERMINATE = 1 << 12
BOTTOM_UP_ASLR = 1 << 16
HIGH_ENTROPY_ASLR = 1 << 20
EXTENSION_POINT_DISABLE = 1 << 32
FONT_DISABLE = 1 << 48
IMAGE_LOAD_NO_REMOTE = 1 << 52
IMAGE_LOAD_NO_LOW_LABEL = 1 << 56

EXTENDED_LIMITS = 9
INTERFACE_LIMITS = 4
LIMIT_ACTIVE = 0x00000008
LIMIT_MEMORY_OF_EACH = 0x00000100
LIMIT_MEMORY_OF_ALL = 0x00000200
LIMIT_DIE_ON_UNHANDLED_EXCEPTION = 0x00000400
LIMIT_KILL_ON_JOB_CLOSE = 0x00002000
# Handles of others, clipboard (2), parameters, display, atoms, desktops, leaving Windows.
UI_LIMITS = 0x000000FF

INFINITE = 0xFFFFFFFF
STILL_ACTIVE = 259
ERROR_INSUFFICIENT_BUFFER = 122


class SecurityAttributes(Structure):
    """SECURITY_ATTRIBUTES."""

    _fields_ = (("length", c_uint32), ("descriptor", c_void_p), ("inherit", c_int32))


class StartupInformation(Structure):
    """STARTUPINFOEXW: STARTUPINFOW and a list of attributes behind it."""

    _fields_ = (
        ("size", c_uint32),
        ("reserved", c_void_p),
        ("desktop", c_wchar_p),
        ("title", c_wchar_p),
        ("place_and_extent", c_uint32 * 6),
        ("fill", c_uint32),
        ("flags", c_uint32),
        ("show", c_uint16),
        ("reserved_size", c_uint16),
        ("reserved_bytes", c_void_p),
        ("standard_input", c_void_p),
        ("standard_output", c_void_p),
        ("standard_error", c_void_p),
        ("attributes", c_void_p),
    )


class Created(Structure):
    """PROCESS_INFORMATION."""

    _fields_ = (
        ("process", c_void_p),
        ("thread", c_void_p),
        ("process_id", c_uint32),
        ("thread_id", c_uint32),
    )


class SecurityCapabilities(Structure):
    """SECURITY_CAPABILITIES: the AppContainer a process is put in, and what it may do there."""

    _fields_ = (
        ("container", c_void_p),
        ("capabilities", c_void_p),
        ("count", c_uint32),
        ("reserved", c_uint32),
    )


class BasicLimits(Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("process_time", c_uint64),
        ("job_time", c_uint64),
        ("flags", c_uint32),
        ("smallest_working_set", c_uint64),
        ("largest_working_set", c_uint64),
        ("active_processes", c_uint32),
        ("affinity", c_uint64),
        ("priority_class", c_uint32),
        ("scheduling_class", c_uint32),
    )


class ExtendedLimits(Structure):
    """JOBOBJECT_EXTENDED_LIMITS."""

    _fields_ = (
        ("basic", BasicLimits),
        ("counters", c_uint64 * 6),
        ("process_memory", c_uint64),
        ("job_memory", c_uint64),
        ("peak_process_memory", c_uint64),
        ("peak_job_memory", c_uint64),
    )


# Library, whether the result is an HRESULT (0 is success), arguments.
FUNCTIONS: Mapping[str, tuple[str, bool, tuple[Any, ...]]] = {
    "CloseHandle": ("kernel32", False, (c_void_p,)),
    "CreateEventW": ("kernel32", False, (POINTER(SecurityAttributes), c_int32, c_int32, c_void_p)),
    "CreateJobObjectW": ("kernel32", False, (c_void_p, c_void_p)),
    "CreatePipe": (
        "kernel32",
        False,
        (POINTER(c_void_p), POINTER(c_void_p), POINTER(SecurityAttributes), c_uint32),
    ),
    "CreateProcessW": (
        "kernel32",
        False,
        (
            c_wchar_p, c_wchar_p, c_void_p, c_void_p, c_int32, c_uint32,
            c_void_p, c_wchar_p, POINTER(StartupInformation), POINTER(Created),
        ),
    ),
    "DeleteProcThreadAttributeList": ("kernel32", False, (c_void_p,)),
    "GetExitCodeProcess": ("kernel32", False, (c_void_p, POINTER(c_uint32))),
    "InitializeProcThreadAttributeList": (
        "kernel32",
        False,
        (c_void_p, c_uint32, c_uint32, POINTER(c_uint64)),
    ),
    "SetEvent": ("kernel32", False, (c_void_p,)),
    "SetHandleInformation": ("kernel32", False, (c_void_p, c_uint32, c_uint32)),
    "SetInformationJobObject": ("kernel32", False, (c_void_p, c_int32, c_void_p, c_uint32)),
    "TerminateJobObject": ("kernel32", False, (c_void_p, c_uint32)),
    "UpdateProcThreadAttribute": (
        "kernel32",
        False,
        (c_void_p, c_uint32, c_uint64, c_void_p, c_uint64, c_void_p, c_void_p),
    ),
    "WaitForSingleObject": ("kernel32", False, (c_void_p, c_uint32)),
    "FreeSid": ("advapi32", False, (c_void_p,)),
    "CreateAppContainerProfile": (
        "userenv",
        True,
        (c_wchar_p, c_wchar_p, c_wchar_p, c_void_p, c_uint32, POINTER(c_void_p)),
    ),
    "DeleteAppContainerProfile": ("userenv", True, (c_wchar_p,)),
}  # fmt: skip
HANDLES = {"CreateEventW", "CreateJobObjectW"}
loader: Any = ctypes


@cache
def _bound(name: str) -> Any:
    library, hresult, arguments = FUNCTIONS[name]
    function = getattr(loader.WinDLL(library, use_last_error=True), name)
    function.argtypes = arguments
    function.restype = c_void_p if name in HANDLES else c_int32
    if hresult:
        function.restype = c_uint32
    return function


def call(name: str, *arguments: Any) -> int:
    """Call a function of the table, whatever it gives."""
    result: int | None = _bound(name)(*arguments)
    return result or 0


def checked(name: str, *arguments: Any) -> int:
    """As `call`.

    Raises:
        OSError: it failed; the number is the system's.
    """
    result = call(name, *arguments)
    failed = result != 0 if FUNCTIONS[name][1] else result == 0
    if failed:
        # The low half of an HRESULT is the system's number.
        code = result & 0xFFFF if FUNCTIONS[name][1] else loader.get_last_error()
        raise OSError(0, f"{name}: {loader.FormatError(code).strip()}", None, code)
    return result


def inheritable() -> SecurityAttributes:
    """For a handle that a child may be given."""
    return SecurityAttributes(ctypes.sizeof(SecurityAttributes), None, 1)


def environment_block(environment: Mapping[str, str]) -> bytes:
    """`NAME=value` each ended by a zero, sorted by name without regard to case, and a zero more.

    UTF-16; see "Changing Environment Variables" in the same documentation.
    """
    names = sorted(environment, key=str.upper)
    lines = [f"{name}={environment[name]}\0" for name in names]
    return ("".join(lines) + "\0").encode("utf-16-le")


class Attributes:
    """A PROC_THREAD_ATTRIBUTE_LIST; what it points at lives as long as it does."""

    def __init__(self, values: Mapping[int, Any]) -> None:
        size = c_uint64(0)
        # Asked for the size it fails, as documented, and tells it.
        call("InitializeProcThreadAttributeList", None, len(values), 0, ctypes.byref(size))
        self._kept = (ctypes.create_string_buffer(size.value), dict(values))
        self.address = ctypes.addressof(self._kept[0])
        checked(
            "InitializeProcThreadAttributeList", self.address, len(values), 0, ctypes.byref(size)
        )
        for key, value in values.items():
            checked(
                "UpdateProcThreadAttribute",
                self.address, 0, key, ctypes.byref(value), ctypes.sizeof(value), None, None,
            )  # fmt: skip

    def close(self) -> None:
        """Let go of it, once the process was made."""
        call("DeleteProcThreadAttributeList", self.address)
