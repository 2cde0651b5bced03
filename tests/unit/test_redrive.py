import io
import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st

from infisical_rotation_triggers.redrive import HOLD_SECONDS, SCHEDULED_TIME_PLACEHOLDER, Redrive, Replay, unwrap
from rotator.timestamps import format_timestamp
from rotator.triggers.events import Trigger, read_trigger
from tests.unit.fakes import NOW, rotation_id

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

EVENTS = [json.loads(path.read_text("utf-8")) for path in sorted((Path(__file__).parents[2] / "events").glob("*.json"))]
RULE_EVENT = next(event for event in EVENTS if event.get("source") == "aws.events")
SENT_AT = NOW - timedelta(hours=2)
FAILED_AT = NOW - timedelta(hours=3)
OCCURRED_AT = NOW - timedelta(hours=4)


def record(event: object, failed_at: datetime = FAILED_AT) -> dict[str, Any]:
    """What Lambda's on-failure destination keeps of an asynchronous invocation."""
    return {
        "version": "1.0",
        "timestamp": format_timestamp(failed_at),
        "requestContext": {
            "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:dispatch:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "the rotation map has no trigger 'weekly'", "errorType": "UnmappedTrigger"},
    }


def payload_of(document: object) -> Any:  # noqa: ANN401 - JSON
    return json.loads(unwrap(json.dumps(document), SENT_AT, NOW).payload)


def reason_of(body: str) -> str:
    with pytest.raises(ValueError, match=r".") as left:
        unwrap(body, SENT_AT, NOW)
    return str(left.value)


# ---- unwrapping ------------------------------------------------------------------------------------------------------

timed = [event for event in EVENTS if event.keys() & {"time", "scheduledTime", "occurredAt"}]


@pytest.mark.parametrize("event", timed, ids=lambda event: event.get("detail-type", "input"))
@pytest.mark.parametrize("wrap", [lambda event: event, record], ids=["sent as it is", "recorded"])
def test_an_event_with_a_time_of_its_own_is_replayed_as_it_was(event: dict[str, Any], wrap: Any) -> None:  # noqa: ANN401 - a function
    assert payload_of(wrap(event)) == event


@pytest.mark.parametrize("only", [{}, {"only": [rotation_id(1)]}, {"force": False}], ids=json.dumps)
def test_a_trigger_without_a_time_occurred_when_its_message_was_sent(only: dict[str, Any]) -> None:
    event = {"trigger": "weekly", **only}

    assert payload_of(event) == event | {"occurredAt": format_timestamp(SENT_AT)}


def test_a_recorded_trigger_without_a_time_occurred_when_it_was_given_up() -> None:
    assert payload_of(record({"trigger": "weekly"})) == {
        "trigger": "weekly",
        "occurredAt": format_timestamp(FAILED_AT),
    }


def test_a_record_without_a_timestamp_is_as_old_as_its_message() -> None:
    old = record({"trigger": "weekly"})
    del old["timestamp"]

    assert payload_of(old)["occurredAt"] == format_timestamp(SENT_AT)


def test_a_record_says_why_it_was_kept() -> None:
    assert unwrap(json.dumps(record(RULE_EVENT)), SENT_AT, NOW).kept_because == (
        "the rotation map has no trigger 'weekly'"
    )


@pytest.mark.parametrize("said", [None, "text", [], {}, {"errorMessage": None}], ids=json.dumps)
def test_a_record_that_does_not_say_why_is_replayed_all_the_same(said: object) -> None:
    undelivered = unwrap(json.dumps(record(RULE_EVENT) | {"responsePayload": said}), SENT_AT, NOW)

    assert (json.loads(undelivered.payload), undelivered.kept_because) == (RULE_EVENT, "")


def test_a_forced_event_without_a_time_is_not_given_one() -> None:
    """Nobody said for which moment: dispatch refused it, and a replay must not make it acceptable."""
    assert reason_of('{"trigger": "weekly", "force": true}').startswith("force needs occurredAt")


def test_a_forced_event_keeps_its_own_time() -> None:
    event = {"trigger": "weekly", "force": True, "occurredAt": format_timestamp(OCCURRED_AT)}

    assert unwrap(json.dumps(event), SENT_AT, NOW).trigger == Trigger("weekly", OCCURRED_AT, forced=True, direct=True)


PLACEHOLDERS = [
    {"trigger": "weekly", "scheduledTime": SCHEDULED_TIME_PLACEHOLDER},
    {"trigger": "weekly", "occurredAt": SCHEDULED_TIME_PLACEHOLDER},
]


@pytest.mark.parametrize("event", PLACEHOLDERS, ids=json.dumps)
def test_the_scheduled_time_of_a_message_replaces_the_placeholder(event: dict[str, str]) -> None:
    undelivered = unwrap(json.dumps(event), SENT_AT, NOW, "2026-11-16T05:00:00Z")

    assert undelivered.trigger.occurred_at == datetime(2026, 11, 16, 5, tzinfo=UTC)
    assert SCHEDULED_TIME_PLACEHOLDER not in undelivered.payload


@pytest.mark.parametrize("wrap", [lambda event: event, record], ids=["sent as it is", "recorded"])
@pytest.mark.parametrize("event", PLACEHOLDERS, ids=json.dumps)
def test_a_placeholder_without_a_scheduled_time_is_left_with_the_command_to_send(
    event: dict[str, str],
    wrap: Any,  # noqa: ANN401 - a function
) -> None:
    reason = reason_of(json.dumps(wrap(event)))

    assert "no attribute SCHEDULED_TIME" in reason
    assert '{"trigger": "weekly", "occurredAt": "2026-11-22T05:00:00Z"}' in reason


@pytest.mark.parametrize("scheduled_time", ["", "soon", "2026-11-16T05:00:00"])
def test_a_scheduled_time_that_is_not_a_timestamp_is_refused(scheduled_time: str) -> None:
    with pytest.raises(ValueError, match="SCHEDULED_TIME"):
        unwrap(json.dumps(PLACEHOLDERS[0]), SENT_AT, NOW, scheduled_time)


def test_a_trigger_without_a_time_occurred_when_its_schedule_was_due() -> None:
    undelivered = unwrap('{"trigger": "weekly"}', SENT_AT, NOW, format_timestamp(OCCURRED_AT))

    assert undelivered.trigger.occurred_at == OCCURRED_AT


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "the body is not valid JSON"),
        ("hello", "the body is not valid JSON"),
        ("[" * 100_000, "the body is not valid JSON"),
        ("null", "an event must be a JSON object"),
        ("[]", "an event must be a JSON object"),
        ('"weekly"', "an event must be a JSON object"),
        ("{}", "this event has no supported shape"),
        ('{"requestPayload": {"trigger": "weekly"}}', "this event has no supported shape"),
        ('{"trigger": "weekly", "occurredAt": "yesterday"}', "occurredAt must be"),
        ('{"trigger": "weekly", "rotations": []}', "this event has no supported shape"),
        (json.dumps(record(None)), "an event must be a JSON object"),
        (json.dumps(record({})), "this event has no supported shape"),
        (json.dumps(record(record({"trigger": "weekly"}))), "this event has no supported shape"),
        (json.dumps(record({"trigger": "weekly"}) | {"timestamp": 7}), "timestamp must be"),
    ],
    ids=lambda text: text[:40],
)
def test_a_body_of_another_shape_is_left(body: str, reason: str) -> None:
    assert reason_of(body).startswith(reason)


