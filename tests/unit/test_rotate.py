"""The function `rotate`, put together by hand: what comes back to the queue, and until when anything may take."""

from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from rotate import FINISH_SECONDS, Rotate
from rotator.model import MappedRotation, RotationOptions
from rotator.outcomes.publisher import CALLS_FOR_ONE_ENTRY
from rotator.outcomes.rotations import Announcer
from rotator.rotation import policy
from rotator.rotation.attempt import ATTEMPT_SECONDS
from rotator.rotation.batch import BatchProcessor
from rotator.rotation.queues import CLAIM_SECONDS, FailedQueue, RequestQueue
from rotator.rotation.request import RotationRequest
from tests.sandbox.sqs_record import sqs_record
from tests.unit.fakes import NOW, FakeEventBus, FakeInfisical, FakeSqs, Observed, VirtualClock, described, rotation_id

INVOCATION_SECONDS = 180.0


def record(number: int, *, guarded: bool = True, receive_count: int = 1) -> dict[str, Any]:
    """A message of RotationRequests.fifo that was received just now."""
    options = RotationOptions() if guarded else RotationOptions(guard=None)
    rotation = MappedRotation(rotation_id(number), options=options)
    body = RotationRequest(rotation, "weekly", NOW, "correlation").to_message()
    return sqs_record(
        f"message-{number}",
        body,
        rotation_id(number),
        first_received_at=NOW.timestamp(),
        receipt=f"receipt-{number}",
        receive_count=receive_count,
    )


class Stage:
    """A Rotate with everything around it, and an Infisical that rotates."""

    def __init__(self, *numbers: int, refused: frozenset[int] = frozenset()) -> None:
        self.clock = VirtualClock()
        self.refused = {rotation_id(number) for number in refused}
        self.infisical = FakeInfisical(
            *(described(number) for number in numbers), disturb=self._rotate, clock=self.clock
        )
        self.requests, self.failed = FakeSqs(), FakeSqs()
        self.observed = Observed()
        worker = BatchProcessor(
            requests=RequestQueue(self.requests.client, "https://sqs.example.com/RotationRequests.fifo"),
            failed=FailedQueue(self.failed.client, "https://sqs.example.com/FailedRotations.fifo"),
            telemetry=self.observed.telemetry,
            clock=self.clock,
        )
        decide = partial(policy.check_due, minimum_interval=timedelta(hours=1))
        self.bus = FakeEventBus()
        self.rotate = Rotate(
            worker,
            self.infisical.client,
            decide,
            telemetry=self.observed.telemetry,
            clock=self.clock,
            announcer=Announcer(self.bus.events(self.observed.telemetry), self.clock),
        )

    @property
    def posts(self) -> list[str]:
        return sorted(
            request.url.path.split("/")[-2] for request in self.infisical.requests if request.method == "POST"
        )

    def _rotate(self, request: httpx.Request) -> httpx.Response | None:
        if any(refused in request.url.path for refused in self.refused):
            return httpx.Response(429, headers={"retry-after": "600"}, json={})
        if request.method != "POST":
            return None
        (rotation,) = [each for each in self.infisical.rotations if each["id"] in request.url.path]
        rotation["lastRotatedAt"] = rotation["lastRotationAttemptedAt"] = "2026-11-22T05:00:01.000Z"
        return httpx.Response(200, json={"secretRotation": rotation})


def test_an_ended_request_is_not_returned() -> None:
    stage = Stage(1, 2)

    answer = stage.rotate.handle({"Records": [record(1), record(2)]}, "request", INVOCATION_SECONDS)

    assert answer == {"batchItemFailures": []}
    assert stage.posts == [rotation_id(1), rotation_id(2)]


def test_a_deferred_request_is_returned_as_a_batch_item_failure() -> None:
    stage = Stage(2, refused=frozenset({1}))

    answer = stage.rotate.handle({"Records": [record(1)]}, "request", INVOCATION_SECONDS)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    assert stage.requests.visibility == [("receipt-1", 600)]


