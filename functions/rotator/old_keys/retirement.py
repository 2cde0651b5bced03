"""Looks at a rotation's previous key in IAM, and deactivates it where the policy says so. It deletes nothing."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from rotator.clock import Deadline
from rotator.infisical.errors import InfisicalError, reason_of
from rotator.model import NEVER, GuardOptions, RotationState
from rotator.old_keys.policy import Action, Assessment, assess
from rotator.rotation.key_guard import read_keys
from rotator.rotation.key_policy import LastUse, UserKeys, reactivate
from rotator.text import clip
from rotator.timestamps import format_timestamp, from_epoch
from rotator.triggers.selection import SelectedRotation

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

    from rotator.clock import Clock

# One rotation takes 3 calls of IAM, each of 16 s at most, AssumeRole with 16 s and 3 s of CloudTrail: 67 s.
# Then its event is put, in 11 s at most: 78 s.
_LAST_ROTATION_SECONDS = 80.0


@dataclass(frozen=True, slots=True)
class Report:
    """How the previous key of one rotation ended. `failed`: it could not be read or deactivated.

    `state` is None if it could not be read.
    """

    rotation_id: str
    state: RotationState | None = None
    action: Action = Action.LEAVE
    reason: str = ""
    key_id: str = ""
    explanation: str = ""
    next_step: str = ""
    failed: bool = False

    def fields(self) -> dict[str, object]:
        """The fields of its line in the log."""
        return {
            "rotation_id": self.rotation_id,
            "rotation_name": self.state.name if self.state else "",
            "user_name": self.state.user_name or "" if self.state else "",
            "access_key_id": self.key_id,
            "reason": self.reason,
            "explanation": self.explanation,
            "next_step": self.next_step,
        }


Process = Callable[[SelectedRotation, "RotationState | InfisicalError"], Report | None]


class Retirement:
    """Handles one rotation at a time. Thread-safe.

    `open_iam` makes a client for the function's own account, or as a role with its external id. `name_consumers` says
    in a sentence who has used a key since a moment.
    """

    def __init__(
        self,
        open_iam: "Callable[[str | None, str | None], IAMClient]",
        retire_after: timedelta,
        quiet: timedelta,
        clock: "Clock",
        name_consumers: Callable[[GuardOptions, str, LastUse, datetime], str] | None = None,
    ) -> None:
        self._open_iam = open_iam
        self._retire_after = retire_after
        self._quiet = quiet
        self._clock = clock
        self._name_consumers = name_consumers

    def most_patient(self, entries: Sequence[SelectedRotation]) -> SelectedRotation:
        """Of several entries of one rotation, one without key guard, or else the one that waits the longest."""
        return max(entries, key=lambda entry: (not entry.rotation.guarded, self._wait(entry)))

    def begin(
        self,
        states: Sequence[RotationState | InfisicalError],
        lagging: Collection[str],
        seconds: float,
        *,
        complete: bool = True,
    ) -> Process:
        """Return a function that handles one of these rotations. `lagging` are those whose mirror is not in step.

        If two rotations have an IAM user of the same name, the previous key of one may be the published key of the
        other, even with different connections: their keys are left alone. If the user of any rotation is unknown, no
        key is deactivated. A user is unknown if a state cannot be read, or the rotations are not `complete`.
        """
        users_known = complete and not any(isinstance(state, InfisicalError) for state in states)
        users = Counter(state.user_name for state in states if not isinstance(state, InfisicalError))
        deadline = Deadline(self._clock.monotonic() + seconds - _LAST_ROTATION_SECONDS, self._clock)

        def process(selected: SelectedRotation, state: RotationState | InfisicalError) -> Report | None:
            guard = selected.rotation.options.guard
            if isinstance(state, InfisicalError):
                return Report(selected.rotation.id, reason=state.reason, explanation=str(state))
            if guard is None or not selected.rotation.guarded or state.user_name is None:
                return None
            report = Report(state.id, state)
            if users[state.user_name] > 1:
                return replace(report, reason="SharedUser")
            if state.id in lagging:
                return replace(report, reason="MirrorNotInStep")
            if deadline.remaining_seconds() <= 0:
                return replace(report, reason="OutOfTime", failed=True)
            return self._retire(report, state, state.user_name, guard, self._wait(selected) if users_known else NEVER)

        return process

    def _wait(self, selected: SelectedRotation) -> timedelta:
        return selected.rotation.options.retire_after or self._retire_after

    def _retire(
        self, report: Report, state: RotationState, user_name: str, guard: GuardOptions, retire_after: timedelta
    ) -> Report:
        try:
            iam = self._open_iam(guard.role, guard.external_id)
            user = read_keys(iam, user_name)
            assessment = assess(state, user, retire_after, self._quiet, from_epoch(self._clock.time()))
            if retire_after == NEVER and assessment.reason == "TooEarly":
                assessment = replace(assessment, reason="Withheld")
            key_id = assessment.key.id if assessment.key else ""
            report = replace(report, action=assessment.action, reason=assessment.reason, key_id=key_id)
            if assessment.action is Action.DEACTIVATE:
                iam.update_access_key(UserName=user_name, AccessKeyId=key_id, Status="Inactive")
        except (BotoCoreError, ClientError) as error:
            reason = reason_of(error)
            # A rotation may have deleted the key since it was listed.
            is_gone = reason == "NoSuchEntity" and bool(report.key_id)
            report = replace(report, action=Action.LEAVE, reason="KeyGone" if is_gone else reason)
            return replace(report, explanation=clip(str(error)), failed=not is_gone)
        return replace(
            report,
            explanation=self._explain(state, user, guard, assessment),
            next_step=_next_step(assessment, user_name),
        )

    def _explain(self, state: RotationState, user: UserKeys, guard: GuardOptions, assessment: Assessment) -> str:
        if assessment.key is None or assessment.action is Action.LEAVE:
            return ""
        if user.last_use is None:
            return "IAM has recorded no use of it"
        used = user.last_use
        text = f"it was last used at {format_timestamp(used.at)} for {used.service} in {used.region}"
        if assessment.action is not Action.WARN or self._name_consumers is None:
            return text
        return f"{text}. {self._name_consumers(guard, assessment.key.id, used, state.last_rotated_at)}"


def _next_step(assessment: Assessment, user_name: str) -> str:
    """What a person does next: give consumers the new key, or undo."""
    match assessment.action:
        case Action.WARN:
            return "let the consumer read its secret again; the next rotation is refused while it uses this key"
        case Action.DEACTIVATE if assessment.key:
            return f"if a consumer still needs it: {reactivate(user_name, assessment.key.id)}"
    return ""
