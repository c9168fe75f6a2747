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
@click.option(
    "--with-key",
    is_flag=True,
    help="Write keys (RLM_API_KEY, RLM_SUB_API_KEY, passwords in addresses) into files, readable.",
)
@click.option("--name", default=NAME, show_default=True, help="Name of the server in the client.")
def install(
    *, names: tuple[str, ...], how: How | None, given: tuple[str, ...], with_key: bool, name: str
) -> int:
    """Add this server to MCP clients on this machine.

    Without a CLIENT: to all that are found. What changes in each file is shown, and the file is
    backed up beside itself, without our keys; what else it holds stays as it is. Then the server is
    started as the client would start it.

    The settings in the environment (RLM_...) are taken over, paths made absolute; keys only
    --with-key. A new file is its owner's alone; one that is there keeps its mode.

    Exit code: 0 done, or nothing to do; 1 a file cannot be changed, or the server does not work;
    2 there is nobody to ask.
    """
    import os

    from rlm_mcp.clients import changes, running
    from rlm_mcp.clients.variables import unwritten, variables

    machine = running.machine_here()
    env = variables(os.environ, _pairs(given), with_key=with_key)
    _require_model(env)
    server = running.server_here(env)
    secrets = unwritten(os.environ, env)
    if how == "print":
        return _print(_named(names), name, server, secrets)
    found = _named(names) or _found(machine)
    planned, failed = _planned(
        found, machine, lambda each, path: changes.adding(each, path, name, server, secrets)
    )
    _warn(planned, env, secrets)
    code, standing = _carried_out(planned, how or "ask", "is set up already")
    if standing:
        code = anyio.run(_try, standing, name) or code
    return code or (FAILED if failed else DONE)


@click.command()
@click.argument("names", nargs=-1, metavar="[CLIENT]...")
@how_option
@dry_option
@click.option("--name", help="Only the server of that name.")
def uninstall(*, names: tuple[str, ...], how: How | None, name: str | None) -> int:
    """Take this server out of MCP clients again.

    Without a CLIENT: out of all that have it, whatever its name there. Only its own entries go, and
    no backup keeps their keys; a file that has not changed since becomes byte for byte what it was.
    Exit codes as of `install`.
    """
    from rlm_mcp.clients import changes, running

    machine = running.machine_here()
    found = _named(names) or _having(machine, name)
    planned, failed = _planned(
        found, machine, lambda each, path: changes.removing(each, path, name)
    )
    if not planned and not failed:
        click.echo("No client has it.")
    code, _ = _carried_out(planned, how or "ask", "does not have it")
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


def _require_model(env: Mapping[str, str]) -> None:
    """See that the model is a file or a name on the hub, if one is set.

    Raises:
        ModelUnusable: it is neither.
    """
    from rlm_mcp.clients.stars import FILLED_IN
    from rlm_mcp.clients.variables import MODEL
    from rlm_mcp.llm.embedded.server import locate

    path = env.get(MODEL)
    if path and FILLED_IN not in path:
        locate(path)


def _having(machine: "Machine", name: str | None) -> "list[Client]":
    """The clients whose files have a server of ours, of that name if there is one.

    So have those that cannot be read and speak of it: taking it out will tell why.
    """
    from rlm_mcp.clients.entries import ours
    from rlm_mcp.clients.formats import clients, file_of

    having = []
    for each in clients():
        path = file_of(each, machine)
        if path is None or not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace")
        try:
            has_it = any(name in {None, found} for found in ours(each, text))
        except ClientError:
            has_it = each.sign != "" and ("rlm-mcp" in text or "rlm_mcp" in text)
        if has_it:
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
            _tell(each, error)
    return planned, failed


def _tell(client: "Client", error: ClientError) -> None:
    click.echo(f"{client.name}: {error.message}\n{error.hint}", err=True)


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
    from rlm_mcp.clients.variables import has_roots

    due = [each for each in planned if not each.is_none]
    if due and not has_roots(env):
        click.echo(
            "RLM_ROOTS is not set: the server may load only from the folder that the client starts"
            " it in, and desktop clients start it in none.\nTo name folders:"
            " --env RLM_ROOTS=~/code",
            err=True,
        )
    _tell_left_out([each.client for each in due], secrets)
    for each in planned:
        if each.exposed:
            click.echo(
                f"{each.path} is to hold {' and '.join(each.exposed)}, and other users may read"
                f" it. To be its only reader: chmod 600 {each.path}",
                err=True,
            )


