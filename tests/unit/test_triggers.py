import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.instant import format_instant
from rotator.triggers import SUPPORTED, Trigger, UnsupportedEventError, read_trigger
from tests.unit.fakes import NOW, rotation_id

EVENTS = Path(__file__).parents[2] / "events"
OCCURRED_AT = NOW - timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)

SCHEDULE = "arn:aws:scheduler:us-east-1:123456789012:schedule/default/weekly"
RULE = "arn:aws:events:us-east-1:123456789012:rule/weekly"


def notification(source: str, *resources: object, **fields: object) -> dict[str, object]:
    """The envelope of EventBridge, as the scheduler and scheduled rules fill it."""
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": source,
        "account": "123456789012",
        "time": format_instant(OCCURRED_AT),
        "region": "us-east-1",
        "resources": list(resources),
        "detail": {},
    } | fields


def without(event: dict[str, object], field: str) -> dict[str, object]:
    return {name: value for name, value in event.items() if name != field}


def refusal(event: object) -> str:
    with pytest.raises(UnsupportedEventError) as refused:
        read_trigger(event, NOW)
    return str(refused.value)


# ---- what is supported -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_sample_event_names_the_trigger_of_the_sample_map(path: Path) -> None:
    assert read_trigger(json.loads(path.read_text("utf-8")), NOW).name == "weekly"


@pytest.mark.parametrize(
    ("sample", "occurred_at"),
    [
        ("direct", NOW),
        ("rule-scheduled", datetime.fromisoformat("2026-11-16T05:00:00Z")),
        ("scheduler-default", datetime.fromisoformat("2026-11-16T05:00:00Z")),
        ("scheduler-input", datetime.fromisoformat("2026-11-16T05:00:00Z")),
    ],
)
def test_every_sample_event_says_when_it_occurred(sample: str, occurred_at: datetime) -> None:
    event = json.loads((EVENTS / f"{sample}.json").read_text("utf-8"))

    assert read_trigger(event, NOW).occurred_at == occurred_at


def test_a_schedules_input_names_trigger_and_time() -> None:
    event = {"trigger": "weekly", "scheduledTime": "2026-11-22T04:00:00Z"}

    assert read_trigger(event, NOW) == Trigger("weekly", OCCURRED_AT)


def test_a_direct_invocation_occurs_now() -> None:
    assert read_trigger({"trigger": "weekly"}, NOW) == Trigger("weekly", NOW)


@pytest.mark.parametrize(
    "arn",
    [
        SCHEDULE,
        "arn:aws:scheduler:eu-central-1:123456789012:schedule/payments/weekly",
        "arn:aws-cn:scheduler:cn-north-1:123456789012:schedule/default/weekly",
    ],
)
def test_a_schedules_default_notification_names_the_schedule(arn: str) -> None:
    assert read_trigger(notification("aws.scheduler", arn), NOW) == Trigger("weekly", OCCURRED_AT)


def test_a_schedules_detail_may_be_a_text() -> None:
    assert read_trigger(notification("aws.scheduler", SCHEDULE, detail="{}"), NOW).name == "weekly"


@pytest.mark.parametrize(
    "arn",
    [
        RULE,
        "arn:aws:events:us-east-1:123456789012:rule/payments-bus/weekly",
        "arn:aws-us-gov:events:us-gov-west-1:123456789012:rule/weekly",
    ],
)
def test_a_scheduled_rule_names_itself_on_whichever_bus(arn: str) -> None:
    assert read_trigger(notification("aws.events", arn), NOW) == Trigger("weekly", OCCURRED_AT)


def test_an_occurrence_five_minutes_ahead_is_a_clock_that_differs() -> None:
    ahead = NOW + timedelta(minutes=5)

    assert read_trigger(notification("aws.events", RULE, time=format_instant(ahead)), NOW).occurred_at == ahead


