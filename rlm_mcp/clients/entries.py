"""A client's file as text: the servers it names, and the text with ours put in or taken out."""

from collections.abc import Mapping
from typing import Any

from rlm_mcp.clients import splice, tables
from rlm_mcp.clients.formats import Client, Server, server_of, shaped, slots
from rlm_mcp.clients.jsonc import parse

INPUT = "${input:%s}"


def entries(client: Client, text: str) -> Mapping[str, Any]:
    """The client's servers by name, as they stand there.

    Raises:
        ConfigUnreadable: the client could not read this text.
    """
    found: Any = _value(client, text)
    for key in client.key:
        found = found.get(key, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


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
    server = server_of(client, entries(client, text).get(name))
    text = splice.take(text, (*client.key, name), comments=lenient)
    for variable in server.env if server and client.asks else ():
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


def _value(client: Client, text: str) -> Any:
    if client.format == "toml":
        return tables.read(text)
    return parse(text, comments=client.format == "jsonc").value if text.strip() else {}
