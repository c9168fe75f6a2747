"""The package from nothing: built, looked into, installed where nothing of it is, used and removed.

Run by `.ci/run`, with git, a network and nothing else of its own: `python tests/package/whole.py`.
It uses uv for what it is quick at, and pip where people use pip.
"""

import atexit
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALLED = Path(__file__).with_name("installed.py")
README_RUN = Path(__file__).with_name("readme.py")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = {"rlm_mcp/py.typed", "rlm_mcp/runs/viewer.html", "rlm_mcp/repl/guest/text.py"}
BIN = "Scripts" if os.name == "nt" else "bin"
COMMAND = "rlm-mcp.exe" if os.name == "nt" else "rlm-mcp"
DEADLINE_S = 300
CORES = 2
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "check", "version": "1"},
    },
}


class Place:
    """A home, a folder for work and one for what passes, all empty; nothing else may be written."""

    def __init__(self, scratch):
        self.home, self.work, self.passing = (scratch / name for name in ("home", "work", "tmp"))
        for folder in (self.home, self.work, self.passing):
            folder.mkdir()
        ours = {name: value for name, value in os.environ.items() if not name.startswith("RLM_")}
        for name in ("PYTHONPATH", "VIRTUAL_ENV", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            ours.pop(name, None)
        moved = {"HOME": self.home, "USERPROFILE": self.home, "TMPDIR": self.passing}
        self.environment = ours | {name: str(folder) for name, folder in moved.items()}

    def run(self, *command):
        """What the command prints, started in the empty folder."""
        return run(*command, cwd=self.work, env=self.environment)


def run(*command, **where):
    """What a command prints; its words, and the end, if it fails."""
    ended = subprocess.run(
        list(map(str, command)),
        check=False,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEADLINE_S,
        **where,
    )
    if ended.returncode:
        sys.exit(f"failed with {ended.returncode}: {' '.join(map(str, command))}\n{ended.stdout}")
    return ended.stdout


def require(is_so, words):
    """An end with words unless it is so."""
    if not is_so:
        sys.exit(f"the package is broken: {words}")


def tracked(*folders):
    """The files of the repository in some folders."""
    listed = run("git", "ls-files", "-z", "--", *folders, cwd=ROOT)
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


def look_into(built):
    """The distributions hold what they should and nothing more, and each builds the same wheel."""
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    files = contents(wheel)
    about = {name for name in files if ".dist-info/" in name}
    require(files.keys() - about == tracked("rlm_mcp"), "the wheel is not what git has of rlm_mcp")
    require(files.keys() >= NEEDED, f"the wheel lacks {NEEDED - files.keys()}")
    require(any(name.endswith("licenses/LICENSE") for name in about), "the wheel has no licence")
    with tarfile.open(sdist) as tar:
        names = {member.name.partition("/")[2] for member in tar if member.isfile()}
    wanted = tracked("rlm_mcp", "tests", "examples", "README.md", "CHANGELOG.md", "LICENSE")
    require(wanted <= names, f"the sdist lacks {sorted(wanted - names)}")
    direct = built / "direct"
    run(uv(), "build", "-q", "--wheel", "--out-dir", direct, ROOT)
    require(
        contents(direct / wheel.name) == files, "the sdist builds another wheel than the sources"
    )
    print(f"built   {wheel.name}, {len(files)} files, the same from the sdist and the sources")
    return wheel


def contents(wheel):
    """The files of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def use(wheel, scratch):
    """Installed with pip into an environment of its own, all of it works; removed, it is gone."""
    place, venv = Place(scratch), scratch / "venv"
    run(sys.executable, "-m", "venv", venv)
    python, command = venv / BIN / "python", venv / BIN / COMMAND
    run(uv(), "pip", "install", "-q", "--compile-bytecode", "--python", python, wheel)
    version = place.run(command, "--version").split()
    require(version == ["rlm-mcp", PROJECT["version"]], f"--version says {version}")
    demo = place.run(command, "demo")
    require("all found in the text" in demo, f"the demo does not end well:\n{demo}")
    doctor = json.loads(place.run(command, "doctor", "--json"))
    require(doctor["sound"], f"doctor says {doctor}")
    print(place.run(python, "-I", INSTALLED, command).strip())
    follow_the_readme(place, python, command, scratch / "clone")
    require(not any(place.work.iterdir()), f"left behind: {list(place.work.iterdir())}")
    require(not any(place.passing.iterdir()), f"left behind: {list(place.passing.iterdir())}")
    run(python, "-m", "pip", "uninstall", "-q", "-y", "rlm-mcp")
    left = [path for path in venv.rglob("*") if re.match(r"rlm[-_]mcp", path.name)]
    require(not left, f"left in the environment: {left}")
    kept = [path for path in place.home.rglob("*") if path.name == "journal.sqlite3"]
    require(len(kept) == 1, f"there is not one data folder, but {kept}")
    others = [
        path
        for path in place.home.rglob("*")
        if path.is_file() and not path.is_relative_to(kept[0].parent)
    ]
    require(not others, f"left in the home folder: {others}")
    print("removed nothing is left but the data folder")


def follow_the_readme(place, python, command, clone):
    """The lines of its blocks do in a clone what they do there, by the command as installed."""
    for name in tracked("rlm_mcp"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, clone / name)
    client = place.home / ".cursor"
    client.mkdir()
    said = place.run(python, "-I", README_RUN, command, ROOT / "README.md", clone)
    print(f"readme  {said.strip()}")
    shutil.rmtree(client)


def run_without_installing(wheel, scratch):
    """As `uvx rlm-mcp` does it, and as clients do that were told so."""
    place = Place(scratch)
    ours = [str(uv()), "tool", "run", "-q", "--from", str(wheel), "rlm-mcp"]
    said = place.run(*ours, "--version")
    require(said.split()[-1] == PROJECT["version"], f"uvx says {said}")
    met = subprocess.run(
        ours,
        check=False,
        text=True,
        encoding="utf-8",
        input=json.dumps(INITIALIZE) + "\n",
        stdout=subprocess.PIPE,
        timeout=DEADLINE_S,
        cwd=place.work,
        env=place.environment,
    )
    served = json.loads(met.stdout)["result"]["serverInfo"]["name"]
    print(f"uvx     {said.strip()}, met as {served}")


def use_elsewhere(wheel, scratch):
    """The other Pythons that the package names: installed there, it serves, asks and answers."""
    named = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each]
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    for number in named:
        python = interpreter(number)
        if number == ours:
            continue
        if python is None:
            print(f"{number:<7} is not on this machine: not tried")
            continue
        folder = scratch / number
        folder.mkdir()
        place, venv = Place(folder), folder / "venv"
        run(uv(), "venv", "-q", "--python", python, venv)
        run(uv(), "pip", "install", "-q", "--python", venv / BIN / "python", wheel)
        said = place.run(venv / BIN / "python", "-I", INSTALLED, venv / BIN / COMMAND)
        print("\n".join(f"{number:<7} {line[8:]}" for line in said.strip().splitlines()))


def interpreter(number):
    """A Python of this number that starts: on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    known = [shutil.which(f"python{number}"), *sorted(pyenv.glob(f"{number}.*/bin/python"))]
    for each in filter(None, known):
        ended = subprocess.run([each, "-c", ""], check=False, capture_output=True)
        if ended.returncode == 0:
            return each
    return None


@functools.cache
def uv():
    """The program; where there is none it is installed for the length of this check."""
    found = shutil.which("uv")
    if found:
        return found
    folder = Path(tempfile.mkdtemp(prefix="rlm-uv-"))
    atexit.register(shutil.rmtree, folder)
    run(sys.executable, "-m", "venv", folder)
    run(folder / BIN / "python", "-m", "pip", "install", "-q", "uv")
    return folder / BIN / "uv"


def main():
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rlm-package-") as folder:
        scratch = Path(folder)
        run(uv(), "build", "-q", "--out-dir", scratch / "built", ROOT)
        wheel = look_into(scratch / "built")
        with ThreadPoolExecutor(CORES) as pool:
            parts = [
                pool.submit(part, wheel, Path(tempfile.mkdtemp(dir=scratch)))
                for part in (use, use_elsewhere, run_without_installing)
            ]
            for part in as_completed(parts):
                part.result()
    print(f"the whole package: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
