"""The real command on a wall clock of its own: it jumps a day ahead on SIGUSR1, back on SIGUSR2."""

import datetime as dt
import os
import signal
import sys
import time
from pathlib import Path

DAY_S = 24 * 3600
ahead = {"s": 0}
real_time, real_time_ns, real_datetime = time.time, time.time_ns, dt.datetime


class Jumping(real_datetime):
    @classmethod
    def now(cls, tz=None):
        return real_datetime.now(tz) + dt.timedelta(seconds=ahead["s"])


def jump(number, _frame):
    ahead["s"] += DAY_S if number == signal.SIGUSR1 else -DAY_S


time.time = lambda: real_time() + ahead["s"]
time.time_ns = lambda: real_time_ns() + ahead["s"] * 10**9
dt.datetime = Jumping

if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, jump)
    signal.signal(signal.SIGUSR2, jump)
    Path(sys.argv.pop(1)).write_text(str(os.getpid()), encoding="utf-8")

    from rlm_mcp.cli.main import main

    sys.exit(main())
