"""Checks what the functions report against the oracle: every trigger ends, with a reason that has a cause."""

import io
import json
import logging
import math
import re
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rotator.rotation.request import RotationRequest
from rotator.telemetry import Telemetry
from rotator.timestamps import from_epoch
from tests.component.iam import FakeIam
from tests.simulation.fault_injection import FaultInjector, Trace
from tests.simulation.fifo import Message
from tests.simulation.network import CLEAR_NO, DEAD
from tests.simulation.oracle import CLOCKS_DIFFER_SECONDS, History, Invariant, Kind, Oracle, margin_seconds
from tests.simulation.ports import DENIED
from tests.simulation.scheduler import Scheduler, Task

GIVEN_UP_SECONDS = 12 * 3600
UNGUARDED_GIVEN_UP_SECONDS = 40_900  # so that an attempt that was cut off is never taken for one that was not
DRAINED_SECONDS = 13 * 3600

# A request that is given up was disturbed until recently: no fault makes a request wait for longer.
LATELY_SECONDS = 2 * 3600

# A login that failed counts for a while, for all of the process.
LOGIN_MEMORY_SECONDS = 300
GRACE_PERIOD = timedelta(hours=6)

METRICS = {
    "rotation rotated": "RotationSucceeded",
    "rotation skipped": "RotationSkipped",
    "rotation refused": "RotationRefused",
    "rotation failed": "RotationFailed",
    "rotation unconfirmed": "RotationUnconfirmed",
    "rotation deferred": "RotationDeferred",
    "hook step failed": "HookStepFailed",
    "hook step done": "HookStepSucceeded",
}
Key = tuple[str, str, str]

# A request is deduplicated by its moment; an operator's by its correlation id, for its moment is clipped each time.
SAME_OCCURRENCE = ("occurredAt", "correlationId")

FAILURES = ("refused", "failed", "unconfirmed")

# All that may keep dispatch, or a step of the hook, from its work. Anything else is a bug.
NO_ANSWER = frozenset({"Unreachable", "Uncertain", "ForeignAnswer", "InvalidAnswer"})
FAULT_REASONS = NO_ANSWER | {"RateLimited", "UndeliveredRequests"}
AWS_REASONS = frozenset({"Throttling", "ServiceUnavailable", "ExpiredToken", "ReadTimeout", "EndpointConnection"})
REASONS = {
    "trigger refused": FAULT_REASONS | {"UnsupportedEvent"},
    "hook step failed": FAULT_REASONS | AWS_REASONS | {"Hook", "KeyNotAccepted"},
}

ACCUSED = re.compile(r"(?:may not know, |--access-key-id )(AKIA\w{16})")


class Output(io.StringIO):
    """The standard output of all functions. Loggers of one name keep their stream, so only the reader changes."""

    checker: "ReportChecker"

    def write(self, text: str) -> int:
        self.checker.read(text)
        return len(text)


OUTPUT = Output()
TELEMETRY = Telemetry("simulation", "INFO", OUTPUT)
logging.getLogger("simulation").propagate = False  # pytest would keep some hundred thousand lines


@dataclass(frozen=True)
class Report:
    """How one delivery ended, and whether there was a cause for that at this moment."""

    outcome: str
    reason: str
    comes_back: bool
    has_cause: bool


