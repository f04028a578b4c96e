import time
from datetime import datetime, timedelta
import infra.app.worker
from infra.app.schedule import start_due
from infra.kit import clock
from infra.kit.database import Scope
from tests.api import Api
from tests.jobs import run_jobs, failed_tasks, job_counts

async def test_probe(api: Api) -> None:
    clock.travel_to(datetime(2026,5,1,tzinfo=clock.LOCAL_ZONE))
    await api.client("platform_operator")
    for i in range(8):
        t=time.monotonic()
        clock.travel_to(datetime(2026,5,1+i,tzinfo=clock.LOCAL_ZONE))
        async with api.database.transaction(Scope.platform()) as s:
            n = await start_due(s, clock.now())
        t1=time.monotonic()
        await run_jobs(api.settings.database_url)
        t2=time.monotonic()
        f=await failed_tasks(api.settings.database_url)
        print(n, t1-t, t2-t1, time.monotonic()-t2, f)
    assert 0