def test_an_occurrence_of_long_ago_is_accepted_because_it_may_have_waited_in_a_queue() -> None:
    long_ago = NOW - timedelta(days=14)

    assert read_trigger(notification("aws.events", RULE, time=format_instant(long_ago)), NOW).occurred_at == long_ago


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [None, [], [{"trigger": "weekly"}], "weekly", '{"trigger": "weekly"}', 7, 1.5, True])
def test_an_event_that_is_no_object_is_refused(event: object) -> None:
    assert refusal(event).startswith(f"an event must be a JSON object. Supported: {SUPPORTED}. Seen: a ")


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Trigger": "weekly"},
        {"trigger": ""},
        {"trigger": None},
        {"trigger": 7},
        {"trigger": True},
        {"trigger": ["weekly"]},
        {"trigger": {"name": "weekly"}},
        {"trigger": "", "scheduledTime": "2026-11-22T04:00:00Z"},
        {"trigger": ["weekly"], "scheduledTime": "2026-11-22T04:00:00Z"},
        {"scheduledTime": "2026-11-22T04:00:00Z"},
        {"trigger": "weekly", "scheduledtime": "2026-11-22T04:00:00Z"},
        {"trigger": "weekly", "time": "2026-11-22T04:00:00Z"},
        {"trigger": "weekly", "rotationId": rotation_id(1)},
        {"trigger": "weekly", "rotations": [rotation_id(1)]},
        {"trigger": "weekly", "scheduledTime": "2026-11-22T04:00:00Z", "rotations": [rotation_id(1)]},
        {"trigger": "weekly", "force": True},
        {"rotationId": rotation_id(1)},
        {"Records": [{"body": '{"trigger": "weekly"}'}]},
        {"requestPayload": {"trigger": "weekly"}},
        {"Step": "createSecret", "SecretId": "payments", "ClientRequestToken": "token"},
    ],
    ids=json.dumps,
)
def test_an_object_of_another_shape_is_refused(event: dict[str, Any]) -> None:
    assert refusal(event).startswith("this event has no supported shape. ")


@pytest.mark.parametrize(
    ("source", "detail_type"),
    [
        ("aws.secretsmanager", "Secret Label Updated"),
        ("aws.secretsmanager", "AWS API Call via CloudTrail"),
        ("aws.secretsmanager", "Scheduled Event"),
        ("aws.s3", "Object Created"),
        ("aws.events", "scheduled event"),
        ("aws.events", "AWS API Call via CloudTrail"),
        ("aws.scheduler", "Rotate"),
        ("aws.Scheduler", "Scheduled Event"),
        ("com.example", "Scheduled Event"),
        (None, "Scheduled Event"),
        (["aws.events"], "Scheduled Event"),
        ("aws.events", ["Scheduled Event"]),
    ],
)
def test_an_event_from_elsewhere_is_refused(source: str, detail_type: str) -> None:
    event = notification(source, RULE, **{"detail-type": detail_type})

    assert refusal(event).startswith("this event has no supported shape. ")


@pytest.mark.parametrize("source", ["aws.scheduler", "aws.events"])
@pytest.mark.parametrize(
    "resources",
    [
        None,
        [],
        {},
        "",
        SCHEDULE,
        RULE,
        [None],
        [7],
        [[RULE]],
        [[SCHEDULE]],
        [{"arn": RULE}],
        [""],
        ["weekly"],
        ["", RULE],
        ["", SCHEDULE],
        ["arn:aws:secretsmanager:us-east-1:123456789012:secret:weekly-AbCdEf"],
        ["arn:aws:events:us-east-1:123456789012:rule/"],
        ["arn:aws:events:us-east-1:123456789012:rule/bus/weekly/more"],
        [f"x{RULE}"],
        ["arn:aws:scheduler:us-east-1:123456789012:schedule/weekly"],
        ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/"],
        ["arn:aws:scheduler:us-east-1:123456789012:schedule-group/default"],
        [f"x{SCHEDULE}"],
    ],
    ids=json.dumps,
)
def test_a_notification_that_names_no_schedule_or_rule_is_refused(source: str, resources: object) -> None:
    assert refusal(notification(source, resources=resources)).startswith("resources[0] must be the ARN of a ")


