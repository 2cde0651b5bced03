import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.timestamps import MAXIMUM_AHEAD, format_timestamp
from rotator.triggers.events import DIRECT_OPTIONS, SUPPORTED, Trigger, UnsupportedEventError, read_trigger
from tests.unit.fakes import NOW, rotation_id

EVENTS = Path(__file__).parents[2] / "events"
OCCURRED_AT = NOW - timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)

SCHEDULE = "arn:aws:scheduler:us-east-1:123456789012:schedule/default/weekly"
RULE = "arn:aws:events:us-east-1:123456789012:rule/weekly"


def notification(source: object, *resources: object, **fields: object) -> dict[str, object]:
    """The envelope of EventBridge, as the scheduler and scheduled rules fill it."""
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": source,
        "account": "123456789012",
        "time": format_timestamp(OCCURRED_AT),
        "region": "us-east-1",
        "resources": list(resources),
        "detail": {},
    } | fields


def custom(source: object = "rotations", **fields: object) -> dict[str, object]:
    """A custom event as EventBridge delivers it."""
    return notification(source, **{"detail-type": "Rotation Requested", "detail": {"trigger": "weekly"}, **fields})


def without(event: dict[str, object], field: str) -> dict[str, object]:
    return {name: value for name, value in event.items() if name != field}


def refusal(event: object) -> str:
    with pytest.raises(UnsupportedEventError) as refused:
        read_trigger(event, NOW)
    return str(refused.value)


# ---- what is supported -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_sample_event_names_the_trigger_of_the_sample_map(path: Path) -> None:
    trigger = read_trigger(json.loads(path.read_text("utf-8")), NOW)

    assert (trigger.alias or trigger.name) == ("payments/deployer" if path.stem.startswith("secret-") else "weekly")


@pytest.mark.parametrize(
    ("sample", "occurred_at"),
    [
        ("custom", datetime.fromisoformat("2026-11-16T05:00:00Z")),
        ("direct", NOW),
        ("rule-scheduled", datetime.fromisoformat("2026-11-16T05:00:00Z")),
        ("scheduler-default", datetime.fromisoformat("2026-11-16T05:00:00Z")),
        ("scheduler-input", datetime.fromisoformat("2026-11-16T05:00:00Z")),
    ],
)
def test_every_sample_event_has_an_occurrence_time(sample: str, occurred_at: datetime) -> None:
    event = json.loads((EVENTS / f"{sample}.json").read_text("utf-8"))

    assert read_trigger(event, NOW).occurred_at == occurred_at


def test_a_schedules_input_names_trigger_and_time() -> None:
    event = {"trigger": "weekly", "scheduledTime": "2026-11-22T04:00:00Z"}

    assert read_trigger(event, NOW) == Trigger("weekly", OCCURRED_AT)


def test_a_direct_invocation_occurs_now() -> None:
    assert read_trigger({"trigger": "weekly"}, NOW) == Trigger("weekly", NOW, direct=True)


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


@pytest.mark.parametrize(
    "source", ["rotations", "com.example.payments", "aws", "awsome.events", "AWS.events", "my.aws.events"]
)
def test_a_custom_event_of_any_source_but_aws_names_the_trigger_in_its_detail(source: str) -> None:
    assert read_trigger(custom(source), NOW) == Trigger("weekly", OCCURRED_AT)


def test_a_custom_event_occurs_when_it_was_put_and_not_when_it_arrives() -> None:
    put_at = NOW - timedelta(days=1)

    assert read_trigger(custom(time=format_timestamp(put_at)), NOW).occurred_at == put_at


def test_a_direct_invocation_may_say_when_it_occurred() -> None:
    event = {"trigger": "weekly", "occurredAt": "2026-11-22T04:00:00Z"}

    assert read_trigger(event, NOW) == Trigger("weekly", OCCURRED_AT, direct=True)


def test_a_direct_invocation_may_choose_rotations_in_any_spelling_and_order() -> None:
    event = {"trigger": "weekly", "only": [rotation_id(0xB), rotation_id(0xA).upper(), rotation_id(0xB)]}

    assert read_trigger(event, NOW) == Trigger(
        "weekly", NOW, frozenset({rotation_id(0xA), rotation_id(0xB)}), direct=True
    )


def test_a_direct_invocation_may_be_a_dry_run() -> None:
    assert read_trigger({"trigger": "weekly", "dryRun": True}, NOW) == Trigger("weekly", NOW, dry_run=True, direct=True)


