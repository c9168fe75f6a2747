"""`rlm-mcp demo`: the main job over Python's own standard library, with a scripted model."""

import sysconfig
from pathlib import Path

import anyio
import click

from rlm_mcp.cli.ask import sandbox_option
from rlm_mcp.cli.outcome import settled
from rlm_mcp.errors import SourceMissing
from rlm_mcp.settings import Settings

SCRIPTED = "The model in this demo is scripted: no language model runs. All the rest is real."
YOUR_OWN = (
    'With a model of yours:  RLM_API_URL=http://localhost:8080/v1 rlm-mcp ask PATH "question"'
)


@click.command()
@sandbox_option
def demo(*, sandbox: str | None) -> None:
    """Run the main job with no model server at hand.

    A scripted model answers a question about the source of Python's own standard library. The
    text, the code in the REPL, the sub-calls over HTTP, the citations and the bill are real.
    """
    anyio.run(_demo, sandbox)


async def _demo(sandbox: str | None) -> None:
    from rlm_mcp.cli import demo_script
    from rlm_mcp.cli.stage import Stage
    from rlm_mcp.llm.scripted import serve
    from rlm_mcp.service import Query, open_service

    stage = Stage()
    stage.line(SCRIPTED, style="bold")
    stage.line(YOUR_OWN, style="dim")
    async with serve(demo_script.MODELS, slots=8) as server:
        settings = Settings.load(
            api_url=server.url,
            sub_api_url=server.url,
            model="scripted-root",
            sub_model="scripted-sub",
            price_in=0.0,
            price_out=0.0,
            sub_price_in=0.0,
            sub_price_out=0.0,
            sandbox=sandbox,
            roots="*",
        )
        async with open_service(settings) as service:
            session = await service.new_session()
            began = anyio.current_time()
            with stage.loading() as progress:
                info = await service.load(
                    session, stdlib_sources(), name="stdlib", progress=progress
                )
            stage.loaded(info, anyio.current_time() - began)
            stage.step("ask", demo_script.QUESTION)
            job = await service.start(session, Query(demo_script.QUESTION), stage)
            answer = await settled(job)
            stage.answered(answer, info, await service.trace(answer.run_id))


def stdlib_sources() -> list[str]:
    """Globs for the Python files of the standard library, without what was installed into it.

    Raises:
        SourceMissing: this Python carries no source.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    packages = sorted(path.parent for path in folder.glob("*/__init__.py"))
    if not packages:
        raise SourceMissing(
            f"{folder} holds no source of the standard library.",
            'Ask about a folder of yours: rlm-mcp ask PATH "question".',
        )
    return [f"{folder}/*.py", *(f"{package}/**/*.py" for package in packages)]
