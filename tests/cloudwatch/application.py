"""The application in virtual time: its real functions, and of AWS the part that invokes, retries, keeps and counts.

The metrics that AWS emits are those of these pages:
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html,
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html,
https://docs.aws.amazon.com/scheduler/latest/UserGuide/monitoring-cloudwatch.html and
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html.
"""

import heapq
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import httpx

from audit import Audit
from dispatch import Dispatch
from rotate import Rotate
from rotator.dry_run.key_watch import KeyWatch
from rotator.dry_run.mirror_watch import MirrorWatch
from rotator.dry_run.rotations import Preview
from rotator.outcomes.rotations import Announcer
from rotator.rotation.batch import BatchProcessor
from rotator.rotation.queues import VISIBILITY_TIMEOUT_SECONDS, FailedQueue, RequestQueue
from rotator.telemetry import Telemetry
from rotator.timestamps import format_timestamp, from_epoch
from tests.cloudwatch.metrics import MetricName, Metrics
from tests.cloudwatch.template import STACK
from tests.component.hook_stage import Stage
from tests.component.world import GRACE_PERIOD, MINIMUM_INTERVAL, START, World
from tests.sandbox.sqs_record import sqs_record
from tests.sandbox.standin.transport import StandInTransport
from tests.unit.fakes import FakeEventBus

HOUR = 60
AUDIT_EVERY = 6 * HOUR
ROTATE_SECONDS = 900.0
# From the third receive on, SQS leaves a message out of the age of the oldest one.
COUNTED_RECEIVES = 3

UNDELIVERED, FAILED, REQUESTS = "UndeliveredTriggers", "FailedRotations", "RotationRequests"
MESSAGES = "UndeliveredMessages"


class Switch(httpx.BaseTransport):
    """The way to Infisical, which can be cut."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self.is_cut = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ConnectError("Network is unreachable", request=request)
        return self._inner.handle_request(request)


@dataclass
class Message:
    id: str
    body: str
    group: str
    sent_at: float
    visible_at: float
    receives: int = 0
    first_received_at: float = 0


class Sqs:
    """The client of SQS that the functions have: RotationRequests.fifo, and what arrives in the other queues."""

    def __init__(self, application: "Application") -> None:
        self._application = application
        self._ids = count(1)
        self.requests: list[Message] = []

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert QueueUrl == REQUESTS
        now = self._application.now
        for entry in Entries:
            self.requests.append(
                Message(f"message-{next(self._ids)}", entry["MessageBody"], entry["MessageGroupId"], now, now)
            )
        return {}

    def send_message(self, QueueUrl: str, **_: str) -> None:  # noqa: N803 - boto3's name
        self._application.arrives(QueueUrl)

    def change_message_visibility(self, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:  # noqa: N803 - boto3's names
        assert QueueUrl == REQUESTS
        (message,) = (each for each in self.requests if each.id == ReceiptHandle)
        message.visible_at = self._application.now + VisibilityTimeout


class Embedded(io.StringIO):
    """Standard output of the functions: metrics in the embedded metric format, and lines of the log."""

    def __init__(self, application: "Application") -> None:
        super().__init__()
        self._application = application

    def write(self, text: str) -> int:
        line = json.loads(text) if text.startswith("{") else {}
        if line and "_aws" not in line:
            self._application.logs.append((from_epoch(self._application.now), line))
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for names in directive["Dimensions"]:
                for metric in directive["Metrics"]:
                    values = line[metric["Name"]]
                    for value in values if isinstance(values, list) else [values]:
                        self._application.emit(
                            directive["Namespace"], metric["Name"], value, **{name: line[name] for name in names}
                        )
        return len(text)


class Hooked:
    """Lambda with the hook behind it, for the audit's dry runs."""

    def __init__(self, hook: Stage) -> None:
        self._hook = hook

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert FunctionName == "HookFunction"
        return {"Payload": io.BytesIO(json.dumps(self._hook.hook.handle(json.loads(Payload), 300.0)).encode())}


