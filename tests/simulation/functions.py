"""Lambda: warm processes and cold starts, time-outs, retries; and what invokes the functions."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID

from dispatch import Dispatch
from hook import Hook
from rotate import Rotate
from tests.component.secrets_manager import ARN, STEPS, FakeSecretsManager
from tests.simulation.fault_injection import FaultInjector, Trace
from tests.simulation.fifo import Fifo, NotInFlightError
from tests.simulation.oracle import Occurrence, Oracle
from tests.simulation.ports import KILLED_WEIGHT
from tests.simulation.program import Parts
from tests.simulation.report_checker import ReportChecker
from tests.simulation.scheduler import Killed, Process, Scheduler

P = TypeVar("P")
R = TypeVar("R")

MESSAGES_A_BATCH = 10
RETRIES_AFTER_SECONDS = (60, 120)
LATE_SECONDS = (30, 70, 600, 1000, 1050, 1200)

# A process that was frozen for so long notices it.
LONG_FROZEN_SECONDS = 60
HOW_CONNECTIONS_DIE = ("reset", "disconnected", "silent")


@dataclass(frozen=True)
class Freezing:
    """How likely a frozen process finds that its monotonic clock stood still, and how likely Lambda has ended it."""

    stands_still: float = 0.0
    is_ended: float = 0.0


@dataclass
class _Instance(Generic[P]):
    process: Process
    program: P


class Function(Generic[P]):
    """One Lambda function. What `cold_start` makes is a process's own, and is used again until the process ends.

    Between invocations a process is frozen.
    """

    def __init__(
        self,
        name: str,
        timeout_seconds: float,
        cold_start: Callable[[Process], P],
        *,
        scheduler: Scheduler,
        injector: FaultInjector,
        trace: Trace,
        freezing: Freezing,
    ) -> None:
        self._scheduler = scheduler
        self._injector = injector
        self._trace = trace
        self._freezing = freezing
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._cold_start = cold_start
        self._processes = 0
        self._idle: list[_Instance[P]] = []

    def invoke(self, works: Sequence[Callable[[P, float], R]], done: Callable[[list[R] | None], None]) -> None:
        """Do all works at the same time in one process, each given the program and the seconds that remain.

        `done` hears what they return, or None as soon as the process is killed, or where one of them raised.
        """
        instance = self._thaw() or self._start()
        process, ends_at = instance.process, self._scheduler.now + self._timeout_seconds
        process.dies_at = ends_at
        ended: list[R | Exception] = []

        def do(work: Callable[[P, float], R]) -> None:
            try:
                ended.append(work(instance.program, self._timeout_seconds))
            except Killed:
                if not process.reaped:
                    process.reaped = True
                    self._trace.add("is killed")
                    done(None)
                raise
            except Exception as error:  # noqa: BLE001 - whatever the program raises
                ended.append(error)
            if len(ended) == len(works):
                answers = [each for each in ended if not isinstance(each, Exception)]
                done(answers if len(answers) == len(works) and not self._is_killed_at_last(process) else None)
                if process.dies_at == ends_at:
                    process.frozen_at = self._scheduler.now
                    self._idle.append(instance)

        self._trace.add(f"{process.name} is invoked")
        for work in works:
            self._scheduler.start(process, partial(do, work))

    def _is_killed_at_last(self, process: Process) -> bool:
        """Whether it has done all its work, and Lambda never hears of it."""
        if not self._injector.should_inject(KILLED_WEIGHT):
            return False
        self._injector.record_fault(self._name, "killed before its answer")
        process.dies_at = self._scheduler.now
        return True

    def _start(self) -> _Instance[P]:
        self._processes += 1
        process = Process(f"{self._name} {self._processes}", booted_at=self._scheduler.now)
        return _Instance(process, self._cold_start(process))

    def _thaw(self) -> _Instance[P] | None:
        random = self._injector.random
        if not self._idle:
            return None
        instance = self._idle.pop()
        if random.random() < self._freezing.is_ended:
            return None
        process = instance.process
        seconds = self._scheduler.now - process.frozen_at
        if random.random() < self._freezing.stands_still:
            process.lost_seconds += seconds
            if seconds > LONG_FROZEN_SECONDS:
                self._injector.count("process", "its monotonic clock stood still")
        process.thaws.append(random.choice(HOW_CONNECTIONS_DIE) if self._injector.should_inject() else None)
        return instance


class Requests:
    """RotationRequests.fifo as the event source of rotate.

    A batch is handed to the program one rotation at a time, on threads that take turns; the program itself works the
    rotations of a batch on threads of its own, of which nobody could say who is next.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        queue: Fifo,
        rotate: Function[Rotate],
        injector: FaultInjector,
        *,
        checker: ReportChecker,
        parts: Parts,
    ) -> None:
        self._scheduler = scheduler
        self._queue = queue
        self._rotate = rotate
        self._injector = injector
        self._checker = checker
        self._parts = parts
        self._invocations = 0
        self._polls_at = float("inf")
        queue.changed = self._plan

    def _plan(self) -> None:
        """Look again when there may be something to receive."""
        due_at = self._queue.due_at()
        if due_at is None:
            return
        polls_at = max(self._scheduler.now, due_at) + self._injector.random.uniform(0.01, 0.2)
        if polls_at < self._polls_at:
            self._polls_at = polls_at
            self._scheduler.later(polls_at - self._scheduler.now, partial(self._poll, polls_at))

    def _poll(self, planned_at: float) -> None:
        if planned_at != self._polls_at:  # since then, it was planned for an earlier moment
            return
        self._polls_at = float("inf")
        random = self._injector.random
        groups = list(self._queue.available().values())
        random.shuffle(groups)
        batch = [each for group in groups[: random.randint(1, 3)] for each in group[: random.choice((1, 2, 10, 10))]]
        received = self._queue.receive(batch[:MESSAGES_A_BATCH])
        if received:
            seconds = random.uniform(0.01, 0.3)
            if self._injector.should_inject():
                seconds = random.choice(LATE_SECONDS)
                self._injector.record_fault("rotate", "invoked late")
            self._scheduler.later(seconds, partial(self._invoke, [each.record() for each in received]))
        self._plan()

    def _invoke(self, records: list[dict[str, Any]]) -> None:
        self._invocations += 1
        request_id = f"invocation-{self._invocations}"
        groups: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            alone = record["messageId"] if not self._queue.exclusive else ""
            groups.setdefault(record["attributes"]["MessageGroupId"] + alone, []).append(record)

        def work(group: list[dict[str, Any]], rotate: Rotate, remaining_seconds: float) -> dict[str, Any]:
            records = [self._parts.delivered(record, self._scheduler.now) for record in group]
            self._checker.begins(records)
            answer = rotate.handle({"Records": records}, request_id, remaining_seconds)
            for record in records:
                self._checker.worked(record)
            return self._parts.answered(answer)

        self._rotate.invoke([partial(work, group) for group in groups.values()], partial(self._answered, records))

    def _answered(self, records: Sequence[dict[str, Any]], answers: list[dict[str, Any]] | None) -> None:
        """Delete what ended. The rest returns when its visibility time-out is over: all of it where none answered."""
        if answers is None:
            return
        returned = {failure["itemIdentifier"] for answer in answers for failure in answer["batchItemFailures"]}
        for record in records:
            if record["messageId"] in returned:
                continue
            if self._injector.should_inject(0.5):
                self._injector.record_fault("rotate", "acknowledgement lost")
                continue
            with suppress(NotInFlightError):  # too late: it is or will be delivered again
                self._checker.acknowledged(self._queue.delete(record["receiptHandle"]))


