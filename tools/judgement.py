"""What a person should do about the answers to dry runs: pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from rotator.dry_run.mirror import MirrorState
from rotator.dry_run.mirror_watch import as_an_object
from tools.dry_runs import TIMED_OUT, Failure, Report

# An interval this near to the schedule's period lets occurrences be skipped: rotations are made some time after them.
NEARLY = 0.9

UNREADABLE = "unreadable"  # what a report says in place of a decision

_RUNBOOK = "see docs/runbook.md#"

_INFISICAL_URL = "correct InfisicalUrl, or what stands between here and Infisical"
_REACH = "see whether the functions reach InfisicalUrl (in a VPC: through a NAT gateway), and run this again"
_PART_BY_PART = 'ask about some of its rotations at a time: {"trigger": "…", "only": ["…"], "dryRun": true}'

_RULES = '{"ScheduleExpression": "rate(30 days)"}'

# By the reasons and errors that the functions name. What is not listed has the runbook's sections for errors.
_NEXT_STEPS = {
    "NotFound": "correct the id in the rotation map, or its type; or it was deleted in Infisical",
    "BadRequest": "correct the type in the rotation map",
    "PermissionDenied": "let the machine identity's role in the project read Secret Rotations",
    "Rejected": "add the machine identity to the project, with a role that may read; or correct the type in the map",
    "RateLimited": "run this again in a minute",
    "Unreachable": _REACH,
    "Uncertain": _REACH,
    "InvalidAnswer": _INFISICAL_URL,
    "Redirect": _INFISICAL_URL,
    "OrphanKey": _RUNBOOK + "orphankey",
    "KeyInUse": _RUNBOOK + "keyinuse",
    "PublishedKeyMissing": _RUNBOOK + "publishedkeymissing",
    "KeysUnreadable": _RUNBOOK + "keysunreadable",
    "PreviousAttemptFailed": _RUNBOOK + "after-a-failed-attempt",
    "UnmappedTrigger": "run this again: the map was changed meanwhile",
    "UnmappedSecret": "run this again: the map was changed meanwhile",
    "RotationMap": "correct the rotation map",
    "EmptySelection": "correct the rotation map, or let the machine identity's role read what it selects",
    "Settings": "correct what it names, and deploy again",
    "ShortSelection": "look for a moved folder or a narrowed role in Infisical, or lower atLeast in the rotation map",
    "ReadTimeoutError": _PART_BY_PART,
    TIMED_OUT: _PART_BY_PART,
    "Function.ResponseSizeTooLarge": _PART_BY_PART,
    "AccessDeniedException": "deploy with MirroredSecretArns that match it; allow kms:Decrypt if its key is your own",
    "ResourceNotFoundException": "correct the ARN among the map's mirrors, or create the secret",
}

# What `wait` is decided for; it passes by itself.
_PASSING = frozenset({"StaleState", "UnsettledKey", "IamUnavailable"})

_AGAIN = "run this again in a quarter of an hour; rotations wait by themselves"

# While nothing is due, a key in use is as it should be: consumers have not picked up the new one yet.
_HARMLESS_BEFORE_DUE = "KeyInUse"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that wants a person's attention, and what that person does next."""

    what: str
    next_step: str


def next_step(reason: str, role: str) -> str:
    """What to do about a reason that a function gave, which runs as `role`."""
    if reason == "LoginRefused":
        return (
            f"allow {role} as a principal of the machine identity's AWS Auth, or renew its Universal Auth secret; a"
            " function that was refused logs in again after five minutes"
        )
    return _NEXT_STEPS.get(reason, _RUNBOOK + "rotationfailed, and the function's log")


def of_map(triggers: Collection[str], mirrors: Collection[str], scheduled: str, *, enabled: bool) -> list[Problem]:
    """What the map lacks. A stack whose schedule is off may well have mirrors alone."""
    if not triggers and not mirrors and not enabled:
        return [Problem("it stands for nothing", "name a trigger in it, or a mirror")]
    if scheduled in triggers or not (triggers or enabled):
        return []
    what = f"it has no trigger {scheduled}, which the schedule names; it has: {', '.join(sorted(triggers)) or 'none'}"
    return [Problem(what, "add it to the map, or deploy with ScheduleTrigger set to one of them")]


def of_failure(failure: Failure, role: str) -> Problem:
    """A dry run that had no answer."""
    return Problem(f"the dry run failed ({failure.reason}): {failure.explanation}", next_step(failure.reason, role))


def of_unreadable(report: Report, role: str) -> Problem:
    """A rotation that a function cannot read."""
    reason = report["reason"]
    return Problem(f"it cannot be read ({reason}): {report['explanation']}", next_step(reason, role))


