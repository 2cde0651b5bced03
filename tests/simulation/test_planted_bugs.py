"""Bugs, planted where the program is put together: the schedules find each of them, by the rule that it breaks."""

import json
from collections.abc import Generator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx

from rotator import policy
from rotator.identity import MachineIdentity
from rotator.instant import format_instant, instant_at
from rotator.model import RotationRequest, RotationState
from rotator.policy import Decide, Decision, Verdict
from tests.simulation.ledger import TELEMETRY
from tests.simulation.program import MINIMUM_INTERVAL, Parts
from tests.simulation.schedule import run
from tests.simulation.truth import Kind, Rule

MOST_SCHEDULES = 1500


def breaks(parts: Parts, rule: Rule, kinds: set[Kind] | None = None) -> bool:
    """Run schedules until one breaks the rule, of a rotation of these kinds."""
    return any(
        violation.rule is rule and violation.counts and violation.kind in (kinds or Kind)
        for seed in range(MOST_SCHEDULES)
        for violation in run(seed, parts).violations
    )


def test_a_retry_on_500_rotates_twice() -> None:
    class Retrying(httpx.BaseTransport):
        def __init__(self, inner: httpx.BaseTransport) -> None:
            self._inner = inner

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = self._inner.handle_request(request)
            return self._inner.handle_request(request) if response.is_server_error else response

    assert breaks(Parts(transport=Retrying), Rule.ONCE)


def test_forgetting_t_when_a_request_is_delivered_again_rotates_twice() -> None:
    def delivered_now(record: dict[str, Any], now: float) -> dict[str, Any]:
        if record["attributes"]["ApproximateReceiveCount"] == "1":
            return record
        body = json.loads(record["body"]) | {"occurredAt": format_instant(instant_at(now))}
        return record | {"body": json.dumps(body)}

    assert breaks(Parts(delivered=delivered_now), Rule.ONCE)


def without_margin(decide: Decide) -> Decide:
    def anew(state: RotationState, request: RotationRequest) -> Decision:
        if state.last_rotated_at >= request.occurred_at:
            return Decision(Verdict.SKIP, "AlreadyRotated")
        # So late a T lies beyond every margin, and only the keys are looked at.
        return decide(state, replace(request, occurred_at=request.occurred_at + timedelta(days=1000)))

    return anew


def test_without_the_margin_a_repeated_delivery_rotates_again() -> None:
    assert breaks(Parts(decide=without_margin), Rule.ONCE)


def test_without_the_margin_the_previous_key_goes_too_soon() -> None:
    assert breaks(Parts(decide=without_margin), Rule.PREVIOUS)


def test_two_messages_of_one_rotation_at_the_same_time_take_the_previous_key_away() -> None:
    assert breaks(Parts(exclusive_groups=False), Rule.PREVIOUS)


def test_a_visibility_time_out_shorter_than_the_servers_longest_rotation_rotates_twice() -> None:
    assert breaks(Parts(visibility_seconds=60), Rule.ONCE)


def test_an_expired_token_that_is_final_lets_triggers_fail_without_a_cause() -> None:
    class NoSecondLogin(MachineIdentity):
        def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            flow = super().sync_auth_flow(request)
            outgoing = next(flow)
            while outgoing is not request:
                outgoing = flow.send((yield outgoing))
            yield request

    assert breaks(Parts(identity=NoSecondLogin), Rule.CAUSE, {Kind.GUARDED})


def test_trying_failed_attempts_again_without_the_key_guard_deletes_published_keys() -> None:
    unguarded = partial(policy.decide, minimum_interval=MINIMUM_INTERVAL)

    assert breaks(Parts(decide=lambda _: unguarded), Rule.PUBLISHED, {Kind.GUARDED})


def test_what_is_acknowledged_without_an_end_has_vanished() -> None:
    assert breaks(Parts(answered=lambda _: {"batchItemFailures": []}), Rule.TOLD)


def test_what_is_said_to_be_rotated_already_and_is_not_is_found() -> None:
    always = Decision(Verdict.SKIP, "AlreadyRotated")

    assert breaks(Parts(decide=lambda _: lambda *_: always), Rule.DONE)


def test_a_request_that_returns_too_late_blocks_its_group() -> None:
    assert breaks(Parts(visibility_seconds=14 * 3600), Rule.DRAINED)


def test_a_token_in_a_log_is_found() -> None:
    class Talkative(httpx.BaseTransport):
        def __init__(self, inner: httpx.BaseTransport) -> None:
            self._inner = inner

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            TELEMETRY.logger.info("request", headers=dict(request.headers))
            return self._inner.handle_request(request)

    assert breaks(Parts(transport=Talkative), Rule.SECRET)
