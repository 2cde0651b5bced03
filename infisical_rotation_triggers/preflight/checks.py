"""Turns reports of dry runs into problems, each with its next step. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from infisical_rotation_triggers.preflight.functions import TIMED_OUT, Failure
from rotator.dry_run.mirror import MirrorState
from rotator.dry_run.mirror_watch import as_an_object

if TYPE_CHECKING:
    from rotator.dry_run.reports import (
        MirrorReport,
        RotationReport,
        UnreadableAccess,
        UnreadableRotation,
        UnreadableSide,
    )

# A rotation ends some time after its occurrence. An interval above 0.9 periods can therefore skip the next occurrence.
TOO_CLOSE = 0.9

UNREADABLE: Final = "unreadable"  # instead of a decision

_RUNBOOK = "see docs/runbook.md#"

_INFISICAL_URL = "correct InfisicalUrl, or check for a proxy in between"
_REACH = "check that the functions can reach InfisicalUrl (in a VPC: through a NAT gateway), then run preflight again"
_IN_PARTS = 'invoke dispatch for some of its rotations at a time: {"trigger": "…", "only": ["…"], "dryRun": true}'

_RULES = '{"ScheduleExpression": "rate(30 days)"}'

# By reason or error. For any other, see the runbook's section about failed rotations.
_NEXT_STEPS = {
    "NotFound": "correct the id or the type in the map; if it was deleted in Infisical, remove it from the map",
    "BadRequest": "correct the type in the rotation map",
    "PermissionDenied": "allow the machine identity's role in the project to read Secret Rotations",
    "Rejected": "add the machine identity to the project, with a role that may read; or correct the type in the map",
    "RateLimited": "run preflight again in a minute",
    "Unreachable": _REACH,
    "Uncertain": _REACH,
    "InvalidAnswer": _INFISICAL_URL,
    "Redirect": _INFISICAL_URL,
    "OrphanKey": _RUNBOOK + "orphankey",
    "KeyInUse": _RUNBOOK + "keyinuse",
    "PublishedKeyMissing": _RUNBOOK + "publishedkeymissing",
    "PublishedKeyInactive": "reactivate it with the command above: its consumers are refused now",
    "KeysUnreadable": _RUNBOOK + "keysunreadable",
    "PreviousAttemptFailed": _RUNBOOK + "after-a-failed-attempt",
    "UnmappedTrigger": "run preflight again: the map has changed since it started",
    "UnmappedSecret": "run preflight again: the map has changed since it started",
    "RotationMap": "correct the rotation map",
    "EmptySelection": "correct the rotation map, or allow the machine identity's role to read what it selects",
    "Settings": "correct the setting that it names, and deploy again",
    "ShortSelection": "look for a moved folder or a reduced role in Infisical, or lower atLeast in the rotation map",
    "ReadTimeoutError": _IN_PARTS,
    TIMED_OUT: _IN_PARTS,
    "Function.ResponseSizeTooLarge": _IN_PARTS,
    "AccessDeniedException": "deploy with MirroredSecretArns that match it; allow kms:Decrypt if it uses your own key",
    "ResourceNotFoundException": "correct the ARN in the map's mirrors, or create the secret",
}

# The decision is `wait`: these end without any action.
_PASSING = frozenset({"StaleState", "UnsettledKey", "IamUnavailable"})

_AGAIN = "run preflight again in 15 minutes; rotate waits too, so nothing else is needed"

# Soon after a rotation this is normal: consumers have not picked up the new key yet.
_HARMLESS_BEFORE_DUE = "KeyInUse"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do next."""

    what: str
    next_step: str


def next_step(reason: str, role: str) -> str:
    """Return what to do about a reason that a function gave; the function runs as `role`."""
    if reason == "LoginRefused":
        return (
            f"allow {role} as a principal of the machine identity's AWS Auth, or renew its Universal Auth secret; a"
            " function retries a refused login after 5 minutes"
        )
    return _NEXT_STEPS.get(reason, _RUNBOOK + "rotationfailed, and the function's log")


def check_map(triggers: Collection[str], mirrors: Collection[str], scheduled: str, *, enabled: bool) -> list[Problem]:
    """Check the map against the schedule. If the schedule is off, a map may have mirrors alone."""
    if not triggers and not mirrors and not enabled:
        return [Problem("it has no trigger and no mirror", "add a trigger or a mirror to it")]
    if scheduled in triggers or not (triggers or enabled):
        return []
    what = (
        f"it has no trigger {scheduled}, which the schedule uses; its triggers: {', '.join(sorted(triggers)) or 'none'}"
    )
    return [Problem(what, "add the trigger to the map, or deploy with ScheduleTrigger set to one of them")]


def failed_dry_run(failure: Failure, role: str) -> Problem:
    """Describe a dry run without a report."""
    return Problem(f"the dry run failed ({failure.reason}): {failure.explanation}", next_step(failure.reason, role))


def unreadable_rotation(report: "UnreadableRotation | UnreadableAccess", role: str) -> Problem:
    """Describe a rotation that a function cannot read."""
    reason = report["reason"]
    return Problem(f"it cannot be read ({reason}): {report['explanation']}", next_step(reason, role))