class Triggers:
    """Events on their way to dispatch. What Lambda could not deliver in three attempts is `undelivered`."""

    def __init__(
        self,
        scheduler: Scheduler,
        oracle: Oracle,
        dispatch: Function[Dispatch],
        accepted: Callable[[dict[str, Any], dict[str, Any]], None],
    ) -> None:
        self._scheduler = scheduler
        self._oracle = oracle
        self._dispatch = dispatch
        self._accepted = accepted
        self._deliveries = 0
        self.pending = 0
        self.undelivered: list[dict[str, Any]] = []

    def deliver(self, event: dict[str, Any]) -> None:
        """Invoke dispatch asynchronously, as rules and schedules do."""
        self.pending += 1
        self._deliveries += 1
        self._attempt(event, f"delivery-{self._deliveries}", RETRIES_AFTER_SECONDS)

    def _attempt(self, event: dict[str, Any], request_id: str, retries: Sequence[float]) -> None:
        def done(summary: dict[str, Any] | None) -> None:
            if summary is None and retries:
                self._scheduler.later(retries[0], partial(self._attempt, event, request_id, retries[1:]))
                return
            self.pending -= 1
            if summary is None:
                self.undelivered.append(event)

        self.invoke(event, request_id, done)

    def invoke(self, event: dict[str, Any], request_id: str, done: Callable[[dict[str, Any] | None], None]) -> None:
        """Invoke dispatch once, and hear what it answers, or None where it failed."""

        self._oracle.remember_occurrence(request_id, Occurrence.of_event(event, request_id))

        def answered(summaries: list[dict[str, Any]] | None) -> None:
            if summaries is not None:
                self._accepted(event, summaries[0])
            done(summaries[0] if summaries is not None else None)

        self._dispatch.invoke([lambda dispatch, _: dispatch.handle(event, request_id)], answered)


class SecretRotation:
    """Secrets Manager rotates the secret: step by step, and all again with the same token where one failed."""

    def __init__(
        self,
        scheduler: Scheduler,
        oracle: Oracle,
        secrets: FakeSecretsManager,
        hook: Function[Hook],
        retries: Sequence[float],
        *,
        checker: ReportChecker,
    ) -> None:
        self._scheduler = scheduler
        self._oracle = oracle
        self._checker = checker
        self._secrets = secrets
        self._hook = hook
        self._retries = retries
        self._before: str | None = None
        self._tokens = 0
        self._pending: str | None = None
        self._running = False

    def rotate(self) -> None:
        """Rotate the secret; a rotation that was not completed is attempted again, with its own token."""
        if self._running:
            return
        if self._pending is None:
            self._tokens += 1
            self._pending = str(UUID(int=self._tokens))
            self._oracle.remember_occurrence(self._pending, Occurrence(ARN, self._pending))
            self._secrets.begin(self._pending)
            self._before = self._secrets.current
        self._running = True
        self._step(self._pending, 0, self._retries)

    def _step(self, token: str, number: int, retries: Sequence[float]) -> None:
        if number == len(STEPS):
            self._checker.check_mirror(self._before, self._secrets.current)
            self._pending, self._running = None, False
            return
        event = {"Step": STEPS[number], "SecretId": ARN, "ClientRequestToken": token}

        def done(answers: list[object] | None) -> None:
            if answers is not None:
                self._step(token, number + 1, retries)
            elif retries:
                self._scheduler.later(retries[0], partial(self._step, token, 0, retries[1:]))
            else:
                self._running = False

        self._hook.invoke([lambda hook, remaining_seconds: hook.handle(event, remaining_seconds)], done)
