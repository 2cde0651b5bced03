"""Going through all that a rotation map stands for: one row for each rotation of each trigger, and for each mirror."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.dry_run.mirror import MirrorState
from rotator.model import DEFAULT_TYPE
from rotator.triggers.rotation_map import RotationMap
from rotator.triggers.secret_arn import secret_name
from tools import judgement
from tools.dry_runs import DryRuns, Failure, Report
from tools.judgement import UNREADABLE, Problem
from tools.schedule_period import UnknownPeriodError, shortest_period

# Nobody else invokes these by hand.
ASKED_ABOUT_ACCESS = ("rotate", "audit")

NO_HOOK = Problem(
    "the map has mirrors, and the stack has no hook that keeps them",
    "deploy with MirroredSecretArns, and HookMachineIdentityId or HookMachineIdentitySecretArn",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One rotation of `of`, a trigger or a secret; or `of` itself, where a dry run had no answer. Texts are as told.

    `rotation` is its name, or its id where it cannot be read.
    """

    of: str
    decision: str
    reason: str
    rotation: str = ""
    kind: str = ""
    last_rotated_at: str = ""
    key_guard: str = ""
    auto_rotation: str = ""
    mirror: str = ""
    problems: Sequence[Problem] = ()
    rotation_id: str = ""
    rotation_type: str = ""
    iam_user: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """What of a deployed stack has to be known. `hook` is a function's ARN, None where there is none."""

    dispatch: str
    dispatch_role: str
    rotate: str
    rotate_role: str
    audit: str
    audit_role: str
    hook: str | None
    hook_role: str
    map_parameter: str
    schedule: str
    schedule_trigger: str
    maximum_age: timedelta


@dataclass(frozen=True, slots=True)
class Survey:
    """Asks about everything. `period` is that of the stack's schedule, None where it has none or nobody knows it."""

    stack: Stack
    dry_runs: DryRuns
    period: timedelta | None
    now: datetime

    def rows(self, rotation_map: RotationMap) -> Iterator[Row]:
        """Ask, one trigger and mirror after the other."""
        for trigger in rotation_map.triggers:
            period = self.period if trigger == self.stack.schedule_trigger else None
            yield from self._rotations(trigger, trigger, period)
        for secret_arn in rotation_map.mirrors:
            yield from self._mirror(secret_arn)

    def access(self, rows: Sequence[Row]) -> dict[str, list[Problem]]:
        """What keeps `rotate` and the audit from a rotation, by their names, for those that could be asked.

        They are asked about one that `dispatch` can read, if there is any.
        """
        known = [row for row in rows if row.rotation_id]
        about = next((row for row in known if row.decision != UNREADABLE), known[0] if known else None)
        if about is None:
            return {}
        functions = zip(
            ASKED_ABOUT_ACCESS,
            ((self.stack.rotate, self.stack.rotate_role), (self.stack.audit, self.stack.audit_role)),
            strict=True,
        )
        answers = {name: self._access(*function, about) for name, function in functions}
        return {name: problems for name, problems in answers.items() if problems is not None}

    def _access(self, function: str, role: str, about: Row) -> list[Problem] | None:
        answer = self.dry_runs.of_access(function, about.rotation_id, about.rotation_type)
        if answer is None:
            return None
        if isinstance(answer, Failure):
            return [judgement.of_failure(answer, role)]
        return [] if answer["readable"] else [judgement.of_unreadable(answer, role)]

    def _rotations(self, name: str, trigger: str, period: timedelta | None) -> Iterator[Row]:
        reports = self.dry_runs.of_trigger(trigger)
        if isinstance(reports, Failure):
            problem = judgement.of_failure(reports, self.stack.dispatch_role)
            yield Row(name, "unknown", reports.reason, problems=[problem])
            return
        for report in reports:
            problems = judgement.of_rotation(report, period, self.stack.maximum_age, self.stack.dispatch_role)
            yield replace(_row(name, report), problems=problems)

    def _mirror(self, secret_arn: str) -> Iterator[Row]:
        """What the hook sees of a mirror, beside what `dispatch` sees of its rotation."""
        seen = self.dry_runs.of_mirror(secret_arn)
        state, period, problems = str(MirrorState.UNKNOWN), None, [NO_HOOK]
        if isinstance(seen, Failure):
            problems = [judgement.of_failure(seen, self.stack.hook_role)]
        elif seen is not None:
            state, period = seen["state"], self._period_of(seen)
            problems = judgement.of_mirror(seen, self.stack.hook or "", self.stack.hook_role)
        for row in self._rotations(secret_name(secret_arn), secret_arn, period):
            yield replace(row, mirror=state, problems=[*problems, *row.problems])

    def _period_of(self, mirror: Report) -> timedelta | None:
        """How often Secrets Manager rotates a secret, by its own schedule."""
        try:
            return shortest_period(mirror.get("rotation_schedule") or "", "UTC", self.now)
        except UnknownPeriodError:
            return None


def with_shared_users(rows: Sequence[Row]) -> list[Row]:
    """Add to each row the problem that other rotations have the same IAM user."""
    sharing: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        if row.iam_user:
            sharing[row.iam_user].add(row.rotation_id)
    return [
        replace(row, problems=[*row.problems, judgement.of_shared_user(row.iam_user[1], sharing[row.iam_user])])
        if row.iam_user and len(sharing[row.iam_user]) > 1
        else row
        for row in rows
    ]


def _row(name: str, report: Report) -> Row:
    kind = report["rotation_type"] if report["rotation_type"] != DEFAULT_TYPE else ""
    row = Row(
        name,
        report["decision"],
        report["reason"],
        report["rotation_id"],
        kind,
        rotation_id=report["rotation_id"],
        rotation_type=report["rotation_type"],
    )
    if report["decision"] == UNREADABLE:
        return row
    user, name = report["user_name"], report["rotation_name"]
    return replace(
        row,
        rotation=name,
        iam_user=(report["connection_id"], user) if user and report.get("connection_id") else None,
        kind=f"user {user}" if user not in (None, name) else kind,
        last_rotated_at=report["last_rotated_at"],
        key_guard=(report["key_guard_refusal"] or "in order") if report["key_guard"] else "off",
        auto_rotation="on" if report["rotates_itself"] else "off",
    )