@pytest.mark.parametrize(("spare_seconds", "posts"), [(0.0, 1), (-0.001, 0)], ids=["enough", "too little"])
def test_a_request_is_not_begun_without_time_to_confirm_and_report_it(spare_seconds: float, posts: int) -> None:
    stage = Stage(1)

    stage.rotate.handle({"Records": [record(1)]}, "request", FINISH_SECONDS + ATTEMPT_SECONDS + spare_seconds)

    assert len(stage.posts) == posts


def test_the_stacks_interval_counts() -> None:
    stage = Stage(1)
    stage.infisical.rotations[0]["lastRotatedAt"] = "2026-11-22T04:00:00.000Z"

    stage.rotate.handle({"Records": [record(1)]}, "request", INVOCATION_SECONDS)

    assert stage.posts == []
    assert stage.observed.counted == ["RotationSkipped"]


THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "PutEvents")


def returned(stage: Stage, *records: dict[str, Any]) -> list[str]:
    answer = stage.rotate.handle({"Records": list(records)}, "request", INVOCATION_SECONDS)
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def outcomes(stage: Stage) -> list[tuple[str, str]]:
    return [(detail["outcome"], detail["reason"]) for detail in stage.bus.details]


def test_a_commit_whose_event_was_throttled_returns_and_is_told_once() -> None:
    stage = Stage(1)
    stage.bus.errors = [THROTTLED] * CALLS_FOR_ONE_ENTRY

    assert returned(stage, record(1)) == ["message-1"]
    assert returned(stage, record(1, receive_count=2)) == []
    assert outcomes(stage) == [("rotated", "AlreadyRotated")]
    assert stage.posts == [rotation_id(1)]


def test_an_unguarded_commit_is_told_once_and_settles_after_ten_minutes() -> None:
    stage = Stage(1)

    assert returned(stage, record(1, guarded=False)) == ["message-1"]
    assert [seconds for _, seconds in stage.requests.visibility] == [CLAIM_SECONDS, 600]
    stage.clock.sleep(600)
    assert returned(stage, record(1, guarded=False, receive_count=2)) == []
    assert outcomes(stage) == [("rotated", "Rotated")]


def test_an_unguarded_commit_that_is_unannounced_returns_after_an_hour() -> None:
    stage = Stage(1)
    stage.bus.errors = [THROTTLED] * CALLS_FOR_ONE_ENTRY

    assert returned(stage, record(1, guarded=False)) == ["message-1"]
    assert [seconds for _, seconds in stage.requests.visibility] == [CLAIM_SECONDS, 3600]
    stage.clock.sleep(3600)
    assert returned(stage, record(1, guarded=False, receive_count=2)) == []
    assert outcomes(stage) == [("rotated", "AlreadyRotated")]


def test_an_unguarded_commit_stays_claimed_until_its_event_is_put() -> None:
    """A function that is cut off in between returns late enough to be announced."""
    stage = Stage(1)
    seen: list[list[tuple[str, int]]] = []
    stage.bus.called = lambda: seen.append(list(stage.requests.visibility))

    returned(stage, record(1, guarded=False))

    assert seen == [[("receipt-1", CLAIM_SECONDS)]]


def test_a_commit_is_given_up_untold_after_twelve_hours() -> None:
    stage = Stage(1)
    stage.bus.errors = [THROTTLED] * 2
    returned(stage, record(1))
    stage.clock.sleep(12 * 3600 + 1)

    assert returned(stage, record(1, receive_count=2)) == []


def test_every_log_line_names_its_invocation() -> None:
    stage = Stage(1, 2)

    stage.rotate.handle({"Records": [record(1), record(2)]}, "request-of-lambda", INVOCATION_SECONDS)

    assert [line["function_request_id"] for line in stage.observed.logs] == ["request-of-lambda"] * 2


def test_the_next_invocation_of_the_process_has_a_name_of_its_own() -> None:
    stage = Stage(1)

    for request_id in ("first", "second"):
        stage.rotate.handle({"Records": [record(1)]}, request_id, INVOCATION_SECONDS)

    assert [line["function_request_id"] for line in stage.observed.logs] == ["first", "second"]
    assert stage.posts == [rotation_id(1)]