def test_a_direct_invocation_may_force_what_occurred_at_a_time() -> None:
    event = {"trigger": "weekly", "occurredAt": "2026-11-22T04:00:00Z", "force": True}

    assert read_trigger(event, NOW) == Trigger("weekly", OCCURRED_AT, forced=True, direct=True)


def test_the_options_of_a_direct_invocation_go_together() -> None:
    event = {
        "trigger": "weekly",
        "occurredAt": "2026-11-22T04:00:00Z",
        "only": [rotation_id(1)],
        "force": True,
        "dryRun": True,
    }

    assert read_trigger(event, NOW) == Trigger(
        "weekly", OCCURRED_AT, only=frozenset({rotation_id(1)}), forced=True, dry_run=True, direct=True
    )


def test_options_that_are_off_are_as_if_they_were_not_there() -> None:
    assert read_trigger({"trigger": "weekly", "force": False, "dryRun": False}, NOW) == Trigger(
        "weekly", NOW, direct=True
    )


@pytest.mark.parametrize("ahead", [MILLISECOND, timedelta(seconds=90), MAXIMUM_AHEAD], ids=str)
@pytest.mark.parametrize(
    "event",
    [
        lambda time: notification("aws.events", RULE, time=time),
        lambda time: {"trigger": "weekly", "scheduledTime": time},
        lambda time: {"trigger": "weekly", "occurredAt": time, "force": True},
        lambda time: custom(time=time),
    ],
    ids=["rule", "input", "forced", "custom"],
)
def test_an_occurrence_a_little_ahead_counts_from_its_arrival(
    event: Callable[[str], dict[str, object]], ahead: timedelta
) -> None:
    """The sender's clock is ahead. Kept as it is, the time ahead would use up the margin that tells duplicates."""
    assert read_trigger(event(format_timestamp(NOW + ahead)), NOW).occurred_at == NOW


def test_an_occurrence_of_long_ago_is_accepted() -> None:
    long_ago = NOW - timedelta(days=14)

    assert read_trigger(notification("aws.events", RULE, time=format_timestamp(long_ago)), NOW).occurred_at == long_ago


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [None, [], [{"trigger": "weekly"}], "weekly", '{"trigger": "weekly"}', 7, 1.5, True])
def test_an_event_that_is_not_an_object_is_refused(event: object) -> None:
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
        {"trigger": "weekly", "forced": True},
        {"trigger": "weekly", "dryrun": True},
        {"trigger": "weekly", "dry_run": True},
        {"trigger": "weekly", "Only": [rotation_id(1)]},
        {"trigger": "", "occurredAt": "2026-11-22T04:00:00Z"},
        {"trigger": "weekly", "scheduledTime": "2026-11-22T04:00:00Z", "occurredAt": "2026-11-22T04:00:00Z"},
        {"trigger": "weekly", "scheduledTime": "2026-11-22T04:00:00Z", "force": True},
        {"trigger": "weekly", "scheduledTime": "2026-11-22T04:00:00Z", "only": [rotation_id(1)]},
        {"trigger": "weekly", "scheduledTime": "2026-11-22T04:00:00Z", "dryRun": True},
        {"detail": {"trigger": "weekly"}},
        {"detail-type": "Rotation Requested", "detail": {"trigger": "weekly"}, "time": "2026-11-22T04:00:00Z"},
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

    kind = (
        "this event of Secrets Manager cannot be a trigger" if source == "aws.secretsmanager" else "this event has no"
    )
    assert refusal(event).startswith(kind)


@pytest.mark.parametrize(
    "event",
    [
        custom("aws.events"),
        custom("aws.scheduler"),
        custom("aws.partner/example.com/payments"),
        custom("aws."),
        custom(None),
        custom(["rotations"]),
        without(custom(), "source"),
        custom(**{"detail-type": "rotation requested"}),
        custom(**{"detail-type": "Rotation Requested "}),
        custom(**{"detail-type": ["Rotation Requested"]}),
        without(custom(), "detail-type"),
    ],
    ids=json.dumps,
)
def test_a_custom_event_that_is_not_ones_own_is_refused(event: dict[str, object]) -> None:
    assert refusal(event).startswith("this event has no supported shape. ")