def of_rotation(report: Report, period: timedelta | None, maximum_age: timedelta, role: str) -> list[Problem]:
    """What is wrong with one rotation, by its report of a dry run of `dispatch`.

    `period` is that of the schedule, None where there is none or nobody knows it; `maximum_age` the stack's.
    """
    reason, explanation = report["reason"], report["explanation"]
    if report["decision"] == UNREADABLE:
        return [of_unreadable(report, role)]
    problems = []
    if report["decision"] == "wait":
        problems.append(Problem(f"nothing can be decided about it now ({reason}): {explanation}", _AGAIN))
    elif report["decision"] == "refuse":
        problems.append(Problem(f"it would be refused now ({reason}): {explanation}", next_step(reason, role)))
    elif (refusal := report.get("key_guard_refusal")) in _PASSING:
        what = f"nothing can be decided about it now ({refusal}): {report['key_guard_explanation']}"
        problems.append(Problem(what, _AGAIN))
    elif refusal and refusal != _HARMLESS_BEFORE_DUE:
        what = f"it would be refused once it is due ({refusal}): {report['key_guard_explanation']}"
        problems.append(Problem(what, next_step(refusal, role)))
    if report["rotates_itself"]:
        problems.append(
            Problem(
                "Infisical rotates it by itself too, a second writer that can delete the published key",
                "switch its auto-rotation off in Infisical, which takes effect from the next midnight UTC: the"
                " rotations of a day are queued when it begins",
            )
        )
    return problems + (_beside_period(report, period, maximum_age) if period else [])


def of_shared_user(user_name: str, rotation_ids: Collection[str]) -> Problem:
    """Several rotations of one IAM user."""
    ids = ", ".join(sorted(rotation_ids))
    return Problem(
        f"{len(rotation_ids)} rotations share the IAM user {user_name} ({ids:.500}): each deletes the key that"
        " the other one publishes",
        "give each rotation an IAM user of its own in Infisical; until then keep only one of them in the rotation map",
    )


def _beside_period(report: Report, period: timedelta, maximum_age: timedelta) -> list[Problem]:
    problems = []
    interval = timedelta(seconds=report["minimum_interval_seconds"])
    if interval >= NEARLY * period:
        what = f"its minimum interval of {spoken(interval)} is too near to the schedule's period of {spoken(period)}:"
        problems.append(
            Problem(
                f"{what} occurrences would be skipped as TooSoon",
                "lower minimumInterval in the map or MinimumIntervalMinutes, or let the schedule occur less often",
            )
        )
    grace_period = timedelta(seconds=report.get("grace_period_seconds") or 0)
    if grace_period >= NEARLY * period:
        what = f"its grace period of {spoken(grace_period)} is too near to the schedule's period of {spoken(period)}:"
        problems.append(
            Problem(
                f"{what} a consumer that was slow only once would let the next occurrence be refused as KeyInUse",
                "lower gracePeriod in the map or GracePeriodHours, or let the schedule occur less often",
            )
        )
    own_age = report["maximum_age_seconds"]
    age = timedelta(seconds=own_age) if own_age else maximum_age
    if age <= period:
        what = f"its maximum age of {spoken(age)} is not above the schedule's period of {spoken(period)}:"
        problems.append(
            Problem(
                f"{what} the audit would call it overdue before each occurrence",
                "raise maximumAge in the map or MaximumAgeDays, or let the schedule occur more often",
            )
        )
    return problems


def of_mirror(report: Report, hook: str, role: str) -> list[Problem]:
    """What is wrong with a secret that mirrors a key, by its report of a dry run of the hook, whose ARN is `hook`."""
    problems = [_of_unreadable_side(each, role) for each in report["unreadable"]]
    rotate = f"aws secretsmanager rotate-secret --secret-id {report['secret']}"
    if "rotation_enabled" in report:
        if not _same_function(report["rotation_function"], hook):
            attached = report["rotation_function"] or "no function"
            what = f"{attached} rotates the secret, and not this stack's hook"
            problems.append(Problem(what, f"{rotate} --rotation-lambda-arn {hook} --rotation-rules '{_RULES}'"))
        elif not report["rotation_enabled"]:
            problems.append(Problem("its rotation is switched off in Secrets Manager", rotate))
    match report["state"]:
        case MirrorState.LAGS | MirrorState.NO_VALUE:
            held = "no value yet" if report["state"] == MirrorState.NO_VALUE else "another key than Infisical publishes"
            problems.append(Problem(f"it holds {held}", f"{rotate} (it adopts the published key, and rotates nothing)"))
        case MirrorState.NO_JSON:
            next_step = f"{as_an_object(report['secret'])}; then {rotate}"
            problems.append(Problem("its value is no JSON object", next_step))
    return problems


def _of_unreadable_side(side: dict[str, str], role: str) -> Problem:
    reason, explanation = side["reason"], side["explanation"]
    if side["what"] == "secret":
        return Problem(f"the hook cannot read the secret ({reason}): {explanation}", next_step(reason, role))
    step = next_step(reason, role)
    if reason in ("PermissionDenied", "Rejected"):
        step = "let the hook's machine identity read Secret Rotations in the project, and their generated credentials"
    return Problem(f"the hook cannot read the published key ({reason}): {explanation}", step)


def _same_function(attached: str | None, hook: str) -> bool:
    """Whether both mean one function: by its ARN, perhaps with a version or an alias, or by its name."""
    return attached is not None and _name(attached) == _name(hook)


def _name(function: str) -> str:
    return function.rpartition(":function:")[2].partition(":")[0]


def spoken(duration: timedelta) -> str:
    """`6 h`, `7 d`: in the largest unit that needs no fraction."""
    seconds = int(duration.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
