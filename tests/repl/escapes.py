"""Attempts to get out of a box, each printing ESCAPED if it succeeds, and a host that makes them.

Run by test_linux_box.py in a process of its own: `escapes.py CACHE [uid]` prints what got through.
"""

import json
import os
import sys
from pathlib import Path

import anyio

from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import Cell, ReplLimits, ReplSpec

SECRET = "sk-this-must-never-be-seen"
NATIVE = """
import gc, os
gc.unfreeze()
modules = [o for o in gc.get_objects() if getattr(o, "__name__", "") == "ctypes"]
ctypes = next((o for o in modules if hasattr(o, "CDLL")), None)
libc = next((o for o in gc.get_objects() if type(o).__name__ == "CDLL"), None)
if libc is None: print("ESCAPED is not known: there is nothing to try it with")
def call(number, *arguments):
    ctypes.set_errno(0)
    words = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result != -1 or ctypes.get_errno() not in (1, 38):
        print("ESCAPED", number, result, ctypes.get_errno())
"""
GOT = "\nprint('ESCAPED')"
FATAL = "a second system call table"
ATTEMPTS = {
    "read a file": f"open('/etc/passwd').read(){GOT}",
    "read a file with os": f"import os; os.open('/etc/passwd', 0){GOT}",
    "open the folder": f"import os; os.open('/', os.O_PATH){GOT}",
    "list a folder": f"import os; os.listdir('/'){GOT}",
    "walk": "import os\nif list(os.walk('/')): print('ESCAPED')",
    "stat": f"import os; os.stat('/etc'){GOT}",
    "exists": "import pathlib\nif pathlib.Path('/etc').exists(): print('ESCAPED')",
    "read a link": f"import os; os.readlink('/proc/self/exe'){GOT}",
    "working directory": f"import os; os.getcwd(); os.chdir('/tmp'){GOT}",
    "write a file": f"open('/tmp/rlm-escape', 'w'){GOT}",
    "unnamed file": f"import os; os.open('/tmp', os.O_TMPFILE | os.O_WRONLY){GOT}",
    "make a folder": f"import os; os.mkdir('/tmp/rlm-escape'){GOT}",
    "temporary file": f"import tempfile; tempfile.TemporaryFile(){GOT}",
    "memory file": f"import os; os.memfd_create('x'){GOT}",
    "delete": f"import os; os.unlink('/tmp/rlm-escape-not-there'){GOT}",
    "change a mode": f"import os; os.chmod('/', 0o777){GOT}",
    "environment of the host": f"import os; open(f'/proc/{{os.getppid()}}/environ').read(){GOT}",
    "own environment": f"open('/proc/self/environ').read(){GOT}",
    "secrets in os.environ": f"import os\nif {SECRET!r} in str(os.environ): print('ESCAPED')",
    "memory of the host": f"import os; open(f'/proc/{{os.getppid()}}/mem', 'rb'){GOT}",
    "descriptors": (
        "import fcntl\nheld = []\nfor fd in range(3, 1024):\n"
        "    try: fcntl.fcntl(fd, fcntl.F_GETFD); held.append(fd)\n"
        "    except OSError: pass\nif len(held) != 1: print('ESCAPED', held)"
    ),
    "network": f"import socket; socket.socket(){GOT}",
    "datagrams": f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM){GOT}",
    "local socket": f"import socket; socket.socket(socket.AF_UNIX){GOT}",
    "resolve a name": f"import socket; socket.getaddrinfo('localhost', 80){GOT}",
    "http": f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:1'){GOT}",
    "shell": "import os\nif os.system('true') == 0: print('ESCAPED')",
    "popen": f"import os; os.popen('id').read(){GOT}",
    "subprocess": f"import subprocess; subprocess.run(['true']){GOT}",
    "posix_spawn": f"import os; os.posix_spawn('/bin/true', ['true'], {{}}){GOT}",
    "exec": "import os; os.execv('/bin/true', ['true'])",
    "fork": f"import os\nif os.fork() == 0: os._exit(0){GOT}",
    "terminal": f"import os; os.openpty(){GOT}",
    "signal the host": f"import os; os.kill(os.getppid(), 0){GOT}",
    "signal everyone": f"import os; os.kill(-1, 0){GOT}",
    "ignore interrupts": f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN){GOT}",
    "raise the memory limit": (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1)){GOT}"
    ),
    "raise the file limit": f"import resource; resource.setrlimit(7, (4096, 4096)){GOT}",
    "another user": f"import os; os.setuid(0); os.setgid(0){GOT}",
    "executable pages": f"import mmap; mmap.mmap(-1, 4096, prot=7){GOT}",
    "executable pages later": (
        NATIVE + "import mmap\npages = mmap.mmap(-1, 4096)\n"
        "at = ctypes.addressof(ctypes.c_char.from_buffer(pages))\ncall(10, at, 4096, 7)"
    ),
    "import ctypes": f"import ctypes; ctypes.CDLL(None){GOT}",
    "load a library": NATIVE + f"ctypes.CDLL('libBrokenLocale.so.1'){GOT}",
    "system through libc": NATIVE + "if libc.system(b'true') == 0: print('ESCAPED')",
    "open through libc": NATIVE + "if libc.open(b'/etc/passwd', 0) >= 0: print('ESCAPED')",
    "raw files": f"""{NATIVE}
call(2, b'/etc/passwd', 0); call(257, -100, b'/etc/passwd', 0); call(437, -100, b'/', None, 24)
call(4, b'/', bytes(256)); call(332, -100, b'/', 0, 0, 0)""",
    "raw processes": f"""{NATIVE}
call(57); call(58); call(56, 17, 0, 0, 0, 0); call(435, bytes(88), 88)
call(59, b'/bin/true', None, None); call(322, -100, b'/bin/true', None, None, 0)""",
    "raw tracing": f"""{NATIVE}
ppid = os.getppid()
call(101, 16, ppid, 0, 0); call(101, 0, 0, 0, 0); call(310, ppid, None, 0, None, 0, 0)
call(311, ppid, None, 0, None, 0, 0); call(312, ppid, ppid, 0, 0, 0)
call(434, ppid, 0); call(438, 3, 3, 0)""",
    "raw signals": f"""{NATIVE}
call(62, os.getppid(), 0); call(234, 1, 1, 0); call(129, 1, 0, None); call(13, 2, None, None, 8)""",
    "raw network": f"""{NATIVE}
call(41, 2, 1, 0); call(53, 2, 1, 0, bytes(8)); call(42, 3, bytes(16), 16)
call(44, 3, b'x', 1, 0, bytes(16), 16); call(46, 3, bytes(56), 0)""",
    "raw kernel": f"""{NATIVE}
for n in (425, 321, 298, 323, 250, 248, 249, 246, 313, 175, 169, 167, 103):
    call(n, 0, 0, 0, 0, 0)""",
    "raw namespaces": f"""{NATIVE}
for n in (165, 166, 272, 308, 161, 155, 428, 429, 430, 442, 170, 135):
    call(n, 0, 0, 0, 0, 0)""",
    "raw shared memory": f"""{NATIVE}
for n in (29, 30, 31, 64, 68, 240, 319, 447, 329, 330):
    call(n, 0, 0, 0, 0, 0)""",
    "raw privileges": f"""{NATIVE}
for n in (105, 106, 117, 119, 126, 157, 158, 160, 317, 446):
    call(n, 4, 1, 0, 0, 0)""",
    "limits of the host": f"{NATIVE}call(302, os.getppid(), 7, bytes(16), None)",
    "a new limit of its own": f"{NATIVE}call(302, 0, 9, bytes(16), None)",
    "a thread that shares nothing": f"{NATIVE}call(56, 0x10000, 0, 0, 0, 0)",
    "a thread with descriptors of its own": f"{NATIVE}call(56, 0x10B00, 0, 0, 0, 0)",
    "urgent bytes": (
        f"{NATIVE}import socket\na, b = socket.socketpair()\n"
        "call(44, a.fileno(), b'x', 1, 1, None, 0); call(45, b.fileno(), bytes(8), 8, 1, None, 0)\n"
        "call(47, b.fileno(), bytes(56), 1)"
    ),
    "another process's limits": f"{NATIVE}call(302, os.getppid(), 7, None, bytes(16))",
    "another process's processors": f"{NATIVE}call(204, os.getppid(), 128, bytes(128))",
    "dumpable again": f"{NATIVE}call(157, 4, 1, 0, 0, 0)",
    FATAL: f"{NATIVE}libc.syscall(ctypes.c_long(0x40000002), b'/etc', 0){GOT}",
}  # fmt: skip


async def main(cache: Path) -> dict[str, str]:
    got_through = {}
    async with LocalBackend(cache, "linux") as backend:
        await backend.open(ReplSpec("h", 1, (), ReplLimits(cell_s=10, memory_bytes=256 << 20)))
        for name, code in ATTEMPTS.items():
            cursor = await backend.submit("h", 1, Cell(name, code))
            batch = await backend.pump("h", name, cursor, wait_s=30)
            result = batch.events[0].result
            expected = {"died"} if name == FATAL else {"ok", "error"}
            if "ESCAPED" in result.output or result.status not in expected:
                got_through[name] = repr(result)
    return got_through


if __name__ == "__main__":
    if len(sys.argv) > 2:
        os.setgid(int(sys.argv[2]))
        os.setuid(int(sys.argv[2]))
    os.environ["RLM_API_KEY"] = SECRET
    print(json.dumps(anyio.run(main, Path(sys.argv[1]))))