class ReportChecker:
    """`ends` counts how requests ended for good, by the kind of their rotation; `texts` is everything that was logged.

    `kept` holds the ids of the requests that FailedRotations.fifo has a report of. `indistinct` counts refusals without
    need, because clocks differ and rotations followed one another closely.
    """

    def __init__(
        self, scheduler: Scheduler, oracle: Oracle, injector: FaultInjector, trace: Trace, iam: FakeIam
    ) -> None:
        OUTPUT.checker = self
        self.texts: list[str] = []
        self.ends: Counter[tuple[Kind, str]] = Counter()
        self.kept: set[str] = set()
        self.indistinct = 0
        self._scheduler = scheduler
        self._oracle = oracle
        self._injector = injector
        self._trace = trace
        self._iam = iam
        self._counted: Counter[str] = Counter()
        self._reports: defaultdict[tuple[Task, Key], deque[Report]] = defaultdict(deque)
        self._ends: dict[str, Report] = {}
        self._not_kept: set[Key] = set()
        self._deliveries: Counter[str] = Counter()
        self._worked: Counter[str] = Counter()
        self._rotated: set[str] = set()
        self._unconfirmed: set[str] = set()

    def read(self, text: str) -> None:
        """Read a line of a log, or of metrics. What goes wrong here is the model's own, and no function's."""
        try:
            self.texts.append(text)
            line = json.loads(text)
            if "_aws" in line:
                (directive,) = line["_aws"]["CloudWatchMetrics"]
                self._counted.update(metric["Name"] for metric in directive["Metrics"])
            else:
                self._read_log(line)
        except Exception as error:  # noqa: BLE001 - loggers print and forget what their stream raises
            self._scheduler.fail(error)

    def begins(self, records: Collection[dict[str, Any]]) -> None:
        """These deliveries begin to be worked, unless their process is killed before."""
        self._deliveries.update(record["messageId"] for record in records)

    def worked(self, record: dict[str, Any]) -> None:
        """A delivery was worked: what this task has logged about the request is how it ended."""
        self._worked[record["messageId"]] += 1
        reports = self._reports[self._scheduler.current, _key(json.loads(record["body"]))]
        if reports:
            report = self._ends[record["receiptHandle"]] = reports.popleft()
            if report.outcome == "rotated":
                self._rotated.add(record["messageId"])
            if report.outcome == "unconfirmed":
                self._unconfirmed.add(record["messageId"])

    def acknowledged(self, message: Message) -> None:
        """A request is deleted from its queue: it has to have ended, and truly so."""
        request = RotationRequest.from_message(message.body)
        history, report = self._oracle.histories[request.rotation.id], self._ends.get(message.receipt)
        if report is None or report.comes_back:
            self._oracle.add_violation(
                Invariant.REPORTED, history, f"{message.id} was acknowledged without a reported end"
            )
            return
        self.ends[history.kind, "rotated" if message.id in self._rotated else report.outcome] += 1
        if report.outcome in FAILURES:
            self._check_failure(history, message, report)
        else:
            self._check_done(history, request, report)
        self.check_drained(message)

    def accepted(self, summary: dict[str, Any], rotation_ids: Collection[str], messages: Sequence[Message]) -> None:
        """Dispatch says that it is done: there has to be a request for each of these."""
        bodies = [json.loads(message.body) for message in messages]
        sent = {(body["rotationId"], body["trigger"], body[name]) for body in bodies for name in SAME_OCCURRENCE}
        moment, correlation_id = summary["occurred_at"], summary["correlation_id"]
        for rotation_id in rotation_ids:
            if not sent & {(rotation_id, summary["trigger"], each) for each in (moment, correlation_id)}:
                self._oracle.add_violation(
                    Invariant.REPORTED, self._oracle.histories[rotation_id], f"no request for it was sent: {summary}"
                )

    def check_drained(self, message: Message) -> None:
        """At the end of a request, or at the end of all days."""
        seconds = self._scheduler.now - max(self._injector.calm_at, message.first_received_at or message.sent_at)
        if seconds > DRAINED_SECONDS:
            history, text = (
                self._oracle.histories[message.group],
                f"was there {seconds / 3600:.1f} h after all was calm",
            )
            self._oracle.add_violation(Invariant.DRAINED, history, f"{message.id} {text}")

    def check_delivered(self, pending: int) -> None:
        if pending:
            self._oracle.add_violation(
                Invariant.REPORTED, self._oracle.first, f"{pending} events neither arrived nor were kept"
            )

    def dead(self, message: Message) -> None:
        """SQS moves a request to FailedRotations.fifo by itself, silently."""
        history = self._oracle.histories[message.group]
        self._oracle.add_violation(
            Invariant.REPORTED, history, f"{message.id} went to the dead-letter queue without a reason"
        )

    def check_metrics(self) -> None:
        """Whatever was logged as an end was counted too."""
        for message, metric in METRICS.items():
            logged = sum(f'"message":"{message}"' in text for text in self.texts)
            if logged != self._counted[metric]:
                self._oracle.add_violation(
                    Invariant.REPORTED,
                    self._oracle.first,
                    f"{logged} times {message!r}, {self._counted[metric]} {metric}",
                )

    def check_secrecy(self, secrets: Collection[str], others: Collection[str]) -> None:
        output = "\n".join((*self.texts, *others))
        if any(secret in output for secret in secrets):
            self._oracle.add_violation(
                Invariant.SECRET, self._oracle.first, "a token, client secret or secret access key was printed"
            )

    def check_mirror(self, before: str | None, after: str | None) -> None:
        """Secrets Manager has rotated the secret: it holds another key than before, one that AWS accepts."""
        old, new = (json.loads(value or "{}").get("accessKeyId") for value in (before, after))
        if new == old or not self._oracle.is_valid(self._mirrored, new):
            self._oracle.add_violation(
                Invariant.DONE, self._mirrored, f"the secret's rotation ended with {new} instead of {old}"
            )

    @property
    def _mirrored(self) -> History:
        return self._oracle.mirrored or self._oracle.first

    def _read_log(self, line: dict[str, Any]) -> None:
        message, reason = str(line["message"]), str(line.get("reason", ""))
        self._trace.add(f"> {message} {reason} {line.get('explanation', '')}".rstrip())
        if reason in NO_ANSWER and not self._has_kept_silent():
            history = self._oracle.histories.get(line.get("rotation_id", ""), self._oracle.first)
            self._oracle.add_violation(
                Invariant.CAUSE, history, f"{message} {reason}: nothing went wrong that a second try cannot cure"
            )
        if "rotation_id" in line:
            history, key, outcome = self._oracle.histories[line["rotation_id"]], _key(line), line["outcome"]
            if message.startswith("the report could not be kept"):
                self._not_kept.add(key)
            else:
                has_cause = self._has_cause(history, outcome, line)
                if history.published in ACCUSED.findall(line["explanation"]):
                    self._oracle.add_violation(
                        Invariant.ACCUSED, history, f"{outcome} {reason} names the published key"
                    )
                report = Report(outcome, reason, line["comes_back"], has_cause)
                self._reports[self._scheduler.current, key].append(report)
        elif message in REASONS and reason not in REASONS[message] and not self._tokens_are_refused(reason):
            self._oracle.add_violation(Invariant.CAUSE, self._oracle.first, f"{message}: {reason}")
        elif message == "unexpected error":
            self._oracle.add_violation(Invariant.CAUSE, self._oracle.first, line["exception"])

    def _check_failure(self, history: History, message: Message, report: Report) -> None:
        """It is reported, and has a cause, or has been tried for 12 hours.

        Only what may have rotated is better acknowledged without a report than tried again.
        """
        is_logged = report.outcome == "unconfirmed" and _key(json.loads(message.body)) in self._not_kept
        if message.id not in self.kept and not is_logged:
            self._oracle.add_violation(
                Invariant.REPORTED, history, f"{message.id} {report.outcome}, and no report of it was kept"
            )
        seconds = UNGUARDED_GIVEN_UP_SECONDS if history.kind is Kind.UNGUARDED else GIVEN_UP_SECONDS
        waited = self._scheduler.now - message.first_received_at > seconds
        recent = self._scheduler.now - self._injector.last_at < LATELY_SECONDS
        if not (report.has_cause or (waited and recent) or self._may_have_rotated(history, message)):
            self._oracle.add_violation(Invariant.CAUSE, history, f"{message.id} {report.outcome}: {report.reason}")

    def _may_have_rotated(self, history: History, message: Message) -> bool:
        """Whether an earlier delivery of it was cut off, or could not be confirmed, where that is final."""
        cut_off = self._deliveries[message.id] > self._worked[message.id]
        return history.kind is Kind.UNGUARDED and (cut_off or message.id in self._unconfirmed)

    def _has_cause(self, history: History, outcome: str, line: dict[str, Any]) -> bool:
        """Whether a request may end like this at once. Where there is a key guard, attempts are tried again."""
        reason = str(line["reason"])
        match outcome, reason:
            case "refused", "OrphanKey":
                found = bool(self._oracle.untracked(history))
                if not found and history.kind is Kind.GUARDED and self._oracle.is_indistinct(history):
                    self.indistinct += 1
                    found = True
            case "refused", "PublishedKeyMissing":
                found = not self._oracle.is_valid(history, history.published)
            case "refused", "KeyInUse":
                now = from_epoch(self._scheduler.now)
                found = any(now - used < GRACE_PERIOD * 1.1 for used in self._iam.last_used.values())
            case "refused", "KeysUnreadable":
                found = self._injector.was_hit("iam ", only=[DENIED]) or self._injector.was_hit("sts ", only=[DENIED])
            case ("refused", "PreviousAttemptFailed") | ("failed", "AttemptFailed"):
                found = history.kind is Kind.UNGUARDED and self._oracle.failed_since_the_last_commit(history)
            case ("unconfirmed", _) | ("failed", "AttemptLost"):
                found = history.kind is Kind.UNGUARDED and (
                    self._injector.was_hit("rotate-secrets", but=CLEAR_NO)
                    or self._oracle.was_sent(history, line["correlation_id"])
                    # A request that was once received with the one that was cut off is as old when both return.
                    or (reason == "AttemptLost" and bool(history.attempts))
                    # A claim whose answer was lost looks later like one whose process was killed.
                    or self._injector.count_recent("sqs change_message_visibility", "", DRAINED_SECONDS) > 0
                )
            case _:
                found = self._tokens_are_refused(reason)
        return found

    def _tokens_are_refused(self, reason: str) -> bool:
        """A token that is not accepted is renewed, once a request."""
        recent, ever = (self._injector.count_recent("", "token", seconds) for seconds in (300, math.inf))
        return reason == "TokenRefused" and recent > 0 and ever > 1

    def _has_kept_silent(self) -> bool:
        """Whether Infisical gave no usable answer, other than on a connection that had died meanwhile."""
        of_logins = self._injector.count_recent("login", "", LOGIN_MEMORY_SECONDS)
        return self._injector.was_hit(but=[DEAD]) or of_logins > 0

    def _check_done(self, history: History, request: RotationRequest, report: Report) -> None:
        since = history.rotation.last_rotated_at - request.occurred_at.timestamp()
        margin = margin_seconds(history, request)
        if since < (-CLOCKS_DIFFER_SECONDS if report.outcome == "rotated" else -margin):
            self._oracle.add_violation(
                Invariant.DONE, history, f"{report.outcome} {report.reason}, {-since:.0f} s before T"
            )


def _key(fields: dict[str, Any]) -> Key:
    """What a request is known by, in its message and in its log lines. Without T, which is what may be wrong."""
    if "rotationId" in fields:
        return (fields["rotationId"], fields["correlationId"], fields["trigger"])
    return (fields["rotation_id"], fields["correlation_id"], fields["trigger"])
