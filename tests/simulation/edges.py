"""Everything that the functions reach out to. Each call takes time, may fail, and may be its process's last."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import httpx
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.sandbox.standin.answers import Answer, Dropped
from tests.sandbox.standin.core import StandIn
from tests.sandbox.standin.faults import (
    CommittedThenDropped,
    Dies,
    Fails,
    InProgress,
    LockRace,
    Point,
    ReadFault,
    RotateFault,
    Slow,
    plan_restriction,
    rotation_in_progress,
)
from tests.sandbox.standin.limits import rate_limited
from tests.sandbox.standin.transport import StandInTransport
from tests.simulation.disturbances import Disturbances
from tests.simulation.fifo import Fifo, NotInFlightError
from tests.simulation.turns import Turns

R = TypeVar("R")

REQUESTS_URL, FAILED_URL = "RotationRequests.fifo", "FailedRotations.fifo"

LATENCY_SECONDS = (0.002, 0.05)
CONNECT_TIMEOUT_SECONDS = 5

# A killed process has this long to live: it ends before the call, during it, or in one of the next ones.
LAST_SECONDS = (0.0, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 100.0)
KILLED_WEIGHT = 0.4

# Infisical lives up to 90 s after it began, whoever waits; its lock ends after 60.
SLOW_SECONDS = (8.0, 28.0, 33.0, 58.0, 64.0, 88.0)

HOW_ATTEMPTS_END = (
    CommittedThenDropped(),
    *(how(point) for how in (Fails, Dies) for point in Point),
)
PROXY_PAGE = Answer(502, {"content-type": "text/html"}, b"<html>bad gateway</html>")
NONSENSE = Answer(200, {"content-type": "text/html"}, b"<html>welcome</html>")

CALLS_OF_INFISICAL = ("login", "list", "state", "credentials", "rotate-secrets")
CONNECTION = ("no connection", "connecting takes too long", "request lost", "answer lost")
LOGIN = (*CONNECTION, "server error", "limited")
TOKEN = ("token expired", "token revoked")
READ = (*CONNECTION, *TOKEN, "limited", PROXY_PAGE, Dropped(), Slow(6), Slow(15))
ROTATE: tuple[object, ...] = (
    *CONNECTION,
    *TOKEN,
    *("limited", "in progress", "plan", PROXY_PAGE, NONSENSE, Dropped()),
    *HOW_ATTEMPTS_END * 2,
    *[Slow(seconds) for seconds in SLOW_SECONDS] * 3,
    *(Slow(seconds, end) for seconds in SLOW_SECONDS for end in HOW_ATTEMPTS_END),
)
# As often as all others together: somebody else rotates at the same moment.
RIVALS = (InProgress(3), InProgress(70), LockRace(0.1), LockRace(3)) * (len(ROTATE) // 4)

# After these of rotate-secrets it is certain that nothing was done.
CLEAR_NO = ("no connection", "connecting takes too long", *TOKEN, "limited", "in progress", "plan")

AWS = ("refused", "no connection", "answer lost", "slow")
SEND_BATCH = (*AWS, "partly refused")

ROTATIONS = re.compile(r"/api/v2/secret-rotations/[^/]+(/(?P<id>[^/]+)(/(?P<verb>.+))?)?")


class Edge:
    """Where a call leaves its process."""

    def __init__(self, turns: Turns, disturbances: Disturbances) -> None:
        self.turns = turns
        self.disturbances = disturbances

    def call(self, name: str, faults: Sequence[object], act: Callable[[object], R], weight: float = 1.0) -> R:
        """Go there, `act` in spite of what goes wrong (often None), and come back."""
        if self.disturbances.strikes(KILLED_WEIGHT):
            self._kill(name)
        fault = self.disturbances.draw(name, faults, weight)
        self._travel()
        answer = act(fault)
        self._travel()
        return answer

    def _travel(self) -> None:
        self.turns.sleep(self.disturbances.random.uniform(*LATENCY_SECONDS))

    def _kill(self, name: str) -> None:
        process = self.turns.current.process
        seconds = self.disturbances.random.choice(LAST_SECONDS)
        self.disturbances.note(name, "killed")
        process.dies_at = min(process.dies_at, self.turns.now + seconds)


class Network(httpx.BaseTransport):
    """The way from one process to Infisical. `names` are the rotations' by their ids; some of them have rivals."""

    def __init__(self, edge: Edge, server: StandIn, names: Mapping[str, str], with_rivals: Collection[str]) -> None:
        self._edge = edge
        self._server = server
        self._names = names
        self._with_rivals = with_rivals
        self._inner = StandInTransport(server)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        match = ROTATIONS.fullmatch(request.url.path)
        if match is None:
            # Whoever logs in holds the identity's lock, which another thread of the process would wait for.
            with self._edge.turns.alone():
                return self._edge.call("login", LOGIN, partial(self._login, request))
        rotation_id, verb = match["id"], (match["verb"] or "state").removeprefix("generated-")
        if rotation_id is None:
            read = partial(self._read, request, request.url.params["projectId"])
            return self._edge.call("list", READ, read, weight=2)
        name = f"{verb} of {self._names[rotation_id]}"
        if verb == "rotate-secrets":
            faults = (*ROTATE, *RIVALS) if rotation_id in self._with_rivals else ROTATE
            return self._edge.call(name, faults, partial(self._rotate, request, rotation_id), weight=6)
        return self._edge.call(name, READ, partial(self._read, request, rotation_id))

    def _login(self, request: httpx.Request, fault: object) -> httpx.Response:
        if fault == "server error":
            return httpx.Response(500, json={"error": "InternalServerError", "message": "Something went wrong"})
        if fault == "limited":
            error = {"error": "RateLimitExceeded", "message": "Rate limit exceeded"}
            return httpx.Response(429, headers={"retry-after": "20"}, json=error)
        return self._send(request, fault)

    def _read(self, request: httpx.Request, subject: str, fault: object) -> httpx.Response:
        faults = self._server.faults
        if isinstance(fault, ReadFault):
            faults.add_read(subject, fault)
        elif fault == "limited":
            faults.add_read(subject, rate_limited(self._limit()))
        try:
            return self._send(request, fault)
        finally:
            faults.next_read(subject)  # is still there where the token was not accepted

    def _rotate(self, request: httpx.Request, rotation_id: str, fault: object) -> httpx.Response:
        faults = self._server.faults
        match fault:
            case "limited":
                faults.add(rotation_id, rate_limited(self._limit()))
            case "in progress":
                faults.add(rotation_id, rotation_in_progress())
            case "plan":
                faults.add(rotation_id, plan_restriction())
            case _ if isinstance(fault, RotateFault):
                faults.add(rotation_id, fault)
        try:
            return self._send(request, fault)
        finally:
            faults.next_rotate(rotation_id)  # as above

    def _limit(self) -> int:
        return self._edge.disturbances.random.choice((2, 60, 900))

    def _send(self, request: httpx.Request, fault: object) -> httpx.Response:
        match fault:
            case "no connection":
                raise httpx.ConnectError("Connection refused", request=request)
            case "connecting takes too long":
                self._edge.turns.sleep(CONNECT_TIMEOUT_SECONDS)
                raise httpx.ConnectTimeout("timed out", request=request)
            case "request lost":
                self._edge.turns.sleep(request.extensions["timeout"].get("read"))
                raise httpx.ReadTimeout("The read operation timed out", request=request)
            case "answer lost":
                self._inner.handle_request(request)
                raise httpx.ReadError("Connection reset by peer", request=request)
            case "token expired":
                self._server.expire_tokens()
            case "token revoked":
                self._server.revoke_tokens()
        return self._inner.handle_request(request)


