"""A rotation hook with an Infisical, a queue and a Secrets Manager that can crash after any call."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hook import Hook
from rotator.infisical.client import Infisical
from rotator.mirror.fresh_key import RotationWaiter
from rotator.mirror.verification import KeyNotAcceptedError
from rotator.model import AccessKey
from rotator.rotation.attempt import Result
from rotator.rotation.request import RotationRequest
from rotator.timestamps import from_epoch
from tests.component.secrets_manager import ARN, FakeSecretsManager, run_steps
from tests.component.world import MINIMUM_INTERVAL, World
from tests.unit.fakes import FakeEventBus, Observed

HOOK_SECONDS = 295.0


class Crash(BaseException):
    """The process ends here."""


class Fuse:
    """Lets so many calls pass, and ends the process after the last of them was executed."""

    def __init__(self) -> None:
        self.calls = 0
        self.crash_after: int | None = None

    def burn(self) -> None:
        self.calls += 1
        if self.calls == self.crash_after:
            raise Crash

    def around(self, target: Any) -> Any:  # noqa: ANN401 - whatever the hook calls
        fuse = self

        class Fused:
            def __getattr__(self, name: str) -> Any:  # noqa: ANN401
                attribute = getattr(target, name)
                if name == "exceptions":
                    return attribute

                def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
                    answer = attribute(*args, **kwargs)
                    fuse.burn()
                    return answer

                return call

        return Fused()


class Queue:
    """RotationRequests.fifo with `rotate` behind it: deduplicated, and worked as soon as it is sent.

    A request that comes back waits, and those behind it, until the queue is told to `deliver`.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: set[tuple[str, str]] = set()
        self.waiting: list[RotationRequest] = []
        self.outcomes: list[Result] = []
        self.asleep = False

    def send(self, requests: list[RotationRequest], occurrence: str = "") -> None:
        for request in requests:
            identity = (request.trigger, occurrence or request.occurred_at.isoformat())
            if identity not in self.seen:
                self.seen.add(identity)
                self.waiting.append(request)
                if not self.asleep and self.waiting == [request]:
                    self.deliver()

    def deliver(self) -> None:
        while self.waiting:
            outcome = self.world.ensure(self.waiting[0])
            self.outcomes.append(outcome.result)
            if outcome.comes_back:
                return
            del self.waiting[0]


@dataclass
class Stage:
    """A hook, and all that it touches."""

    world: World
    secrets: FakeSecretsManager
    queue: Queue
    fuse: Fuse
    hook: Hook
    logs: io.StringIO
    bus: FakeEventBus

    def rotate(self, token: str | None = None) -> str:
        """A whole rotation, or the same once more."""
        token = self.secrets.begin(token) if token is None else token
        run_steps(self.invoke, ARN, token)
        return token

    def step(self, name: str, token: str) -> None:
        self.invoke({"Step": name, "SecretId": ARN, "ClientRequestToken": token})

    def invoke(self, event: object) -> None:
        self.hook.handle(event, HOOK_SECONDS)

    def exchange(self, **parts: Any) -> None:  # noqa: ANN401 - whatever the hook is made of
        kept = {name: getattr(self.hook, name) for name in Hook.__slots__ if name not in parts}
        self.hook = Hook(**kept, **parts)

    @property
    def mirrored(self) -> dict[str, str]:
        return dict(json.loads(self.secrets.current or "{}"))


def stage(
    value: Callable[[World], str | None] | None = None,
    mirror: Callable[[World], object] = lambda world: world.rotation.id,
    ask: Callable[[World], Callable[[AccessKey], str]] | None = None,
) -> Stage:
    world = World()
    reader = world.server.add_identity({"read", "read-generated-credentials"})
    secrets = FakeSecretsManager((value or in_step)(world), now=lambda: from_epoch(world.clock.time()))
    queue, fuse, observed, bus = Queue(world), Fuse(), Observed(), FakeEventBus()
    infisical: Infisical = fuse.around(world.connected_as(reader))
    rotation_map = json.dumps({"triggers": {}, "mirrors": {ARN: mirror(world)}})
    hook = Hook(
        read_map=lambda: rotation_map,
        secrets=fuse.around(secrets),
        infisical=infisical,
        waiter=RotationWaiter(
            infisical, fuse.around(queue), world.guard.decide, MINIMUM_INTERVAL, observed.telemetry.logger
        ),
        ask=(ask or owner_of)(world),
        events=bus.events(observed.telemetry),
        telemetry=observed.telemetry,
        clock=world.clock,
    )
    return Stage(world, secrets, queue, fuse, hook, observed.stream, bus)


def in_step(world: World) -> str:
    """The mirror holds the published key, beside something of its owner's."""
    slot = world.rotation.slots[world.rotation.active_index]
    return json.dumps({"accessKeyId": slot["accessKeyId"], "secretAccessKey": slot["secretAccessKey"], "region": "eu"})


def owner_of(world: World) -> Callable[[AccessKey], str]:
    """STS: whose key it is, while it lives."""

    def ask(key: AccessKey) -> str:
        if key.id not in world.valid_keys:
            raise KeyNotAcceptedError("InvalidClientTokenId")
        return "arn:aws:iam::123456789012:user/teams/deployer"

    return ask
