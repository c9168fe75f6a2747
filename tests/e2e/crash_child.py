"""A process that starts one run and works on it until it is killed, or has answered."""

import sys

import anyio

from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings


async def main(home, url, text):
    settings = Settings.load({}, home=home, api_url=url, roots="*", strategy="rlm", max_depth=2)
    async with open_service(settings) as service:
        session = await service.new_session()
        await service.load(session, [text])
        job = await service.start(session, Query("How many?"))
        sys.stdout.write(f"{job.run_id}\n")
        sys.stdout.flush()
        await job.ended.wait()


anyio.run(main, *sys.argv[1:])
