"""A copy of this Python that an AppContainer may read, made once for each interpreter and program.

An AppContainer opens only what is granted to it or to all of its kind. The user's Python is not,
where it stands in the user's profile; so what a guest needs of it stands in a folder of ours that
grants it (S-1-15-2-1, "ALL APPLICATION PACKAGES", of "Well-known SIDs" in Microsoft's
documentation). Beside that folder a file stands that is not granted: guests try to read it.
"""

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rlm_mcp.repl.guest.preload import EXTENSIONS, ON_WINDOWS
from rlm_mcp.repl.guest.windows_probes import OUTSIDE
from rlm_mcp.repl.program import LEFT_OUT, Program

READABLE_TO_CONTAINERS = "*S-1-15-2-1:(OI)(CI)(RX)"
BESIDE_PYTHON = ("python.exe", "python*.dll", "vcruntime*.dll")


def build(program: Program) -> tuple[Path, Program]:
    """The interpreter of the copy, beside the program's file, and the program as it stands in it.

    Raises:
        OSError: the folder cannot be written.
        subprocess.CalledProcessError: it cannot be granted to AppContainers.
    """
    identity = f"{sys.version}\0{sys.base_prefix}\0{program.file.name}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    folder = program.file.parent / f"runtime-{digest}"
    if not folder.exists():
        beside = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
        beside.mkdir()
        grant(beside)
        (beside.parent / OUTSIDE).write_text("No guest may read this.\n", encoding="utf-8")
        copy(Path(sys.base_prefix), beside, program)
        try:
            beside.rename(folder)
        except OSError:
            shutil.rmtree(beside)
            if not folder.exists():
                raise
    return folder / "python.exe", replace(program, file=folder / program.file.name)


def grant(folder: Path) -> None:
    """Let every AppContainer read and run what is put into that folder from now on."""
    icacls = Path(os.environ["SYSTEMROOT"], "System32", "icacls.exe")
    subprocess.run(
        [icacls, folder, "/grant", READABLE_TO_CONTAINERS], check=True, stdout=subprocess.DEVNULL
    )


def copy(python: Path, folder: Path, program: Program) -> None:
    """Put a Python installation's interpreter, compiled modules and library into `folder`."""
    for pattern in BESIDE_PYTHON:
        for file in python.glob(pattern):
            shutil.copyfile(file, folder / file.name)
    (folder / "DLLs").mkdir()
    for file in compiled(python):
        shutil.copyfile(file, folder / "DLLs" / file.name)
    shutil.copytree(python / "Lib", folder / "Lib", copy_function=shutil.copyfile, ignore=_left_out)
    shutil.copyfile(program.file, folder / program.file.name)


def compiled(python: Path) -> Iterator[Path]:
    """The compiled modules that a guest loads, and the library that ctypes stands on."""
    wanted = {*EXTENSIONS, *ON_WINDOWS, "_ctypes", "_regex"}
    regex = Path(sysconfig.get_path("platlib"), "regex")
    for file in (*(python / "DLLs").glob("*.pyd"), *regex.glob("*.pyd")):
        if file.name.split(".")[0] in wanted:
            yield file
    yield from (python / "DLLs").glob("libffi*.dll")


def _left_out(_folder: str, names: list[str]) -> set[str]:
    return LEFT_OUT.intersection(names) - {"ctypes"}
