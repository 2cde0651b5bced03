"""A dry run: what would be decided for each rotation now, without rotating any."""

from typing import Any

from rotator.errors import InfisicalError
from rotator.instant import format_instant
from rotator.model import RotationRequest, RotationState
from rotator.policy import Decide


def preview(request: RotationRequest, state: RotationState | InfisicalError, decide: Decide) -> dict[str, Any]:
    """Report what would be decided; of a rotation that cannot be read, that it cannot be."""
    report = {"rotation_id": request.rotation.id, "rotation_type": request.rotation.type}
    if isinstance(state, InfisicalError):
        return report | {"decision": "unreadable", "reason": state.reason, "explanation": str(state)}
    decision = decide(state, request)
    return report | {
        "rotation_name": state.name,
        "last_rotated_at": format_instant(state.last_rotated_at),
        "decision": decision.verdict,
        "reason": decision.reason,
        "explanation": decision.explanation,
        "key_guard": request.rotation.guarded,
    }