moments = st.datetimes(datetime(2020, 1, 1), datetime(2026, 11, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - hypothesis adds the zone
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


@given(
    event=st.sampled_from(EVENTS),
    failed_at=st.none() | moments,
    sent_at=moments,
    replays=st.lists(st.timedeltas(timedelta(0), timedelta(days=14)), min_size=2, max_size=3),
)
def test_every_replay_means_the_same_occurrence_whenever_it_is_made(
    event: dict[str, Any], failed_at: datetime | None, sent_at: datetime, replays: list[timedelta]
) -> None:
    body = json.dumps(record(event, failed_at) if failed_at else event)
    means = read_trigger(event, now=max(failed_at or sent_at, NOW) if event in timed else failed_at or sent_at)

    undelivered = [unwrap(body, sent_at, NOW + later) for later in replays]

    assert {each.payload for each in undelivered} == {undelivered[0].payload}
    assert {each.trigger for each in undelivered} == {means}
    # and dispatch, which reads the payload anew with a clock of its own, understands the same
    assert read_trigger(json.loads(undelivered[0].payload), NOW + replays[-1]) == means


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*record({}), *EVENTS[0], "trigger"]), inner),
)


@given(st.text() | json_values.map(json.dumps))
@example(json.dumps(record({"trigger": "\ud800"})))
@example('{"trigger": "weekly", "occurredAt": NaN}')
def test_any_message_body_leaves_redrive_running(body: str) -> None:
    with suppress(ValueError):
        unwrap(body, SENT_AT, NOW).payload.encode()


