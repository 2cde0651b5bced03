"""Messages that began as good ones: what is no request rotates nothing, and is kept for a person with its reason."""

import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from rotator.model import MAXIMUM_INTERVAL, GuardOptions, MappedRotation, RotationOptions
from rotator.rotation.attempt import Claim, Outcome, Result
from rotator.rotation.batch import BatchProcessor
from rotator.rotation.delivery import Delivery
from rotator.rotation.queues import FailedQueue, RequestQueue
from rotator.rotation.request import RotationRequest
from rotator.timestamps import format_timestamp
from tests.component.world import START, World
from tests.hostile.mutations import (
    FOREIGN_ID,
    FUZZED,
    HUGE,
    LONE_SURROGATE,
    Json,
    damaged_at,
    garbled,
    mutated,
    nested,
    paths_of,
    with_duplicate_name,
)
from tests.hostile.readable import readable, refused_readably
from tests.unit.builders import delivery
from tests.unit.fakes import NOW, FakeSqs, Observed, VirtualClock, rotation_id

A = rotation_id(0xA)
LARGEST_MESSAGE = 262_144  # bytes, of a queue that says nothing else
GUARDS = [GuardOptions(), GuardOptions("arn:aws:iam::210987654321:role/key-guard", timedelta(hours=6), "p-1"), None]
VALID: list[Json] = [
    json.loads(
        RotationRequest(
            MappedRotation(A, options=RotationOptions(minimum_interval=timedelta(hours=2), guard=guard)),
            "weekly",
            NOW - timedelta(hours=1),
            "correlation",
            forced=guard is not None,
        ).to_message()
    )
    for guard in GUARDS
]
TEXT = json.dumps(VALID[1])


class StrictSqs(FakeSqs):
    """Takes no message that is larger than SQS allows."""

    def send_message(self, **call: Any) -> None:  # noqa: ANN401 - as boto3 has it
        if len(call["MessageBody"].encode()) > LARGEST_MESSAGE:
            raise ClientError({"Error": {"Code": "InvalidParameterValue", "Message": "too long"}}, "SendMessage")
        super().send_message(**call)


class Stage:
    """A BatchProcessor, and the requests that it would have had ensured."""

    def __init__(self) -> None:
        self.failed, self.observed = StrictSqs(), Observed()
        self.ensured: list[RotationRequest] = []
        self._worker = BatchProcessor(
            requests=RequestQueue(FakeSqs().client, "https://sqs.example.com/RotationRequests.fifo"),
            failed=FailedQueue(self.failed.client, "https://sqs.example.com/FailedRotations.fifo"),
            telemetry=self.observed.telemetry,
            clock=VirtualClock(),
        )

    def work(self, texts: Iterable[str]) -> list[str]:
        """Work messages of one rotation, in order; return those that come back."""
        deliveries: list[Delivery] = [delivery(A, number, text=text) for number, text in enumerate(texts, 1)]
        return self._worker.process(deliveries, self._ensure)

    def _ensure(self, request: RotationRequest, _: Claim) -> Outcome:
        self.ensured.append(request)
        return Outcome(Result.ROTATED, "Rotated", name="payments")


def says(request: RotationRequest, text: str) -> bool:
    """Whether a request is what its message says, in so many words."""
    fields = json.loads(text)
    guard = fields.get("keyGuard", {})
    rotation, options = request.rotation, request.rotation.options.guard or GuardOptions()
    return (
        (rotation.id, request.trigger, request.correlation_id) == (A, fields["trigger"], fields["correlationId"])
        and request.forced is fields.get("forced", False)
        and request.occurred_at == datetime.fromisoformat(fields["occurredAt"])
        and re.fullmatch("[a-z0-9-]+", rotation.type) is not None
        and (rotation.options.guard is None) is (guard is False)
        and is_seconds(rotation.options.minimum_interval, fields.get("minimumIntervalSeconds"))
        and (guard is False or is_seconds(options.grace_period, guard.get("gracePeriodSeconds")))
        and (guard is False or (options.role, options.external_id) == (guard.get("role"), guard.get("externalId")))
    )


