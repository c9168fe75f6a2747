"""A client's file as text: the servers it names, and the text with ours put in or taken out."""

from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable

from rlm_mcp.clients import splice
from rlm_mcp.clients.formats import Client, Server, server_of, shaped, slots
from rlm_mcp.clients.jsonc import parse
from rlm_mcp.errors import ConfigUnreadable

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
        return _with_table(client, text, name, entry)
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
        return _without_table(client, text, name)
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
    env = {**(kept.env if kept else {}), **asked, **server.env}
    entry = shaped(client, Server(server.command, server.args, env))
    if kept is None or not isinstance(old, Mapping):
        return entry
    set_by_us = {name: entry[name] for name in slots(client) if name in entry}
    return {**entry, **old, **set_by_us}


def _value(client: Client, text: str) -> Any:
    if client.format == "toml":
        return _document(text).unwrap()
    return parse(text, comments=client.format == "jsonc").value if text.strip() else {}


def _document(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        place, _, what = str(error).rpartition(" at ")
        raise ConfigUnreadable(f"{what}: {place}.", "Mend the file there.") from error


def _with_table(client: Client, text: str, name: str, entry: Mapping[str, Any]) -> str:
    document = _document(text)
    if entries(client, text).get(name) == entry:
        return text
    above: Any = document
    for key in client.key:
        above = above.setdefault(key, tomlkit.table(is_super_table=True))
        if not isinstance(above, AbstractTable):
            raise ConfigUnreadable(f"`{key}` is no table.", "Mend the file there.")
    table = tomlkit.table()
    for field, value in entry.items():
        if isinstance(value, Mapping):
            inline = tomlkit.inline_table()
            inline.update(value)
            table.add(field, inline)
        else:
            table.add(field, value)
    above[name] = table
    return _as_lines_of(text, tomlkit.dumps(document))


def _without_table(client: Client, text: str, name: str) -> str:
    if name not in entries(client, text):
        return text
    document = _document(text)
    above: list[Any] = [document]
    for key in client.key:
        above.append(above[-1][key])
    del above[-1][name]
    for place in range(len(client.key) - 1, -1, -1):
        if not above[place + 1]:
            del above[place][client.key[place]]
    return _as_lines_of(text, tomlkit.dumps(document))


def _as_lines_of(text: str, written: str) -> str:
    """With the line ends of `text`; what TOML Kit adds ends its lines as on Unix."""
    if "\r\n" not in text:
        return written
    return written.replace("\r\n", "\n").replace("\n", "\r\n")
