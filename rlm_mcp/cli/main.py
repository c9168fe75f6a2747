"""The command `rlm-mcp`: its subcommands, and the edge where errors become words and exit codes."""

import io
import sys

import click

from rlm_mcp.cli.ask import ask
from rlm_mcp.cli.bundle import bundle
from rlm_mcp.cli.demo import demo
from rlm_mcp.cli.doctor import doctor
from rlm_mcp.cli.evals import evaluate
from rlm_mcp.cli.exporting import export_spans
from rlm_mcp.cli.grade import grade
from rlm_mcp.cli.install import install, uninstall
from rlm_mcp.cli.purge import purge
from rlm_mcp.cli.resume import resume_run
from rlm_mcp.cli.screen import show
from rlm_mcp.cli.serve import serve
from rlm_mcp.cli.token import token
from rlm_mcp.cli.traces import traces
from rlm_mcp.errors import RlmError

FAILED = 1
INTERRUPTED = 130


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rlm-mcp", message="rlm-mcp %(version)s")
@click.pass_context
def command(context: click.Context) -> None:
    """Ask questions of text far larger than any model's window, on a model of your own.

    Without a command: serve MCP on standard input and output, as an MCP client starts it.

    Settings come from options, then RLM_ environment variables, then the settings file;
    `rlm-mcp doctor --settings` lists them all, and says where each comes from.

    Exit code of every command: 0 done, 1 failed or found wanting, 2 wrong usage, 3 a budget was
    spent, 130 interrupted. A command's own help says more.
    """
    export_spans()
    if context.invoked_subcommand is None:
        context.invoke(serve)


for subcommand in (
    serve,
    token,
    install,
    uninstall,
    ask,
    resume_run,
    demo,
    doctor,
    grade,
    traces,
    purge,
    evaluate,
    bundle,
):
    command.add_command(subcommand)


def main() -> None:
    """Run the command and exit with its code; the words of `command` say what each means."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Loaded text may hold what no terminal can show, and an answer may quote it.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = command.main(prog_name="rlm-mcp", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - words, no traceback
        cause = _unwrapped(error)
        # Who reads our output may stop reading, as `head` does: nothing is left to say then.
        if not isinstance(cause, SystemExit | BrokenPipeError):
            show(_told(cause), err=True)
        code = FAILED
    sys.exit(code)


def _unwrapped(error: BaseException) -> BaseException:
    """The error itself: task groups may have wrapped it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _told(error: BaseException) -> str:
    if isinstance(error, RlmError):
        return f"error: {error.message}\n{error.hint}"
    return f"error: {type(error).__name__}: {error}\nThis is a defect of rlm-mcp: please report it."