# ---- a run -----------------------------------------------------------------------------------------------------------


class Queue:
    """A standard queue: it hides what it gave away, for as long as asked or until it is told otherwise."""

    def __init__(self, *bodies: object) -> None:
        self.bodies = {f"message-{number}": json.dumps(body) for number, body in enumerate(bodies)}
        self.attributes: dict[str, dict[str, str]] = {}
        self.hidden_until = dict.fromkeys(self.bodies, 0.0)
        self.now = 0.0
        self.twice: set[str] = set()
        self.refuses_deletes = False
        self._handles = count()

    def receive_message(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - as boto3's
        visible = [each for each in self.bodies if self.hidden_until[each] <= self.now]
        given = visible[: asked["MaxNumberOfMessages"]]
        for each in given:
            if each in self.twice:
                self.twice.remove(each)
            else:
                self.hidden_until[each] = self.now + asked["VisibilityTimeout"]
        sent_at = str(int(SENT_AT.timestamp() * 1000))
        return {
            "Messages": [
                {
                    "MessageId": each,
                    "ReceiptHandle": f"{each}/{next(self._handles)}",
                    "Body": self.bodies[each],
                    "Attributes": {"SentTimestamp": sent_at},
                    "MessageAttributes": {
                        name: {"DataType": "String", "StringValue": value}
                        for name, value in self.attributes.get(each, {}).items()
                        if name in asked["MessageAttributeNames"]
                    },
                }
                for each in given
            ]
        }

    def delete_message(self, *, ReceiptHandle: str, **_: str) -> None:  # noqa: N803 - boto3's
        if self.refuses_deletes:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteMessage")
        self.bodies.pop(ReceiptHandle.partition("/")[0], None)

    def change_message_visibility(self, *, ReceiptHandle: str, VisibilityTimeout: int, **_: str) -> None:  # noqa: N803 - boto3's
        self.hidden_until[ReceiptHandle.partition("/")[0]] = self.now + VisibilityTimeout

    @property
    def hidden(self) -> set[str]:
        return {each for each in self.bodies if self.hidden_until[each] > self.now}


class Dispatch:
    """Accepts every trigger but those of its `unmapped`; each invocation takes its time."""

    def __init__(self, queue: Queue, *unmapped: str, seconds: float = 0) -> None:
        self.queue, self.unmapped, self.seconds = queue, unmapped, seconds
        self.seen: Counter[str] = Counter()

    def invoke(self, *, Payload: bytes, **_: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        self.queue.now += self.seconds
        trigger = json.loads(Payload)["trigger"]
        self.seen[trigger] += 1
        if trigger in self.unmapped:
            body = {"errorMessage": f"the rotation map has no trigger {trigger!r}", "errorType": "UnmappedTriggerError"}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(body).encode())}
        answer = {"trigger": trigger, "correlation_id": "an-id", "requests": 2}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


def redrive(queue: Queue, dispatch: Dispatch) -> Redrive:
    return Redrive(cast("SQSClient", queue), cast("LambdaClient", dispatch), "queue-url", "dispatch")


def triggers(*names: str) -> list[dict[str, str]]:
    return [{"trigger": name, "scheduledTime": format_timestamp(OCCURRED_AT)} for name in names]


def test_accepted_messages_are_deleted_and_refused_ones_return_with_a_reason() -> None:
    queue = Queue(*triggers("weekly", "nobody"), "hello")

    replays = list(redrive(queue, Dispatch(queue, "nobody")).run(dry=False))

    at = format_timestamp(OCCURRED_AT)
    assert [replay.done for replay in replays] == [True, False, False]
    assert str(replays[0]) == f"weekly  {at}  accepted: requests 2, correlation_id an-id"
    assert str(replays[1]) == f"nobody  {at}  refused, left: the rotation map has no trigger 'nobody'"
    assert str(replays[2]).startswith(f"message message-2  kept {format_timestamp(SENT_AT)}  left: an event must be")
    assert queue.bodies.keys() == {"message-1", "message-2"}
    assert queue.hidden == set()


