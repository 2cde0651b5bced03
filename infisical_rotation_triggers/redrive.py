"""Replays the triggers in UndeliveredTriggers, after the cause is fixed.

A replay means the original occurrence: where a rotation happened since, it rotates nothing. So a run that was killed
half way, a second one beside it, or a message that is delivered twice do no harm.
"""

import json
import sys
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infisical_rotation_triggers.one_line import one_line
from rotator.timestamps import format_timestamp, from_epoch, parse_timestamp
from rotator.triggers.events import Trigger, read_trigger

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

    from rotator.dry_run.reports import DispatchReport, IgnoredReport, TriggerReport

OUTPUTS = ("UndeliveredTriggersUrl", "DispatchFunctionName")

# Ten messages, each of which may keep `dispatch` busy for its full minute.
HOLD_SECONDS = 900

# A schedule's dead letter may hold its Input as it was configured. Its time is an attribute of the message then:
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
SCHEDULED_TIME_PLACEHOLDER = "<aws.scheduler.scheduled-time>"

# Longer than the function may run, so that its answer is heard; one that is not heard changes nothing.
CLIENT_CONFIG = Config(read_timeout=70, retries={"mode": "standard", "total_max_attempts": 3})


class RedriveError(Exception):
    """Nothing can be replayed; the text says why."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What `dispatch` shall be invoked with, and what it reads from that; `kept_because` is empty where unknown."""

    payload: str
    trigger: Trigger
    kept_because: str = ""


def unwrap(body: str, sent_at: datetime, now: datetime, scheduled_time: str | None = None) -> Undelivered:
    """Find the event in a body: a rule's event, a schedule's input, or Lambda's record of an invocation that failed.

    `scheduled_time` is the message's attribute SCHEDULED_TIME. A trigger without a time of its own occurred then, or,
    where the message has no such attribute, when it was kept. Raises ValueError where a body is not one of these, and
    where `dispatch` could only refuse the event.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not valid JSON") from None
    event, kept_because = document, ""
    kept_at = sent_at if scheduled_time is None else parse_timestamp(scheduled_time, "SCHEDULED_TIME")
    match document:
        case {"requestContext": dict(), "requestPayload": payload}:
            event, kept_because = payload, _message(document.get("responsePayload"))
            if "timestamp" in document:
                kept_at = parse_timestamp(document["timestamp"], "timestamp")
    if isinstance(event, dict):
        event = _with_time(_filled_in(event, scheduled_time), kept_at)
    return Undelivered(json.dumps(event), read_trigger(event, now), kept_because)


def _filled_in(event: dict[str, Any], scheduled_time: str | None) -> dict[str, Any]:
    """Replace Scheduler's placeholder, which `dispatch` refuses.

    Raises ValueError saying how to send the trigger by hand, where the message does not have the time.
    """
    fields = [name for name in ("scheduledTime", "occurredAt") if event.get(name) == SCHEDULED_TIME_PLACEHOLDER]
    if fields and scheduled_time is None:
        by_hand = json.dumps({"trigger": event.get("trigger"), "occurredAt": "2026-11-22T05:00:00Z"})
        raise ValueError(
            f"{fields[0]} is still the placeholder {SCHEDULED_TIME_PLACEHOLDER}, and the message has no attribute"
            f" SCHEDULED_TIME to replace it. Invoke dispatch with {by_hand} and the time at which the schedule was due;"
            " then delete this message"
        )
    return event | dict.fromkeys(fields, scheduled_time)


def _with_time(event: dict[str, Any], kept_at: datetime) -> dict[str, Any]:
    """Say when a trigger occurred that does not say it. What is forced has to say it itself, and is refused without."""
    if "trigger" not in event or event.keys() & {"scheduledTime", "occurredAt"} or event.get("force"):
        return event
    return event | {"occurredAt": format_timestamp(kept_at)}


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of one message."""

    what: str
    result: str
    done: bool

    def __str__(self) -> str:
        """One line, whatever the texts hold."""
        return one_line(f"{self.what}  {self.result}")