@pytest.mark.parametrize(
    "detail",
    [
        None,
        "weekly",
        '{"trigger": "weekly"}',
        [],
        [{"trigger": "weekly"}],
        {},
        {"Trigger": "weekly"},
        {"trigger": ""},
        {"trigger": None},
        {"trigger": ["weekly"]},
        {"trigger": "weekly", "rotations": [rotation_id(1)]},
        {"trigger": "weekly", "only": [rotation_id(1)]},
        {"trigger": "weekly", "occurredAt": "2026-11-22T04:00:00Z"},
        {"trigger": "weekly", "occurredAt": "2026-11-22T04:00:00Z", "force": True},
        {"trigger": "weekly", "force": False},
        {"trigger": "weekly", "dryRun": True},
        {"trigger": "weekly", "comment": ""},
    ],
    ids=json.dumps,
)
def test_a_custom_event_whose_detail_is_more_or_less_than_a_trigger_is_refused(detail: object) -> None:
    assert refusal(custom(detail=detail)).startswith("detail")


@pytest.mark.parametrize(
    "options", [{"map": "{}"}, {"map": "{}", "dryRun": False}, {"map": {}, "dryRun": True}], ids=json.dumps
)
def test_another_map_is_for_dry_runs_only(options: dict[str, object]) -> None:
    assert refusal({"trigger": "weekly", **options}).startswith("map must be the JSON of a rotation map as a string")


@pytest.mark.parametrize("options", [{"force": True}, {"force": True, "dryRun": True}], ids=json.dumps)
def test_force_without_a_time_is_refused_because_each_delivery_would_rotate(options: dict[str, object]) -> None:
    assert refusal({"trigger": "weekly", **options}).startswith("force needs occurredAt, ")


@pytest.mark.parametrize("option", ["force", "dryRun"])
@pytest.mark.parametrize("value", [None, "", 0, 1, "true", "false", [], [True], {}], ids=repr)
def test_force_and_dry_run_are_never_guessed(option: str, value: object) -> None:
    event = {"trigger": "weekly", "occurredAt": "2026-11-22T04:00:00Z", option: value}

    assert refusal(event).startswith("force and dryRun must be true or false. ")


@pytest.mark.parametrize("ids", [[], {}, "", 0, 7, True, rotation_id(1), {"id": rotation_id(1)}], ids=json.dumps)
def test_rotations_to_choose_that_are_no_list_are_refused(ids: object) -> None:
    assert refusal({"trigger": "weekly", "only": ids}).startswith("only must be a list of rotation ids. ")


@pytest.mark.parametrize("wrong", ["payments", "", None, 7, [rotation_id(2)], {"id": rotation_id(2)}], ids=json.dumps)
def test_a_rotation_to_choose_that_is_none_is_refused_by_its_place(wrong: object) -> None:
    event = {"trigger": "weekly", "only": [rotation_id(1), wrong]}

    assert refusal(event).startswith("only[1] must be a rotation id (a UUID), not ")


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
    "2026-11-22",
    "2026-11-22T04:00:00",
    "2026-02-30T04:00:00Z",
    "2026-13-01T04:00:00Z",
    "2026-11-22T24:01:00Z",
    "0001-01-01T00:00:00+14:00",
]


@pytest.mark.parametrize("time", WRONG_TIMES, ids=repr)
def test_a_scheduled_time_that_is_not_a_timestamp_is_refused(time: object) -> None:
    assert refusal({"trigger": "weekly", "scheduledTime": time}).startswith("scheduledTime must be a ")


@pytest.mark.parametrize("time", WRONG_TIMES, ids=repr)
@pytest.mark.parametrize(("source", "arn"), [("aws.scheduler", SCHEDULE), ("aws.events", RULE)])
def test_a_notification_whose_time_is_not_a_timestamp_is_refused(source: str, arn: str, time: object) -> None:
    assert refusal(notification(source, arn, time=time)).startswith("time must be a ")


@pytest.mark.parametrize("time", WRONG_TIMES, ids=repr)
def test_a_custom_event_whose_time_is_not_a_timestamp_is_refused(time: object) -> None:
    assert refusal(custom(time=time)).startswith("time must be a ")


@pytest.mark.parametrize(
    ("detail", "what"),
    [
        ('{"trigger": "weekly"}', 'detail must be a JSON object {"trigger": "…"}, not a string'),
        (["weekly"], 'detail must be a JSON object {"trigger": "…"}, not [\'weekly\']'),
        (None, 'detail must be a JSON object {"trigger": "…"}, not nothing'),
        ({"trigger": "weekly", "metadata": {}}, "detail must have only the field trigger: remove ['metadata']"),
        ({"Trigger": "weekly"}, "detail.trigger must be the name of a trigger, not nothing"),
    ],
    ids=repr,
)
def test_a_refusal_of_a_custom_event_says_what_is_wrong_in_its_detail(detail: object, what: str) -> None:
    assert refusal(custom(detail=detail)).startswith(what)


