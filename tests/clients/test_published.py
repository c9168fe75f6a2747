"""`server.json` and the bundle are what those who take them say they must be."""

import errno
import json
import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

import rlm_mcp
from rlm_mcp.cli.bundle import bundle, contents
from rlm_mcp.clients.published import REGISTRY_NAME, REGISTRY_SCHEMA, registry_entry
from rlm_mcp.server.tools import TOOLS
from rlm_mcp.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "tests" / "e2e" / "clients" / "node_modules"
OFFICIAL = MODULES / "@anthropic-ai" / "mcpb" / "dist" / "cli" / "cli.js"
UPDATE_GOLDEN = bool(os.environ.get("RLM_UPDATE_GOLDEN"))
NODE = shutil.which("node") or str(MODULES / ".bin" / "node")

# The rules of the registry's schema of 2025-12-11 for what we write, in its own words' meaning:
# https://github.com/modelcontextprotocol/registry/tree/main/docs/reference/server-json
VARIABLE = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "isRequired": {"type": "boolean"},
        "isSecret": {"type": "boolean"},
        "format": {"enum": ["string", "number", "boolean", "filepath"]},
        "default": {"type": "string"},
        "choices": {"type": "array", "items": {"type": "string"}},
    },
}
PACKAGE = {
    "type": "object",
    "required": ["registryType", "identifier", "transport"],
    "additionalProperties": False,
    "properties": {
        "registryType": {"const": "pypi"},
        "identifier": {"type": "string"},
        "version": {"type": "string", "minLength": 1, "maxLength": 255, "not": {"const": "latest"}},
        "runtimeHint": {"enum": ["npx", "uvx", "docker", "dnx"]},
        "transport": {
            "type": "object",
            "required": ["type"],
            "additionalProperties": False,
            "properties": {"type": {"const": "stdio"}},
        },
        "environmentVariables": {"type": "array", "items": VARIABLE},
    },
}
SERVER = {
    "type": "object",
    "required": ["name", "description", "version", "$schema"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": REGISTRY_SCHEMA},
        "name": {
            "type": "string",
            "minLength": 3,
            "maxLength": 200,
            "pattern": "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$",
        },
        "title": {"type": "string", "minLength": 1, "maxLength": 100},
        "description": {"type": "string", "minLength": 1, "maxLength": 100},
        "version": {"type": "string", "maxLength": 255},
        "packages": {"type": "array", "items": PACKAGE},
    },
}


def test_the_registry_file_is_made_of_the_settings():
    path = ROOT / "server.json"
    text = json.dumps(registry_entry(), indent=2, ensure_ascii=False) + "\n"

    if UPDATE_GOLDEN:
        path.write_text(text, encoding="utf-8")

    assert path.read_text(encoding="utf-8") == text


def test_the_registry_file_keeps_the_registrys_rules():
    jsonschema.validate(registry_entry(), SERVER)


def test_the_registry_file_has_this_version_and_every_setting():
    entry = registry_entry()
    (package,) = entry["packages"]
    told = {each["name"]: each for each in package["environmentVariables"]}

    assert {entry["version"], package["version"]} == {version("rlm-mcp")}
    assert list(told) == [PREFIX + name.upper() for name in Settings.model_fields]
    assert {name for name, each in told.items() if each.get("isSecret")} == {
        "RLM_API_KEY",
        "RLM_SUB_API_KEY",
    }
    assert told["RLM_SANDBOX"]["choices"][0] == told["RLM_SANDBOX"]["default"] == "auto"
    assert (told["RLM_MAX_TURNS"]["format"], told["RLM_RESUME"]["format"]) == ("number", "boolean")