class Redrive:
    """Replays each message of the queue at most once."""

    def __init__(self, sqs: "SQSClient", lambda_: "LambdaClient", queue_url: str, function_name: str) -> None:
        self._sqs = sqs
        self._lambda = lambda_
        self._queue_url = queue_url
        self._function_name = function_name

    def held_elsewhere(self) -> int:
        """How many messages another run holds, or one that was killed; to be asked before a run."""
        answer = self._sqs.get_queue_attributes(
            QueueUrl=self._queue_url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"])

    def run(self, *, dry: bool) -> Generator[Replay]:
        """Replay every message, and let those return to the queue at the end that `dispatch` did not accept."""
        handled: dict[str, bool] = {}
        held: dict[str, str] = {}
        try:
            while messages := self._receive():
                held |= {message["MessageId"]: message["ReceiptHandle"] for message in messages}
                for message in messages:
                    message_id = message["MessageId"]
                    if message_id not in handled:
                        replay = self._replay(message, dry=dry)
                        handled[message_id] = replay.done
                        yield replay
                    if handled[message_id] and not dry:
                        self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
                        held.pop(message_id, None)
        finally:
            for receipt_handle in held.values():
                with suppress(BotoCoreError, ClientError):  # it returns by itself, only later
                    self._sqs.change_message_visibility(
                        QueueUrl=self._queue_url, ReceiptHandle=receipt_handle, VisibilityTimeout=0
                    )

    def _receive(self) -> list["MessageTypeDef"]:
        return self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=HOLD_SECONDS,
            WaitTimeSeconds=2,  # asks all of the queue's servers; without it some are left out
            MessageSystemAttributeNames=["SentTimestamp"],
            MessageAttributeNames=["ERROR_MESSAGE", "SCHEDULED_TIME"],
        ).get("Messages", [])

    def _replay(self, message: "MessageTypeDef", *, dry: bool) -> Replay:
        sent_at = from_epoch(int(message["Attributes"]["SentTimestamp"]) / 1000)
        try:
            undelivered = unwrap(message["Body"], sent_at, datetime.now(UTC), _attribute(message, "SCHEDULED_TIME"))
        except ValueError as error:
            what = f"message {message['MessageId']}  kept {format_timestamp(sent_at)}"
            return Replay(what, f"left: {error}", done=False)
        what = f"{undelivered.trigger.name}  {format_timestamp(undelivered.trigger.occurred_at)}"
        if dry:
            because = undelivered.kept_because or _attribute(message, "ERROR_MESSAGE") or "the message does not say"
            return Replay(what, f"would be replayed; kept because: {because}", done=True)
        try:
            return Replay(what, f"accepted: {self._dispatch(undelivered.payload)}", done=True)
        except (RedriveError, BotoCoreError, ClientError) as error:
            return Replay(what, f"refused, left: {error}", done=False)

    def _dispatch(self, payload: str) -> str:
        """Let `dispatch` do what the event says, and return what it did.

        Raises RedriveError with its reason where it does not.
        """
        answer = self._lambda.invoke(FunctionName=self._function_name, Payload=payload.encode())
        result = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise RedriveError(_message(result) or "the function failed without a reason")
        report: DispatchReport | TriggerReport | IgnoredReport = result
        if "requests" not in report:
            return "it was a dry run, and rotated nothing"
        return f"requests {report['requests']}, correlation_id {report['correlation_id']}"


def connect(stack: str) -> Redrive:
    """Find the queue and the function of a stack, with the caller's own credentials.

    Raises RedriveError where there is no such stack of this application.
    """
    stacks = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stacks[0].get("Outputs", [])}
    if missing := [name for name in OUTPUTS if name not in outputs]:
        raise RedriveError(f"the stack {stack} has no output {' and '.join(missing)}: is it one of this application?")
    sqs, lambda_ = boto3.client("sqs", config=CLIENT_CONFIG), boto3.client("lambda", config=CLIENT_CONFIG)
    return Redrive(sqs, lambda_, *(outputs[name] for name in OUTPUTS))


def run(stack: str, *, dry_run: bool, as_json: bool) -> int:
    """Return the exit status: 0 if every message was replayed, 1 if some are left, 2 if it could not begin."""
    try:
        redrive = connect(stack)
        held = redrive.held_elsewhere()
    except (RedriveError, BotoCoreError, ClientError) as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    if held and not as_json:
        print(f"held by another run, or by one that was killed: {held}; run it again in {HOLD_SECONDS // 60} minutes")
    replays, complete = _replay_all(redrive, dry_run=dry_run, quiet=as_json)
    left = sum(not replay.done for replay in replays)
    if as_json:
        messages = [asdict(replay) for replay in replays]
        print(json.dumps({"messages": messages, "left": left, "held": held, "complete": complete}, indent=2))
    elif complete:
        print(f"{len(replays) - left} {'to replay' if dry_run else 'replayed'}, {left} left in UndeliveredTriggers")
    return 1 if left or held or not complete else 0


def _replay_all(redrive: Redrive, *, dry_run: bool, quiet: bool) -> tuple[list[Replay], bool]:
    """Replay every message, with one line for each; return them, and whether the run reached the end."""
    replays = []
    with closing(redrive.run(dry=dry_run)) as running:
        try:
            for replay in running:
                if not quiet:
                    print(replay, flush=True)
                replays.append(replay)
        except (BotoCoreError, ClientError) as error:
            print(one_line(f"the run ended early, run it again: {error}"), file=sys.stderr)
            return replays, False
    return replays, True


def _attribute(message: "MessageTypeDef", name: str) -> str | None:
    """Return what EventBridge or its Scheduler attached to a message of theirs, where they did."""
    attribute = message.get("MessageAttributes", {}).get(name)
    return attribute.get("StringValue", "") if attribute else None


def _message(payload: object) -> str:
    """What a function said when it failed, as Lambda passes it on."""
    return str(payload.get("errorMessage") or "") if isinstance(payload, dict) else ""
