"""The system calls a guest may make: a seccomp filter that lists them and refuses the rest.

What is listed computes, waits, allocates, uses descriptors that are open already, and starts
threads. Nothing opens, executes, signals, traces, or maps code. Forking is refused, or the host's
to decide each time: see `gate`, seccomp(2) and seccomp_unotify(2).
"""

import ctypes
import errno
import os
import struct

from .kernel import system_call

Line = tuple[int, int, int, int]
Body = list[Line]

LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOW, ASK, REFUSE, KILL = 0x7FFF0000, 0x7FC00000, 0x00050000, 0x80000000
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
X32_FROM = 0x40000000
SET_MODE_FILTER = 1
NEW_LISTENER = 8

X86_64 = {
    "read": 0, "write": 1, "close": 3, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10,
    "munmap": 11, "brk": 12, "rt_sigprocmask": 14, "rt_sigreturn": 15, "ioctl": 16, "select": 23,
    "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39, "sendto": 44,
    "recvfrom": 45, "recvmsg": 47, "socketpair": 53, "clone": 56, "exit": 60, "wait4": 61,
    "uname": 63, "fcntl": 72, "gettimeofday": 96, "getrusage": 98, "getuid": 102, "getgid": 104,
    "geteuid": 107, "getegid": 108, "getppid": 110, "sigaltstack": 131, "prctl": 157,
    "gettid": 186, "time": 201, "futex": 202, "sched_getaffinity": 204, "restart_syscall": 219,
    "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231,
    "epoll_wait": 232, "epoll_ctl": 233, "pselect6": 270, "ppoll": 271, "set_robust_list": 273,
    "epoll_pwait": 281, "epoll_create1": 291, "prlimit64": 302, "seccomp": 317, "getrandom": 318,
    "membarrier": 324, "rseq": 334, "clone3": 435,
}  # fmt: skip
AARCH64 = {
    "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22, "fcntl": 25, "ioctl": 29, "close": 57,
    "lseek": 62, "read": 63, "write": 64, "pselect6": 72, "ppoll": 73, "exit": 93,
    "exit_group": 94, "futex": 98, "set_robust_list": 99, "nanosleep": 101, "clock_gettime": 113,
    "clock_getres": 114, "clock_nanosleep": 115, "sched_getaffinity": 123, "sched_yield": 124,
    "restart_syscall": 128, "sigaltstack": 132, "rt_sigprocmask": 135, "rt_sigreturn": 139,
    "uname": 160, "getrusage": 165, "prctl": 167, "gettimeofday": 169, "getpid": 172,
    "getppid": 173, "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177, "gettid": 178,
    "socketpair": 199, "sendto": 206, "recvfrom": 207, "recvmsg": 212, "brk": 214, "munmap": 215,
    "mremap": 216, "clone": 220, "mmap": 222, "mprotect": 226, "madvise": 233, "wait4": 260,
    "prlimit64": 261, "seccomp": 277, "getrandom": 278, "membarrier": 283, "rseq": 293,
    "clone3": 435,
}  # fmt: skip
MACHINES = {"x86_64": (0xC000003E, X86_64), "aarch64": (0xC00000B7, AARCH64)}

FREE = [
    "read", "write", "close", "poll", "lseek", "munmap", "brk", "rt_sigprocmask",
    "rt_sigreturn", "select", "sched_yield", "mremap", "madvise", "nanosleep", "getpid",
    "exit", "gettimeofday", "getrusage", "getuid", "getgid", "geteuid",
    "getegid", "getppid", "sigaltstack", "gettid", "time", "futex",
    "restart_syscall", "clock_gettime", "clock_getres", "clock_nanosleep", "exit_group",
    "epoll_wait", "epoll_ctl", "pselect6", "ppoll", "set_robust_list", "epoll_pwait",
    "epoll_create1", "getrandom", "membarrier", "rseq", "uname", "wait4",
]  # fmt: skip

OWN = 0
PROT_EXEC = 4
# VM, FS, FILES, SIGHAND and THREAD: all that a thread shares.
CLONE_AS_THREAD = 0x00010F00
CLONE_NEW_NAMESPACES = 0x7E020080
# CHILD_CLEARTID, CHILD_SETTID and SIGCHLD: what the C library's fork asks for.
CLONE_AS_FORK = 0x01200011
FIONBIO, FIONCLEX, FIOCLEX = 0x5421, 0x5450, 0x5451
F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC = 0, 1, 2, 3, 4, 1030
AF_UNIX = 1
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
SIGKILL = 9
MSG_OOB = 1


def _return(action: int) -> Line:
    return RETURN, 0, 0, action


def _refuse(number: int = errno.EPERM) -> Line:
    return _return(REFUSE | number)


def _load(argument: int, *, high: bool = False) -> Line:
    return LOAD, 0, 0, ARGUMENTS_AT + 8 * argument + (4 if high else 0)


