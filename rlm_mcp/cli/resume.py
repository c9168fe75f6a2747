"""`rlm-mcp resume`: go on with a run that was stopped from outside, and print its answer."""

from collections.abc import Sequence

import anyio
import click

from rlm_mcp.cli.ask import output_options, sandbox_option
from rlm_mcp.cli.outcome import printed, settled
from rlm_mcp.settings import Settings
from rlm_mcp.types import Answer, ContextInfo


@click.command("resume")
@click.argument("run")
@click.option("--api-url", help="OpenAI-compatible endpoint, if it is no longer the one of before.")
@sandbox_option
@output_options
def resume_run(run: str, *, as_json: bool, quiet: bool, **overrides: object) -> int:
    """Go on with RUN after a crash, exit, lost endpoint or full disk.

    Its code runs again on the answers it had; only what was not answered is asked, and it has what
    its limits then had left. Of a run that has ended by itself the answer is printed once more.

    Output and exit code are those of `rlm-mcp ask`.
    """
    settings = Settings.load(None, **overrides)
    answer, contexts = anyio.run(_answer, settings, run, quiet)
    return printed(answer, contexts, as_json=as_json, quiet=quiet)


async def _answer(
    settings: Settings, run_id: str, quiet: bool
) -> tuple[Answer, Sequence[ContextInfo]]:
    from rlm_mcp.cli.live import live_line
    from rlm_mcp.resuming import asked_about, recorded_answer, resume
    from rlm_mcp.service import open_service

    async with open_service(settings) as service:
        with live_line(quiet=quiet) as line:
            line.say("looking for a model")
            service.models.say = line.say
            job = await resume(service, run_id)
            if job is None:
                answer = await recorded_answer(service, run_id)
            else:
                answer = await settled(job, line.follow)
        return answer, await asked_about(service, run_id)
