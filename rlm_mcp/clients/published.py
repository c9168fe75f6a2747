"""What tells registries and Claude Desktop of us: `server.json`, and the manifest of a bundle."""

import types
from collections.abc import Mapping
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rlm_mcp.settings import PREFIX, Settings

REGISTRY_NAME = "io.github.rlm-mcp/rlm-mcp"
REGISTRY_SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
TITLE = "RLM"
SHORT = "Ask questions of text far larger than any model's window, on a model of your own."
MANIFEST_VERSION = "0.4"
PYTHON = ">=3.11"


def registry_entry() -> dict[str, Any]:
    """The contents of `server.json`, as the MCP registry takes it (its schema of 2025-12-11).

    Names, meanings and defaults of the variables are those of the settings.
    """
    number = version("rlm-mcp")
    return {
        "$schema": REGISTRY_SCHEMA,
        "name": REGISTRY_NAME,
        "title": TITLE,
        "description": SHORT,
        "version": number,
        "packages": [
            {
                "registryType": "pypi",
                "identifier": "rlm-mcp",
                "version": number,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "environmentVariables": [
                    _variable(name, field) for name, field in Settings.model_fields.items()
                ],
            }
        ],
    }


def manifest(tools: Mapping[str, str], *, has_llama: bool = False) -> dict[str, Any]:
    """The `manifest.json` of a bundle whose folder is a project that uv can run.

    Version 0.4 of https://github.com/modelcontextprotocol/mcpb is the first that knows uv. `tools`
    are their names and what each is for; a model file can be named if the project `has_llama`. What
    the user leaves empty counts as not set.
    """
    asked = {
        "roots": {
            "type": "directory",
            "title": "Folder it may load from",
            "description": "Texts are loaded from this folder and those below it, no others.",
            "required": True,
        },
        "api_url": _asked("api_url", "Model endpoint"),
        "api_key": _asked("api_key", "Key of the endpoint", sensitive=True),
        "model": _asked("model", "Model"),
    }
    if has_llama:
        # Text, for a field of type `file` takes no name on the hub.
        told = (
            "Run here, instead of an endpoint: a GGUF file, or one of the hub, org/repo:file.gguf."
        )
        asked["model_path"] = {**_asked("model_path", "Model file"), "description": told}
    return {
        "manifest_version": MANIFEST_VERSION,
        "name": "rlm-mcp",
        "display_name": TITLE,
        "version": version("rlm-mcp"),
        "description": SHORT,
        "author": {"name": metadata("rlm-mcp")["Author"]},
        "license": metadata("rlm-mcp")["License-Expression"],
        "server": {
            "type": "uv",
            "entry_point": "rlm_mcp/__main__.py",
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", "--no-dev", "rlm-mcp"],
                "env": {PREFIX + name.upper(): f"${{user_config.{name}}}" for name in asked},
            },
        },
        "tools": [{"name": name, "description": told} for name, told in tools.items()],
        "user_config": asked,
        "compatibility": {
            "platforms": ["darwin", "linux", "win32"],
            "runtimes": {"python": PYTHON},
        },
    }


def _asked(name: str, title: str, *, sensitive: bool = False) -> dict[str, Any]:
    told = Settings.model_fields[name].description
    described = {"type": "string", "title": title, "description": told, "required": False}
    return {**described, "default": "", "sensitive": sensitive}


def _variable(name: str, field: FieldInfo) -> dict[str, Any]:
    kinds = _kinds(field.annotation)
    told: dict[str, Any] = {
        "name": PREFIX + name.upper(),
        "description": field.description,
        "isRequired": False,
        "format": _format(kinds),
    }
    if SecretStr in kinds:
        told["isSecret"] = True
    if choices := [each for each in kinds if isinstance(each, str)]:
        told["choices"] = choices
    if field.default is not PydanticUndefined and field.default is not None:
        told["default"] = str(field.default).lower() if bool in kinds else str(field.default)
    return told


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The types of a setting, or its choices."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return tuple(kind for part in get_args(annotation) for kind in _kinds(part))
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return () if annotation is type(None) else (annotation,)


def _format(kinds: tuple[Any, ...]) -> str:
    if bool in kinds:
        return "boolean"
    if int in kinds or float in kinds:
        return "number"
    return "filepath" if Path in kinds else "string"
