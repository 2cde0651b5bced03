"""Bugs, planted where the program is put together: the schedules find each of them, by the invariant that it breaks."""

import json
import re
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from rotator.clock import Deadline
from rotator.infisical.login import MachineIdentity
from rotator.infisical.transport import RenewedTransport
from rotator.model import RotationState
from rotator.outcomes.rotations import Announcer
from rotator.rotation import policy
from rotator.rotation.batch import UNANNOUNCED_SECONDS, Ended
from rotator.rotation.policy import REPLICA_LAG, Decider, Decision, Verdict
from rotator.rotation.queues import CLAIM_SECONDS, VISIBILITY_TIMEOUT_SECONDS
from rotator.rotation.request import RotationRequest
from rotator.timestamps import format_timestamp, from_epoch
from tests.simulation.oracle import Invariant, Kind
from tests.simulation.ports import Sqs
from tests.simulation.program import MINIMUM_INTERVAL, AwsClock, Parts
from tests.simulation.report_checker import TELEMETRY
from tests.simulation.schedule import Schedule

pytestmark = pytest.mark.release

MOST_SCHEDULES = 1500


def breaks(parts: Parts, invariant: Invariant, kinds: set[Kind] | None = None) -> bool:
    """Run schedules until one breaks the invariant, of a rotation of these kinds."""
    kinds = kinds or set(Kind)
    return any(
        violation.invariant is invariant and violation.counts and violation.kind in kinds
        for schedule in (Schedule(seed, parts) for seed in range(MOST_SCHEDULES))
        if schedule.kinds & kinds
        for violation in schedule.run().violations
    )


def test_retrying_a_500_breaks_one_rotation_per_occurrence() -> None:
    class Retrying(httpx.BaseTransport):
        def __init__(self, inner: httpx.BaseTransport) -> None:
            self._inner = inner

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = self._inner.handle_request(request)
            return self._inner.handle_request(request) if response.is_server_error else response

    assert breaks(Parts(transport=Retrying), Invariant.ONCE)


def test_a_redelivery_that_forgets_its_time_rotates_twice() -> None:
    def delivered_now(record: dict[str, Any], now: float) -> dict[str, Any]:
        if record["attributes"]["ApproximateReceiveCount"] == "1":
            return record
        body = json.loads(record["body"]) | {"occurredAt": format_timestamp(from_epoch(now))}
        return record | {"body": json.dumps(body)}

    assert breaks(Parts(delivered=delivered_now), Invariant.ONCE)


def without_margin(decide: Decider) -> Decider:
    def anew(state: RotationState, request: RotationRequest) -> Decision:
        if state.last_rotated_at >= request.occurred_at:
            return Decision(Verdict.SKIP, "AlreadyRotated")
        # So late a T lies beyond every margin, and only the keys are looked at.
        return decide(state, replace(request, occurred_at=request.occurred_at + timedelta(days=1000)))

    return anew


def test_a_missing_margin_rotates_again_on_a_repeated_delivery() -> None:
    assert breaks(Parts(decide=without_margin), Invariant.ONCE)


def test_a_missing_margin_revokes_the_previous_key_too_soon() -> None:
    assert breaks(Parts(decide=without_margin), Invariant.PREVIOUS)


def test_concurrent_messages_of_one_rotation_revoke_the_previous_key() -> None:
    assert breaks(Parts(exclusive_groups=False), Invariant.PREVIOUS)


def test_a_short_visibility_time_out_deletes_published_keys() -> None:
    assert breaks(Parts(visibility_seconds=60), Invariant.PUBLISHED, {Kind.GUARDED})


def test_an_expired_token_that_is_not_renewed_fails_without_a_cause() -> None:
    class NoSecondLogin(MachineIdentity):
        def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            flow = super().sync_auth_flow(request)
            outgoing = next(flow)
            while outgoing is not request:
                outgoing = flow.send((yield outgoing))
            yield request

    assert breaks(Parts(identity=NoSecondLogin), Invariant.CAUSE, {Kind.GUARDED})


