"""A dry run: what would be decided for each rotation now, without rotating any."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

from rotator.errors import InfisicalError
from rotator.infisical import Infisical
from rotator.instant import format_instant
from rotator.model import RotationRequest, RotationState
from rotator.policy import decide
from rotator.rotation import READ_TIMEOUT_SECONDS

CONCURRENT_READS = 10


def preview(
    infisical: Infisical,
    requests: Sequence[RotationRequest],
    states: Sequence[RotationState | None],
    minimum_interval: timedelta,
) -> list[dict[str, Any]]:
    """Decide each request by its state, which is read where it is not known yet.

    Returns one report a request, in order. A rotation that cannot be read is reported so and stops no other.
    """
    with ThreadPoolExecutor(CONCURRENT_READS) as pool:
        return list(pool.map(partial(_preview, infisical, minimum_interval), requests, states))


def _preview(
    infisical: Infisical, minimum_interval: timedelta, request: RotationRequest, state: RotationState | None
) -> dict[str, Any]:
    report = {"rotation_id": request.rotation.id, "rotation_type": request.rotation.type}
    try:
        state = state or infisical.state(request.rotation, READ_TIMEOUT_SECONDS)
    except InfisicalError as error:
        return report | {"decision": "unreadable", "reason": error.reason, "explanation": str(error)}
    decision = decide(state, request, minimum_interval)
    return report | {
        "rotation_name": state.name,
        "last_rotated_at": format_instant(state.last_rotated_at),
        "decision": decision.verdict,
        "reason": decision.reason,
        "explanation": decision.explanation,
    }