def is_seconds(duration: timedelta | None, said: object) -> bool:
    if duration is None:
        return said is None
    return type(said) is int and timedelta() < duration == timedelta(seconds=said) <= MAXIMUM_INTERVAL


@pytest.mark.parametrize("valid", VALID, ids=["plain", "with a role", "unguarded"])
def test_a_message_with_one_part_damaged_is_refused_or_says_what_to_do(valid: Json) -> None:
    for path in paths_of(valid):
        for text in map(json.dumps, damaged_at(valid, path)):
            with refused_readably(ValueError) as refusal:
                request = RotationRequest.from_message(text)
            assert refusal.text or request.rotation.id != A or says(request, text), text


@FUZZED
@given(
    st.sampled_from(VALID).flatmap(mutated).map(json.dumps)
    | garbled(TEXT)
    | st.builds(with_duplicate_name, st.just(TEXT), st.sampled_from(sorted(VALID[1])), mutated("x"), last=st.booleans())
)
def test_a_mutated_message_is_a_valid_request_or_kept_with_its_reason(text: str) -> None:
    here = Stage()

    returned = here.work([text, TEXT])

    *spoiled_requests, good = here.ensured
    assert good == RotationRequest.from_message(TEXT)
    assert returned == []
    assert [each for each in spoiled_requests if not says(each, text)] == []
    if not spoiled_requests:
        (report,) = here.failed.reports
        assert (report["outcome"], report["reason"], report["request"]) == ("refused", "InvalidRequest", text)
        readable(report["explanation"])
    assert [log for log in here.observed.logs if log["message"] == "unexpected error"] == []


def test_a_message_about_another_groups_rotation_is_refused() -> None:
    here = Stage()

    here.work([json.dumps({**VALID[0], "rotationId": FOREIGN_ID})])

    assert (here.ensured, [each["reason"] for each in here.failed.reports]) == ([], ["InvalidRequest"])


@pytest.mark.parametrize("field", sorted(VALID[1]))
@pytest.mark.parametrize(
    "hostile",
    [nested(900), LONE_SURROGATE, HUGE, 10**400, float("nan")],
    ids=["nested", "half a character", "huge", "a number beyond all floats", "NaN"],
)
def test_no_field_is_quoted_at_length(field: str, hostile: Json) -> None:
    here = Stage()

    here.work([json.dumps({**VALID[1], field: hostile})])

    for line in here.observed.logs:
        assert len(json.dumps(line)) < 10_000
    for report in here.failed.reports:
        readable(report["explanation"])


@pytest.mark.parametrize("character", ["x", '"', "\t", "é"], ids=ascii)
def test_an_invalid_message_of_any_size_is_kept_and_not_returned(character: str) -> None:
    body = character * (LARGEST_MESSAGE // len(character.encode()))
    here = Stage()

    returned = here.work([body, TEXT])

    (report,) = here.failed.reports
    assert body.startswith(report["request"][:1000])
    assert (returned, len(here.ensured)) == ([], 1)


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "unguarded"])
def test_a_message_from_the_future_rotates_at_most_once(
    guarded: bool,  # noqa: FBT001 - a parameter
) -> None:
    world = World(guarded=guarded)
    request = world.request(START + timedelta(days=3650))
    worker = BatchProcessor(
        requests=RequestQueue(FakeSqs().client, "https://sqs.example.com/RotationRequests.fifo"),
        failed=FailedQueue(FakeSqs().client, "https://sqs.example.com/FailedRotations.fifo"),
        telemetry=Observed().telemetry,
        clock=world.clock,
    )

    for _ in range(3):
        now = world.clock.time()
        message = Delivery("message", "receipt", request.to_message(), request.rotation.id, 1, now)
        worker.process([message], lambda request, _: world.ensure(request))
        world.clock.sleep(60)

    assert world.posts <= 1, f"occurred at {format_timestamp(request.occurred_at)}"
