"""A host in a process of its own, whose guest makes every attempt of escapes.py.

    escape_host.py BOX [UID]

Prints as JSON what got through, by class. With UID it does so as that user, whoever could not reach
this Python before: then a mount namespace of its own opens the way. Where that cannot be done the
exit code is 77 and standard error says why.
"""

import ctypes
import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import anyio
from escapes import ATTEMPTS, DEADLY, NEXT
from regex import _regex

import rlm_mcp
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import Cell, CellResult, ReplLimits, ReplSpec

SECRET = "sk-this-must-never-be-seen"
IMPOSSIBLE = 77
CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_DUMPABLE = 4
LIMITS = ReplLimits(cell_s=5, memory_bytes=256 << 20)
libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str | None, target: Path, kind: str | None, flags: int, options: str | None):
    words = [os.fsencode(word) if word else None for word in (source, target, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), options and options.encode()) < 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


def open_the_way(*paths: Path) -> None:
    """Let everyone reach these files, in this process and its children alone."""
    ways = [*map(Path.absolute, paths), *map(Path.resolve, paths)]
    if all(folder.stat().st_mode & 0o001 for way in ways for folder in way.parents):
        return
    if libc.unshare(CLONE_NEWNS) < 0:
        raise OSError(ctypes.get_errno(), "no mount namespace of its own")
    mount(None, Path("/"), None, MS_REC | MS_PRIVATE, None)
    for way in ways:
        for folder in reversed(way.parents):
            if not folder.stat().st_mode & 0o001:
                _open_folder(folder)


def _open_folder(folder: Path) -> None:
    """Put an open folder with the same folders in it in place of a closed one."""
    inside = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    closed = os.open(folder, os.O_PATH)
    mount("tmpfs", folder, "tmpfs", 0, "mode=755")
    for path in inside:
        path.mkdir()
        mount(f"/proc/self/fd/{closed}/{path.name}", path, None, MS_BIND | MS_REC, None)


def become(user: int) -> None:
    """Another user, who may look at its own processes as any user may."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    if not os.access(sys.executable, os.X_OK):
        raise OSError(f"{sys.executable} is closed to user {user}")


def lay_out(scratch: Path) -> str:
    """What attempts reach for; gives the code that names it."""
    (scratch / "secret").write_text(SECRET, encoding="utf-8")
    for name in ("kept", "to delete", "to rename", "planted_by_the_host.py"):
        (scratch / name).touch()
    shutil.copy(_regex.__file__, scratch / "planted.so")
    tcp, udp = socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM)
    port = tcp.getsockname()[1]
    udp.bind(("127.0.0.1", port))
    local, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    local.bind(str(scratch / "socket"))
    abstract.bind(f"\0rlm-{os.getpid()}")
    datagrams.bind(str(scratch / "datagrams"))
    for each in (local, abstract):
        each.listen()
    for each in (tcp, udp, local, abstract, datagrams):
        each.detach()  # open until this process ends
    terminal, output = os.ttyname(os.openpty()[1]), os.pipe()[1]
    return (
        f"HOST, GROUP, SCRATCH = {os.getpid()}, {os.getpgrp()}, {str(scratch)!r}\n"
        f"PORT, ABSTRACT, TERMINAL = {port}, 'rlm-{os.getpid()}', {terminal!r}\n"
        f"OUTPUT, SECRET = {output}, {SECRET!r}\n"
    )


def stopped(name: str, result: CellResult) -> bool:
    """Whether an attempt ended as it should, judged by its last cell."""
    if "ESCAPED" in result.output:
        return False
    if name in DEADLY:
        return result.status == "died" and DEADLY[name] in (result.error or "")
    return result.status in {"ok", "error", "memory"}


async def attempt(backend: LocalBackend, handle: str, name: str, cells: list[str]) -> CellResult:
    await backend.open(ReplSpec(handle, 1, (), LIMITS))
    for number, code in enumerate(cells):
        cell = f"{name} {number}"
        cursor = await backend.submit(handle, 1, Cell(cell, code))
        batch = await backend.pump(handle, cell, cursor, wait_s=30)
    return batch.events[-1].result


async def main(box: str) -> dict[str, dict[str, str]]:
    """What got through. One guest makes all attempts of a class, or as many as it survives."""
    through: dict[str, dict[str, str]] = {kind: {} for kind in ATTEMPTS}
    with tempfile.TemporaryDirectory() as folder:
        names = lay_out(Path(folder))
        async with LocalBackend(Path(folder) / "cache", box) as backend:
            for kind, attempts in ATTEMPTS.items():
                for name, code in attempts.items():
                    cells = [names + cell for cell in code.split(NEXT)]
                    result = await attempt(backend, kind, name, cells)
                    if not stopped(f"{kind}: {name}", result):
                        through[kind][name] = repr(result)
                await backend.close(kind)
    return through


if __name__ == "__main__":
    if len(sys.argv) > 2:
        try:
            open_the_way(
                *map(Path, (sys.executable, sys._base_executable, rlm_mcp.__file__)),
                *map(Path, (_regex.__file__, __file__)),
            )
            become(int(sys.argv[2]))
        except OSError as refused:
            print(refused, file=sys.stderr)
            sys.exit(IMPOSSIBLE)
    os.environ["RLM_API_KEY"] = SECRET
    print(json.dumps(anyio.run(main, sys.argv[1])))