@pytest.mark.parametrize(("source", "arn"), [("aws.scheduler", RULE), ("aws.events", SCHEDULE)])
def test_a_notification_that_names_the_others_kind_is_refused(source: str, arn: str) -> None:
    assert refusal(notification(source, arn)).startswith("resources[0] must be the ARN of a ")


@pytest.mark.parametrize(("source", "arn"), [("aws.scheduler", SCHEDULE), ("aws.events", RULE)])
def test_a_notification_without_resources_is_refused(source: str, arn: str) -> None:
    assert refusal(without(notification(source, arn), "resources")).startswith("resources[0] must be the ARN of a ")


WRONG_TIMES: list[object] = [
    None,
    1_795_000_000,
    True,
    [],
    ["2026-11-22T04:00:00Z"],
    {},
    "",
    "now",
    "<aws.scheduler.scheduled-time>",
    "2026-11-22",
    "2026-11-22T04:00:00",
    "2026-02-30T04:00:00Z",
    "2026-13-01T04:00:00Z",
    "2026-11-22T24:01:00Z",
    "0001-01-01T00:00:00+14:00",
]


@pytest.mark.parametrize("time", WRONG_TIMES, ids=repr)
def test_a_scheduled_time_that_is_no_moment_is_refused(time: object) -> None:
    assert refusal({"trigger": "weekly", "scheduledTime": time}).startswith("scheduledTime must be a ")


@pytest.mark.parametrize("time", WRONG_TIMES, ids=repr)
@pytest.mark.parametrize(("source", "arn"), [("aws.scheduler", SCHEDULE), ("aws.events", RULE)])
def test_a_notification_whose_time_is_no_moment_is_refused(source: str, arn: str, time: object) -> None:
    assert refusal(notification(source, arn, time=time)).startswith("time must be a ")


@pytest.mark.parametrize(("source", "arn"), [("aws.scheduler", SCHEDULE), ("aws.events", RULE)])
def test_a_notification_without_a_time_is_refused(source: str, arn: str) -> None:
    assert refusal(without(notification(source, arn), "time")).startswith("time must be a ")


@pytest.mark.parametrize(
    "event",
    [
        {"trigger": "weekly", "scheduledTime": format_instant(NOW + timedelta(minutes=5) + MILLISECOND)},
        notification("aws.events", RULE, time="2026-11-22T06:00:00Z"),
        notification("aws.scheduler", SCHEDULE, time="9999-12-31T23:59:59Z"),
    ],
    ids=["input", "rule", "schedule"],
)
def test_an_occurrence_more_than_five_minutes_ahead_is_refused(event: dict[str, object]) -> None:
    assert "more than 5 minutes ahead of now (2026-11-22T05:00:00.000Z)" in refusal(event)


# ---- what a refusal says ---------------------------------------------------------------------------------------------


def test_a_refusal_says_what_was_seen() -> None:
    text = refusal(notification("aws.s3", **{"detail-type": "Object Created"}))

    assert text.endswith(
        "Seen: an object with the fields ['account', 'detail', 'detail-type', 'id', 'region', 'resources', 'source',"
        " 'time', 'version'] and {'source': 'aws.s3', 'detail-type': 'Object Created'}."
    )


def test_a_refusal_says_what_is_supported() -> None:
    assert f"Supported: {SUPPORTED}." in refusal({})


def test_a_refusal_of_an_unknown_shape_holds_no_value_but_the_two_that_tell_its_kind() -> None:
    event = {"source": "aws.s3", "detail-type": "Object Created", "id": "hidden", "detail": {"x": "hidden"}}

    assert "hidden" not in refusal(event)


HUGE = "x" * 300_000


