"""A day of a simulated shop: what its services do and say.

Requests go through a state machine from service to service with log-normal latencies and retries.
One deploy exhausts a connection pool, one hour has bursts of its own, the database is silent for a
while. Some records arrive late, some twice.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

from rlm_mcp.evals.log_formats import Record, Value

LATE_SHARE = 0.02
LATEST_S = 60.0
TWICE_SHARE = 0.01
MOST_ATTEMPTS = 3
DAY = timedelta(days=1)
SIGMA = 0.5
BACKGROUND = 4
# One round in so many is a request that fails in the incident, or adds to the bursts of the hour.
INCIDENT_EVERY, BURST_EVERY = 12, 4
SILENT_S = 2400
DEPLOYS = 8
EXHAUSTED = "connection pool exhausted"
DEPLOYED = "deploy finished"
ANSWERED = "request answered"
RETRIED = "retrying charge"
TIMED_OUT = "charge timed out"


@dataclass(frozen=True, slots=True)
class State:
    """What a request meets: who says what, the median time to get there, and where it goes on."""

    service: str
    level: str
    message: str
    median_ms: float
    after: tuple[tuple[str, float], ...] = ()
    status: int | None = None


def _answer(status: int) -> State:
    return State("gateway", "ERROR" if status >= 500 else "INFO", ANSWERED, 4, status=status)


STATES = {
    "received": State(
        "gateway", "INFO", "request received", 1, (("accepted", 0.97), ("refused", 0.03))
    ),
    "refused": State("gateway", "WARN", "request refused", 2, (("429", 1),)),
    "accepted": State(
        "orders", "INFO", "order accepted", 8, (("reserved", 0.93), ("missing", 0.07))
    ),
    "reserved": State("inventory", "INFO", "stock reserved", 15, (("charging", 1),)),
    "missing": State("inventory", "WARN", "stock missing", 12, (("409", 1),)),
    "charging": State(
        "payments",
        "INFO",
        "charge started",
        10,
        (("charged", 0.85), ("timed_out", 0.12), ("declined", 0.03)),
    ),
    "charged": State("payments", "INFO", "charge completed", 120, (("stored", 1),)),
    "declined": State("payments", "WARN", "charge declined", 80, (("402", 1),)),
    "timed_out": State("payments", "ERROR", TIMED_OUT, 3000, (("retried", 1),)),
    "retried": State("orders", "WARN", RETRIED, 200, (("charging", 1),)),
    "given_up": State("orders", "ERROR", "charge given up", 5, (("502", 1),)),
    "stored": State("orders", "INFO", "order stored", 20, (("200", 1),)),
    **{str(status): _answer(status) for status in (200, 402, 409, 429, 502, 503)},
}
# What each service says beside its requests, as (level, message, how often).
SAYINGS = {
    "gateway": (
        ("INFO", "health check passed", 6),
        ("INFO", "tls session renewed", 3),
        ("INFO", "route table loaded", 1),
        ("WARN", "slow client disconnected", 2),
    ),
    "orders": (
        ("INFO", "outbox flushed", 5),
        ("INFO", "price list refreshed", 2),
        ("WARN", "stale lock removed", 1),
        ("ERROR", "invoice not rendered", 1),
    ),
    "inventory": (
        ("INFO", "stock count synced", 4),
        ("INFO", "index rebuilt", 1),
        ("WARN", "warehouse feed lagging", 2),
        ("ERROR", "feed entry rejected", 1),
    ),
    "payments": (
        ("INFO", "keys rotated", 1),
        ("INFO", "webhook delivered", 5),
        ("ERROR", "webhook not delivered", 2),
        ("ERROR", "ledger export failed", 1),
    ),
    "db": (
        ("INFO", "checkpoint complete", 5),
        ("INFO", "autovacuum finished", 4),
        ("INFO", "connection authorized", 6),
        ("WARN", "replication lag high", 2),
        ("ERROR", "deadlock detected", 1),
    ),
}
SERVICES = (*SAYINGS, "ops")
# Where requests can meet the exhausted pool.
POOLED = {"orders": "accepted", "inventory": "reserved", "payments": "charging"}
CAUSES = (
    "java.net.SocketTimeoutException: Read timed out",
    "java.net.ConnectException: Connection refused",
    "java.sql.SQLTransientConnectionException: No connection available",
    "javax.net.ssl.SSLHandshakeException: Remote host closed connection",
)
FRAMES = ("Charger.charge", "Pool.take", "Retry.run", "Ledger.write")


class Shop:
    """What happens, drawn by a seed; `burst` is the unusual hour."""

    def __init__(self, seed: int) -> None:
        self._rng = rng = random.Random(f"shop {seed}")
        self.day = datetime(2026, 1, 1) + timedelta(days=rng.randrange(365))  # noqa: DTZ001 - UTC
        self.burst, silent, incident = rng.sample(range(2, 22), 3)
        self._silent = self._at(silent * 3600), self._at(silent * 3600 + SILENT_S)
        self._victim = rng.choice(list(POOLED))
        self._deployed = self._at(incident * 3600 + rng.uniform(60, 1200))
        # A long time to the first failure leaves room for a deploy that has nothing to do with it.
        self._failing = self._deployed + timedelta(seconds=rng.uniform(240, 600))
        self._mended = self._failing + timedelta(seconds=rng.uniform(1200, 2400))
        background = [(service, *saying) for service, told in SAYINGS.items() for saying in told]
        self._background = background
        self._weights = [often for *_, often in background]
        self._bursting = rng.sample([b for b in background if b[0] != "db" and b[3] <= 2], 3)

    def rounds(self) -> Iterator[list[Record]]:
        """What is said, in no order, without end: the deploys, then one request a round and more.

        A text is of whole rounds, so that no request breaks off.
        """
        yield list(self._deploys())
        for number in count():
            told = list(self._request(failing=number % INCIDENT_EVERY == 0))
            drawn = self._rng.choices(self._background, self._weights, k=BACKGROUND)
            for service, level, message, _ in drawn:
                moment = self._at(self._rng.uniform(0, DAY.total_seconds()))
                if service != "db" or not self._silent[0] <= moment < self._silent[1]:
                    told.append(self._saying(moment, service, level, message))
            if number % BURST_EVERY == 0:
                for service, level, message, _ in self._bursting:
                    moment = self._at((self.burst + self._rng.random()) * 3600)
                    told.append(self._saying(moment, service, level, message))
            yield told

    def delays(self) -> list[float]:
        """By how many seconds each copy of a record is late; one copy, mostly in time."""
        late = self._rng.random() < LATE_SHARE
        first = self._rng.uniform(1, LATEST_S) if late else 0.0
        twice = self._rng.random() < TWICE_SHARE
        again = [first + self._rng.uniform(0, LATEST_S)] if twice else []
        return [first, *again]

    def _at(self, seconds: float) -> datetime:
        return self.day + timedelta(milliseconds=int(seconds * 1000))

    def _deploys(self) -> Iterator[Record]:
        between = self._deployed + (self._failing - self._deployed) / 2
        decoys = [service for service in SAYINGS if service != self._victim]
        done = [(self._deployed, self._victim), (between, self._rng.choice(decoys))]
        done += [
            (self._at(self._rng.uniform(600, 85_000)), self._rng.choice(decoys))
            for _ in range(DEPLOYS)
        ]
        done.append((self.day + (self._deployed - self.day) / 2, self._victim))
        for moment, service in done:
            version = f"{self._rng.randint(1, 9)}.{self._rng.randint(0, 30)}"
            fields: dict[str, Value] = {"service": service, "version": version}
            begun = moment - timedelta(seconds=self._rng.randint(20, 59))
            yield Record(begun, "ops", "INFO", "deploy started", fields)
            yield Record(moment, "ops", "INFO", DEPLOYED, fields)
        rolled = {"service": self._victim, "reason": "pool"}
        yield Record(self._mended, "ops", "WARN", "deploy rolled back", rolled)

    def _saying(self, moment: datetime, service: str, level: str, message: str) -> Record:
        fields: dict[str, Value] = {
            "host": f"{service}-{self._rng.randint(1, 4)}",
            "took_ms": self._latency_ms(60),
        }
        return Record(moment, service, level, message, fields, self._trace(service, level))

    def _request(self, *, failing: bool) -> Iterator[Record]:
        span = (self._failing, self._mended) if failing else (self.day, self.day + DAY)
        # The last request of the day has time to end.
        seconds = (span[1] - span[0]).total_seconds() - 300 * (not failing)
        began = moment = span[0] + timedelta(milliseconds=int(self._rng.uniform(0, seconds) * 1000))
        request = f"{self._rng.getrandbits(40):010x}"
        name, attempt = "received", 0
        while name:
            state = STATES[name]
            moment += timedelta(milliseconds=self._latency_ms(state.median_ms))
            fields: dict[str, Value] = {"req": request}
            service, level, message = state.service, state.level, state.message
            after = state.after
            if failing and name == POOLED[self._victim]:
                level, message, after = "ERROR", EXHAUSTED, (("503", 1),)
                fields["waiting"] = self._rng.randint(20, 400)
            attempt += name == "charging"
            if service == "payments":
                fields["attempt"] = attempt
            if state.status is not None:
                took = moment - began
                fields |= {"status": state.status, "duration_ms": took // timedelta(milliseconds=1)}
            yield Record(moment, service, level, message, fields, self._trace(service, level))
            name = self._next(after, failing=failing, last=attempt == MOST_ATTEMPTS)

    def _next(self, after: tuple[tuple[str, float], ...], *, failing: bool, last: bool) -> str:
        names = [name for name, _ in after]
        if not names or failing:
            # What is to fail goes the usual way up to there.
            return names[0] if names else ""
        name = self._rng.choices(names, [weight for _, weight in after])[0]
        return "given_up" if name == "retried" and last else name

    def _latency_ms(self, median_ms: float) -> int:
        return max(1, round(self._rng.lognormvariate(math.log(median_ms), SIGMA)))

    def _trace(self, service: str, level: str) -> tuple[str, ...]:
        """The stack below an error of the Java service, with one or two causes."""
        if service != "payments" or level != "ERROR":
            return ()
        lines = ["java.lang.IllegalStateException: gave up"]
        for cause in ["", *self._rng.sample(CAUSES, self._rng.randint(1, 2))]:
            lines += [f"Caused by: {cause}"] if cause else []
            for frame in self._rng.sample(FRAMES, 2):
                source = f"{frame.partition('.')[0]}.java:{self._rng.randint(20, 400)}"
                lines.append(f"\tat shop.payments.{frame}({source})")
        return tuple(lines)