def test_the_defaults_it_names_are_those_of_the_settings():
    (package,) = registry_entry()["packages"]
    named = {
        each["name"]: each["default"]
        for each in package["environmentVariables"]
        if "default" in each
    }

    assert Settings.load(named) == Settings.load({})


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "llama"])
def llama(request):
    return request.param


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory, llama):
    folder = tmp_path_factory.mktemp("bundle")
    for name, content in contents(llama=llama).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_a_bundle_has_the_whole_package_and_what_it_needs(unpacked, llama):
    project = tomllib.loads((unpacked / "pyproject.toml").read_text(encoding="utf-8"))
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = ours["project"]["dependencies"]
    if llama:
        needed += ours["project"]["optional-dependencies"]["llama"]
    names = {re.match(r"[\w-]+", each)[0] for each in project["project"]["dependencies"]}

    assert names == {re.match(r"[\w-]+", each)[0] for each in needed}
    assert not any("extra" in each for each in project["project"]["dependencies"])
    assert project["project"]["scripts"] == ours["project"]["scripts"]
    for path in Path(rlm_mcp.__file__).parent.rglob("*.py"):
        assert (unpacked / "rlm_mcp" / path.relative_to(Path(rlm_mcp.__file__).parent)).is_file()


def test_a_bundle_names_every_tool_and_only_settings_that_exist(unpacked):
    manifest = json.loads((unpacked / "manifest.json").read_text(encoding="utf-8"))
    env = manifest["server"]["mcp_config"]["env"]

    assert [each["name"] for each in manifest["tools"]] == list(TOOLS)
    assert manifest["version"] == version("rlm-mcp")
    assert set(env) <= {PREFIX + name.upper() for name in Settings.model_fields}
    assert Settings.load(dict.fromkeys(env, "")) == Settings.load({})
    for value in env.values():
        assert re.fullmatch(r"\$\{user_config\.(\w+)\}", value)[1] in manifest["user_config"]


def test_a_bundle_asks_for_a_model_file_if_it_can_run_one(unpacked, llama):
    manifest = json.loads((unpacked / "manifest.json").read_text(encoding="utf-8"))

    assert ("RLM_MODEL_PATH" in manifest["server"]["mcp_config"]["env"]) == llama
    if llama:
        asked = manifest["user_config"]["model_path"]
        assert (asked["type"], asked["default"], asked["required"]) == ("string", "", False)
        assert "GGUF file, or one of the hub, org/repo:file.gguf" in asked["description"]


needs_mcpb = pytest.mark.skipif(
    not OFFICIAL.is_file() or not Path(NODE).exists(),
    reason="needs Node and its packages: npm install --no-package-lock in tests/e2e/clients",
)


def test_the_command_writes_the_same_bundle_each_time(tmp_path):
    first, second = [written(tmp_path / name) for name in ("a.mcpb", "b.mcpb")]

    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert set(archive.namelist()) == set(contents())


def test_the_command_brings_llama_if_told_to(tmp_path, llama):
    path = written(tmp_path / "a.mcpb", *(["--llama"] if llama else []))

    with zipfile.ZipFile(path) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    assert packed == contents(llama=llama)


def test_a_bundle_that_cannot_be_written_is_named_with_the_reason(tmp_path):
    path = tmp_path / "missing" / "a.mcpb"

    ran = CliRunner().invoke(bundle, [str(path)])

    assert ran.exit_code == 1
    assert ran.stderr == f"Error: Could not open file {str(path)!r}: {os.strerror(errno.ENOENT)}\n"


@needs_mcpb
def test_the_official_tool_takes_the_manifest_packs_the_folder_and_unpacks_ours(unpacked, tmp_path):
    assert "validation passes" in mcpb("validate", unpacked / "manifest.json")
    mcpb("pack", unpacked, tmp_path / "packed.mcpb")
    mcpb("unpack", written(tmp_path / "ours.mcpb"), tmp_path / "out")

    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    with zipfile.ZipFile(tmp_path / "packed.mcpb") as archive:
        assert set(archive.namelist()) == set(contents())
    assert {path.relative_to(tmp_path / "out").as_posix() for path in files} == set(contents())


def written(path, *options):
    ran = CliRunner().invoke(bundle, [str(path), *options], standalone_mode=False)
    assert ran.exit_code == 0
    return path


def mcpb(*arguments):
    ran = subprocess.run([NODE, OFFICIAL, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_readme_says_whose_package_it_is():
    # Without it the registry refuses the package: see "PyPI packages" in its package types.
    assert f"mcp-name: {REGISTRY_NAME}" in (ROOT / "README.md").read_text(encoding="utf-8")