def test_retrying_failed_attempts_unguarded_deletes_published_keys() -> None:
    unguarded = partial(policy.check_due, minimum_interval=MINIMUM_INTERVAL)

    assert breaks(Parts(decide=lambda _: unguarded), Invariant.PUBLISHED, {Kind.GUARDED})


def test_an_acknowledged_request_without_an_outcome_has_vanished() -> None:
    assert breaks(Parts(answered=lambda _: {"batchItemFailures": []}), Invariant.REPORTED)


def test_a_false_already_rotated_leaves_requests_unfulfilled() -> None:
    always = Decision(Verdict.SKIP, "AlreadyRotated")

    assert breaks(Parts(decide=lambda _: lambda *_: always), Invariant.DONE)


def test_a_request_that_returns_too_late_blocks_its_group() -> None:
    assert breaks(Parts(visibility_seconds=14 * 3600), Invariant.DRAINED)


def test_a_token_in_a_log_leaves_the_program() -> None:
    class Talkative(httpx.BaseTransport):
        def __init__(self, inner: httpx.BaseTransport) -> None:
            self._inner = inner

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            TELEMETRY.logger.info("request", headers=dict(request.headers))
            return self._inner.handle_request(request)

    assert breaks(Parts(transport=Talkative), Invariant.SECRET)


def refusing_instead_of_waiting(decide: Decider) -> Decider:
    def hastily(state: RotationState, request: RotationRequest) -> Decision:
        decision = decide(state, request)
        if decision.verdict is not Verdict.WAIT:
            return decision
        reason = "KeysUnreadable" if decision.reason == "IamUnavailable" else "OrphanKey"
        suspect = re.search(r"AKIA\w{16}", decision.explanation)
        return Decision(Verdict.REFUSE, reason, f"--access-key-id {suspect[0]}" if suspect else "")

    return hastily


def test_refusing_a_young_key_accuses_the_published_one_of_a_lagging_replica() -> None:
    assert breaks(Parts(decide=refusing_instead_of_waiting), Invariant.ACCUSED, {Kind.GUARDED})


def test_refusing_during_an_iam_outage_ends_requests_without_a_cause() -> None:
    assert breaks(Parts(decide=refusing_instead_of_waiting), Invariant.CAUSE, {Kind.GUARDED})


class Hasty:
    """SQS, but a message that was to be invisible for `seconds` returns after `instead`."""

    def __init__(self, sqs: Sqs, seconds: float, instead: int) -> None:
        self._sqs = sqs
        self._seconds = seconds
        self._instead = instead

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else SQS does
        return getattr(self._sqs, name)

    def change_message_visibility(self, *, VisibilityTimeout: int, **which: str) -> None:  # noqa: N803 - as boto3 has it
        seconds = self._instead if VisibilityTimeout == self._seconds else VisibilityTimeout
        self._sqs.change_message_visibility(VisibilityTimeout=seconds, **which)


def test_a_killed_unguarded_request_that_returns_early_is_attempted_again() -> None:
    unclaimed = partial(Hasty, seconds=CLAIM_SECONDS, instead=VISIBILITY_TIMEOUT_SECONDS)

    assert breaks(Parts(sqs=unclaimed), Invariant.ATTEMPT)


def test_an_unguarded_request_right_after_a_rotation_rotates_again() -> None:
    at_once = partial(Hasty, seconds=REPLICA_LAG.total_seconds(), instead=1)

    assert breaks(Parts(sqs=at_once), Invariant.ONCE, {Kind.UNGUARDED})


@dataclass(frozen=True)
class OneClock:
    """The monotonic clock, for everything."""

    clock: AwsClock

    def time(self) -> float:
        return self.clock.process.booted_at + self.clock.monotonic()

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def sleep(self, seconds: float, /) -> None:
        self.clock.sleep(seconds)


def test_a_clock_that_stops_between_invocations_blocks_requests_for_good() -> None:
    assert breaks(Parts(clock=OneClock), Invariant.DRAINED)


