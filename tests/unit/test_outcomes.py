"""Outcome events of `rotate`: how each end is announced, what returns unannounced, and the calls of the bus."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rotator.clock import Deadline
from rotator.model import MappedRotation, RotationOptions, RotationState
from rotator.outcomes.keys import KeyEvents
from rotator.outcomes.message import MAXIMUM_MESSAGE_LENGTH, MESSAGES_AN_HOUR, failure_message, one_line
from rotator.outcomes.publisher import CALL_SECONDS, CALLS_FOR_ONE_ENTRY, DetailType, Event, Put
from rotator.outcomes.rotations import Announcement, Announcer, announcement_of
from rotator.rotation.attempt import Next, Outcome, Result
from rotator.rotation.batch import Ended
from tests.unit.builders import REQUEST, delivery
from tests.unit.fakes import NOW, FakeEventBus, Observed, VirtualClock, rotation_id

OUTCOMES = Path(__file__).parents[2] / "events" / "outcomes"
SCHEMAS = {
    schema["title"]: schema
    for schema in (json.loads(path.read_text("utf-8")) for path in (OUTCOMES / "schemas").glob("*.json"))
}
A = rotation_id(1)
MINUTE = timedelta(minutes=1)
UNGUARDED = replace(REQUEST, rotation=MappedRotation(A, options=RotationOptions(guard=None)))
HOSTILE = 'a "quoted" <b>, a \\backslash,\r\nnext\tline \x1b[31m \ud800 ' + "é" * 4096


def denied(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutEvents")


def state(rotated_at: datetime = NOW) -> RotationState:
    return RotationState(A, "payments", "success", rotated_at, rotated_at, None, user_name="payments-deployer")


ROTATED = Outcome(
    Result.ROTATED, "Rotated", name="payments", state=state(), published_key="AKIAPUBLISHED", revoked_key="AKIAOLDER"
)
REFUSED = Outcome(Result.REFUSED, "KeyInUse", "the key is in use", "payments", state=state(), revoked_key="AKIAOLDER")
DEFERRED = Outcome(Result.DEFERRED, "RateLimited", next=Next.RETURN)
UNCONFIRMED = Outcome(Result.UNCONFIRMED, "Uncertain", "no answer", next=Next.RETURN_LATER_ONES)
SKIPPED = Outcome(Result.SKIPPED, "AlreadyRotated", name="payments", state=state())


def ended(outcome: Outcome, *, receive_count: int = 1, age: timedelta = timedelta(), guarded: bool = True) -> Ended:
    message = delivery(A, receive_count=receive_count, age_seconds=age.total_seconds())
    return Ended(message, REQUEST if guarded else UNGUARDED, outcome)


def skipped(committed: timedelta) -> Outcome:
    return replace(SKIPPED, state=state(NOW - committed))


class Stage:
    def __init__(self, *errors: Exception | Sequence[int], bus_name: str = "default") -> None:
        self.clock, self.observed, self.bus = VirtualClock(), Observed(), FakeEventBus(*errors)
        self.events = self.bus.events(self.observed.telemetry, bus_name)
        self.announcer = Announcer(self.events, self.clock)

    def announce(self, *batch: Ended, seconds: float = 60.0) -> set[str]:
        return set(self.announcer.announce(batch, Deadline(self.clock.monotonic() + seconds, self.clock)))


def validate(entry: dict[str, Any]) -> dict[str, Any]:
    detail: dict[str, Any] = json.loads(entry["Detail"])
    schema = SCHEMAS[entry["DetailType"]]
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(detail)
    return detail


def validate_event(event: dict[str, Any]) -> dict[str, Any]:
    """Hold a whole event, as EventBridge delivers it, against the schema of its detail."""
    return validate({"DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])})


# ---- how each end is announced ---------------------------------------------------------------------------------------

ROTATED_BEFORE = Announcement(Result.ROTATED, "AlreadyRotated", committed=True)
SKIPPED_AS_DONE = Announcement(Result.SKIPPED, "AlreadyRotated")


@pytest.mark.parametrize(
    ("end", "announcement"),
    [
        (ended(ROTATED), Announcement(Result.ROTATED, "Rotated", committed=True)),
        (
            ended(replace(ROTATED, next=Next.RETURN), guarded=False),
            Announcement(Result.ROTATED, "Rotated", committed=True),
        ),
        (ended(REFUSED), Announcement(Result.REFUSED, "KeyInUse")),
        (ended(UNCONFIRMED), Announcement(Result.UNCONFIRMED, "Uncertain")),
        (ended(DEFERRED), None),
        (ended(replace(UNCONFIRMED, next=Next.RETURN)), None),
        (ended(skipped(MINUTE)), SKIPPED_AS_DONE),
        (ended(skipped(18 * MINUTE), receive_count=2, age=20 * MINUTE), ROTATED_BEFORE),
        (ended(skipped(60 * MINUTE), receive_count=2, age=20 * MINUTE), SKIPPED_AS_DONE),
        (ended(skipped(22 * MINUTE), receive_count=2, age=20 * MINUTE), ROTATED_BEFORE),
        (ended(skipped(11 * MINUTE), receive_count=2, age=12 * MINUTE, guarded=False), None),
        (ended(skipped(60 * MINUTE), receive_count=2, age=61 * MINUTE, guarded=False), ROTATED_BEFORE),
    ],
    ids=[
        "rotated",
        "rotated without key guard",
        "refused",
        "unconfirmed, acknowledged",
        "deferred",
        "unconfirmed, returns",
        "another one's rotation, first delivery",
        "own rotation, unannounced",
        "a rotation before the first delivery",
        "own rotation, Infisical's clock behind",
        "without key guard, announced ten minutes ago",
        "without key guard, unannounced an hour ago",
    ],
)
def test_each_end_is_announced_once_and_as_what_it_is(end: Ended, announcement: Announcement | None) -> None:
    assert announcement_of(end, NOW) == announcement


def test_every_event_of_rotate_fits_its_schema() -> None:
    stage = Stage()
    invalid = Ended(delivery("not a rotation"), None, Outcome(Result.REFUSED, "InvalidRequest", HOSTILE))
    hostile = replace(REFUSED, name=HOSTILE, explanation=HOSTILE, state=replace(state(), user_name=HOSTILE))

    stage.announce(ended(ROTATED), ended(hostile), ended(UNCONFIRMED), ended(SKIPPED), invalid)

    details = [validate(entry) for entry in stage.bus.entries]
    assert [detail["outcome"] for detail in details] == ["rotated", "refused", "unconfirmed", "skipped", "refused"]


def test_every_event_about_a_key_fits_its_schema() -> None:
    stage, events = Stage(), KeyEvents("stack", HOSTILE)
    hostile = replace(state(), name=HOSTILE, user_name=HOSTILE)
    key_events = [
        events.previous_key_in_use(hostile, "AKIAOLDER", HOSTILE, "let the consumer read its secret again"),
        events.previous_key_deactivated(hostile, "AKIAOLDER", HOSTILE),
        events.published_key_inactive(hostile, "AKIAPUBLISHED"),
    ]

    stage.events.put(key_events)

    for detail in map(validate, stage.bus.entries):
        assert len(detail["message"]) <= MAXIMUM_MESSAGE_LENGTH
        assert detail["message"].isprintable()


@pytest.mark.parametrize("path", sorted(OUTCOMES.glob("*.json")), ids=lambda path: path.stem)
def test_each_sample_fits_its_schema(path: Path) -> None:
    validate_event(json.loads(path.read_text("utf-8")))


def test_an_event_says_what_happened_to_which_rotation_and_key() -> None:
    stage = Stage()

    stage.announce(ended(ROTATED), ended(REFUSED))

    rotated, refused = stage.bus.details
    expected = {
        "version": "1",
        "stack": "stack",
        "rotation_id": A,
        "rotation_name": "payments",
        "rotation_type": "aws-iam-user-secret",
        "iam_user": "payments-deployer",
        "trigger": "weekly",
        "last_rotated_at": "2026-11-22T05:00:00.000Z",
        "correlation_id": "correlation",
        "published_key_before": "AKIAPUBLISHED",
        "revoked_key": "AKIAOLDER",
        "notify": False,
    }
    assert rotated.items() >= expected.items()
    assert (refused["revoked_key"], refused["notify"]) == (None, True)
    assert refused["message"].startswith("payments-deployer was refused (KeyInUse): the key is in use.")


# ---- the bus ---------------------------------------------------------------------------------------------------------


def test_a_batch_is_one_call() -> None:
    stage = Stage()

    stage.announce(*[ended(ROTATED)] * 10)

    assert stage.bus.calls == [10]


def test_only_refused_entries_are_repeated() -> None:
    stage = Stage([1, 2], [0])

    assert stage.announce(ended(ROTATED), ended(REFUSED), ended(SKIPPED)) == set()
    assert stage.bus.calls == [3, 2, 1]
    assert stage.observed.counted == []


def test_entries_are_repeated_twice_at_most_and_a_commit_then_returns() -> None:
    stage = Stage([0, 1], [0, 1], [0, 1])

    assert stage.announce(ended(ROTATED), ended(REFUSED)) == {"11"}
    assert stage.bus.calls == [2, 2, 2]
    assert stage.observed.counted == ["OutcomeEventsFailed"] * 2


def test_no_call_begins_without_time_for_it() -> None:
    stage = Stage()

    assert stage.announce(ended(ROTATED), seconds=CALL_SECONDS - 0.001) == {"11"}
    assert stage.bus.calls == []


@pytest.mark.parametrize(
    ("error", "put"),
    [
        (denied("AccessDeniedException"), Put.NEVER),
        (denied("ResourceNotFoundException"), Put.NEVER),
        (denied("ValidationException"), Put.NEVER),
        (denied("ThrottlingException"), Put.LATER),
        (denied("InternalFailure"), Put.LATER),
        (denied("ExpiredTokenException"), Put.LATER),
        (ConnectTimeoutError(endpoint_url="https://events"), Put.LATER),
        (RuntimeError("a mistake of ours"), Put.LATER),
    ],
    ids=lambda value: str(value)[:60],
)
def test_only_a_definite_no_of_the_bus_is_final(error: Exception, put: Put) -> None:
    stage = Stage(*[error] * CALLS_FOR_ONE_ENTRY)

    assert stage.events.put([Event(DetailType.ROTATION_ENDED, {"rotation_id": A})]) == [put]
    assert stage.observed.counted == ["OutcomeEventsFailed"]
    assert stage.observed.logs[0]["detail"] == {"rotation_id": A}


def test_a_denied_entry_is_not_repeated_and_its_message_ends() -> None:
    stage = Stage([0])
    stage.bus.refusal = "NotAuthorizedForSourceException"

    assert stage.announce(ended(ROTATED)) == set()
    assert stage.bus.calls == [1]


def test_without_a_bus_nothing_is_put() -> None:
    stage = Stage(bus_name="")

    assert stage.announce(ended(ROTATED)) == set()
    assert stage.bus.calls == []


# ---- messages --------------------------------------------------------------------------------------------------------


@given(st.text(), st.text(), st.text())
def test_a_message_is_one_short_line_that_needs_no_escaping(subject: str, reason: str, explanation: str) -> None:
    message = failure_message(subject, "failed", reason, explanation * 40, last_of_flood=True)

    assert len(message) <= MAXIMUM_MESSAGE_LENGTH
    assert message.isprintable()
    assert not set(message) & set('"\\<>')
    assert "What to do: docs/runbook.md" in message
    assert one_line(message) == message


def test_a_flood_of_failures_of_one_trigger_sends_five_messages_an_hour() -> None:
    stage = Stage()
    batch = [ended(REFUSED)] * 10

    for _ in range(100):
        stage.announce(*batch)

    sent = [detail["message"] for detail in stage.bus.details if detail["notify"]]
    assert len(sent) == MESSAGES_AN_HOUR
    assert ["further ones send no message" in message for message in sent] == [False] * 4 + [True]
    stage.clock.sleep(3600)
    stage.announce(ended(REFUSED))
    assert stage.bus.details[-1]["notify"]
