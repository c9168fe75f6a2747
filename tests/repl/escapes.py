"""Attempts to get out of a box, by class. Each prints ESCAPED if it succeeds.

Each is one deed that does no harm where it succeeds, and that does succeed without a box: the tests
make all of them in the plain box too, as an ordinary user. `UNSURE` names those that may not do so
there, with the reason. The cells of an attempt are separated by `NEXT`. escape_host.py makes them
and gives the names HOST (its process), GROUP (its process group), SCRATCH (a folder of its user),
PORT (TCP and UDP on loopback), ABSTRACT (a socket), TERMINAL (one it holds), OUTPUT (a pipe it
writes to) and SECRET (what it holds as a key).

A raw system call has got through when the kernel looked at its arguments: every answer counts but
EPERM, EACCES and ENOSYS. The numbers are those of x86-64.
"""

import json
import struct

NEXT = "\n# the next cell\n"
GOT = "\nprint('ESCAPED')"
NATIVE = """
import gc, os
gc.unfreeze()
modules = [o for o in gc.get_objects() if getattr(o, "__name__", "") == "ctypes"]
ctypes = next((o for o in modules if hasattr(o, "CDLL")), None)
libc = next((o for o in gc.get_objects() if type(o).__name__ == "CDLL"), None)
if libc is None: print("ESCAPED is not known: there is nothing to try it with")
def system_call(number, *arguments):
    ctypes.set_errno(0)
    words = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments]
    return libc.syscall(ctypes.c_long(number), *words)
def call(number, *arguments):
    result = system_call(number, *arguments)
    if result != -1 or ctypes.get_errno() not in (1, 13, 38):
        print("ESCAPED", number, result, ctypes.get_errno())
    return result
def fork_by(number, *arguments):
    result = system_call(number, *arguments)
    if result == 0: libc._exit(0)
    if result > 0: print("ESCAPED", result)
path = SCRATCH.encode()
"""
CHANNEL = """
import os
for fd in range(3, 64):
    try: os.write(fd, {stream!r})
    except OSError: pass
import time
time.sleep(2)
"""
CONNECT = "import socket\ns = socket.socket({kind})\ns.connect({where})" + GOT


def raw(*arguments: str) -> str:
    """System calls, each by its number and arguments as Python source."""
    return NATIVE + "".join(f"call({each})\n" for each in arguments)


def frame(message: object) -> bytes:
    header = json.dumps(message).encode()
    return struct.pack("<II", 8 + len(header), len(header)) + header


def forged(stream: bytes) -> str:
    return CHANNEL.format(stream=stream)