def _tell_left_out(clients: "Sequence[Client]", secrets: tuple[str, ...]) -> None:
    leaving = [each.name for each in clients if not each.asks]
    if secrets and leaving:
        click.echo(
            f"{' and '.join(secrets)} stays out of the files of {', '.join(leaving)}."
            " To write it there, readable: --with-key",
            err=True,
        )


def _carried_out(planned: "list[Change]", how: How, unchanged: str) -> "tuple[int, list[Change]]":
    """Show the changes, ask, and write; the exit code, and those whose files are as planned now."""
    from rlm_mcp.clients import changes

    for each in planned:
        if each.is_none:
            click.echo(f"{each.client.name}: {each.path} {unchanged}.")
        else:
            click.echo(f"{each.client.name}: {each.path}\n{each.diff()}\n")
    due = [each for each in planned if not each.is_none]
    if how == "dry":
        return DONE, []
    if due and how == "ask":
        if not sys.stdin.isatty():
            click.echo(STDIN_IS_NO_TERMINAL, err=True)
            return USAGE, []
        if not click.confirm("Write this?" if len(due) == 1 else f"Write these {len(due)} files?"):
            click.echo(NOTHING)
            return FAILED, []
    failing = []
    for each in due:
        try:
            backup = changes.apply(each)
        except ClientError as error:
            failing.append(each)
            _tell(each.client, error)
        else:
            click.echo(f"{each.client.name}: {_done(each, backup)}")
    return FAILED if failing else DONE, [each for each in planned if each not in failing]


def _done(change: "Change", backup: "Path | None") -> str:
    if change.after is None:
        return "file removed; there was none before"
    if change.before is None:
        return "file written"
    if backup is None:
        return "written; the file is what it was before"
    starred = "" if change.kept == change.before else ", our keys starred out"
    return f"written; the file as it was{starred}: {backup}"


async def _try(standing: "list[Change]", name: str) -> int:
    """Start what the files say now, each once, as their clients would; the exit code."""
    from rlm_mcp.clients import running
    from rlm_mcp.clients.entries import ours

    starting: dict[tuple[object, ...], tuple[Server, list[Change]]] = {}
    for each in standing:
        server = running.without_asked(ours(each.client, each.after or "")[name])
        same = server.argv, tuple(sorted(server.env.items()))
        starting.setdefault(same, (server, []))[1].append(each)
    code = DONE
    for server, changed in starting.values():
        try:
            await _start(server)
        except ClientError as error:
            code = FAILED
            for each in changed:
                _tell(each.client, error)
            continue
        for each in changed:
            if not each.is_none:
                click.echo(f"{each.client.name}: {each.client.after}")
    return code


async def _start(server: "Server") -> None:
    import os

    from rlm_mcp.clients import running
    from rlm_mcp.errors import NotAnMcpServer

    met = await running.tried(server, os.environ)
    if met.stray:
        raise NotAnMcpServer(
            f"The server writes what is no MCP to standard output: {met.stray[0]}",
            "Look what writes there: some clients fail at it.",
        )
    click.echo(
        f"Started as a client would: {len(met.tools)} tools in {met.seconds:.1f} s"
        f" ({met.name} {met.version}, MCP {met.protocol})."
    )


def _print(found: "list[Client]", name: str, server: "Server", secrets: tuple[str, ...]) -> int:
    from rlm_mcp.clients.entries import with_server
    from rlm_mcp.clients.links import link, untold

    if not found:
        raise ArgumentInvalid(
            "--print needs a client.", "For example: rlm-mcp install claude-desktop --print"
        )
    for each in found:
        if len(found) > 1:
            click.echo(f"# {each.name}")
        click.echo(with_server(each, "", name, server, secrets).rstrip())
        if each.link and (secret := untold(server)):
            click.echo(
                f"No link for a click: it would carry {' and '.join(secret)}, and links are kept"
                " and passed on.",
                err=True,
            )
        elif address := link(each, server, name):
            click.echo(f"At a click: {address}", err=True)
    _tell_left_out(found, secrets)
    return DONE
