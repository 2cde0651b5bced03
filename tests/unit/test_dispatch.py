import json
from collections.abc import Callable, Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch import Dispatch
from rotator.queues import RequestQueue, UndeliveredRequestsError
from rotator.rotation_map import RotationMapError, UnmappedTriggerError
from rotator.triggers import UnsupportedEventError
from tests.unit.fakes import FakeSqs, Observed, QueueDownError, VirtualClock, rotation_id

A, B, C = rotation_id(0xA), rotation_id(0xB), rotation_id(0xC)
MAP: dict[str, Any] = {"weekly": [A, {"id": B, "type": "mysql-credentials", "minimumInterval": "6 days"}], "daily": C}
SCHEDULED = {"trigger": "weekly", "scheduledTime": "2026-11-22T04:00:00Z"}


class Stage:
    """A Dispatch with everything around it."""

    def __init__(
        self, *, triggers: object = None, text: str | None = None, refused: Collection[str] = (), down: bool = False
    ) -> None:
        self.sqs = FakeSqs(refused, down=down)
        self.observed = Observed()
        self.text = json.dumps({"triggers": MAP if triggers is None else triggers}) if text is None else text
        self.dispatch = Dispatch(
            read_map=lambda: self.text,
            requests=RequestQueue(self.sqs.client, "https://sqs.example.com/RotationRequests.fifo"),
            telemetry=self.observed.telemetry,
            clock=VirtualClock(),
        )

    @property
    def requested(self) -> list[str]:
        return [body["rotationId"] for body in self.sqs.bodies]


# ---- dispatched ------------------------------------------------------------------------------------------------------


def test_a_trigger_becomes_one_request_for_each_of_its_rotations() -> None:
    stage = Stage()

    stage.dispatch(SCHEDULED, "correlation")

    assert stage.requested == [A, B]


def test_a_request_carries_all_that_rotate_has_to_know() -> None:
    stage = Stage()

    stage.dispatch(SCHEDULED, "correlation")

    assert stage.sqs.bodies[1] == {
        "rotationId": B,
        "type": "mysql-credentials",
        "trigger": "weekly",
        "occurredAt": "2026-11-22T04:00:00.000Z",
        "correlationId": "correlation",
        "minimumIntervalSeconds": 518_400,
    }


def test_a_direct_invocation_occurs_now() -> None:
    stage = Stage()

    stage.dispatch({"trigger": "daily"}, "correlation")

    assert stage.sqs.bodies[0]["occurredAt"] == "2026-11-22T05:00:00.000Z"


def test_who_invokes_learns_what_was_sent() -> None:
    assert Stage().dispatch(SCHEDULED, "correlation") == {
        "trigger": "weekly",
        "occurred_at": "2026-11-22T04:00:00.000Z",
        "requests": 2,
        "correlation_id": "correlation",
    }


def test_the_log_tells_the_same_as_the_answer() -> None:
    stage = Stage()

    summary = stage.dispatch(SCHEDULED, "correlation")

    (line,) = stage.observed.logs
    assert line.items() >= {"level": "INFO", "message": "trigger dispatched", **summary}.items()


def test_a_dispatched_trigger_is_no_unmapped_one() -> None:
    stage = Stage()

    stage.dispatch(SCHEDULED, "correlation")

    assert stage.observed.counted == []


def test_a_changed_map_counts_from_the_next_event_on() -> None:
    stage = Stage()
    stage.dispatch(SCHEDULED, "first")

    stage.text = json.dumps({"triggers": {"weekly": C}})
    stage.dispatch(SCHEDULED, "second")

    assert stage.requested == [A, B, C]


# ---- refused ---------------------------------------------------------------------------------------------------------

UNSUPPORTED = (Stage, {"trigger": "weekly", "rotations": [A]}, UnsupportedEventError)
WRONG_MAP = (lambda: Stage(triggers={"weekly": "payments"}), SCHEDULED, RotationMapError)
WRONG_ENTRY_ELSEWHERE = (lambda: Stage(triggers={**MAP, "yearly": "payments"}), SCHEDULED, RotationMapError)
NO_JSON = (lambda: Stage(text="None"), SCHEDULED, RotationMapError)
UNMAPPED = (Stage, {"trigger": "yearly"}, UnmappedTriggerError)

EACH_REFUSAL = pytest.mark.parametrize(
    ("stage_of", "event", "error"),
    [UNSUPPORTED, WRONG_MAP, WRONG_ENTRY_ELSEWHERE, NO_JSON, UNMAPPED],
    ids=["unsupported event", "wrong map", "wrong entry elsewhere", "no JSON", "unmapped trigger"],
)


