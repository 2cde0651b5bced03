"""The way from one process to Infisical: its pooled connections, what stands in between, and what goes wrong there."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import httpx

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
from tests.simulation.fault_injection import ReplacedAnswer
from tests.simulation.ports import Port
from tests.simulation.scheduler import Process

CONNECT_TIMEOUT_SECONDS = 5

# httpx drops a connection that was idle for this long, by the process's monotonic clock.
KEEP_ALIVE_SECONDS = 5.0
DEAD = "dead connection"
DEAD_SHARE = 0.7  # of the connections that a process has kept while it was frozen, where any has died

# How long a rotation takes; Infisical sets no limit, and its lock ends after 60 s. The promise assumes
# that a commit follows its key within 90 s. The key is created after two thirds: 140 s / 3 = 47 s before the commit.
SLOW_SECONDS = (8.0, 28.0, 33.0, 58.0, 64.0, 88.0, 140.0)

HOW_ATTEMPTS_END = (
    CommittedThenDropped(),
    *(how(point) for how in (Fails, Dies) for point in Point),
)

# What a proxy in front of Infisical answers by itself, while nothing or another server is behind it.
HTML = {"content-type": "text/html"}
BAD_GATEWAY = Answer(502, HTML, b"<html>bad gateway</html>")
NOT_ROUTED = Answer(404, {"content-type": "text/plain; charset=utf-8"}, b"default backend - 404")
BLOCKED = Answer(403, HTML, b"<html><title>Attention Required!</title>You have been blocked</html>")
NOT_ALLOWED = Answer(405, HTML, b"<html><title>405 Not Allowed</title></html>")
MISDIRECTED = Answer(421, HTML, b"<html>Misdirected Request</html>")
MAINTENANCE = Answer(200, HTML, b"<html>We will be back soon</html>")
PAGES = (BAD_GATEWAY, NOT_ROUTED, BLOCKED, NOT_ALLOWED, MISDIRECTED, MAINTENANCE)

CALLS_OF_INFISICAL = ("login", "list", "state", "credentials", "rotate-secrets")
CONNECTION = ("no connection", "connecting takes too long", "request lost", "answer lost")
LIMITED = ("limited", "limited for a second")
TOKEN = ("token expired", "token revoked")
LOGIN = (*CONNECTION, *LIMITED, *PAGES, "server error")
READ = (*CONNECTION, *TOKEN, *LIMITED, *PAGES, Dropped(), Slow(6), Slow(15))
ROTATE: tuple[object, ...] = (
    *CONNECTION,
    *TOKEN,
    *LIMITED,
    *("in progress", "plan", Dropped()),
    *PAGES,
    *map(ReplacedAnswer, PAGES),
    *HOW_ATTEMPTS_END * 2,
    *[Slow(seconds) for seconds in SLOW_SECONDS] * 3,
    *(Slow(seconds, end) for seconds in SLOW_SECONDS for end in HOW_ATTEMPTS_END),
)
# As often as all others together: somebody else rotates at the same moment.
RIVALS = (InProgress(3), InProgress(70), LockRace(0.1), LockRace(3)) * (len(ROTATE) // 4)

# After these of rotate-secrets it is certain that nothing was done.
CLEAR_NO = ("no connection", "connecting takes too long", *TOKEN, *LIMITED, "in progress", "plan")

ROTATIONS = re.compile(r"/api/v2/secret-rotations/[^/]+(/(?P<id>[^/]+)(/(?P<verb>.+))?)?")


@dataclass
class _Connection:
    """Idle since `used_at`, by its process's monotonic clock, and used last when that had thawed so many times."""

    used_at: float
    thaws: int


