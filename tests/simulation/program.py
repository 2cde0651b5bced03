"""The functions as they are deployed, put together as their handlers do it, on ports that fail."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from dispatch import Dispatch
from hook import Hook
from rotate import Rotate
from rotator.dry_run.rotations import Preview
from rotator.infisical.auth_methods import universal_auth
from rotator.infisical.client import Infisical
from rotator.infisical.errors import InfisicalError
from rotator.infisical.login import Login, MachineIdentity
from rotator.infisical.transport import BoundedTransport, RenewedTransport
from rotator.mirror.fresh_key import RotationWaiter
from rotator.mirror.verification import KeyNotAcceptedError
from rotator.model import AccessKey, MappedRotation, RotationState
from rotator.old_keys.retirement import Retirement
from rotator.outcomes.publisher import OutcomeEvents
from rotator.outcomes.rotations import Announcer
from rotator.rotation.batch import BatchProcessor
from rotator.rotation.key_guard import KeyGuard
from rotator.rotation.policy import Decider, Decision
from rotator.rotation.queues import FailedQueue, RequestQueue
from rotator.rotation.request import RotationRequest
from rotator.timestamps import from_epoch
from rotator.triggers.selection import SelectedRotation
from tests.component.iam import FakeIam
from tests.component.secrets_manager import FakeSecretsManager
from tests.sandbox.standin.identities import Identity
from tests.simulation.event_bus import EventBus
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle, WatchedKeys, WatchedServer
from tests.simulation.ports import AWS_FAULTS, FAILED_URL, IAM_FAULTS, REQUESTS_URL, AwsClient, Port, Sqs, call_aws
from tests.simulation.report_checker import GRACE_PERIOD, TELEMETRY
from tests.simulation.scheduler import Process, Scheduler

if TYPE_CHECKING:
    from rotator.clock import Clock

BASE_URL = "https://infisical.test"
MINIMUM_INTERVAL = timedelta(hours=1)
RETIRE_AFTER = timedelta(seconds=1)  # so soon that it races with everything else
RETIRE_SECONDS = 900.0


@dataclass(frozen=True)
class Parts:
    """What the program is made of, and deployed with. To plant a bug is to exchange one."""

    identity: Callable[[str, Callable[[], Login], Callable[[], float]], httpx.Auth] = MachineIdentity
    connections: "Callable[[Callable[[], httpx.BaseTransport], Clock], httpx.BaseTransport]" = RenewedTransport
    transport: Callable[[httpx.BaseTransport], httpx.BaseTransport] = lambda inner: inner
    decide: Callable[[Decider], Decider] = lambda decide: decide
    delivered: Callable[[dict[str, Any], float], dict[str, Any]] = lambda record, _: record
    answered: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
    clock: "Callable[[AwsClock], Clock]" = lambda clock: clock
    sqs: Callable[[Sqs], Any] = lambda sqs: sqs
    iam_of_retire: Callable[[Any], Any] = lambda iam: iam
    dispatch_map: Callable[[str], str] = lambda text: text
    announcer: "Callable[[OutcomeEvents, Clock], Announcer]" = Announcer
    maximum_receives: int = 1000
    visibility_seconds: float = 1080
    exclusive_groups: bool = True


@dataclass(frozen=True)
class AwsClock:
    """The clocks of a process. Its wall clock is the one that the model counts in."""

    scheduler: Scheduler
    process: Process

    def time(self) -> float:
        return self.scheduler.now

    def monotonic(self) -> float:
        return self.scheduler.monotonic(self.process)

    def sleep(self, seconds: float, /) -> None:
        self.scheduler.sleep(seconds)


@dataclass(frozen=True)
class Environment:
    """All that the functions reach out to."""

    port: Port
    server: WatchedServer
    keys: WatchedKeys
    identity: Identity
    reader: Identity
    sqs: Sqs
    bus: EventBus
    iam: FakeIam
    secrets: FakeSecretsManager
    oracle: Oracle
    names: Mapping[str, str]
    with_rivals: Collection[str]
    rotation_map: str
    mapped: Sequence[MappedRotation]
    new_keys_work_after_seconds: float


def read_one_by_one(
    infisical: Infisical, rotations: Sequence[SelectedRotation]
) -> list[RotationState | InfisicalError]:
    states: list[RotationState | InfisicalError] = []
    for rotation in rotations:
        try:
            states.append(infisical.state(rotation.rotation))
        except InfisicalError as error:
            states.append(error)
    return states


class Program:
    """Each call is a cold start: the memory of a new process."""

    def __init__(self, parts: Parts, environment: Environment) -> None:
        self._parts = parts
        self._environment = environment

    def dispatch(self, process: Process) -> Dispatch:
        clock = self._clock(process)
        return Dispatch(
            read_map=lambda: self._parts.dispatch_map(self._environment.rotation_map),
            infisical=self._infisical(process, self._environment.identity),
            preview=Preview(self._decide(clock), MINIMUM_INTERVAL, GRACE_PERIOD),
            requests=self._requests(),
            events=self._events(),
            telemetry=TELEMETRY,
            clock=clock,
        )

    def rotate(self, process: Process) -> Rotate:
        clock = self._clock(process)
        return Rotate(
            batch=BatchProcessor(
                requests=self._requests(),
                failed=FailedQueue(self._aws("sqs", self._environment.sqs), FAILED_URL),
                telemetry=TELEMETRY,
                clock=clock,
            ),
            infisical=self._infisical(process, self._environment.identity),
            decide=self._decide(clock),
            telemetry=TELEMETRY,
            clock=clock,
            announcer=self._parts.announcer(self._events(), clock),
        )

    def retire(self, process: Process) -> Callable[[], None]:
        """What the function `retire` does, one rotation after the other: its threads would take turns by chance."""
        infisical = self._infisical(process, self._environment.identity)
        iam = self._parts.iam_of_retire(self._aws("iam", self._environment.iam))
        retirement = Retirement(lambda *_: iam, RETIRE_AFTER, RETIRE_AFTER, self._clock(process))
        rotations = [SelectedRotation(mapped) for mapped in self._environment.mapped]

        def run() -> None:
            states = read_one_by_one(infisical, rotations)
            retire = retirement.begin(states, self._environment.oracle.lagging(), RETIRE_SECONDS)
            for rotation, state in zip(rotations, states, strict=True):
                retire(rotation, state)

        return run

    def hook(self, process: Process) -> Hook:
        infisical = self._infisical(process, self._environment.reader)
        return Hook(
            read_map=lambda: self._environment.rotation_map,
            secrets=self._aws("secretsmanager", self._environment.secrets),
            infisical=infisical,
            waiter=RotationWaiter(
                infisical, self._requests(), self._decide(self._clock(process)), MINIMUM_INTERVAL, TELEMETRY.logger
            ),
            ask=self._ask,
            events=self._events(),
            telemetry=TELEMETRY,
            clock=self._clock(process),
        )

    def _clock(self, process: Process) -> "Clock":
        return self._parts.clock(AwsClock(self._environment.port.scheduler, process))

    def _infisical(self, process: Process, identity: Identity) -> Infisical:
        secret = json.dumps({"clientId": identity.client_id, "clientSecret": identity.client_secret})
        environment, clock = self._environment, self._clock(process)
        auth = self._parts.identity(BASE_URL, lambda: universal_auth(secret), clock.time)
        connect = partial(
            Network, environment.port, environment.server, environment.names, environment.with_rivals, process
        )
        transport = self._parts.transport(self._parts.connections(connect, clock))
        return Infisical(BASE_URL, auth, BoundedTransport(transport, clock), clock)

    def _events(self) -> OutcomeEvents:
        return OutcomeEvents(
            self._aws("events", self._environment.bus), "default", "infisical-rotation", "stack", TELEMETRY
        )

    def _requests(self) -> RequestQueue:
        return RequestQueue(self._aws("sqs", self._parts.sqs(self._environment.sqs)), REQUESTS_URL)

    def _aws(self, service: str, target: object) -> Any:  # noqa: ANN401 - a client, as boto3 makes them
        return AwsClient(self._environment.port, service, target)

    def _decide(self, clock: "Clock") -> Decider:
        iam, oracle, port = self._aws("iam", self._environment.iam), self._environment.oracle, self._environment.port

        def open_iam(role: str | None, _: str | None = None) -> Any:  # noqa: ANN401 - a client, as boto3 makes them
            if role is None:
                return iam
            assume = partial(call_aws, port.scheduler, "sts", "AssumeRole", lambda: iam)
            return port.call("sts assume_role", IAM_FAULTS, assume)

        guard = KeyGuard(open_iam, MINIMUM_INTERVAL, GRACE_PERIOD, clock)
        decide = self._parts.decide(guard.decide)

        def observed(state: RotationState, request: RotationRequest) -> Decision:
            oracle.remember_request(request)
            return decide(state, request)

        return observed

    def _ask(self, key: AccessKey) -> str:
        """STS, which does not know a new key at once."""
        environment = self._environment

        def ask() -> str:
            environment.server.settle()
            works_from = from_epoch(environment.server.clock.time() - environment.new_keys_work_after_seconds)
            for user in environment.names.values():
                for each in environment.keys.list_access_keys(user):
                    if each.id == key.id and each.created_at <= works_from:
                        return f"arn:aws:iam::123456789012:user/teams/{user}"
            raise KeyNotAcceptedError("InvalidClientTokenId")

        act = partial(call_aws, environment.port.scheduler, "sts", "GetCallerIdentity", ask)
        return environment.port.call("sts get_caller_identity", AWS_FAULTS, act)