@pytest.mark.parametrize(
    "event",
    [
        HUGE,
        [HUGE],
        {HUGE: 1},
        {f"field-{number}": HUGE for number in range(10_000)},
        {"trigger": HUGE, "rotations": HUGE},
        {"trigger": HUGE, "scheduledTime": HUGE},
        {"trigger": HUGE, "scheduledTime": [HUGE]},
        {"trigger": HUGE, "scheduledTime": "9999-12-31T23:59:59Z"},
        {"source": HUGE, "detail-type": HUGE},
        notification("aws.events", HUGE),
        notification("aws.events", [HUGE]),
        notification("aws.events", RULE, time=HUGE),
        notification("aws.events", RULE + HUGE, time="9999-12-31T23:59:59Z"),
    ],
    ids=[
        "text",
        "list",
        "field name",
        "many fields",
        "trigger",
        "time",
        "list as time",
        "name ahead",
        "kind",
        "resource",
        "list as resource",
        "time of a notification",
        "name of a rule ahead",
    ],
)
def test_a_huge_event_is_refused_in_a_text_that_a_log_can_hold(event: object) -> None:
    assert len(refusal(event)) < 2000


# ---- whatever comes --------------------------------------------------------------------------------------------------

FIELDS = st.sampled_from(["trigger", "scheduledTime", "source", "detail-type", "resources", "time", "detail"])
TIMES = st.sampled_from(["2026-11-22T04:00:00Z", "2026-11-22T04:00:00", "2126-11-22T04:00:00Z"])
TEXTS = (
    st.sampled_from(["weekly", "aws.events", "aws.scheduler", "Scheduled Event", RULE, SCHEDULE]) | TIMES | st.text()
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(), inner, max_size=4)
)
# Near the supported shapes, where a mistake would be made.
ALMOST = st.fixed_dictionaries(
    {},
    optional={
        "trigger": st.just("weekly") | JSON,
        "scheduledTime": TIMES | JSON,
        "source": st.sampled_from(["aws.events", "aws.scheduler"]) | JSON,
        "detail-type": st.just("Scheduled Event") | JSON,
        "resources": st.lists(TEXTS | JSON, max_size=2) | JSON,
        "time": TIMES | JSON,
        "extra": JSON,
    },
)


def is_supported_shape(event: Any) -> bool:  # noqa: ANN401 - JSON
    """The supported shapes once more, in other words."""
    if not isinstance(event, dict):
        return False
    if event.get("detail-type") == "Scheduled Event" and event.get("source") in ("aws.events", "aws.scheduler"):
        kind = {"aws.events": "rule/", "aws.scheduler": "schedule/"}[event["source"]]
        return kind in event["resources"][0] and event["time"].endswith("Z")
    named = set(event) in ({"trigger"}, {"trigger", "scheduledTime"}) and isinstance(event["trigger"], str)
    return named and bool(event["trigger"]) and event.get("scheduledTime", "Z").endswith("Z")


@given(JSON | ALMOST)
@example({"trigger": "weekly"})
@example(notification("aws.events", RULE))
@example(notification("aws.scheduler", SCHEDULE))
def test_whatever_comes_is_a_supported_shape_or_refused(event: object) -> None:
    try:
        read_trigger(event, NOW)
    except UnsupportedEventError:
        return

    assert is_supported_shape(event)


@given(JSON | ALMOST)
def test_whatever_occurs_occurs_at_most_five_minutes_ahead(event: object) -> None:
    try:
        trigger = read_trigger(event, NOW)
    except UnsupportedEventError:
        return

    assert trigger.occurred_at <= NOW + timedelta(minutes=5)


@given(JSON | ALMOST)
def test_whatever_is_refused_is_refused_in_a_text_that_a_log_can_hold(event: object) -> None:
    try:
        read_trigger(event, NOW)
    except UnsupportedEventError as error:
        assert len(str(error)) < 2000  # noqa: PT017 - an event may as well be supported
