"""`rlm-mcp install` and `uninstall`: our server in the files of MCP clients, and out again."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import anyio
import click

from rlm_mcp.clients import NAME
from rlm_mcp.errors import ArgumentInvalid, ClientError

if TYPE_CHECKING:
    from pathlib import Path

    from rlm_mcp.clients.changes import Change
    from rlm_mcp.clients.formats import Client, Machine, Server

DONE, FAILED, USAGE = 0, 1, 2
How = Literal["ask", "yes", "dry", "print"]
STDIN_IS_NO_TERMINAL = "Nothing is written: without a terminal to ask at, it takes --yes."
NOTHING = "Nothing is written."

how_option = click.option("how", "--yes", flag_value="yes", help="Write without asking.")
dry_option = click.option(
    "how", "--dry-run", flag_value="dry", help="Show what would change, and write nothing."
)
name_option = click.option(
    "--name", default=NAME, show_default=True, help="Name of the server in the client."
)


@click.command()
@click.argument("names", nargs=-1, metavar="[CLIENT]...")
@how_option
@dry_option
@click.option(
    "how", "--print", flag_value="print", help="Print the entry for a client, and touch no file."
)
@click.option(
    "--env", "given", multiple=True, metavar="NAME=VALUE", help="A setting for the server."
)
@click.option("--with-key", is_flag=True, help="Write RLM_API_KEY into the file, readable.")
@name_option
def install(
    *, names: tuple[str, ...], how: How | None, given: tuple[str, ...], with_key: bool, name: str
) -> int:
    """Add this server to MCP clients on this machine.

    Without a CLIENT: to all that are found. Each file is shown as it will change, and backed up
    beside itself; what else it holds stays as it is. Then the server is started as the client
    would start it. RLM_API_URL and RLM_ROOTS are taken over from the environment.

    Exit code: 0 done, or nothing to do; 1 a file cannot be changed, or the server does not work;
    2 there is nobody to ask.
    """
    import os

    from rlm_mcp.clients import changes, running

    machine = running.machine_here()
    variables = running.variables(os.environ, _pairs(given), with_key=with_key)
    server = running.server_here(variables)
    secrets = running.unwritten(os.environ, variables)
    if how == "print":
        return _print(_named(names), name, server, secrets)
    found = _named(names) or _found(machine)
    planned, failed = _planned(
        found, machine, lambda each, path: changes.adding(each, path, name, server, secrets)
    )
    _warn([each for each in planned if not each.is_none], server.env, secrets)
    code = _carried_out(planned, how or "ask", "is set up already")
    if code == DONE and how != "dry" and planned:
        code = anyio.run(_try, planned, name)
    return code or (FAILED if failed else DONE)


@click.command()
@click.argument("names", nargs=-1, metavar="[CLIENT]...")
@how_option
@dry_option
@name_option
def uninstall(*, names: tuple[str, ...], how: How | None, name: str) -> int:
    """Take this server out of MCP clients again.

    Without a CLIENT: out of all that have it. Only its own entry goes; a file that has not changed
    since becomes byte for byte what it was. Exit codes as of `install`.
    """
    from rlm_mcp.clients import changes, running

    machine = running.machine_here()
    found = _named(names) or _having(machine, name)
    planned, failed = _planned(
        found, machine, lambda each, path: changes.removing(each, path, name)
    )
    if not planned and not failed:
        click.echo("No client has it.")
    code = _carried_out(planned, how or "ask", "does not have it")
    return code or (FAILED if failed else DONE)


def _pairs(given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise ArgumentInvalid(f"--env {each} is no NAME=VALUE.", "Write --env RLM_MODEL=qwen3.")
        pairs[name] = value
    return pairs


def _named(names: Sequence[str]) -> "list[Client]":
    from rlm_mcp.clients.formats import client

    return [client(each) for each in names]


def _found(machine: "Machine") -> "list[Client]":
    from rlm_mcp.clients.formats import clients, is_there

    found = [each for each in clients() if is_there(each, machine)]
    if not found:
        known = ", ".join(each.id for each in clients())
        raise ClientError(
            "No MCP client is found on this machine.",
            f"Name the one to set up: rlm-mcp install CLIENT, one of {known}.",
        )
    return found


def _having(machine: "Machine", name: str) -> "list[Client]":
    """The clients whose files have a server of ours under that name."""
    from rlm_mcp.clients.entries import entries
    from rlm_mcp.clients.formats import clients, file_of, is_ours, server_of

    having = []
    for each in clients():
        path = file_of(each, machine)
        if path is None or not path.is_file():
            continue
        try:
            entry = entries(each, path.read_bytes().decode(errors="replace")).get(name)
        except ClientError:
            continue
        server = server_of(each, entry)
        if server is not None and is_ours(server):
            having.append(each)
    return having


def _planned(
    found: "Sequence[Client]", machine: "Machine", plan: "Callable[[Client, Path], Change]"
) -> "tuple[list[Change], bool]":
    """The changes, and whether there are clients for whom there can be none, which it tells."""
    planned, failed = [], False
    for each in found:
        try:
            planned.append(plan(each, _file(each, machine)))
        except ClientError as error:
            failed = True
            click.echo(f"{each.name}: {error.message}\n{error.hint}", err=True)
    return planned, failed


def _file(client: "Client", machine: "Machine") -> "Path":
    from rlm_mcp.clients.formats import file_of

    path = file_of(client, machine)
    if path is None:
        raise ClientError(
            "it keeps its servers in no file that others write.",
            f"rlm-mcp install {client.id} --print shows what to paste. {client.after}",
        )
    return path


def _warn(planned: "list[Change]", env: Mapping[str, str], secrets: tuple[str, ...]) -> None:
    if planned and "RLM_ROOTS" not in env:
        click.echo(
            "RLM_ROOTS is not set: the server may load only from the folder that the client starts"
            " it in, and desktop clients start it in none.\nTo name folders:"
            " --env RLM_ROOTS=~/code",
            err=True,
        )
    leaving = [each.client.name for each in planned if not each.client.asks]
    if secrets and leaving:
        click.echo(
            f"{' and '.join(secrets)} stays out of the files of {', '.join(leaving)}."
            " To write it there, readable: --with-key",
            err=True,
        )


def _carried_out(planned: "list[Change]", how: How, unchanged: str) -> int:
    """Show the changes, ask, and write; the exit code."""
    from rlm_mcp.clients import changes

    for each in planned:
        if each.is_none:
            click.echo(f"{each.client.name}: {each.path} {unchanged}.")
        else:
            click.echo(f"{each.client.name}: {each.path}\n{each.diff()}\n")
    due = [each for each in planned if not each.is_none]
    if not due or how == "dry":
        return DONE
    if how == "ask":
        if not sys.stdin.isatty():
            click.echo(STDIN_IS_NO_TERMINAL, err=True)
            return USAGE
        if not click.confirm("Write this?" if len(due) == 1 else f"Write these {len(due)} files?"):
            click.echo(NOTHING)
            return FAILED
    for each in due:
        backup = changes.apply(each)
        kept = f"; the file as it was: {backup}" if backup else ""
        click.echo(f"{each.client.name}: {'removed' if each.after is None else 'written'}{kept}")
    return DONE


async def _try(planned: "list[Change]", name: str) -> int:
    """Start what the files say now, each once, as their clients would."""
    import os

    from rlm_mcp.clients import running
    from rlm_mcp.clients.entries import entries
    from rlm_mcp.clients.formats import server_of

    servers: dict[tuple[object, ...], Server] = {}
    for each in planned:
        text = await anyio.Path(each.path).read_text(encoding="utf-8")
        written = server_of(each.client, entries(each.client, text)[name])
        assert written is not None
        server = running.without_asked(written)
        servers[server.argv, tuple(sorted(server.env.items()))] = server
    for server in servers.values():
        met = await running.tried(server, os.environ)
        click.echo(
            f"Started as a client would: {len(met.tools)} tools in {met.seconds:.1f} s"
            f" ({met.name} {met.version}, MCP {met.protocol})."
        )
        if met.stray:
            click.echo(f"It writes what is no MCP to standard output: {met.stray[0]}", err=True)
            return FAILED
    for each in planned:
        if not each.is_none:
            click.echo(f"{each.client.name}: {each.client.after}")
    return DONE


def _print(found: "list[Client]", name: str, server: "Server", secrets: tuple[str, ...]) -> int:
    from rlm_mcp.clients.entries import with_server
    from rlm_mcp.clients.links import link

    if not found:
        raise ArgumentInvalid(
            "--print needs a client.", "For example: rlm-mcp install claude-desktop --print"
        )
    for each in found:
        if len(found) > 1:
            click.echo(f"# {each.name}")
        click.echo(with_server(each, "", name, server, secrets).rstrip())
        address = link(each, server, name)
        if address and not set(server.env) & set(_secrets()):
            click.echo(f"At a click: {address}", err=True)
    return DONE


def _secrets() -> tuple[str, ...]:
    from rlm_mcp.clients.running import SECRETS

    return SECRETS
