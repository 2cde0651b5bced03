"""Every wait ends before Lambda ends the function."""

from typing import cast

import httpx
import pytest
from botocore.config import Config

from rotate import FINISH_SECONDS, Rotate
from rotator.aws import GUARD_CONFIG, REPORT_CONFIG
from rotator.infisical.client import READ_TIMEOUT_SECONDS
from rotator.outcomes.rotations import Announcer
from rotator.rotation.attempt import ATTEMPT_SECONDS, Result
from rotator.rotation.batch import BatchProcessor
from rotator.rotation.queues import FailedQueue, RequestQueue
from tests.component.world import START, World
from tests.sandbox.sqs_record import sqs_record
from tests.sandbox.standin.faults import CommittedThenDropped, Dies, Point, Slow
from tests.sandbox.standin.transport import StandInTransport
from tests.unit.fakes import FakeEventBus, FakeSqs, Observed

FUNCTION_SECONDS = 900.0  # of template.yaml


def longest_seconds(config: Config) -> float:
    """How long a call that hangs takes until botocore gives it up, with pauses of up to 1, 2 and 4 s between attempts.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    """
    options = cast("dict[str, int]", config.retries)  # type: ignore[attr-defined] # botocore sets what it is given
    timeouts = config.connect_timeout + config.read_timeout  # type: ignore[attr-defined]
    attempts = options["total_max_attempts"]
    return float(attempts * timeouts) + sum(2.0**pause for pause in range(attempts - 1))


def test_a_hanging_aws_call_ends_within_its_remaining_time() -> None:
    assert longest_seconds(REPORT_CONFIG) <= FINISH_SECONDS
    role_keys_and_last_use = 3 * longest_seconds(GUARD_CONFIG)
    assert READ_TIMEOUT_SECONDS + role_keys_and_last_use <= FUNCTION_SECONDS - FINISH_SECONDS


@pytest.mark.parametrize("seconds", [1.0, READ_TIMEOUT_SECONDS - 1, READ_TIMEOUT_SECONDS])
def test_the_first_read_ends_with_the_deadline(seconds: float) -> None:
    world = World()
    world.server.faults.add_read(world.rotation.id, Slow(60))

    assert world.ensure(seconds=seconds).result is Result.DEFERRED
    assert world.clock.time() == START.timestamp() + seconds


def test_a_read_that_hangs_during_confirmation_is_repeated() -> None:
    world = World()
    world.server.faults.add(world.rotation.id, CommittedThenDropped())
    first_read = Slow(0)
    world.server.faults.add_read(world.rotation.id, first_read, Slow(120))

    assert world.ensure().reason == "Confirmed"
    assert world.clock.time() < START.timestamp() + READ_TIMEOUT_SECONDS + 5


def test_an_answer_to_rotate_secrets_after_33_seconds_is_waited_for() -> None:
    world = World(closes_after_seconds=90)
    world.server.faults.add(world.rotation.id, Slow(33))

    assert world.ensure().reason == "Rotated"


def test_a_batch_ends_early_enough_to_be_reported() -> None:
    world = World(guarded=False)
    world.server.faults.add(world.rotation.id, Dies(Point.BEFORE))
    sqs = FakeSqs()
    rotate = Rotate(
        batch=BatchProcessor(
            requests=RequestQueue(sqs.client, "RotationRequests.fifo"),
            failed=FailedQueue(sqs.client, "FailedRotations.fifo"),
            telemetry=Observed().telemetry,
            clock=world.clock,
        ),
        infisical=world.infisical,
        decide=world.guard.decide,
        telemetry=Observed().telemetry,
        clock=world.clock,
        announcer=Announcer(FakeEventBus().events(Observed().telemetry), world.clock),
    )
    record = sqs_record("m", world.request().to_message(), world.rotation.id, first_received_at=START.timestamp())

    rotate.handle({"Records": [record]}, "request-id", FUNCTION_SECONDS)

    assert [report["reason"] for report in sqs.reports] == ["Uncertain"]
    left = START.timestamp() + FUNCTION_SECONDS - world.clock.time()
    assert 2 * longest_seconds(REPORT_CONFIG) <= left < FUNCTION_SECONDS - ATTEMPT_SECONDS


def test_an_unexpected_error_after_rotate_secrets_is_settled_by_the_state() -> None:
    class Broken(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = server.handle_request(request)
            if request.url.path.endswith("/rotate-secrets"):
                raise RuntimeError("a mistake of ours")
            return response

    world = World()
    server = StandInTransport(world.server)
    world.use_transport(Broken())

    outcome = world.ensure()

    assert (outcome.result, outcome.reason, world.posts) == (Result.ROTATED, "Confirmed", 1)