def check_rotation(
    report: "RotationReport | UnreadableRotation", period: timedelta | None, maximum_age: timedelta, role: str
) -> list[Problem]:
    """Check what `dispatch` reports about one rotation.

    `period` is the schedule's, None if there is none or it is unknown; `maximum_age` is the stack's.
    """
    if report["decision"] == UNREADABLE:
        return [unreadable_rotation(report, role)]
    problems = _check_decision(report, role)
    if report["auto_rotation"]:
        problems.append(
            Problem(
                "auto-rotation is on in Infisical: a second writer, which can delete the published key",
                "switch auto-rotation off in Infisical; this takes effect at the next midnight UTC, because Infisical"
                " queues the rotations of a day when it begins",
            )
        )
    return problems + (_check_against_period(report, period, maximum_age) if period else [])


def shared_iam_user(user_name: str, rotation_ids: Collection[str]) -> Problem:
    """Describe several rotations of one IAM user."""
    ids = ", ".join(sorted(rotation_ids))
    return Problem(
        f"{len(rotation_ids)} rotations share the IAM user {user_name} ({ids:.500}): each deletes the key that"
        " the other one publishes",
        "give each rotation an IAM user of its own in Infisical; until then keep only one of them in the rotation map",
    )


def _check_decision(report: "RotationReport", role: str) -> list[Problem]:
    reason, explanation = report["reason"], report["explanation"]
    if report["decision"] == "wait":
        return [Problem(f"no decision is possible now ({reason}): {explanation}", _AGAIN)]
    if report["decision"] == "refuse":
        return [Problem(f"it would be refused now ({reason}): {explanation}", next_step(reason, role))]
    refusal = report.get("key_guard_refusal")
    if not refusal or refusal == _HARMLESS_BEFORE_DUE:
        return []
    explanation = report["key_guard_explanation"]
    if refusal in _PASSING:
        return [Problem(f"no decision is possible now ({refusal}): {explanation}", _AGAIN)]
    return [Problem(f"it would be refused once it is due ({refusal}): {explanation}", next_step(refusal, role))]


def _check_against_period(report: "RotationReport", period: timedelta, maximum_age: timedelta) -> list[Problem]:
    problems = []
    schedule = f"the schedule's period of {format_duration(period)}"
    interval = timedelta(seconds=report["minimum_interval_seconds"])
    if interval >= TOO_CLOSE * period:
        problems.append(
            Problem(
                f"its minimum interval of {format_duration(interval)} is too close to {schedule}: occurrences would be"
                " skipped as TooSoon",
                "lower minimumInterval in the map or MinimumIntervalMinutes, or let the schedule occur less often",
            )
        )
    grace_period = timedelta(seconds=report.get("grace_period_seconds") or 0)
    if grace_period >= TOO_CLOSE * period:
        problems.append(
            Problem(
                f"its grace period of {format_duration(grace_period)} is too close to {schedule}: if a consumer is slow"
                " once, the next occurrence is refused as KeyInUse",
                "lower gracePeriod in the map or GracePeriodHours, or let the schedule occur less often",
            )
        )
    own_age = report["maximum_age_seconds"]
    age = timedelta(seconds=own_age) if own_age else maximum_age
    if age <= period:
        problems.append(
            Problem(
                f"its maximum age of {format_duration(age)} is not above {schedule}: the audit would report it as"
                " overdue before each occurrence",
                "raise maximumAge in the map or MaximumAgeDays, or let the schedule occur more often",
            )
        )
    return problems


def check_mirror(report: "MirrorReport", hook: str, role: str) -> list[Problem]:
    """Check what the hook, whose ARN is `hook`, reports about a secret that mirrors a key."""
    problems = [_unreadable_side(side, role) for side in report["unreadable"]]
    rotate = f"aws secretsmanager rotate-secret --secret-id {report['secret']}"
    if "rotation_enabled" in report:
        if not _same_function(report["rotation_function"], hook):
            attached = report["rotation_function"] or "no function"
            what = f"{attached} rotates the secret, but this stack's hook must do so"
            problems.append(Problem(what, f"{rotate} --rotation-lambda-arn {hook} --rotation-rules '{_RULES}'"))
        elif not report["rotation_enabled"]:
            problems.append(Problem("its rotation is switched off in Secrets Manager", rotate))
    match report["state"]:
        case MirrorState.LAGS | MirrorState.NO_VALUE:
            held = "no value yet" if report["state"] == MirrorState.NO_VALUE else "another key than Infisical publishes"
            problems.append(
                Problem(
                    f"it holds {held}", f"{rotate} (this adopts the published key and rotates nothing in Infisical)"
                )
            )
        case MirrorState.NO_JSON:
            problems.append(
                Problem("its value is not a JSON object", f"{as_an_object(report['secret'])}; then {rotate}")
            )
    return problems


def _unreadable_side(side: "UnreadableSide", role: str) -> Problem:
    reason, explanation = side["reason"], side["explanation"]
    if side["what"] == "secret":
        return Problem(f"the hook cannot read the secret ({reason}): {explanation}", next_step(reason, role))
    step = next_step(reason, role)
    if reason in ("PermissionDenied", "Rejected"):
        step = (
            "allow the hook's machine identity to read Secret Rotations and their generated credentials in the project"
        )
    return Problem(f"the hook cannot read the published key ({reason}): {explanation}", step)


def _same_function(attached: str | None, hook: str) -> bool:
    """Whether both are one function, named by its ARN (with or without a version or alias) or by its name."""
    return attached is not None and _name(attached) == _name(hook)


def _name(function: str) -> str:
    return function.rpartition(":function:")[2].partition(":")[0]


def format_duration(duration: timedelta) -> str:
    """Format in the largest unit without a fraction: `7 d`, `36 h`."""
    seconds = int(duration.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