class Aws:
    """A boto3 client of `service`; `target` does what is called."""

    def __init__(self, edge: Edge, service: str, target: Any, weight: float = 1.0) -> None:  # noqa: ANN401 - many are called
        self._edge = edge
        self._service = service
        self._target = target
        self._weight = weight

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as boto3 has it
        method = getattr(self._target, name)
        if not callable(method):
            return method
        faults = SEND_BATCH if name == "send_message_batch" else AWS

        def call(**arguments: Any) -> Any:  # noqa: ANN401 - as boto3 has it
            act = partial(self._act, name, partial(method, **arguments))
            return self._edge.call(f"{self._service} {name}", faults, act, self._weight)

        return call

    def _act(self, name: str, act: Callable[[], Any], fault: object) -> Any:  # noqa: ANN401 - whatever is called
        match fault:
            case "refused":
                raise ClientError({"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, name)
            case "no connection":
                raise EndpointConnectionError(endpoint_url=f"https://{self._service}.amazonaws.com/")
            case "answer lost":
                act()
                raise EndpointConnectionError(endpoint_url=f"https://{self._service}.amazonaws.com/")
            case "slow":
                self._edge.turns.sleep(30)
            case "partly refused":
                self._target.refuse_last = True
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
            raise ClientError(
                {"Error": {"Code": "MessageNotInflight", "Message": str(error)}}, "ChangeMessageVisibility"
            ) from None

    def _send(self, url: str, entry: dict[str, str]) -> None:
        self._queues[url].send(entry["MessageGroupId"], entry["MessageDeduplicationId"], entry["MessageBody"])