class Network(httpx.BaseTransport):
    """A pool of connections, of one process. `names` are the rotations' by their ids; some of them have rivals.

    A connection that has died while the process was frozen answers the next request with a reset, or with silence.
    """

    def __init__(
        self, port: Port, server: StandIn, names: Mapping[str, str], with_rivals: Collection[str], process: Process
    ) -> None:
        self._port = port
        self._server = server
        self._names = names
        self._with_rivals = with_rivals
        self._process = process
        self._inner = StandInTransport(server)
        self._idle: list[_Connection] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        match = ROTATIONS.fullmatch(request.url.path)
        if match is None:
            # The thread that logs in holds the identity's lock; another thread of the process would wait for it.
            with self._port.scheduler.alone():
                return self._call("login", LOGIN, request, partial(self._login, request))
        rotation_id, verb = match["id"], (match["verb"] or "state").removeprefix("generated-")
        if rotation_id is None:
            read = partial(self._read, request, request.url.params["projectId"])
            return self._call("list", READ, request, read, weight=2)
        name = f"{verb} of {self._names[rotation_id]}"
        if verb == "rotate-secrets":
            faults = (*ROTATE, *RIVALS) if rotation_id in self._with_rivals else ROTATE
            return self._call(name, faults, request, partial(self._rotate, request, rotation_id), weight=6)
        return self._call(name, READ, request, partial(self._read, request, rotation_id))

    def _call(
        self,
        name: str,
        faults: tuple[object, ...],
        request: httpx.Request,
        act: Callable[[object], httpx.Response],
        weight: float = 1.0,
    ) -> httpx.Response:
        def through(fault: object) -> httpx.Response:
            self._take_connection(name, request)
            match fault:
                case Answer():
                    response = _page(fault, request)
                case ReplacedAnswer(page=page):
                    act(None)
                    response = _page(page, request)
                case _:
                    response = act(fault)
            self._idle.append(_Connection(self._port.scheduler.monotonic(self._process), len(self._process.thaws)))
            return response

        return self._port.call(name, faults, through, weight)

    def _take_connection(self, name: str, request: httpx.Request) -> None:
        """Use the oldest idle connection, or a new one. Raises what httpx does on a dead one."""
        now, process = self._port.scheduler.monotonic(self._process), self._process
        self._idle = [each for each in self._idle if now - each.used_at < KEEP_ALIVE_SECONDS]
        if not self._idle:
            return
        connection = self._idle.pop(0)
        deaths = [death for death in process.thaws[connection.thaws :] if death]
        if not deaths or self._port.injector.random.random() > DEAD_SHARE:
            return
        self._port.injector.record_fault(name, f"{DEAD}, {deaths[-1]}")
        if deaths[-1] == "silent":
            self._port.scheduler.sleep(request.extensions["timeout"].get("read"))
            raise httpx.ReadTimeout("The read operation timed out", request=request)
        if deaths[-1] == "reset":
            raise httpx.ReadError("[Errno 104] Connection reset by peer", request=request)
        raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)

    def _login(self, request: httpx.Request, fault: object) -> httpx.Response:
        if fault == "server error":
            error = {"reqId": "req-1", "statusCode": 500, "error": "InternalServerError"}
            return httpx.Response(500, json=error | {"message": "Something went wrong"})
        if fault in LIMITED:
            error = {
                "reqId": "req-1",
                "statusCode": 429,
                "error": "RateLimitExceeded",
                "message": "Rate limit exceeded",
            }
            return httpx.Response(429, headers={"retry-after": str(self._limit(fault))}, json=error)
        return self._send(request, fault)

    def _read(self, request: httpx.Request, subject: str, fault: object) -> httpx.Response:
        faults = self._server.faults
        if isinstance(fault, ReadFault):
            faults.add_read(subject, fault)
        elif fault in LIMITED:
            faults.add_read(subject, rate_limited(self._limit(fault)))
        try:
            return self._send(request, fault)
        finally:
            faults.next_read(subject)  # is still there where the token was not accepted

    def _rotate(self, request: httpx.Request, rotation_id: str, fault: object) -> httpx.Response:
        faults = self._server.faults
        match fault:
            case "limited" | "limited for a second":
                faults.add(rotation_id, rate_limited(self._limit(fault)))
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

    def _limit(self, fault: object) -> int:
        return self._port.injector.random.choice((2, 60, 900)) if fault == "limited" else 1

    def _send(self, request: httpx.Request, fault: object) -> httpx.Response:
        match fault:
            case "no connection":
                raise httpx.ConnectError("Connection refused", request=request)
            case "connecting takes too long":
                self._port.scheduler.sleep(CONNECT_TIMEOUT_SECONDS)
                raise httpx.ConnectTimeout("timed out", request=request)
            case "request lost":
                self._port.scheduler.sleep(request.extensions["timeout"].get("read"))
                raise httpx.ReadTimeout("The read operation timed out", request=request)
            case "answer lost":
                self._inner.handle_request(request)
                raise httpx.ReadError("Connection reset by peer", request=request)
            case "token expired":
                self._server.expire_tokens()
            case "token revoked":
                self._server.revoke_tokens()
        return self._inner.handle_request(request)


def _page(page: Answer, request: httpx.Request) -> httpx.Response:
    return httpx.Response(page.status, headers=dict(page.headers), content=page.body, request=request)
