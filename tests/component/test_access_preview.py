"""Dry runs of `rotate` and the audit: whether Infisical lets them in, and nothing else."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from audit import Audit
from rotate import Rotate
from rotator.dry_run.key_watch import KeyWatch
from rotator.dry_run.mirror_watch import MirrorWatch
from rotator.outcomes.rotations import Announcer
from rotator.rotation.batch import BatchProcessor
from rotator.rotation.queues import FailedQueue, RequestQueue
from rotator.telemetry import Telemetry
from tests.component.world import INVOCATION_SECONDS, World
from tests.unit.fakes import FakeEventBus, FakeSqs

UNKNOWN = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00ff"

Ask = Callable[[dict[str, Any]], dict[str, Any]]


class Asked:
    """One of the functions in a world, and what it writes."""

    def __init__(self, function: str) -> None:
        self.world, self.logs, self.sqs = World(), io.StringIO(), FakeSqs()
        telemetry = Telemetry(str(uuid4()), "INFO", self.logs)
        functions: dict[str, Ask] = {"rotate": self._rotate(telemetry), "audit": self._audit(telemetry)}
        self.ask = functions[function]

    def _rotate(self, telemetry: Telemetry) -> Ask:
        clock = self.world.clock
        requests, failed = RequestQueue(self.sqs.client, "requests"), FailedQueue(self.sqs.client, "failed")
        worker = BatchProcessor(requests=requests, failed=failed, telemetry=telemetry, clock=clock)
        announcer = Announcer(FakeEventBus().events(telemetry), clock)
        rotate = Rotate(worker, self.world.infisical, self.world.guard.decide, telemetry, clock, announcer)
        return lambda event: rotate.handle(event, "request", INVOCATION_SECONDS)

    def _audit(self, telemetry: Telemetry) -> Ask:
        def read_map() -> str:
            raise AssertionError("a dry run needs no map")

        nobody: Any = None  # a dry run asks no hook
        mirrors = MirrorWatch(nobody, "", self.world.clock)
        keys = KeyWatch(self.world.iam.open, self.world.clock)
        events, clock = FakeEventBus().events(telemetry), self.world.clock
        audit = Audit(read_map, self.world.infisical, timedelta(days=35), keys, mirrors, events, telemetry, clock)
        return lambda event: audit.handle(event, "correlation")


@pytest.fixture(params=["rotate", "audit"])
def asked(request: pytest.FixtureRequest) -> Asked:
    return Asked(request.param)


def about(rotation_id: str, rotation_type: object = "aws-iam-user-secret", **more: object) -> dict[str, Any]:
    return {"dryRun": True, "rotationId": rotation_id, "type": rotation_type, **more}


def test_access_check_reports_an_accepted_login_and_does_nothing_else(asked: Asked) -> None:
    rotation = asked.world.rotation.id

    assert asked.ask(about(rotation)) == {"dry_run": True, "rotation_id": rotation, "readable": True}

    assert asked.world.posts == 0
    assert len(asked.world.iam.calls) == 0
    assert (asked.sqs.batches, asked.sqs.sent, asked.sqs.changed) == ([], [], [])
    assert asked.logs.getvalue() == "", "no metric, and no line that one would take for an audit's"


def test_access_check_reports_a_refused_login_in_infisicals_words(asked: Asked) -> None:
    asked.world.client_secret = "wrong"

    answer = asked.ask(about(asked.world.rotation.id))

    assert (answer["readable"], answer["reason"]) == (False, "LoginRefused")
    assert "401" in answer["explanation"]


def test_a_missing_rotation_does_not_fail_the_access_check(asked: Asked) -> None:
    answer = asked.ask(about(UNKNOWN))

    assert (answer["readable"], answer["reason"]) == (False, "NotFound")


def test_a_forbidden_read_does_not_fail_the_access_check(asked: Asked) -> None:
    asked.world.identity.permissions = {"rotate-secrets"}

    answer = asked.ask(about(asked.world.rotation.id))

    assert (answer["readable"], answer["reason"]) == (False, "PermissionDenied")


@pytest.mark.parametrize(
    "event",
    [
        {"dryRun": True},
        {"dryRun": False, "rotationId": UNKNOWN, "type": "aws-iam-user-secret"},
        {"dryRun": 1, "rotationId": UNKNOWN, "type": "aws-iam-user-secret"},
        about("not-an-id"),
        about(UNKNOWN, "aws-iam-user-secret/../../v1"),
        about(UNKNOWN, None),
        about(UNKNOWN, Records=[]),
        about(UNKNOWN, force=True),
    ],
    ids=str,
)
def test_an_event_that_is_half_a_dry_run_is_refused(asked: Asked, event: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a dry run must be|a rotation id|type must be"):
        asked.ask(event)

    assert asked.world.server.requests == []
