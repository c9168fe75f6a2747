"""`rlm-mcp bundle`: this package as one file that Claude Desktop installs at a double click."""

import json
import re
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import click

import rlm_mcp

PROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "rlm-mcp"
version = "{version}"
requires-python = "{python}"
dependencies = {dependencies}

[project.scripts]
rlm-mcp = "rlm_mcp.cli.main:main"

[tool.hatch.build.targets.wheel]
packages = ["rlm_mcp"]
"""
OF_LLAMA = re.compile(r"\s*;\s*extra == .llama.$")
# Two bundles of one version are the same, bit for bit.
STAMP = (1980, 1, 1, 0, 0, 0)


@click.command(short_help="Write a file that Claude Desktop installs.")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default="rlm-mcp.mcpb")
@click.option(
    "--llama", is_flag=True, help="Have llama.cpp fetched, too, and ask for a model file."
)
def bundle(*, path: Path, llama: bool) -> int:
    """Write an MCP bundle: a file that Claude Desktop installs at a double click.

    It holds this package's source; uv, which Claude Desktop brings, fetches what it depends on.
    """
    packed = sorted(contents(llama=llama).items())
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in packed:
                archive.writestr(zipfile.ZipInfo(name, STAMP), content, zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from error
    click.echo(f"{path} written. Open it with Claude Desktop.")
    return 0


def contents(*, llama: bool = False) -> dict[str, bytes]:
    """The files of the bundle by name: manifest, project, and the package itself.

    With `llama` the project depends on what that extra names.
    """
    from rlm_mcp.clients.published import PYTHON, manifest
    from rlm_mcp.server.tools import TOOLS

    package = Path(rlm_mcp.__file__).parent
    needs = requires("rlm-mcp") or []
    needed = [each for each in needs if "extra ==" not in each]
    if llama:
        needed += [OF_LLAMA.sub("", each) for each in needs if OF_LLAMA.search(each)]
    project = PROJECT.format(
        version=version("rlm-mcp"), python=PYTHON, dependencies=json.dumps(needed, indent=2)
    )
    tools = {name: tool.description for name, tool in TOOLS.items()}
    described = manifest(tools, has_llama=llama)
    files = {
        f"rlm_mcp/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return files | {
        "manifest.json": json.dumps(described, indent=2).encode() + b"\n",
        "pyproject.toml": project.encode(),
    }
