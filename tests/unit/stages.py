"""Functions put together from fakes, as their handlers do it with real clients."""

import json
from collections.abc import Collection
from datetime import timedelta
from functools import partial
from typing import Any

from dispatch import Dispatch
from rotator.dry_run.rotations import Preview
from rotator.rotation import policy
from rotator.rotation.policy import Decider
from rotator.rotation.queues import RequestQueue
from tests.unit.fakes import FakeEventBus, FakeInfisical, FakeSqs, Observed, VirtualClock, rotation_id

HOUR = timedelta(hours=1)
A, B, C = (rotation_id(number) for number in (0xA, 0xB, 0xC))
MAP: dict[str, Any] = {"weekly": [A, {"id": B, "type": "mysql-credentials", "minimumInterval": "6 days"}], "daily": C}


class DispatchStage:
    """A Dispatch with everything around it."""

    def __init__(
        self,
        *,
        triggers: object = None,
        mirrors: object = None,
        text: str | None = None,
        refused: Collection[str] = (),
        down: bool = False,
        infisical: FakeInfisical | None = None,
        decide: Decider = partial(policy.check_due, minimum_interval=HOUR),  # noqa: B008 - a value
    ) -> None:
        self.sqs = FakeSqs(refused, down=down)
        self.observed = Observed()
        self.bus = FakeEventBus()
        self.infisical = infisical or FakeInfisical()
        rotation_map = {"triggers": MAP if triggers is None else triggers, "mirrors": mirrors or {}}
        self.text = json.dumps(rotation_map) if text is None else text
        self.dispatch = Dispatch(
            read_map=lambda: self.text,
            infisical=self.infisical.client,
            preview=Preview(decide, HOUR, timedelta(hours=6)),
            requests=RequestQueue(self.sqs.client, "https://sqs.example.com/RotationRequests.fifo"),
            events=self.bus.events(self.observed.telemetry),
            telemetry=self.observed.telemetry,
            clock=VirtualClock(),
        )

    @property
    def requested(self) -> list[str]:
        return [body["rotationId"] for body in self.sqs.bodies]