@pytest.mark.parametrize(
    "event",
    [
        {"trigger": "weekly", "scheduledTime": "<aws.scheduler.scheduled-time>"},
        {"trigger": "weekly", "scheduledTime": "\\u003caws.scheduler.scheduled-time\\u003e"},
        {"trigger": "weekly", "occurredAt": "<aws.scheduler.scheduled-time>", "force": True},
        custom(time="<aws.scheduler.scheduled-time>"),
    ],
    ids=json.dumps,
)
def test_an_unfilled_scheduler_placeholder_is_refused_and_not_recommended(event: object) -> None:
    text = refusal(event)

    assert "holds a placeholder of EventBridge Scheduler, not a time" in text
    assert "jsonencode" in text
    assert "<aws.scheduler.scheduled-time>" not in text


def test_a_custom_event_without_a_time_is_refused() -> None:
    assert refusal(without(custom(), "time")).startswith("time must be a ")


@pytest.mark.parametrize("time", WRONG_TIMES, ids=repr)
@pytest.mark.parametrize("options", [{}, {"force": True}, {"dryRun": True}], ids=json.dumps)
def test_an_occurrence_that_is_not_a_timestamp_is_refused_and_not_taken_for_now(
    options: dict[str, object], time: object
) -> None:
    assert refusal({"trigger": "weekly", "occurredAt": time, **options}).startswith("occurredAt must be a ")


@pytest.mark.parametrize(("source", "arn"), [("aws.scheduler", SCHEDULE), ("aws.events", RULE)])
def test_a_notification_without_a_time_is_refused(source: str, arn: str) -> None:
    assert refusal(without(notification(source, arn), "time")).startswith("time must be a ")


@pytest.mark.parametrize(
    "event",
    [
        {"trigger": "weekly", "scheduledTime": format_timestamp(NOW + MAXIMUM_AHEAD + MILLISECOND)},
        notification("aws.events", RULE, time="2026-11-22T06:00:00Z"),
        notification("aws.scheduler", SCHEDULE, time="9999-12-31T23:59:59Z"),
        custom(time="2026-11-22T06:00:00Z"),
        {"trigger": "weekly", "occurredAt": "2026-11-22T06:00:00Z"},
        {"trigger": "weekly", "occurredAt": "2026-11-22T06:00:00Z", "force": True},
    ],
    ids=["input", "rule", "schedule", "custom", "direct", "forced"],
)
def test_an_occurrence_that_is_too_far_ahead_is_refused(event: dict[str, object]) -> None:
    assert "minutes ahead of now (2026-11-22T05:00:00.000Z)" in refusal(event)


# ---- what a refusal says ---------------------------------------------------------------------------------------------


def test_a_refusal_says_what_was_seen() -> None:
    text = refusal(notification("aws.s3", **{"detail-type": "Object Created"}))

    assert text.endswith(
        "Seen: an object with the fields ['account', 'detail', 'detail-type', 'id', 'region', 'resources', 'source',"
        " 'time', 'version'] and {'source': 'aws.s3', 'detail-type': 'Object Created'}."
    )


def test_a_refusal_says_what_is_supported() -> None:
    assert f"Supported: {SUPPORTED}." in refusal({})


def test_a_refusal_of_an_unknown_event_quotes_only_its_kind() -> None:
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
        {"trigger": "weekly", "only": HUGE},
        {"trigger": "weekly", "only": [HUGE]},
        {"trigger": "weekly", "occurredAt": HUGE},
        custom(HUGE, detail={}),
        custom(detail={"trigger": HUGE}, time=HUGE),
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
        "only",
        "rotation",
        "occurrence",
        "custom source",
        "custom trigger",
        "resource",
        "list as resource",
        "time of a notification",
        "name of a rule ahead",
    ],
)
def test_a_huge_event_is_refused_in_a_text_that_a_log_can_hold(event: object) -> None:
    assert len(refusal(event)) < 2000


# ---- whatever comes --------------------------------------------------------------------------------------------------

