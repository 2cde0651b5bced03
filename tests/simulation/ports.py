"""The ports: everything that the functions call. Each call takes time, may fail, and may be its process's last."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from tests.component.iam import refused
from tests.simulation.fault_injection import FaultInjector
from tests.simulation.fifo import Fifo, NotInFlightError, TooLongError
from tests.simulation.scheduler import Scheduler

R = TypeVar("R")

REQUESTS_URL, FAILED_URL = "RotationRequests.fifo", "FailedRotations.fifo"

LATENCY_SECONDS = (0.002, 0.05)

# A process is killed before a call, or once the call has done its work and before its answer is there, or when the
# answer was worked and the next call begins; or it has this long to live.
BEFORE, UNANSWERED, AFTER = "killed before it", "killed before its answer", "killed after it"
LAST_SECONDS = (0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 100.0)
DEATHS: tuple[object, ...] = (*(BEFORE, UNANSWERED, AFTER) * 3, *LAST_SECONDS)
KILLED_WEIGHT = 0.4

# After all of the client's own attempts. What is not answered may have been done.
DENIED, PARTLY_REFUSED = "denied", "partly refused"
AWS_FAULTS = ("throttled", "unavailable", "no connection", "request lost", "answer lost", "slow", "session expired")
IAM_FAULTS = (*AWS_FAULTS, *AWS_FAULTS, DENIED)
FAULTS_OF = {
    "send_message_batch": (*AWS_FAULTS, PARTLY_REFUSED),
    "put_events": (*AWS_FAULTS, *AWS_FAULTS, *(PARTLY_REFUSED,) * 3, DENIED),
}
READ_TIMEOUT_SECONDS = 40  # 4 attempts x 10 s

ERRORS = {
    "throttled": (400, "Throttling", "Rate exceeded"),
    "unavailable": (503, "ServiceUnavailable", "Service is unavailable. Try again later."),
    "session expired": (403, "ExpiredToken", "The security token included in the request is expired"),
    DENIED: (403, "AccessDenied", "User is not authorized to perform this operation"),
}


class Port:
    """Where a call leaves its process."""

    def __init__(self, scheduler: Scheduler, injector: FaultInjector) -> None:
        self.scheduler = scheduler
        self.injector = injector

    def call(self, name: str, faults: Sequence[object], act: Callable[[object], R], weight: float = 1.0) -> R:
        """Go there, `act` in spite of what goes wrong (often None), and come back."""
        process = self.scheduler.current.process
        death = self._draw_death(name, weight)
        if isinstance(death, float):
            process.dies_at = min(process.dies_at, self.scheduler.now + death)
        fault = self.injector.draw(name, faults, weight)
        if death == BEFORE:
            self.scheduler.die()
        self._travel()
        try:
            answer = act(fault)
        finally:
            if death == UNANSWERED:
                self.scheduler.die()
        self._travel()
        if death == AFTER:
            process.dies_at = min(process.dies_at, self.scheduler.now)
        return answer

    def _travel(self) -> None:
        self.scheduler.sleep(self.injector.random.uniform(*LATENCY_SECONDS))

    def _draw_death(self, name: str, weight: float) -> object:
        if not self.injector.should_inject(KILLED_WEIGHT * max(1.0, weight / 3)):
            return None
        death = self.injector.random.choice(DEATHS)
        self.injector.record_fault(name, "killed" if isinstance(death, float) else death)
        return death


class AwsClient:
    """A boto3 client of `service`; `target` does what is called."""

    def __init__(self, port: Port, service: str, target: Any) -> None:  # noqa: ANN401 - many are called
        self._port = port
        self._service = service
        self._target = target

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as boto3 has it
        method = getattr(self._target, name)
        if not callable(method):
            return method
        faults = FAULTS_OF.get(name, IAM_FAULTS if self._service == "iam" else AWS_FAULTS)

        def call(**arguments: Any) -> Any:  # noqa: ANN401 - as boto3 has it
            def denied() -> None:
                if name == "put_events":
                    self._target.deny(arguments["Entries"])

            act = partial(self._act, name, partial(method, **arguments), denied)
            return self._port.call(f"{self._service} {name}", faults, act)

        return call

    def _act(self, name: str, act: Callable[[], Any], denied: Callable[[], None], fault: object) -> Any:  # noqa: ANN401 - whatever is called
        if fault == PARTLY_REFUSED:
            self._target.refuse_last = True
        if fault == DENIED:
            denied()
        return call_aws(self._port.scheduler, self._service, name, act, fault)


def call_aws(scheduler: Scheduler, service: str, operation: str, act: Callable[[], R], fault: object) -> R:
    """What becomes of a call, where there is a fault, by way of botocore."""
    endpoint = f"https://{service}.amazonaws.com/"
    match fault:
        case "no connection":
            raise EndpointConnectionError(endpoint_url=endpoint)
        case "request lost" | "answer lost":
            if fault == "answer lost":
                act()
            scheduler.sleep(READ_TIMEOUT_SECONDS)
            raise ReadTimeoutError(endpoint_url=endpoint)
        case "slow":
            scheduler.sleep(30)
        case str() if fault in ERRORS:
            status, code, text = ERRORS[fault]
            answer: Any = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise ClientError(answer, operation)
    return act()


class Sqs:
    """Both queues, as boto3's client has them. `refuse_last` leaves out the last message of the next batch."""

    def __init__(self, queues: dict[str, Fifo]) -> None:
        self._queues = queues
        self.refuse_last = False

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        refused = Entries[-1:] if self.refuse_last else []
        self.refuse_last = False
        for entry in Entries:
            if entry not in refused:
                self._send(QueueUrl, entry)
        return {"Failed": [{"Id": entry["Id"], "Code": "InternalError"} for entry in refused]}

    def send_message(self, *, QueueUrl: str, **entry: str) -> None:  # noqa: N803 - as boto3 has it
        self._send(QueueUrl, entry)

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:  # noqa: N803 - as boto3 has it
        try:
            self._queues[QueueUrl].change_visibility(ReceiptHandle, VisibilityTimeout)
        except NotInFlightError as error:
            raise refused("MessageNotInflight", str(error), "ChangeMessageVisibility") from None
        except TooLongError as error:
            raise refused("InvalidParameterValue", str(error), "ChangeMessageVisibility") from None

    def _send(self, url: str, entry: dict[str, str]) -> None:
        self._queues[url].send(entry["MessageGroupId"], entry["MessageDeduplicationId"], entry["MessageBody"])