class Application:
    """Runs from `created` on, a minute of the first hour. All times are minutes since the beginning of that hour.

    A test sets what is wrong: `is_stopped` (nothing invokes rotate), `kills` (each invocation of rotate is cut off),
    `keeps` (UndeliveredTriggers accepts messages), `audits` (the audit's schedule is there), `throttled`.
    """

    def __init__(self, hook: Stage | None = None, created: int = 17, log_level: str = "CRITICAL") -> None:
        self.hook = hook
        self.world = hook.world if hook else World()
        self.world.rotation.is_auto_rotation_enabled = False
        self.network = Switch(StandInTransport(self.world.server))
        self.world.use_transport(self.network)
        self.created = self.minute = created
        self.metrics = Metrics()
        self.logs: list[tuple[datetime, dict[str, Any]]] = []
        self.waiting = dict.fromkeys((UNDELIVERED, FAILED, MESSAGES), 0)
        self.triggers: dict[str, object] = {"weekly": self.world.rotation.id}
        self.text: str | None = None  # of the rotation map, instead of what the triggers and the hook make it
        self.is_stopped = self.kills = False
        self.keeps = self.audits = True
        self.throttled: set[str] = set()
        self._plans: list[tuple[int, int, Callable[[], object]]] = []
        self._order = count()
        self._sqs = Sqs(self)
        self.bus = FakeEventBus()
        self._compose(log_level)

    @property
    def now(self) -> float:
        return self.world.clock.time()

    def at(self, minute: int, do: Callable[[], object]) -> None:
        """Plan something."""
        heapq.heappush(self._plans, (minute, next(self._order), do))

    def emit(self, namespace: str, name: str, value: float = 1, **dimensions: str) -> None:
        """Emit a sample of a metric now."""
        minute = max(self.minute, int(self.now - START.timestamp()) // 60)
        self.metrics.put(minute, MetricName(namespace, name, frozenset(dimensions.items())), value)

    def arrives(self, queue: str) -> None:
        """Count a message that was sent to a queue where it waits for a person."""
        self.waiting[queue] += 1
        self.emit("AWS/SQS", "NumberOfMessagesSent", QueueName=queue)

    def fails(self, function: str) -> None:
        """Count an invocation that ended in an error."""
        self.emit("AWS/Lambda", "Errors", FunctionName=f"{function}Function")

    def trigger(self, name: str = "weekly") -> None:
        """Let a trigger occur now."""
        event = {"trigger": name, "scheduledTime": format_timestamp(from_epoch(self.now))}
        self._attempt("Dispatch", lambda: self._dispatch.handle(event, "correlation"), self._undelivered)

    def rotate_secret(self, token: str) -> None:
        """Let Secrets Manager rotate the mirror, or try again."""
        assert self.hook
        try:
            self.hook.rotate(token)
        except Exception:  # noqa: BLE001 - Secrets Manager takes any error for a failed step
            self.fails("Hook")

    def run(self, until: int) -> None:
        """Let time pass."""
        self.at(self.created + 1, self._audit)
        for minute in range(self.created, until):
            self.minute = minute
            behind = START.timestamp() + minute * 60 - self.now
            if behind > 0:
                self.world.clock.sleep(behind)
            while self._plans and self._plans[0][0] <= minute:
                heapq.heappop(self._plans)[2]()
            if not self.is_stopped:
                self._poll()
            self._measure()

    def _compose(self, log_level: str) -> None:
        """Put the functions together, as their handlers do."""
        world, telemetry = self.world, Telemetry(STACK, log_level, Embedded(self))
        sqs: Any = self._sqs
        queue = RequestQueue(sqs, REQUESTS)
        events = self.bus.events(telemetry)
        self._dispatch = Dispatch(
            read_map=self._map,
            infisical=world.infisical,
            preview=Preview(world.guard.decide, MINIMUM_INTERVAL, GRACE_PERIOD),
            requests=queue,
            events=events,
            telemetry=telemetry,
            clock=world.clock,
        )
        self._rotate = Rotate(
            batch=BatchProcessor(
                requests=queue, failed=FailedQueue(sqs, FAILED), telemetry=telemetry, clock=world.clock
            ),
            infisical=world.infisical,
            decide=world.guard.decide,
            telemetry=telemetry,
            clock=world.clock,
            announcer=Announcer(events, world.clock),
        )
        lambda_: Any = Hooked(self.hook) if self.hook else None
        self._look = Audit(
            read_map=self._map,
            infisical=world.infisical,
            maximum_age=timedelta(days=35),
            keys=KeyWatch(world.iam.open, world.clock),
            mirrors=MirrorWatch(lambda_, "HookFunction" if self.hook else "", world.clock),
            events=events,
            telemetry=telemetry,
            clock=world.clock,
        )

    def _map(self) -> str:
        mirrors = json.loads(self.hook.hook.read_map())["mirrors"] if self.hook else {}
        triggers = {} if self.hook else self.triggers
        return json.dumps({"triggers": triggers, "mirrors": mirrors}) if self.text is None else self.text

    def _audit(self) -> None:
        self.at(self.minute + AUDIT_EVERY, self._audit)
        if self.audits:
            self._attempt("Audit", lambda: self._look.handle({}, "correlation"), lambda: None)

    def _attempt(
        self,
        function: str,
        invoke: Callable[[], object],
        gives_up: Callable[[], None],
        retries: tuple[int, ...] = (1, 2),
    ) -> None:
        """Invoke asynchronously: retry after one minute and after two more, then give up.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        """
        try:
            invoke()
        except Exception:  # noqa: BLE001 - Lambda takes any error for one
            self.fails(function)
            if not retries:
                gives_up()
                return
            wait, *later = retries
            self.at(self.minute + wait, lambda: self._attempt(function, invoke, gives_up, tuple(later)))

    def _undelivered(self) -> None:
        if self.keeps:
            self.arrives(UNDELIVERED)
        else:
            self.emit("AWS/Lambda", "DestinationDeliveryFailures", FunctionName="DispatchFunction")

    def _poll(self) -> None:
        """Invoke rotate with what is visible, each rotation's first message alone."""
        requests, seen = self._sqs.requests, set[str]()
        batch = [each for each in requests if not (each.group in seen or seen.add(each.group))]  # type: ignore[func-returns-value] # it adds
        for message in [each for each in batch if each.visible_at <= self.now]:
            message.first_received_at = message.first_received_at or self.now
            message.receives += 1
            message.visible_at = self.now + VISIBILITY_TIMEOUT_SECONDS
            if self.kills:
                self.fails("Rotate")
                continue
            record = sqs_record(
                message.id,
                message.body,
                message.group,
                first_received_at=message.first_received_at,
                receive_count=message.receives,
                sent_at=message.sent_at,
            )
            answer = self._rotate.handle({"Records": [record]}, "request", ROTATE_SECONDS)
            if not answer["batchItemFailures"]:
                requests.remove(message)

    def _measure(self) -> None:
        """What AWS measures every minute."""
        ages = [self.now - each.sent_at for each in self._sqs.requests if each.receives <= COUNTED_RECEIVES]
        if ages:
            self.emit("AWS/SQS", "ApproximateAgeOfOldestMessage", max(ages), QueueName=REQUESTS)
        for queue, messages in self.waiting.items():
            if messages:
                self.emit("AWS/SQS", "ApproximateNumberOfMessagesVisible", messages, QueueName=queue)
        for function in self.throttled:
            self.emit("AWS/Lambda", "Throttles", FunctionName=f"{function}Function")
