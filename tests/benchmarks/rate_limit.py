"""More rotations than Infisical's rate limit lets through in a minute: the real worker, in virtual time.

Lambda's side is a model: at most so many batches at the same time, each in a warm process where there is one. A batch
is handed to the program one request at a time, on threads that take turns.
"""

import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any, cast

import httpx

from rotate import Rotate
from rotator.infisical.auth_methods import universal_auth
from rotator.infisical.client import Infisical
from rotator.infisical.login import MachineIdentity
from rotator.infisical.transport import BoundedTransport
from rotator.model import MappedRotation
from rotator.outcomes.publisher import OutcomeEvents
from rotator.outcomes.rotations import Announcer
from rotator.rotation.batch import BatchProcessor
from rotator.rotation.key_guard import KeyGuard
from rotator.rotation.queues import FailedQueue, RequestQueue
from rotator.rotation.request import RotationRequest
from rotator.telemetry import Telemetry
from rotator.timestamps import from_epoch
from tests.benchmarks.figures import Figure
from tests.benchmarks.template import Built
from tests.component.iam import FakeIam
from tests.sandbox.standin.attempts import Pace
from tests.sandbox.standin.core import StandIn
from tests.sandbox.standin.keys import AccessKey, MemoryKeys
from tests.sandbox.standin.limits import WINDOW_SECONDS, RateLimits
from tests.sandbox.standin.transport import StandInTransport
from tests.simulation.fifo import Fifo, Message
from tests.simulation.ports import FAILED_URL, REQUESTS_URL, Sqs
from tests.simulation.scheduler import Process, Scheduler

ROTATIONS = 300
# Infisical Cloud's documented limits for the smallest plan, a minute and an address.
READS, WRITES = 200, 90

START = 1_795_000_000.0
LAST_WEEK, THE_WEEK_BEFORE = 7 * 86_400, 14 * 86_400
BASE_URL = "https://infisical.test"
MINIMUM_INTERVAL, GRACE_PERIOD = timedelta(hours=1), timedelta(hours=6)

ROTATION_SECONDS = 1.0  # two calls to IAM, and what Infisical does around them
NETWORK_SECONDS = 0.02
POLL_SECONDS = 0.05

AT_MOST_VS_IDEAL = 1.15


@dataclass(frozen=True)
class Clock:
    """Everybody's. `slept` is told how long the program itself waits inside a function."""

    scheduler: Scheduler
    slept: Callable[[float], object] = lambda _: None

    def time(self) -> float:
        return self.scheduler.now

    def monotonic(self) -> float:
        return self.scheduler.now

    def sleep(self, seconds: float, /) -> None:
        self.slept(seconds)
        self.scheduler.sleep(seconds)


class Network(httpx.BaseTransport):
    """The way to Infisical."""

    def __init__(self, scheduler: Scheduler, server: StandIn) -> None:
        self._scheduler = scheduler
        self._inner = StandInTransport(server)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        # Whoever logs in holds a lock that the process's other threads would wait for, each with its turn.
        with self._scheduler.alone() if request.url.path.endswith("/login") else nullcontext():
            self._scheduler.sleep(NETWORK_SECONDS)
            return self._inner.handle_request(request)


class Iam(FakeIam):
    """The key guard's IAM, a network away."""

    def __init__(self, scheduler: Scheduler, keys_of: Callable[[str], list[AccessKey]]) -> None:
        super().__init__(keys_of)
        self._scheduler = scheduler

    def _call(self, name: str, about: str) -> None:
        self._scheduler.sleep(NETWORK_SECONDS)
        super()._call(name, about)


@dataclass
class Lambda:
    """RotationRequests.fifo as the event source of rotate: polled while fewer than `concurrency` batches are worked."""

    scheduler: Scheduler
    queue: Fifo
    cold_start: Callable[[], Rotate]
    concurrency: int
    batch_size: int
    timeout_seconds: int
    durations: list[float] = field(default_factory=list)
    _idle: list[tuple[Process, Rotate]] = field(default_factory=list)
    _running: int = 0
    _polls_at: float = math.inf

    def plan(self) -> None:
        """Look into the queue when there may be something to receive."""
        due_at = self.queue.due_at()
        if due_at is None or self._running == self.concurrency:
            return
        polls_at = max(self.scheduler.now, due_at) + POLL_SECONDS
        if polls_at < self._polls_at:
            self._polls_at = polls_at
            self.scheduler.later(polls_at - self.scheduler.now, partial(self._poll, polls_at))

    def _poll(self, planned_at: float) -> None:
        if planned_at != self._polls_at:  # since then, it was planned for an earlier moment
            return
        self._polls_at = math.inf
        waiting = [message for group in self.queue.available().values() for message in group]
        while waiting and self._running < self.concurrency:
            batch, waiting = waiting[: self.batch_size], waiting[self.batch_size :]
            self._invoke(self.queue.receive(batch))
        self.plan()

    def _invoke(self, batch: list[Message]) -> None:
        self._running += 1
        process, rotate = self._idle.pop() if self._idle else (Process("rotate"), self.cold_start())
        began, returned, open_ = self.scheduler.now, set[str](), {message.id for message in batch}

        def work(message: Message) -> None:
            answer = rotate.handle({"Records": [message.record()]}, "invocation", self.timeout_seconds)
            returned.update(failure["itemIdentifier"] for failure in answer["batchItemFailures"])
            open_.remove(message.id)
            if not open_:
                ended()

        def ended() -> None:
            self.durations.append(self.scheduler.now - began)
            self._running -= 1
            self._idle.append((process, rotate))
            for each in batch:
                if each.id not in returned:
                    self.queue.delete(each.receipt)
            self.plan()

        for each in batch:
            self.scheduler.start(process, partial(work, each))