FIELDS = st.sampled_from(["trigger", "scheduledTime", "source", "detail-type", "resources", "time", "detail", "force"])
TIMES = st.sampled_from(["2026-11-22T04:00:00Z", "2026-11-22T04:00:00", "2126-11-22T04:00:00Z"])
TEXTS = (
    st.sampled_from(["weekly", "aws.events", "aws.scheduler", "Scheduled Event", RULE, SCHEDULE]) | TIMES | st.text()
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(), inner, max_size=4),
    max_leaves=9,
)
SOURCES = st.sampled_from(["aws.events", "aws.scheduler", "rotations"])
DETAIL_TYPES = st.sampled_from(["Scheduled Event", "Rotation Requested"])
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "occurredAt": TIMES | JSON,
    "force": st.just(True) | JSON,  # noqa: FBT003 - a value
    "dryRun": st.booleans() | JSON,
    "only": st.lists(st.just(rotation_id(1)) | JSON, max_size=2) | JSON,
    "map": st.just("{}") | JSON,
}
DETAILS = st.fixed_dictionaries({"trigger": st.just("weekly")}, optional=OPTIONS)
# Near the supported shapes, where a mistake would be made.
ALMOST = st.fixed_dictionaries(
    {},
    optional={
        "trigger": st.just("weekly") | JSON,
        "scheduledTime": TIMES | JSON,
        "source": SOURCES | JSON,
        "detail-type": DETAIL_TYPES | JSON,
        "detail": DETAILS | JSON,
        "resources": st.lists(TEXTS | JSON, max_size=2) | JSON,
        "time": TIMES | JSON,
        "extra": JSON,
    }
    | OPTIONS,
)
# What is a supported shape, but for what is put beside it or into its detail.
SHAPES = st.one_of(
    st.builds(notification, st.just("aws.events"), st.just(RULE), time=TIMES),
    st.builds(notification, st.just("aws.scheduler"), st.just(SCHEDULE), time=TIMES),
    st.builds(custom, SOURCES, detail=DETAILS, time=TIMES),
    st.fixed_dictionaries({"trigger": st.just("weekly")}, optional={"scheduledTime": TIMES}),
)
BESIDE = st.fixed_dictionaries({}, optional=OPTIONS)
WHATEVER = JSON | ALMOST | st.builds(lambda shape, beside: shape | beside, SHAPES, BESIDE)


def is_supported_shape(event: Any) -> bool:  # noqa: ANN401 - JSON
    """The supported shapes once more, in other words."""
    if not isinstance(event, dict):
        return False
    if event.get("detail-type") == "Scheduled Event" and event.get("source") in ("aws.events", "aws.scheduler"):
        kind = {"aws.events": "rule/", "aws.scheduler": "schedule/"}[event["source"]]
        return kind in event["resources"][0] and event["time"].endswith("Z")
    if event.get("detail-type") == "Rotation Requested":
        return list(event["detail"]) == ["trigger"] and not event["source"].startswith("aws.")
    if not isinstance(event["trigger"], str) or not event["trigger"]:
        return False
    is_input = set(event) == {"trigger", "scheduledTime"} and event["scheduledTime"].endswith("Z")
    return is_input or event.keys() <= {"trigger", *DIRECT_OPTIONS}


@given(WHATEVER)
@example({"trigger": "weekly"})
@example(notification("aws.events", RULE))
@example(notification("aws.scheduler", SCHEDULE))
@example(custom())
@example(custom(trigger=""))
def test_any_event_is_a_supported_shape_or_refused(event: object) -> None:
    try:
        read_trigger(event, NOW)
    except UnsupportedEventError:
        return

    assert is_supported_shape(event)


@given(WHATEVER)
@example({"trigger": "weekly", "occurredAt": "2026-11-22T04:00:00Z", "force": True})
@example({"trigger": "weekly", "scheduledTime": "2026-11-22T04:00:00Z", "force": True})
@example(custom(detail={"trigger": "weekly", "occurredAt": "2026-11-22T04:00:00Z", "force": True}))
@example(custom(force=True, occurredAt="2026-11-22T04:00:00Z"))
@example(notification("aws.events", RULE, force=True, detail={"force": True}))
def test_only_a_direct_invocation_can_force_choose_or_preview(event: Any) -> None:  # noqa: ANN401 - JSON
    try:
        trigger = read_trigger(event, NOW)
    except UnsupportedEventError:
        return

    is_direct = "trigger" in event and event.keys() <= {"trigger", *DIRECT_OPTIONS}
    options = event if is_direct else {}
    assert trigger.forced == (options.get("force") is True and "occurredAt" in options)
    assert trigger.dry_run == (options.get("dryRun") is True)
    assert trigger.only == (frozenset(options["only"]) if options.get("only") else None)


@given(WHATEVER)
def test_every_accepted_occurrence_is_in_the_past(event: object) -> None:
    try:
        trigger = read_trigger(event, NOW)
    except UnsupportedEventError:
        return

    assert trigger.occurred_at <= NOW


@given(WHATEVER)
def test_every_refusal_is_short_enough_for_a_log(event: object) -> None:
    try:
        read_trigger(event, NOW)
    except UnsupportedEventError as error:
        assert len(str(error)) < 2000  # noqa: PT017 - an event may as well be supported
