"""Runs the dry runs of a whole rotation map: one row for each rotation of each trigger, and for each mirror."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from infisical_rotation_triggers.preflight import checks
from infisical_rotation_triggers.preflight.checks import Problem
from infisical_rotation_triggers.preflight.functions import DeployedFunctions, Failure
from infisical_rotation_triggers.preflight.schedule import UnknownPeriodError, shortest_period
from infisical_rotation_triggers.preflight.stack import Stack
from rotator.dry_run.mirror import MirrorState
from rotator.model import DEFAULT_TYPE
from rotator.triggers.rotation_map import RotationMap
from rotator.triggers.secret_events import secret_name

if TYPE_CHECKING:
    from rotator.dry_run.reports import MirrorReport, RotationReport, UnreadableRotation

# These functions report access alone: only their triggers invoke them otherwise.
ACCESS_CHECKED = ("rotate", "audit", "retire")

NO_HOOK = Problem(
    "the map has mirrors, but the stack has no hook to keep them",
    "deploy with MirroredSecretArns, and HookMachineIdentityId or HookMachineIdentitySecretArn",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One rotation under its trigger or secret (`group`), or the group itself if its dry run failed.

    `rotation` is the rotation's name, or its id if it cannot be read. Texts are not escaped yet.
    """

    group: str
    decision: str
    reason: str
    rotation: str = ""
    detail: str = ""
    last_rotated_at: str = ""
    key_guard: str = ""
    auto_rotation: str = ""
    mirror: str = ""
    problems: Sequence[Problem] = ()
    rotation_id: str = ""
    rotation_type: str = ""
    iam_user: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Preflight:
    """Collects what the functions report. `period` is the stack's schedule's; None if it has none or is unknown."""

    stack: Stack
    functions: DeployedFunctions
    period: timedelta | None
    now: datetime

    def collect_rows(self, rotation_map: RotationMap) -> Iterator[Row]:
        """Dry-run each trigger, then each mirror."""
        for trigger in rotation_map.triggers:
            period = self.period if trigger == self.stack.schedule_trigger else None
            yield from self._rotation_rows(trigger, trigger, period)
        for secret_arn in rotation_map.mirrors:
            yield from self._mirror_rows(secret_arn)

    def check_access(self, rows: Sequence[Row]) -> dict[str, list[Problem]]:
        """Check, for each function of ACCESS_CHECKED that the caller may invoke, that it can read a rotation.

        One rotation is enough, preferably one that `dispatch` can read. A function that the stack does not have has no
        problems.
        """
        known = [row for row in rows if row.rotation_id]
        row = next((row for row in known if row.decision != checks.UNREADABLE), known[0] if known else None)
        stack = self.stack
        functions = (
            (stack.rotate, stack.rotate_role),
            (stack.audit, stack.audit_role),
            (stack.retire, stack.retire_role),
        )
        found = {
            name: self._access_problems(function, role, row) if function else []
            for name, (function, role) in zip(ACCESS_CHECKED, functions, strict=True)
        }
        return {name: problems for name, problems in found.items() if problems is not None}

    def _access_problems(self, function: str, role: str, row: Row | None) -> list[Problem] | None:
        """None where nothing could be checked."""
        if row is None:
            return None
        report = self.functions.dry_run_access(function, row.rotation_id, row.rotation_type)
        if report is None:
            return None
        if isinstance(report, Failure):
            return [checks.failed_dry_run(report, role)]
        return [] if report["readable"] else [checks.unreadable_rotation(report, role)]

    def _rotation_rows(self, group: str, trigger: str, period: timedelta | None) -> Iterator[Row]:
        role = self.stack.dispatch_role
        reports = self.functions.dry_run_trigger(trigger)
        if isinstance(reports, Failure):
            yield Row(group, "unknown", reports.reason, problems=[checks.failed_dry_run(reports, role)])
            return
        for report in reports:
            problems = checks.check_rotation(report, period, self.stack.maximum_age, role)
            yield replace(_row(group, report), problems=problems)

    def _mirror_rows(self, secret_arn: str) -> Iterator[Row]:
        """Combine the hook's report about a mirror with `dispatch`'s about its rotation."""
        report = self.functions.dry_run_mirror(secret_arn)
        state, period, problems = str(MirrorState.UNKNOWN), None, [NO_HOOK]
        if isinstance(report, Failure):
            problems = [checks.failed_dry_run(report, self.stack.hook_role)]
        elif report is not None:
            state, period = report["state"], self._secret_period(report)
            problems = checks.check_mirror(report, self.stack.hook or "", self.stack.hook_role)
        for row in self._rotation_rows(secret_name(secret_arn), secret_arn, period):
            yield replace(row, mirror=state, problems=[*problems, *row.problems])

    def _secret_period(self, report: "MirrorReport") -> timedelta | None:
        """How often Secrets Manager rotates the secret, by the secret's own schedule."""
        try:
            return shortest_period(report.get("rotation_schedule") or "", "UTC", self.now)
        except UnknownPeriodError:
            return None


def with_shared_users(rows: Sequence[Row]) -> list[Row]:
    """Add a problem to each row whose IAM user other rotations have too."""
    sharing: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        if row.iam_user:
            sharing[row.iam_user].add(row.rotation_id)
    return [
        replace(row, problems=[*row.problems, checks.shared_iam_user(row.iam_user[1], sharing[row.iam_user])])
        if row.iam_user and len(sharing[row.iam_user]) > 1
        else row
        for row in rows
    ]


def _row(group: str, report: "RotationReport | UnreadableRotation") -> Row:
    detail = report["rotation_type"] if report["rotation_type"] != DEFAULT_TYPE else ""
    row = Row(
        group,
        report["decision"],
        report["reason"],
        report["rotation_id"],
        detail,
        rotation_id=report["rotation_id"],
        rotation_type=report["rotation_type"],
    )
    if report["decision"] == "unreadable":
        return row
    user, connection, name = report["user_name"], report["connection_id"], report["rotation_name"]
    return replace(
        row,
        rotation=name,
        iam_user=(connection, user) if user and connection else None,
        detail=f"user {user}" if user not in (None, name) else detail,
        last_rotated_at=report["last_rotated_at"],
        key_guard=(report["key_guard_refusal"] or "in order") if report["key_guard"] else "off",
        auto_rotation="on" if report["auto_rotation"] else "off",
    )
