"""The functions as they are deployed, put together as their handlers do it, on edges that fail."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from botocore.exceptions import EndpointConnectionError

from dispatch import Dispatch
from hook import Hook
from rotate import Rotate
from rotator.fresh_key import FreshKeys
from rotator.identity import Login, MachineIdentity
from rotator.infisical import Infisical
from rotator.instant import instant_at
from rotator.key_guard import KeyGuard
from rotator.model import AccessKey, RotationRequest, RotationState
from rotator.policy import Decide, Decision
from rotator.preview import Preview
from rotator.proof import KeyNotAcceptedError
from rotator.queues import FailedQueue, RequestQueue
from rotator.transport import BoundedTransport
from rotator.universal_auth import universal_auth
from rotator.worker import Worker
from tests.component.iam import FakeIam
from tests.component.secrets_manager import FakeSecretsManager
from tests.sandbox.standin.identities import Identity
from tests.simulation.edges import FAILED_URL, REQUESTS_URL, Aws, Edge, Network, Sqs
from tests.simulation.ledger import GRACE_PERIOD, TELEMETRY
from tests.simulation.truth import Keys, Server, Truth
from tests.simulation.turns import Turns

BASE_URL = "https://infisical.test"
MINIMUM_INTERVAL = timedelta(hours=1)


@dataclass(frozen=True)
class Parts:
    """What the program is made of, and deployed with. To plant a bug is to exchange one."""

    identity: Callable[[str, Callable[[], Login], Callable[[], float]], httpx.Auth] = MachineIdentity
    transport: Callable[[httpx.BaseTransport], httpx.BaseTransport] = lambda inner: inner
    decide: Callable[[Decide], Decide] = lambda decide: decide
    delivered: Callable[[dict[str, Any], float], dict[str, Any]] = lambda record, _: record
    answered: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
    visibility_seconds: float = 1080
    exclusive_groups: bool = True


@dataclass(frozen=True)
class AwsClock:
    """The clock of the functions and their queues. It is the one that the model counts in."""

    turns: Turns

    def time(self) -> float:
        return self.turns.now

    def monotonic(self) -> float:
        return self.turns.now

    def sleep(self, seconds: float, /) -> None:
        self.turns.sleep(seconds)


@dataclass(frozen=True)
class Outside:
    """All that the functions reach out to."""

    clock: AwsClock
    edge: Edge
    server: Server
    keys: Keys
    identity: Identity
    reader: Identity
    sqs: Sqs
    iam: FakeIam
    secrets: FakeSecretsManager
    truth: Truth
    names: Mapping[str, str]
    with_rivals: Collection[str]
    rotation_map: str
    new_keys_work_after_seconds: float


class Program:
    """Each call is a cold start: the memory of a new process."""

    def __init__(self, parts: Parts, outside: Outside) -> None:
        self._parts = parts
        self._outside = outside

    def dispatch(self) -> Dispatch:
        return Dispatch(
            read_map=lambda: self._outside.rotation_map,
            infisical=self._infisical(self._outside.identity),
            preview=Preview(self._decide(), MINIMUM_INTERVAL, GRACE_PERIOD),
            requests=self._requests(),
            telemetry=TELEMETRY,
            clock=self._outside.clock,
        )

    def rotate(self) -> Rotate:
        return Rotate(
            worker=Worker(
                requests=self._requests(),
                failed=FailedQueue(self._aws("sqs", self._outside.sqs), FAILED_URL),
                telemetry=TELEMETRY,
                clock=self._outside.clock,
            ),
            infisical=self._infisical(self._outside.identity),
            decide=self._decide(),
            telemetry=TELEMETRY,
            clock=self._outside.clock,
        )

    def hook(self) -> Hook:
        infisical = self._infisical(self._outside.reader)
        return Hook(
            read_map=lambda: self._outside.rotation_map,
            secrets=self._aws("secretsmanager", self._outside.secrets),
            infisical=infisical,
            fresh_keys=FreshKeys(infisical, self._requests(), self._decide(), MINIMUM_INTERVAL, TELEMETRY.logger),
            ask=self._ask,
            telemetry=TELEMETRY,
            clock=self._outside.clock,
        )

    def _infisical(self, identity: Identity) -> Infisical:
        secret = json.dumps({"clientId": identity.client_id, "clientSecret": identity.client_secret})
        outside, clock = self._outside, self._outside.clock
        auth = self._parts.identity(BASE_URL, lambda: universal_auth(secret), clock.time)
        transport = self._parts.transport(Network(outside.edge, outside.server, outside.names, outside.with_rivals))
        return Infisical(BASE_URL, auth, BoundedTransport(transport, clock), clock)

    def _requests(self) -> RequestQueue:
        return RequestQueue(self._aws("sqs", self._outside.sqs), REQUESTS_URL)

    def _aws(self, service: str, target: object) -> Any:  # noqa: ANN401 - a client, as boto3 makes them
        return Aws(self._outside.edge, service, target)

    def _decide(self) -> Decide:
        iam, truth = self._aws("iam", self._outside.iam), self._outside.truth
        guard = KeyGuard(lambda *_: iam, MINIMUM_INTERVAL, GRACE_PERIOD, self._outside.clock)
        decide = self._parts.decide(guard.decide)

        def told(state: RotationState, request: RotationRequest) -> Decision:
            truth.asked(request)
            return decide(state, request)

        return told

    def _ask(self, key: AccessKey) -> str:
        """STS, which does not know a new key at once."""
        outside = self._outside

        def act(fault: object) -> str:
            if fault is not None:
                raise EndpointConnectionError(endpoint_url="https://sts.amazonaws.com/")
            outside.server.settle()
            works_from = instant_at(outside.server.clock.time() - outside.new_keys_work_after_seconds)
            for user in outside.names.values():
                for each in outside.keys.list_access_keys(user):
                    if each.id == key.id and each.created_at <= works_from:
                        return f"arn:aws:iam::123456789012:user/teams/{user}"
            raise KeyNotAcceptedError("InvalidClientTokenId")

        return outside.edge.call("sts get_caller_identity", ("no connection",), act)
