"""A dry run: what would be decided for each rotation now, without rotating any."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from rotator.infisical.errors import InfisicalError
from rotator.model import RotationState
from rotator.rotation.policy import Decider, Decision, Verdict, too_soon_until
from rotator.rotation.request import RotationRequest
from rotator.timestamps import format_timestamp

if TYPE_CHECKING:
    from rotator.dry_run.reports import KeyReport, RotationReport, UnreadableRotation


@dataclass(frozen=True, slots=True)
class Preview:
    """Reports what `decide` says. `minimum_interval` and `grace_period` are the defaults of entries that set none."""

    decide: Decider
    minimum_interval: timedelta
    grace_period: timedelta

    def __call__(
        self, request: RotationRequest, state: RotationState | InfisicalError
    ) -> "RotationReport | UnreadableRotation":
        """Report what would be decided, or why the rotation cannot be read."""
        rotation = request.rotation
        if isinstance(state, InfisicalError):
            return {
                "rotation_id": rotation.id,
                "rotation_type": rotation.type,
                "decision": "unreadable",
                "reason": state.reason,
                "explanation": str(state),
            }
        decision = self.decide(state, request)
        soonest = too_soon_until(state, request, self.minimum_interval)
        maximum_age = rotation.options.maximum_age
        report: RotationReport = {
            "rotation_id": rotation.id,
            "rotation_type": rotation.type,
            "rotation_name": state.name,
            "user_name": state.user_name,
            "connection_id": state.connection_id,
            "auto_rotation": state.auto_rotation,
            "last_rotated_at": format_timestamp(state.last_rotated_at),
            "decision": decision.verdict.value,
            "reason": decision.reason,
            "explanation": decision.explanation,
            "minimum_interval_seconds": _seconds(soonest - state.last_rotated_at),
            "maximum_age_seconds": _seconds(maximum_age) if maximum_age is not None else None,
            "key_guard": rotation.guarded,
        }
        return {**report, **self._keys(state, request, decision)} if rotation.guarded else report

    def _keys(self, state: RotationState, request: RotationRequest, decision: Decision) -> "KeyReport":
        """Why the key guard would refuse, if it would.

        If the rotation is not due, ask as if it were: then a problem shows before the next trigger.
        """
        if decision.verdict is Verdict.SKIP:
            soonest = too_soon_until(state, request, self.minimum_interval)
            decision = self.decide(state, replace(request, occurred_at=soonest + timedelta.resolution))
        guard = request.rotation.options.guard
        return {
            "key_guard_refusal": decision.reason if decision.verdict in {Verdict.REFUSE, Verdict.WAIT} else None,
            "key_guard_explanation": decision.explanation,
            "grace_period_seconds": _seconds((guard.grace_period if guard else None) or self.grace_period),
        }


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())
