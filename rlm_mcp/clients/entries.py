"""A client's file as text: the servers it names, and the text with ours put in or taken out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rlm_mcp.clients import splice, tables
from rlm_mcp.clients.formats import Client, Server, is_ours, server_of, shaped, slots
from rlm_mcp.clients.jsonc import parse
from rlm_mcp.clients.stars import starred

INPUT = "${input:%s}"
# Stands for what is left out, so that what is around it has lines of its own.
HOLE = "\0"


def entries(client: Client, text: str) -> Mapping[str, Any]:
    """The client's servers by name, as they stand there.

    Raises:
        ConfigUnreadable: the client could not read this text.
    """
    found: Any = _value(client, text)
    for key in client.key:
        found = found.get(key, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def ours(client: Client, text: str) -> dict[str, Server]:
    """The servers that start rlm-mcp, under whatever name.

    Raises:
        ConfigUnreadable: the client could not read this text.
    """
    found = {name: server_of(client, entry) for name, entry in entries(client, text).items()}
    return {name: server for name, server in found.items() if server and is_ours(server)}


def excerpt(client: Client, text: str, names: Sequence[str], *, bare: bool = False) -> list[str]:
    """The lines that show the entries of those names, with what is around them left out.

    What is secret in them is starred out, unless `bare`, which has as many lines.

    Raises:
        ConfigUnreadable: the client could not read this text.
    """
    if not text.strip():
        return []
    there = entries(client, text)
    shown = {each: there[each] if bare else starred(there[each]) for each in names if each in there}
    if client.format == "toml":
        blocks = [tables.put("", (*client.key, name), entry) for name, entry in shown.items()]
        return "\n".join(blocks).rstrip("\n").split("\n") if blocks else []
    value = _value(client, text)
    pruned = _pruned(value, client.key, shown)
    if client.asks and isinstance(value.get("inputs"), list):
        ids = [input_id(name, variable) for name in shown for variable in _env(client, there[name])]
        asked = [
            each for each in value["inputs"] if isinstance(each, dict) and each.get("id") in ids
        ]
        pruned["inputs"] = [HOLE, *asked]
    lines = json.dumps(pruned, indent=2, ensure_ascii=False).split("\n")
    return [line for line in lines if json.dumps(HOLE) not in line]


def keyless(client: Client, text: str) -> str:
    """The text with stars for what is secret in entries of ours, and nothing else changed.

    Raises:
        ConfigUnreadable: the client could not read this text.
    """
    for name in ours(client, text):
        entry = starred(entries(client, text)[name])
        if client.format == "toml":
            text = tables.put(text, (*client.key, name), entry)
        else:
            lenient = client.format == "jsonc"
            text = splice.put(text, (*client.key, name), entry, comments=lenient)
    return text


def is_of_older(client: Client, text: str) -> bool:
    """Whether servers stand there as an earlier version of the client has them."""
    if client.older is None:
        return False
    above: Any = _value(client, text)
    for key in client.key[:-1]:
        above = above.get(key, {}) if isinstance(above, Mapping) else {}
    return isinstance(above, Mapping) and any(
        isinstance(each, Mapping) and isinstance(each.get("type"), str) for each in above.values()
    )


def with_server(
    client: Client, text: str, name: str, server: Server, secrets: tuple[str, ...] = ()
) -> str:
    """The text with the server under that name; one that has it already comes back as it is.

    An entry of that name keeps what it has beside the command: its variables where the server has
    no other value for them, and all that the user has added. `secrets` are variables that the
    client is to ask the user for, if it can.

    Raises:
        ConfigUnreadable: the client could not read this text.
    """
    asked = {secret: INPUT % input_id(name, secret) for secret in secrets if client.asks}
    entry = _merged(client, entries(client, text).get(name), server, asked)
    if client.format == "toml":
        return tables.put(text, (*client.key, name), entry)
    lenient = client.format == "jsonc"
    text = splice.put(text, (*client.key, name), entry, comments=lenient)
    for secret in asked:
        described = {
            "type": "promptString",
            "id": input_id(name, secret),
            "description": f"{secret}; empty if the model endpoint needs none",
            "password": True,
        }
        text = splice.append(text, "inputs", described, comments=lenient)
    return text


def without_server(client: Client, text: str, name: str) -> str:
    """The text without the server of that name, and without the questions for its secrets.

    Raises:
        ConfigUnreadable: the client could not read this text.
    """
    if client.format == "toml":
        return tables.take(text, (*client.key, name))
    lenient = client.format == "jsonc"
    env = _env(client, entries(client, text).get(name))
    text = splice.take(text, (*client.key, name), comments=lenient)
    for variable in env if client.asks else ():
        asked = input_id(name, variable)
        text = splice.take(text, ("inputs",), comments=lenient, element=asked)
    return text


def input_id(name: str, secret: str) -> str:
    """The id under which a client asks for a secret of ours: `rlm-api-key`."""
    return f"{name}-{secret.lower().removeprefix('rlm_').replace('_', '-')}"


def _merged(
    client: Client, old: object, server: Server, asked: Mapping[str, str]
) -> dict[str, Any]:
    kept = server_of(client, old)
    env = {**(kept.env if kept else {}), **server.env, **asked}
    entry = shaped(client, Server(server.command, server.args, env))
    if kept is None or not isinstance(old, Mapping):
        return entry
    set_by_us = {name: entry[name] for name in slots(client) if name in entry}
    return {**entry, **old, **set_by_us}


def _env(client: Client, entry: object) -> Mapping[str, str]:
    server = server_of(client, entry)
    return server.env if server else {}


def _pruned(found: Any, keys: Sequence[str], shown: Mapping[str, Any]) -> dict[str, Any]:
    """The objects on the way to the servers, so far as they are there, and those to be shown."""
    if not keys:
        return {HOLE: None, **shown}
    below = found.get(keys[0]) if isinstance(found, Mapping) else None
    rest = {keys[0]: _pruned(below, keys[1:], shown)} if isinstance(below, Mapping) else {}
    return {HOLE: None, **rest}


def _value(client: Client, text: str) -> Any:
    if client.format == "toml":
        return tables.read(text)
    return parse(text, comments=client.format == "jsonc").value if text.strip() else {}