@EACH_REFUSAL
def test_what_is_wrong_is_raised_so_that_lambda_keeps_the_event(
    stage_of: Callable[[], Stage], event: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        stage_of().dispatch(event, "correlation")


@EACH_REFUSAL
def test_where_anything_is_wrong_nothing_is_sent(
    stage_of: Callable[[], Stage], event: object, error: type[Exception]
) -> None:
    stage = stage_of()

    with pytest.raises(error):
        stage.dispatch(event, "correlation")

    assert stage.requested == []


@EACH_REFUSAL
def test_what_is_wrong_is_logged_with_its_reason_and_the_correlation_id(
    stage_of: Callable[[], Stage], event: object, error: type[Exception]
) -> None:
    stage = stage_of()

    with pytest.raises(error) as refused:
        stage.dispatch(event, "correlation")

    (line,) = stage.observed.logs
    expected = {
        "level": "ERROR",
        "message": "trigger refused",
        "reason": error.__name__.removesuffix("Error"),
        "explanation": str(refused.value),
        "correlation_id": "correlation",
    }
    assert line.items() >= expected.items()


def test_an_unmapped_trigger_is_counted_with_its_explanation() -> None:
    stage = Stage()

    with pytest.raises(UnmappedTriggerError) as refused:
        stage.dispatch({"trigger": "yearly"}, "correlation")

    (line,) = stage.observed.metrics
    assert stage.observed.counted == ["UnmappedTrigger"]
    assert line["explanation"] == str(refused.value)


@pytest.mark.parametrize(("stage_of", "event", "error"), [UNSUPPORTED, WRONG_MAP], ids=["event", "map"])
def test_another_refusal_is_no_unmapped_trigger(
    stage_of: Callable[[], Stage], event: object, error: type[Exception]
) -> None:
    stage = stage_of()

    with pytest.raises(error):
        stage.dispatch(event, "correlation")

    assert stage.observed.counted == []


# ---- not delivered ---------------------------------------------------------------------------------------------------


def test_half_delivered_is_raised_naming_what_is_missing() -> None:
    stage = Stage(refused=[B])

    with pytest.raises(UndeliveredRequestsError, match=B):
        stage.dispatch(SCHEDULED, "correlation")


def test_half_delivered_is_not_told_as_dispatched() -> None:
    stage = Stage(refused=[B])

    with pytest.raises(UndeliveredRequestsError):
        stage.dispatch(SCHEDULED, "correlation")

    assert stage.observed.logs == []


def test_a_queue_that_is_down_is_raised() -> None:
    with pytest.raises(QueueDownError):
        Stage(down=True).dispatch(SCHEDULED, "correlation")


def test_lambdas_next_attempt_after_half_a_delivery_sends_duplicates_that_the_queue_drops() -> None:
    stage = Stage(refused=[B])
    with pytest.raises(UndeliveredRequestsError):
        stage.dispatch(SCHEDULED, "correlation")

    stage.sqs.refused_groups = ()
    stage.dispatch(SCHEDULED, "correlation")

    first, second = stage.sqs.batches
    assert [entry.get("MessageDeduplicationId") for entry in first] == [
        entry.get("MessageDeduplicationId") for entry in second
    ]


# ---- whoever may send events must not choose whose keys are rotated --------------------------------------------------

NAMES = st.sampled_from(["weekly", "daily", "yearly"])
IDS = st.sampled_from([A, B, C, rotation_id(0xD)])
RESOURCES = st.builds(
    "arn:aws:{}:us-east-1:123456789012:{}/{}".format,
    st.sampled_from(["events", "scheduler"]),
    st.sampled_from(["rule", "rule/bus", "schedule/default"]),
    NAMES | IDS,
)
ENTRIES = IDS | st.lists(IDS, max_size=2) | st.fixed_dictionaries({"id": IDS}) | st.fixed_dictionaries({"weekly": IDS})
SMUGGLED = st.dictionaries(
    st.sampled_from(["rotationId", "id", "rotations", "requests", "triggers", "map", "detail", "input", "account"]),
    ENTRIES,
    max_size=2,
)
EVENTS = st.builds(
    lambda event, smuggled: event | smuggled,
    st.fixed_dictionaries({"trigger": NAMES | ENTRIES}, optional={"scheduledTime": st.just("2026-11-22T04:00:00Z")})
    | st.fixed_dictionaries(
        {
            "source": st.sampled_from(["aws.events", "aws.scheduler"]),
            "detail-type": st.just("Scheduled Event"),
            "time": st.just("2026-11-22T04:00:00Z"),
            "resources": st.lists(RESOURCES | IDS, max_size=3),
        },
        optional={"trigger": NAMES},
    ),
    SMUGGLED,
)
MAPPED = {"weekly": [A, B], "daily": [C]}


@given(EVENTS)
def test_no_event_brings_a_rotation_that_its_trigger_does_not_stand_for(event: object) -> None:
    stage = Stage()

    try:
        trigger = stage.dispatch(event, "correlation")["trigger"]
    except (UnsupportedEventError, UnmappedTriggerError):
        trigger = None

    assert stage.requested == MAPPED.get(trigger, [])