def test_a_dead_connection_that_is_not_replaced_defers_without_a_cause() -> None:
    class Once(RenewedTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.extensions["repeatable"] = False
            return super().handle_request(request)

    assert breaks(Parts(connections=Once), Invariant.CAUSE, {Kind.GUARDED})


@dataclass(frozen=True)
class Ahead(AwsClock):
    """A function that is ahead itself believes a sender that is five minutes ahead."""

    def time(self) -> float:
        return super().time() + 180


def test_trusting_a_senders_fast_clock_reports_done_before_its_time() -> None:
    assert breaks(Parts(clock=lambda clock: Ahead(clock.scheduler, clock.process)), Invariant.DONE, {Kind.GUARDED})


def test_a_proxys_page_taken_for_infisicals_ends_requests_without_a_cause() -> None:
    class Gullible(httpx.BaseTransport):
        def __init__(self, inner: httpx.BaseTransport) -> None:
            self._inner = inner

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = self._inner.handle_request(request)
            if not response.is_client_error or "json" in response.headers["content-type"]:
                return response
            answer = {"statusCode": response.status_code, "error": "NotFound", "message": "not found"}
            return httpx.Response(response.status_code, json=answer, request=request)

    assert breaks(Parts(transport=Gullible), Invariant.CAUSE, {Kind.GUARDED})


def test_a_trigger_for_a_mirrored_rotation_deletes_the_mirrors_key() -> None:
    def without_mirrors(rotation_map: str) -> str:
        return json.dumps(json.loads(rotation_map) | {"mirrors": {}})

    assert breaks(Parts(dispatch_map=without_mirrors), Invariant.MIRRORED, {Kind.GUARDED})


class OldestByListOrder:
    """IAM, but what is deactivated is the first key of its list."""

    def __init__(self, iam: Any) -> None:  # noqa: ANN401 - a client, as boto3 makes them
        self._iam = iam
        self._first = ""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else IAM does
        return getattr(self._iam, name)

    def list_access_keys(self, **which: str) -> dict[str, Any]:
        listed: dict[str, Any] = self._iam.list_access_keys(**which)
        self._first = listed["AccessKeyMetadata"][0]["AccessKeyId"] if listed["AccessKeyMetadata"] else ""
        return listed

    def update_access_key(self, **which: str) -> None:
        self._iam.update_access_key(**which | {"AccessKeyId": self._first})


def test_taking_the_first_key_of_a_list_for_the_oldest_deactivates_published_keys() -> None:
    assert breaks(Parts(iam_of_retire=OldestByListOrder), Invariant.RETIRED, {Kind.GUARDED})


def test_a_request_that_sqs_moves_to_the_dead_letters_has_vanished() -> None:
    assert breaks(Parts(maximum_receives=5), Invariant.REPORTED)


class Forgetful(Announcer):
    """Does not let a commit return that it could not announce."""

    def announce(self, batch: Sequence[Ended], deadline: Deadline) -> Collection[str]:
        super().announce(batch, deadline)
        return ()


def test_a_commit_whose_event_fails_and_that_does_not_return_is_unannounced() -> None:
    assert breaks(Parts(announcer=Forgetful), Invariant.UNANNOUNCED, {Kind.GUARDED})


def test_an_unguarded_request_that_returns_at_once_counts_as_announced() -> None:
    hasty = partial(Hasty, seconds=int(UNANNOUNCED_SECONDS), instead=600)

    assert breaks(Parts(sqs=hasty), Invariant.UNANNOUNCED, {Kind.UNGUARDED})


class Guessing(Announcer):
    """Takes the occurrence for the moment of the rotation."""

    def announce(self, batch: Sequence[Ended], deadline: Deadline) -> Collection[str]:
        return super().announce([_guessed(ended) for ended in batch], deadline)


def _guessed(ended: Ended) -> Ended:
    if ended.request is None or ended.outcome.state is None:
        return ended
    state = replace(ended.outcome.state, last_rotated_at=ended.request.occurred_at)
    return replace(ended, outcome=replace(ended.outcome, state=state))


def test_an_event_with_another_moment_than_the_commits_is_untrue() -> None:
    assert breaks(Parts(announcer=Guessing), Invariant.UNTRUE, {Kind.GUARDED})