PROCESSES = {
    "a shell": "import os\nif os.system('true') == 0: print('ESCAPED')",
    "popen": "import os\nif os.popen('echo x').read(): print('ESCAPED')",
    "subprocess": f"import subprocess; subprocess.run(['/bin/true']){GOT}",
    "posix_spawn": f"import os; os.posix_spawn('/bin/true', ['true'], {{}}){GOT}",
    "exec": "import os; os.execv('/bin/true', ['true'])",
    "fork": f"import os\nif os.fork() == 0: os._exit(0){GOT}",
    "fork with a terminal": f"import os\nif os.forkpty()[0] == 0: os._exit(0){GOT}",
    "multiprocessing": (
        "import multiprocessing\nchild = multiprocessing.get_context('fork').Process(target=int)\n"
        f"child.start()\nchild.join(){GOT}"
    ),
    "system through libc": NATIVE + "if libc.system(b'true') == 0: print('ESCAPED')",
    "raw fork": f"{NATIVE}fork_by(57)",
    "raw vfork": f"{NATIVE}fork_by(58)",
    "raw clone": f"{NATIVE}fork_by(56, 17, 0, 0, 0, 0)",
    "raw clone, as the C library forks": f"{NATIVE}fork_by(56, 0x01200011, 0, 0, 0, 0)",
    "raw clone3": (
        f"{NATIVE}import struct\n"
        "fork_by(435, struct.pack('<11Q', 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)"
    ),
    "raw execve": raw("59, b'/bin/true', None, None"),
    "raw execveat": raw("322, -100, b'/bin/true', None, None, 0"),
    "a thread that shares nothing": raw("56, 0x10000, 0, 0, 0, 0"),
    "a thread with descriptors of its own": raw("56, 0x10B00, 0, 0, 0, 0"),
}  # fmt: skip
NETWORK = {
    "TCP": f"import socket; socket.create_connection(('127.0.0.1', PORT)){GOT}",
    "UDP": (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"s.sendto(b'x', ('127.0.0.1', PORT)){GOT}"
    ),
    "a server": f"import socket; socket.create_server(('127.0.0.1', 0)){GOT}",
    "a local socket": CONNECT.format(kind="socket.AF_UNIX", where="SCRATCH + '/socket'"),
    "an abstract socket": CONNECT.format(kind="socket.AF_UNIX", where="chr(0) + ABSTRACT"),
    "netlink": f"import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0){GOT}",
    "raw packets": f"import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1){GOT}",
    "resolving a name": f"import socket; socket.getaddrinfo('localhost', 80){GOT}",
    "HTTP": f"import http.client; http.client.HTTPConnection('127.0.0.1', PORT).connect(){GOT}",
    "asyncio": f"import asyncio; asyncio.run(asyncio.open_connection('127.0.0.1', PORT)){GOT}",
    "a pair's datagram to an address": (
        "import socket\na, b = socket.socketpair(type=socket.SOCK_DGRAM)\n"
        f"a.sendto(b'x', SCRATCH + '/datagrams'){GOT}"
    ),
    "a pair connected elsewhere": (
        "import socket\na, b = socket.socketpair(type=socket.SOCK_DGRAM)\n"
        f"a.connect(SCRATCH + '/datagrams'){GOT}"
    ),
    "a pair bound to a path": (
        "import socket\na, b = socket.socketpair(type=socket.SOCK_DGRAM)\n"
        f"a.bind(SCRATCH + '/bound'){GOT}"
    ),
    "descriptors passed on": (
        "import socket\na, b = socket.socketpair()\n"
        f"socket.send_fds(a, [b'x'], [a.fileno()]){GOT}"
    ),
    "raw socket and connect": raw("41, 2, 1, 0", "42, 3, bytes(16), 16"),
    "raw listen and accept": raw("50, 3, 1", "43, 3, None, None", "288, 3, None, None, 0"),
    "raw messages": raw("46, 3, None, 0", "307, 3, None, 1, 0", "299, 3, None, 1, 0, None"),
    "raw network pair": raw("53, 2, 1, 0, bytes(8)"),
    "urgent bytes": (
        f"{NATIVE}import socket\na, b = socket.socketpair()\n"
        "call(44, a.fileno(), b'x', 1, 1, None, 0); call(45, b.fileno(), bytes(8), 8, 1, None, 0)\n"
        "call(47, b.fileno(), bytes(56), 1)"
    ),
}  # fmt: skip
READING = {
    "open": f"open(SCRATCH + '/secret').read(){GOT}",
    "os.open": f"import os; os.open(SCRATCH + '/secret', 0){GOT}",
    "pathlib": f"import pathlib; pathlib.Path(SCRATCH, 'secret').read_text(){GOT}",
    "an unbuffered file": f"import io; io.FileIO(SCRATCH + '/secret').read(){GOT}",
    "linecache": (
        "import linecache\nif linecache.getlines(SCRATCH + '/secret'): print('ESCAPED')"
    ),
    "importing from a folder": (
        f"import sys; sys.path.insert(0, SCRATCH); import planted_by_the_host{GOT}"
    ),
    "a folder as a place": f"import os; os.open('/', os.O_PATH){GOT}",
    "listing": f"import os; os.listdir(SCRATCH){GOT}",
    "walking": "import os\nif list(os.walk(SCRATCH)): print('ESCAPED')",
    "stat": f"import os; os.stat(SCRATCH){GOT}",
    "exists": "import pathlib\nif pathlib.Path(SCRATCH).exists(): print('ESCAPED')",
    "access": "import os\nif os.access(SCRATCH, os.F_OK): print('ESCAPED')",
    "a link's target": f"import os; os.readlink('/proc/self/exe'){GOT}",
    "the working directory": f"import os; os.getcwd(){GOT}",
    "another working directory": f"import os; os.chdir(SCRATCH){GOT}",
    "the file system": f"import os; os.statvfs('/'){GOT}",
    "attributes": f"import os; os.listxattr(SCRATCH){GOT}",
    "users": f"import pwd; pwd.getpwuid(0){GOT}",
    "open through libc": (
        f"{NATIVE}if libc.open(path + b'/secret', 0) >= 0: print('ESCAPED')"
    ),
    "raw open": raw("2, path + b'/secret', 0"),
    "raw openat": raw("257, -100, path + b'/secret', 0"),
    "raw openat2": raw("437, -100, path + b'/secret', bytes(24), 24"),
    "raw stat": raw("4, path, bytes(256)", "6, path, bytes(256)", "262, -100, path, bytes(256), 0"),
    "raw statx": raw("332, -100, path, 0, 0x7ff, bytes(256)"),
    "raw fstat": raw("5, -1, bytes(256)"),
    "raw access": raw("21, path, 0", "269, -100, path, 0", "439, -100, path, 0, 0"),
    "raw directory": raw("78, -1, bytes(64), 64", "217, -1, bytes(64), 64", "79, bytes(99), 99"),
    "a file's handle": raw("303, -100, path, bytes(64), bytes(8), 0", "304, -1, bytes(64), 0"),
    "watching files": raw("294, 0", "300, 0, 0"),
    "moving bytes between descriptors": raw(
        "40, -1, -1, None, 1", "275, -1, None, -1, None, 1, 0", "326, -1, None, -1, None, 1, 0",
        "278, -1, None, 0, 0", "276, -1, -1, 1, 0",
    ),
}  # fmt: skip
SECRETS = {
    "the host's environment": f"open(f'/proc/{{HOST}}/environ', 'rb').read(){GOT}",
    "the host's command": f"open(f'/proc/{{HOST}}/cmdline').read(){GOT}",
    "the host's memory": f"open(f'/proc/{{HOST}}/mem', 'rb'){GOT}",
    "the host's map": f"open(f'/proc/{{HOST}}/maps').read(){GOT}",
    "the host's descriptors by name": f"import os; os.listdir(f'/proc/{{HOST}}/fd'){GOT}",
    "the host's standard input": f"open(f'/proc/{{HOST}}/fd/0'){GOT}",
    "its own environment": f"open('/proc/self/environ').read(){GOT}",
    "its own memory as a file": f"open('/proc/self/mem', 'rb'){GOT}",
    "os.environ": "import os\nif SECRET in str(os.environ): print('ESCAPED')",
    "objects in memory": (
        # From Python 3.14 on the dict of interned names is among them: each name to itself.
        "import gc\ngc.unfreeze()\nname = 'RLM_API_KEY'\n"
        "dicts = [o for o in gc.get_objects() if isinstance(o, dict)]\n"
        "if any(o.get(name, name) != name for o in dicts): print('ESCAPED')"
    ),
    "an open file": (
        "import os\nfor fd in range(3, 1024):\n"
        "    try: os.lseek(fd, 0, os.SEEK_CUR); print('ESCAPED', fd)\n"
        "    except OSError: pass"
    ),
}  # fmt: skip
WRITING = {
    "open": f"open(SCRATCH + '/new', 'w'){GOT}",
    "append": f"open(SCRATCH + '/secret', 'a').write('x'){GOT}",
    "an unnamed file": f"import os; os.open(SCRATCH, os.O_TMPFILE | os.O_WRONLY){GOT}",
    "a temporary file": f"import tempfile; tempfile.TemporaryFile(){GOT}",
    "a database": (
        f"import sqlite3; sqlite3.connect(SCRATCH + '/db').execute('create table t (x)'){GOT}"
    ),
    "a folder": f"import os; os.mkdir(SCRATCH + '/folder'){GOT}",
    "deleting": f"import os; os.unlink(SCRATCH + '/to delete'){GOT}",
    "truncating": f"import os; os.truncate(SCRATCH + '/kept', 1){GOT}",
    "raw creat": raw("85, path + b'/created', 0o600"),
    "raw mkdir": raw("83, path + b'/made', 0o700", "258, -100, path + b'/made too', 0o700"),
    "raw unlink": raw("87, path + b'/none'", "263, -100, path + b'/none', 0", "84, path + b'/no'"),
    "raw rename": raw(
        "82, path + b'/a', path + b'/b'", "264, -100, path + b'/a', -100, path + b'/b'",
        "316, -100, path + b'/a', -100, path + b'/b', 0",
    ),
    "raw truncation and space": raw("76, path + b'/none', 0", "77, -1, 0", "285, -1, 0, 0, 1"),
    "syncing every disk": raw("162"),
}  # fmt: skip
LINKS = {
    "a symbolic link": f"import os; os.symlink('/', SCRATCH + '/root'){GOT}",
    "a hard link": f"import os; os.link(SCRATCH + '/kept', SCRATCH + '/hard'){GOT}",
    "a fifo": f"import os; os.mkfifo(SCRATCH + '/fifo'){GOT}",
    "renaming": f"import os; os.rename(SCRATCH + '/to rename', SCRATCH + '/renamed'){GOT}",
    "a mode": f"import os; os.chmod(SCRATCH + '/kept', 0o700){GOT}",
    "an owner": f"import os; os.chown(SCRATCH + '/kept', -1, -1){GOT}",
    "times": f"import os; os.utime(SCRATCH + '/kept'){GOT}",
    "an attribute": raw("188, path, b'user.x', b'y', 1, 0"),
    "raw links": raw(
        "86, path + b'/n', path + b'/m'", "88, b'/', path + b'/l'",
        "265, -100, path + b'/n', -100, path + b'/m', 0", "266, b'/', -100, path + b'/k'",
    ),
    "raw modes and owners": raw(
        "90, path, 0o700", "268, -100, path, 0o700", "92, path, -1, -1",
        "260, -100, path, -1, -1, 0", "91, -1, 0o600", "93, -1, -1, -1",
    ),
    "a raw node": raw("133, path + b'/node', 0o10600, 0", "259, -100, path + b'/n2', 0o10600, 0"),
    "the mask": raw("95, 0o777"),
}  # fmt: skip
CODE_PAGES = {
    "executable pages": f"import mmap; mmap.mmap(-1, 4096, prot=7){GOT}",
    "pages to execute only": f"import mmap; mmap.mmap(-1, 4096, prot=4){GOT}",
    "executable pages later": (
        NATIVE + "import mmap\npages = mmap.mmap(-1, 4096)\n"
        "at = ctypes.addressof(ctypes.c_char.from_buffer(pages))\ncall(10, at, 4096, 7)"
    ),
    "executable pages by a protection key": (
        NATIVE + "import mmap\npages = mmap.mmap(-1, 4096)\n"
        "at = ctypes.addressof(ctypes.c_char.from_buffer(pages))\ncall(329, at, 4096, 7, -1)"
    ),
    "rewriting the C library": (
        f"{NATIVE}at = ctypes.cast(libc.getpid, ctypes.c_void_p).value & -4096\n"
        "call(10, at, 4096, 7)"
    ),
    "pages that are executable when readable": raw("135, 0x0400000"),
    "other pages in their place": raw("216, 0, 0, 0, 0, 0"),
    "ctypes itself": f"import ctypes; ctypes.CDLL(None){GOT}",
    "a library": NATIVE + f"ctypes.CDLL('libBrokenLocale.so.1'){GOT}",
    "an extension module": (
        "import importlib.machinery as m\nname, path = 'regex._regex', SCRATCH + '/planted.so'\n"
        "spec = m.ModuleSpec(name, None, origin=path)\n"
        f"m.ExtensionFileLoader(name, path).create_module(spec){GOT}"
    ),
}  # fmt: skip
IO_URING = {
    "setting up": raw("425, 1, bytes(120)"),
    "submitting": raw("426, 0, 0, 0, 0, None, 0"),
    "registering": raw("427, -1, 0, None, 0"),
    "the older asynchronous files": raw("206, 1, bytes(8)", "209, 0, 1, None"),
}  # fmt: skip
TRACING = {
    "ptrace": raw("101, 2, HOST, 0, 0"),
    "reading the host's memory": (
        f"{NATIVE}import struct\nheld = ctypes.create_string_buffer(8)\n"
        "local = struct.pack('QQ', ctypes.addressof(held), 8)\n"
        "call(310, HOST, local, 1, struct.pack('QQ', 4096, 8), 1, 0)"
    ),
    "writing the host's memory": raw("311, HOST, None, 0, None, 0, 0"),
    "advising on the host's memory": raw("440, -1, None, 0, 0, 0", "448, -1, 0"),
    "moving the host's pages": raw("279, HOST, 0, None, None, None, 0", "256, HOST, 0, None, None"),
    "comparing with the host": raw("312, HOST, HOST, 0, 0, 0"),
    "the host's locks": raw("274, HOST, bytes(8), bytes(8)"),
}  # fmt: skip
HOST_DESCRIPTORS = {
    "a descriptor of the host": raw("434, HOST, 0"),
    "one of the host's files": (
        f"{NATIVE}handle = system_call(434, HOST, 0)\n"
        "if system_call(438, handle, 0, 0) >= 0: print('ESCAPED')"
    ),
    "raw pidfd_getfd": raw("438, -1, 0, 0"),
    "the host's files by path": f"import os; os.open(f'/proc/{{HOST}}/fd/0', os.O_RDONLY){GOT}",
}  # fmt: skip
SIGNALS = {
    "the host": f"import os; os.kill(HOST, 0){GOT}",
    "its group": f"import os; os.killpg(GROUP, 0){GOT}",
    "everyone": f"import os; os.kill(-1, 0){GOT}",
    "a thread of the host": raw("234, HOST, HOST, 0", "200, HOST, 0"),
    "queued": raw(
        "129, HOST, 0, bytes(8) + bytes([255] * 4) + bytes(116)",
        "297, HOST, HOST, 0, bytes(8) + bytes([255] * 4) + bytes(116)",
    ),
    "by a descriptor": raw("424, -1, 0, None, 0"),
    "through the owner of a socket": (
        "import fcntl, socket\na, b = socket.socketpair()\n"
        f"fcntl.fcntl(a, fcntl.F_SETOWN, HOST){GOT}"
    ),
    "through the signal of a socket": (
        f"import fcntl, socket\na, b = socket.socketpair()\nfcntl.fcntl(a, 10, 9){GOT}"
    ),
    "ignoring interrupts": f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN){GOT}",
    "raw actions": raw("13, 2, None, None, 8"),
    "alarms": f"import signal; signal.setitimer(signal.ITIMER_REAL, 60){GOT}",
    "timers": raw("222, 0, None, bytes(8)", "283, 0, 0", "37, 60"),
    "outliving the host": f"{NATIVE}if libc.prctl(1, 0, 0, 0, 0) == 0: print('ESCAPED')",
    "another signal when the host ends": (
        f"{NATIVE}if libc.prctl(1, 10, 0, 0, 0) == 0: print('ESCAPED')"
    ),
}  # fmt: skip
LIMITS = {
    "memory": f"import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1)){GOT}",
    "open files": f"import resource; resource.setrlimit(7, (512, 1024)){GOT}",
    "size of files": f"import resource; resource.setrlimit(1, (1 << 20, 1 << 20)){GOT}",
    "the host's limits": raw("302, HOST, 4, bytes(16), None"),
    "reading the host's limits": raw("302, HOST, 7, None, bytes(16)"),
    "last to go when memory ends": f"open('/proc/self/oom_score_adj', 'w').write('999'){GOT}",
    "priority": f"import os; os.setpriority(os.PRIO_PROCESS, 0, 19){GOT}",
    "scheduling": f"import os; os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)){GOT}",
    "processors": f"import os; os.sched_setaffinity(0, os.sched_getaffinity(0)){GOT}",
    "the host's processors": raw("204, HOST, 128, bytes(128)"),
    "locked memory": raw("149, 0, 0", "151, 1", "325, 0, 0, 0"),
    "input and output first": raw("251, 1, 0, 0x4000"),
    # The last one: it leaves no memory to make another with.
    "raw limits": raw("160, 9, bytes(16)", "302, 0, 9, b'\\xff' * 16, None"),
}  # fmt: skip
KERNEL = {
    "bpf": raw("321, 0, bytes(128), 128"),
    "userfaultfd": raw("323, 1"),
    "the keyring": raw("250, 0, -3, 0, 0, 0"),
    "adding a key": raw("248, b'user', b'x', b'y', 1, -1"),
    "requesting a key": raw("249, b'user', b'x', None, 0"),
    "performance counters": (
        f"{NATIVE}import struct\n"
        "call(298, struct.pack('<II4QQ', 1, 64, 0, 0, 0, 0, 0x61) + bytes(64), 0, -1, -1, 0)"
    ),
    "the kernel's log": raw("103, 10, None, 0"),
    "modules": raw("175, None, 0, None", "313, -1, None, 0", "176, None, 0"),
    "another kernel": raw("246, 0, 0, None, -1", "320, -1, -1, 0, None, -1"),
    "restarting the machine": raw("169, 0, 0, 0, None"),
    "swap": raw("167, None, 0", "168, None"),
    "accounting and quotas": raw("163, 1", "179, 0, None, 0, None"),
    "ports of devices": raw("172, 4", "173, 0, 1, 0"),
    "segments": raw("154, 0, bytes(16), 16"),
    "the clock": raw("227, 0, None", "305, 0, None", "159, None", "164, 1, None"),
    "the machine's name": raw("170, None, -1", "171, None, -1"),
    "another filter": raw("317, 1, 0, None", "317, 1, 8, None"),
    "a rule set": raw("444, None, 0, 1"),
    "memory policy": raw("239, None, None, 0, None, 0", "238, 0, None, 0"),
    "system information": raw("99, bytes(128)"),
}  # fmt: skip
NAMESPACES = {
    "unshare": raw("272, 0x10000000"),
    "unshare nothing": raw("272, 0"),
    "setns": raw("308, -1, 0"),
    "mount": raw("165, None, None, None, 0, None"),
    "unmount": raw("166, None, 0"),
    "another root": raw("161, b'/'", "155, None, None"),
    "detached mounts": raw("428, -1, b'', 0", "429, -1, b'', -1, b'', 0", "432, -1, 0, 0"),
    "file systems": raw("430, None, 0", "431, -1, 0, None, None, 0", "433, -1, b'', 0"),
    "attributes of a mount": raw("442, -1, b'', 0, None, 0"),
    "a thread in a namespace": raw("56, 0x10000000 | 0x10f00, 0, 0, 0, 0"),
}  # fmt: skip
INTERRUPT_80 = (
    f"{NATIVE}at = ctypes.cast(libc.syscall, ctypes.c_void_p).value\n"
    "start = at - (256 << 10)\nhere = ctypes.string_at(start, 512 << 10).index(b'\\xcd\\x80')\n"
    "ctypes.CFUNCTYPE(ctypes.c_int)(start + here)()" + GOT
)
ABIS = {
    "x32 numbers": f"{NATIVE}libc.syscall(ctypes.c_long(0x40000002), b'/etc', 0){GOT}",
    "int 0x80 found in the C library": INTERRUPT_80,
    "int 0x80 in pages of its own": (
        f"{NATIVE}import mmap\npages = mmap.mmap(-1, 4096, prot=7)\n"
        "pages.write(bytes.fromhex('b814000000cd80c3'))\n"
        "at = ctypes.addressof(ctypes.c_char.from_buffer(pages))\n"
        f"ctypes.CFUNCTYPE(ctypes.c_int)(at)(){GOT}"
    ),
}  # fmt: skip
BOMBS = {
    "processes": f"import os\nfor _ in range(32):\n    if os.fork() == 0: os._exit(0){GOT}",
    "threads": (
        "import _thread, threading, time\nthreading.stack_size(1 << 16)\n"
        "for _ in range(600): _thread.start_new_thread(time.sleep, (60,))\ntime.sleep(60)"
    ),
    "memory behind a file": (
        f"import os\nfd = os.memfd_create('x')\nos.write(fd, bytes(64 << 20)){GOT}"
    ),
    "secret memory": raw("447, 0"),
    "shared memory": (
        f"{NATIVE}made = system_call(29, 0, 4096, 0o600)\n"
        "if made >= 0: system_call(31, made, 0, None); print('ESCAPED')"
    ),
    "shared memory of others": raw("30, -1, None, 0", "31, -1, 2, None"),
    "semaphores": (
        f"{NATIVE}made = system_call(64, 0, 1, 0o600)\n"
        "if made >= 0: system_call(66, made, 0, 0, 0); print('ESCAPED')"
    ),
    "queues": (
        f"{NATIVE}made = system_call(68, 0, 0o600)\n"
        "if made >= 0: system_call(71, made, 0, None); print('ESCAPED')"
    ),
    "named queues": raw("240, None, 0, 0, None", "241, None"),
    "the disk": f"open(SCRATCH + '/large', 'wb').write(bytes(64 << 20)){GOT}",
    "many files": f"for n in range(300): open(f'{{SCRATCH}}/{{n}}', 'w').close(){GOT}",
    "many sockets": (
        "import socket\nheld = []\n"
        "try:\n    for _ in range(100): held.append(socket.socketpair())\n"
        f"finally: held.clear(){GOT}"
    ),
    "memory": f"held = []\nfor _ in range(64): held.append(bytes(16 << 20)){GOT}",
}  # fmt: skip
OBJECTS = {
    "subclasses of object": (
        "import os\nkinds = object.__subclasses__()\n"
        "found = next(kind for kind in kinds if kind.__name__ == '_wrap_close')\n"
        "if found.__init__.__globals__['system']('true') == 0: print('ESCAPED')"
    ),
    "frames above the cell": (
        "import sys\nframe = sys._getframe()\n"
        "while 'Notebook' not in frame.f_globals: frame = frame.f_back\n"
        f"frame.f_globals['sys'].modules['os'].listdir(SCRATCH){GOT}"
    ),
    "the globals of our functions": (
        f"llm_query.__globals__['sys'].modules['os'].listdir(SCRATCH){GOT}"
    ),
    "the builtins of a traceback": (
        "try: 1 / 0\nexcept ZeroDivisionError as e: frame = e.__traceback__.tb_frame\n"
        f"frame.f_back.f_builtins['open'](SCRATCH + '/secret').read(){GOT}"
    ),
    "a module inside a module": f"import random; random._os.listdir(SCRATCH){GOT}",
    "a pickle": (
        "import pickle\nif pickle.loads(b\"cos\\nsystem\\n(S'true'\\ntR.\") == 0: print('ESCAPED')"
    ),
    "ctypes among the garbage": f"{NATIVE}if libc.opendir(path): print('ESCAPED')",
    "fork_exec without its module": (
        "import _posixsubprocess, subprocess\n"
        f"subprocess.Popen.__init__(object.__new__(subprocess.Popen), ['/bin/true']){GOT}"
    ),
}  # fmt: skip
OUTPUT = {
    "what the host writes to": f"open(f'/proc/{{HOST}}/fd/{{OUTPUT}}', 'ab'){GOT}",
    "what the host writes to, by its thread": (
        f"open(f'/proc/{{HOST}}/task/{{HOST}}/fd/{{OUTPUT}}', 'ab'){GOT}"
    ),
    "descriptors 1 and 2": "import os\nos.write(1, b'ESCAPED'); os.write(2, b'ESCAPED')",
}  # fmt: skip
TERMINALS = {
    "a terminal": f"import os; os.openpty(){GOT}",
    "the host's terminal": f"import os; os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY){GOT}",
    "keys pushed into the host's terminal": (
        "import fcntl, os, termios\nfd = os.open(TERMINAL, os.O_RDWR)\n"
        f"fcntl.ioctl(fd, termios.TIOCSTI, b'x'){GOT}"
    ),
    "the multiplexer": f"import os; os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY){GOT}",
    "hanging up": raw("153"),
}  # fmt: skip
IDENTITIES = {
    "another user": f"import os; os.setuid(1){GOT}",
    "another group": f"import os; os.setgid(1){GOT}",
    "the same user": f"import os; os.setuid(os.getuid()){GOT}",
    "groups": f"import os; os.setgroups([]){GOT}",
    "raw users": raw("117, -1, -1, -1", "119, -1, -1, -1", "113, -1, -1", "114, -1, -1"),
    "raw file users": raw("122, -1", "123, -1"),
    "capabilities": raw("126, None, None"),
    "reading capabilities": raw("125, bytes(8), None"),
    "dumpable again": f"{NATIVE}if libc.prctl(4, 1, 0, 0, 0) == 0: print('ESCAPED')",
    "keeping capabilities": f"{NATIVE}if libc.prctl(8, 0, 0, 0, 0) == 0: print('ESCAPED')",
    "ambient capabilities": f"{NATIVE}if libc.prctl(47, 4, 0, 0, 0) == 0: print('ESCAPED')",
    "rewriting its own description": f"{NATIVE}call(157, 35, 15, 0, 0, 0)",
    "a thread's registers": raw("158, 0x1002, 0"),
}  # fmt: skip
WAIT_FOR_THE_NEXT_CELL = (
    "import time\nfor _ in range(10): seen or time.sleep(0.1)\nif seen: print('ESCAPED')"
)
LATE = {
    "a thread that goes on": (
        "import _thread, os, time\nseen = []\ndef later():\n    while not seen:\n"
        "        try: time.sleep(0.1); seen.append(os.listdir(SCRATCH))\n"
        "        except BaseException: pass\n"
        f"_thread.start_new_thread(later, ()){NEXT}{WAIT_FOR_THE_NEXT_CELL}"
    ),
    "a thread that forks in the next cell": (
        "import _thread, os, time\nseen = []\ndef later():\n    while not seen:\n"
        "        try:\n            time.sleep(0.1)\n            if os.fork() == 0: os._exit(0)\n"
        "            seen.append(1)\n        except BaseException: pass\n"
        f"_thread.start_new_thread(later, ()){NEXT}{WAIT_FOR_THE_NEXT_CELL}"
    ),
    "code in the thread that reads the wire": (
        "import os, sys\nseen = []\n"
        "def spied(splitter, chunk):\n"
        "    try: seen.append(os.listdir(SCRATCH))\n"
        "    except OSError: pass\n"
        "    return honest(splitter, chunk)\n"
        "for frame in sys._current_frames().values():\n"
        "    while frame:\n"
        "        if 'splitter' in frame.f_locals:\n"
        "            splitter = type(frame.f_locals['splitter'])\n"
        "            honest, splitter.feed = splitter.feed, spied\n"
        f"        frame = frame.f_back\n{NEXT}{WAIT_FOR_THE_NEXT_CELL}"
    ),
    "a collection of garbage between two cells": (
        "import gc, os\nseen = []\ndef collected(*_):\n"
        "    try: seen.append(os.listdir(SCRATCH))\n    except OSError: pass\n"
        f"gc.callbacks.append(collected){NEXT}import gc; gc.collect()\n{WAIT_FOR_THE_NEXT_CELL}"
    ),
}  # fmt: skip
# A box with checkpoints lets a guest fork once before each cell, and code of earlier cells can
# make that fork its own. What must not be: a process beside the cell's that lives on after it.
STILL_ALIVE = (
    "import os, time\ntime.sleep(0.3)\n"
    "if os.waitpid(child, os.WNOHANG) == (0, 0): print('ESCAPED', child)"
)
CHILD = "import os, time\nchild = os.fork()\nif child == 0: time.sleep(20); os._exit(0)"
CHECKPOINTS = {
    "a copy that outlives its cell": (
        "import gc, os, time\ngc.unfreeze()\nlingers = True\n"
        "held = next(o for o in gc.get_objects() if type(o).__name__ == 'Checkpoints')\n"
        "import sys\nsys.modules.pop('posix')\nimport posix\n"
        "posix.register_at_fork(after_in_child=lambda: lingers and time.sleep(20))"
        f"{NEXT}child, held._copy, lingers = held._copy, None, False{NEXT}{STILL_ALIVE}"
    ),
    "a child in place of the copy": (
        "import os\nreal, os.fork = os.fork, lambda: 1 << 30"
        f"{NEXT}import os\nos.fork = real\n{CHILD}{NEXT}{STILL_ALIVE}"
    ),
    "a child made while the copy is": (
        "import os, time\nchild = None\ndef fork_first():\n    global child\n"
        "    if child is None:\n        child = 0\n        child = os.fork()\n"
        "        if child == 0: time.sleep(20); os._exit(0)\n"
        "import sys\nsys.modules.pop('posix')\nimport posix\n"
        f"posix.register_at_fork(before=fork_first){NEXT}child{NEXT}{STILL_ALIVE}"
    ),
    "a child where a thread forbids the copy": (
        "import _thread, time\nover = False\ndef stubborn():\n    while not over:\n"
        "        try: time.sleep(0.1)\n        except BaseException: pass\n"
        f"_thread.start_new_thread(stubborn, ()){NEXT}over = True\n{CHILD}{NEXT}{STILL_ALIVE}"
    ),
}  # fmt: skip
CALL = {"t": "call", "id": 9, "kind": "llm", "batched": False, "requests": [["p", None, None]]}
FORGERY = {
    "garbage": forged(b"garbage that is no frame"),
    "the largest frame": forged(struct.pack("<II", 0xFFFFFFFF, 1)),
    "a header longer than its frame": forged(struct.pack("<II", 100, 4000) + bytes(92)),
    "a deep header": forged(struct.pack("<II", 200_008, 200_000) + b"[" * 200_000),
    "a second hello": forged(frame({"t": "hello", "python": "9", "layers": [], "probes": []})),
    "an unknown message": forged(frame({"t": "shell", "command": "id"})),
    "an unknown call": forged(frame({**CALL, "kind": "shell"})),
    "wrong types": forged(frame({**CALL, "requests": [[1, 2, 3]]})),
    "the end of another cell": forged(frame({"t": "done", "number": 1 << 40, "status": "ok"})),
}  # fmt: skip
ATTEMPTS = {
    "processes": PROCESSES,
    "network": NETWORK,
    "reading": READING,
    "secrets": SECRETS,
    "writing": WRITING,
    "links and permissions": LINKS,
    "executable pages and libraries": CODE_PAGES,
    "io_uring": IO_URING,
    "tracing and foreign memory": TRACING,
    "descriptors of the host": HOST_DESCRIPTORS,
    "signals": SIGNALS,
    "limits": LIMITS,
    "kernel interfaces": KERNEL,
    "namespaces and mounts": NAMESPACES,
    "other system call ABIs": ABIS,
    "bombs": BOMBS,
    "object graph": OBJECTS,
    "the host's output": OUTPUT,
    "terminals": TERMINALS,
    "identities": IDENTITIES,
    "late threads": LATE,
    "checkpoints": CHECKPOINTS,
    "protocol forgery": FORGERY,
}
# Attempts that end the guest, and what the host then says of its end.
DEADLY = {
    "other system call ABIs: x32 numbers": "Bad system call",
    "other system call ABIs: int 0x80 found in the C library": "Bad system call",
    "bombs: threads": "threads, and 512 are allowed",
    **{f"protocol forgery: {name}": "broke the protocol" for name in FORGERY},
}
ROOT = "only root may do it at all"
HOST_SIDE = "the host stops it in every box"
SCRUBBED = "no guest is given the host's environment"
KERNEL_DECIDES = "some kernels keep it for root or lack it"
# Attempts that need not succeed without a box.
UNSURE = {
    "processes: raw vfork": "the child runs on its parent's stack, which either may not survive",
    "network: raw packets": ROOT,
    "limits: locked memory": KERNEL_DECIDES,
    "secrets: os.environ": SCRUBBED,
    "secrets: objects in memory": SCRUBBED,
    **{f"io_uring: {name}": KERNEL_DECIDES for name in IO_URING},
    **{
        f"kernel interfaces: {name}": KERNEL_DECIDES
        for name in ("bpf", "userfaultfd", "performance counters", "the kernel's log", "segments")
    },
    **{
        f"kernel interfaces: {name}": ROOT
        for name in (
            "modules", "another kernel", "restarting the machine", "swap", "ports of devices",
            "the machine's name", "accounting and quotas",
        )
    },
    "namespaces and mounts: another root": ROOT,
    "bombs: threads": HOST_SIDE,
    "bombs: memory": HOST_SIDE,
    "bombs: secret memory": KERNEL_DECIDES,
    "terminals: keys pushed into the host's terminal": KERNEL_DECIDES,
    "terminals: hanging up": ROOT,
    "the host's output: descriptors 1 and 2": "they are the null device in every box",
    "identities: another user": ROOT,
    "identities: another group": ROOT,
    "identities: groups": ROOT,
    **{f"checkpoints: {name}": HOST_SIDE for name in CHECKPOINTS},
    **{f"protocol forgery: {name}": HOST_SIDE for name in FORGERY},
}  # fmt: skip