@dataclass(frozen=True)
class Run:
    """What came of it. `delays` are how long after the first request each rotation was committed."""

    delays: list[float]
    rotated: list[int]
    failed: int
    durations: list[float]
    slept_seconds: float
    deliveries: int
    reads: int
    iam_calls: int


def run(built: Built, rotations: int = ROTATIONS) -> Run:
    """Send all requests at once, and let virtual time pass until the queue is empty."""
    scheduler, slept = Scheduler(START), [0.0]
    keys = MemoryKeys(Clock(scheduler))
    limits = RateLimits(READS, WRITES)
    server = StandIn(Clock(scheduler), keys, rate_limits=limits, pace=Pace(provider_seconds=ROTATION_SECONDS))
    identity = server.add_identity()
    secret = json.dumps({"clientId": identity.client_id, "clientSecret": identity.client_secret})
    clock = Clock(scheduler, lambda seconds: slept.__setitem__(0, slept[0] + seconds))
    of_requests = built.queue("RotationRequests")
    requests = Fifo(
        clock.time,
        visibility_seconds=of_requests["VisibilityTimeout"],
        maximum_receives=of_requests["RedrivePolicy"]["maxReceiveCount"],
    )
    failed, dead = Fifo(clock.time), list[str]()
    requests.dead_letters = lambda message: dead.append(message.id)
    sqs = cast("Any", Sqs({REQUESTS_URL: requests, FAILED_URL: failed}))
    telemetry = Telemetry("benchmarks", "INFO", io.StringIO())
    no_bus: Any = None
    iam = Iam(scheduler, keys.list_access_keys)

    def cold_start() -> Rotate:
        auth = MachineIdentity(BASE_URL, lambda: universal_auth(secret), clock.time)
        transport = BoundedTransport(Network(scheduler, server), clock)
        return Rotate(
            batch=BatchProcessor(
                requests=RequestQueue(sqs, REQUESTS_URL),
                failed=FailedQueue(sqs, FAILED_URL),
                telemetry=telemetry,
                clock=clock,
            ),
            infisical=Infisical(BASE_URL, auth, transport, clock),
            decide=KeyGuard(iam.open, MINIMUM_INTERVAL, GRACE_PERIOD, clock).decide,
            telemetry=telemetry,
            clock=clock,
            announcer=Announcer(OutcomeEvents(no_bus, "", "", "benchmarks", telemetry), clock),
        )

    timeout = built.functions["RotateFunction"].timeout_seconds
    workers = Lambda(scheduler, requests, cold_start, built.maximum_concurrency, built.batch_size, timeout)
    requests.changed = workers.plan
    commits: dict[str, list[float]] = {}
    for number in range(rotations):
        user = f"user-{number}"
        keys.create_access_key(user, START - THE_WEEK_BEFORE)
        rotation = server.add_rotation(user_name=user, last_rotated_at=from_epoch(START - LAST_WEEK))
        rotation.after_commit.append(commits.setdefault(rotation.id, []).append)
        message = RotationRequest(MappedRotation(rotation.id), "weekly", from_epoch(START), "benchmark").to_message()
        requests.send(rotation.id, rotation.id, message)
    try:
        scheduler.run(START + 12 * 3600)
    finally:
        scheduler.close()
    return Run(
        delays=[moments[0] - START for moments in commits.values() if moments],
        rotated=[len(moments) for moments in commits.values()],
        failed=len(failed.messages) + len(dead),
        durations=workers.durations,
        slept_seconds=slept[0],
        deliveries=sum(message.receive_count for message in requests.accepted),
        reads=sum(entry.method == "GET" for entry in server.requests),
        iam_calls=len(iam.calls),
    )


def measure(built: Built) -> Iterator[Figure]:
    """Compare the time until the last rotation with what the limit allows at best."""
    ran = run(built)
    if set(ran.rotated) != {1} or ran.failed:
        raise RuntimeError(f"not each was rotated once: {ran}")
    # A full window at once, each time that a window begins.
    ideal = (math.ceil(ROTATIONS / WRITES) - 1) * WINDOW_SECONDS + ROTATION_SECONDS
    total = max(ran.delays)
    yield Figure(
        "rate_limited_vs_ideal",
        f"{ROTATIONS} rotations through {WRITES} writes a minute / what the limit allows at best",
        total / ideal,
        at_most=AT_MOST_VS_IDEAL,
    )
    yield Figure("rate_limited_seconds", "… in virtual time", total, "s")
    yield Figure("rate_limited_slept_seconds", "… that functions slept meanwhile, altogether", ran.slept_seconds, "s")
    yield Figure("rate_limited_longest_invocation_seconds", "… the longest invocation", max(ran.durations), "s")
    yield Figure("rate_limited_median_invocation_seconds", "… the median invocation", median(ran.durations), "s")
    yield Figure("rate_limited_invocations", "… invocations", len(ran.durations), "")
    yield Figure("rate_limited_deliveries", "… deliveries, a rotation", ran.deliveries / ROTATIONS, "")
    yield Figure("rate_limited_reads", "… reads of a state, a rotation", ran.reads / ROTATIONS, "")
    yield Figure("rate_limited_iam_calls", "… calls to IAM, a rotation", ran.iam_calls / ROTATIONS, "")
