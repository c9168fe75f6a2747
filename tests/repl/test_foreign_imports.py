"""The host's modules, and a Windows guest's, import where POSIX is missing."""

import subprocess
import sys

import pytest

# What others wrote is imported first, as it is here; what is ours then meets a system without it.
PREPARE = """
import importlib, os, pkgutil, signal, socket, _socket, sys
import rlm_mcp.server.app, rlm_mcp.server.build, rlm_mcp.cli.main
import rlm_mcp

def names():
    yield from (m.name for m in pkgutil.walk_packages(rlm_mcp.__path__, "rlm_mcp."))

for name in names():
    if ".guest." not in name and not name.endswith("__main__"):
        importlib.import_module(name)
for name in [name for name in sys.modules if name.split(".")[0] == "rlm_mcp"]:
    del sys.modules[name]

MISSING = {"resource", "fcntl", "pwd", "grp", "termios", "syslog", "posix"}

class Missing:
    def find_spec(self, name, *_):
        if name in MISSING:
            raise ModuleNotFoundError(name)

for name in MISSING:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())
for owner, attributes in {
    os: "fork killpg pidfd_open posix_spawn O_TMPFILE openpty",
    signal: "SIGKILL SIGURG pthread_sigmask pidfd_send_signal",
    socket: "CMSG_SPACE SCM_RIGHTS SCM_CREDENTIALS SO_PASSCRED AF_UNIX",
    _socket: "CMSG_SPACE SCM_RIGHTS SCM_CREDENTIALS SO_PASSCRED",
}.items():
    for attribute in attributes.split():
        if hasattr(owner, attribute):
            delattr(owner, attribute)
sys.platform = "win32"
"""
HOST = """
import rlm_mcp.server, rlm_mcp.cli.main
for name in names():
    if ".guest." not in name and not name.endswith("__main__"):
        importlib.import_module(name)
"""
GUEST = """
import rlm_mcp.repl.guest.main, rlm_mcp.repl.guest.windows
assert not hasattr(sys.modules["rlm_mcp.repl.guest.kernel"], "libc")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there it is so anyway")
@pytest.mark.parametrize("imported", [HOST, GUEST], ids=["the host", "a guest"])
def test_no_import_needs_what_windows_does_not_have(imported):
    ended = subprocess.run(
        [sys.executable, "-c", PREPARE + imported], capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")