def _without(argument: int, bits: int) -> Body:
    return [_load(argument), (ANY_BIT, 0, 1, bits), _refuse(), _return(ALLOW)]


def _one_of(argument: int, *values: int, otherwise: int = errno.EPERM) -> Body:
    choices = [line for value in values for line in ((EQUAL, 0, 1, value), _return(ALLOW))]
    return [_load(argument), *choices, _refuse(otherwise)]


def _zero(argument: int) -> Body:
    """A pointer that is null: both halves of it."""
    return [
        _load(argument), (EQUAL, 1, 0, 0), _refuse(),
        _load(argument, high=True), (EQUAL, 1, 0, 0), _refuse(),
        _return(ALLOW),
    ]  # fmt: skip


def _both(first: Body, second: Body) -> Body:
    return [*first[:-1], *second]


def _fork() -> Body:
    """Stands before another body of `clone`: the gate's filter has the last word on it."""
    return [_load(0), (EQUAL, 0, 1, CLONE_AS_FORK), _return(ALLOW)]


def _threads_only() -> Body:
    return [
        _load(0), (AND, 0, 0, CLONE_AS_THREAD | CLONE_NEW_NAMESPACES),
        (EQUAL, 0, 1, CLONE_AS_THREAD), _return(ALLOW), _refuse(),
    ]  # fmt: skip


# socketpair, sendto and epoll serve asyncio, which talks to itself over a pair.
CHECKED: dict[str, Body] = {
    "mmap": _without(2, PROT_EXEC),
    "mprotect": _without(2, PROT_EXEC),
    "prlimit64": _both(_zero(2), _one_of(0, OWN)),
    # The C library asks for a thread's and takes ENOSYS for an answer.
    "sched_getaffinity": _one_of(0, OWN, otherwise=errno.ENOSYS),
    "ioctl": _one_of(1, FIONBIO, FIONCLEX, FIOCLEX, otherwise=errno.ENOTTY),
    "fcntl": _one_of(1, F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC),
    "socketpair": _one_of(0, AF_UNIX),
    "sendto": _both(_without(3, MSG_OOB), _zero(4)),
    "recvfrom": _without(3, MSG_OOB),
    "recvmsg": _without(2, MSG_OOB),
    "prctl": [
        _load(0),
        (EQUAL, 0, 3, PR_SET_PDEATHSIG),
        _load(1),
        (EQUAL, 0, 1, SIGKILL),
        _return(ALLOW),
        *_one_of(0, PR_SET_NAME),
    ],
    "clone": _threads_only(),
    # Its flags stand in memory, where no filter can look; the C library then takes clone.
    "clone3": [_refuse(errno.ENOSYS)],
}


def program(machine: str, *, gated: bool) -> list[Line]:
    """The filter for that machine; a foreign ABI ends the process. `gated`: `gate` judges forks.

    Raises:
        KeyError: there is no table for that machine.
    """
    numbers = MACHINES[machine][1]
    lines = _own_system_calls(machine)
    if machine == "x86_64":
        lines += [(AT_LEAST, 0, 1, X32_FROM), _return(KILL)]
    bodies = {name: [_return(ALLOW)] for name in FREE} | CHECKED
    if gated:
        bodies["clone"] = [*_fork(), *CHECKED["clone"]]
    for name, body in bodies.items():
        if name in numbers:
            lines += [(EQUAL, 0, len(body), numbers[name]), *body]
    return [*lines, _refuse()]


def gate() -> int:
    """From now on the kernel asks at the descriptor this gives before this process may fork.

    Raises:
        OSError: the kernel, or what already supervises this process, does not do that.
    """
    machine = os.uname().machine
    clone = MACHINES[machine][1]["clone"]
    return _set_filter(
        machine,
        [
            *_own_system_calls(machine),
            (EQUAL, 0, 3, clone), _load(0), (EQUAL, 0, 1, CLONE_AS_FORK), _return(ASK),
            _return(ALLOW),
        ],
        NEW_LISTENER,
    )  # fmt: skip


def install(*, gated: bool) -> None:
    """Put the filter on this process, for ever. Needs no_new_privs; may raise OSError."""
    machine = os.uname().machine
    _set_filter(machine, program(machine, gated=gated), 0)


def _own_system_calls(machine: str) -> list[Line]:
    """Ends a process that uses another ABI; then the system call's number is at hand."""
    return [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (EQUAL, 1, 0, MACHINES[machine][0]),
        _return(KILL),
        (LOAD, 0, 0, NUMBER_AT),
    ]


def _set_filter(machine: str, lines: list[Line], flags: int) -> int:
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in lines))
    header = struct.pack("@HQ", len(lines), ctypes.addressof(code))
    number = MACHINES[machine][1]["seccomp"]
    return system_call(number, SET_MODE_FILTER, flags, ctypes.create_string_buffer(header))