def test_a_dry_run_invokes_nothing_deletes_nothing_and_hides_nothing() -> None:
    queue = Queue(*triggers("weekly"), record(triggers("nobody")[0]))
    dispatch = Dispatch(queue)

    weekly, nobody = redrive(queue, dispatch).run(dry=True)

    assert weekly.result == "would be replayed; kept because: the message does not say"
    assert nobody.result == "would be replayed; kept because: the rotation map has no trigger 'weekly'"
    assert not dispatch.seen
    assert len(queue.bodies) == 2
    assert queue.hidden == set()


def test_a_schedulers_dead_letter_is_shown_with_its_time_and_error() -> None:
    """A dead letter of EventBridge Scheduler: its Input as it was configured, and attributes that say the rest."""
    queue = Queue(PLACEHOLDERS[0])
    queue.attributes["message-0"] = {"SCHEDULED_TIME": "2026-11-16T05:00:00Z", "ERROR_MESSAGE": "Rate Exceeded."}

    (replay,) = redrive(queue, Dispatch(queue)).run(dry=True)

    assert str(replay) == "weekly  2026-11-16T05:00:00.000Z  would be replayed; kept because: Rate Exceeded."


@pytest.mark.parametrize("unmapped", [(), ("weekly", "monthly")], ids=["accepted", "refused"])
def test_a_message_that_is_delivered_twice_is_replayed_once(unmapped: tuple[str, ...]) -> None:
    queue = Queue(*triggers("weekly", "monthly"))
    queue.twice = set(queue.bodies)
    dispatch = Dispatch(queue, *unmapped)

    assert len(list(redrive(queue, dispatch).run(dry=False))) == 2

    assert dispatch.seen == {"weekly": 1, "monthly": 1}
    assert queue.hidden == set()


def test_a_run_that_outlasts_the_hold_ends_and_replays_each_message_once() -> None:
    names = [f"trigger-{number}" for number in range(45)]
    queue = Queue(*triggers(*names))
    dispatch = Dispatch(queue, *names, seconds=HOLD_SECONDS / 10)

    assert len(list(redrive(queue, dispatch).run(dry=False))) == 45

    assert dispatch.seen == dict.fromkeys(names, 1)
    assert queue.hidden == set()


@pytest.mark.parametrize("done", range(5))
def test_a_run_that_was_killed_and_made_again_leaves_nothing_out(done: int) -> None:
    names = [f"trigger-{number}" for number in range(4)]
    queue = Queue(*triggers(*names))
    dispatch = Dispatch(queue)
    killed = redrive(queue, dispatch).run(dry=False)
    list(islice(killed, done))

    queue.now += HOLD_SECONDS
    list(redrive(queue, dispatch).run(dry=False))

    assert not queue.bodies
    # the one that was being told when the end came was accepted and not yet deleted
    assert dispatch.seen == {name: 2 if number == done - 1 else 1 for number, name in enumerate(names)}
    killed.close()


def test_an_interrupted_run_gives_back_what_it_holds() -> None:
    queue = Queue(*triggers("weekly", "monthly"))
    running = redrive(queue, Dispatch(queue)).run(dry=False)
    next(running)

    running.close()

    assert queue.hidden == set()


def test_a_message_that_cannot_be_deleted_ends_the_run_and_stays() -> None:
    queue = Queue(*triggers("weekly"))
    queue.refuses_deletes = True

    with pytest.raises(ClientError):
        list(redrive(queue, Dispatch(queue)).run(dry=False))

    assert len(queue.bodies) == 1
    assert queue.hidden == set()


@given(st.text(), st.text())
@example("weekly\x1b[2J", "line\nline\r\u2028")
@example("\ud800", "x" * 5000)
def test_every_replay_is_shown_as_one_short_printable_line(what: str, result: str) -> None:
    line = str(Replay(what, result, done=True))

    assert line.isprintable()
    assert len(line) <= 801 * len("\\U0001f600")
