"""JSON schemas as short as models can do with: every host puts them into every prompt."""

from typing import Any

from pydantic import BaseModel

from rlm_mcp.server.arguments import Arguments

Schema = dict[str, Any]


def input_schema(model: type[Arguments]) -> Schema:
    """Names, types, choices and descriptions. Null is taken for any optional one, untold."""
    schema = model.model_json_schema()
    return _object(schema, schema.get("$defs", {}))


def output_schema(model: type[BaseModel]) -> Schema:
    """The first-level names and types; what is nested shows itself in the result."""
    properties = model.model_json_schema(mode="serialization")["properties"]
    return {
        "type": "object",
        "properties": {name: _outline(each) for name, each in properties.items()},
    }


def same_output(tool: str) -> Schema:
    """Of a tool that gives what another one does: told once, because every host pays for it."""
    return {"type": "object", "description": f"As {tool} gives."}


def _object(schema: Schema, defs: Schema) -> Schema:
    properties = {name: _input(each, defs) for name, each in schema["properties"].items()}
    required = {"required": schema["required"]} if "required" in schema else {}
    return {"type": "object", "properties": properties, **required}


def _input(schema: Schema, defs: Schema) -> Schema:
    if "$ref" in schema:
        return _object(defs[schema["$ref"].rpartition("/")[2]], defs)
    kept: Schema = {key: schema[key] for key in ("type", "enum", "description") if key in schema}
    if schema.get("default") is not None:
        kept["default"] = schema["default"]
    if "items" in schema:
        kept["items"] = _input(schema["items"], defs)
    arms = [arm for arm in schema.get("anyOf", []) if arm != {"type": "null"}]
    if len(arms) > 1:
        return {"anyOf": [_input(arm, defs) for arm in arms], **kept}
    return {**_input(arms[0], defs), **kept} if arms else kept


def _outline(schema: Schema) -> Schema:
    # What may be null is left open: null, or what its name says.
    if "anyOf" in schema:
        return {}
    return {"type": "object" if "$ref" in schema else schema["type"]}
