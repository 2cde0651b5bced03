"""What end-to-end tests wait for and look at."""

from datetime import UTC, datetime
from typing import Any

from rotator.telemetry import Metric
from rotator.timestamps import format_timestamp
from tests.sandbox.deployment import wait_until
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.rotations import Rotation


def scheduled(trigger: str = "weekly", at: datetime | None = None) -> dict[str, str]:
    """A schedule's input as it arrives."""
    return {"trigger": trigger, "scheduledTime": format_timestamp(at or datetime.now(UTC))}


def outcomes_of(
    deployed: Sandbox, *rotations: Rotation, count: int = 1, seconds: float = 60, besides: str = ""
) -> list[dict[str, Any]]:
    """Wait until so many requests for each of the rotations have ended, and return how.

    Those that end for the reason `besides` do not count.
    """
    wanted = {rotation.id for rotation in rotations}

    def ended() -> list[dict[str, Any]] | None:
        ends = [
            end
            for end in deployed.stack.outcomes()
            if end.get("rotation_id") in wanted and end.get("reason") != besides
        ]
        return ends if len(ends) >= count * len(wanted) else None

    return wait_until(f"{count} outcomes each of {len(wanted)} rotations", ended, seconds) or []


def posts_for(deployed: Sandbox, rotation: Rotation) -> int:
    """How often rotate-secrets was sent for a rotation."""
    path = f"/{rotation.id}/rotate-secrets"
    return sum(entry.path.endswith(path) for entry in deployed.infisical.requests)


def delta(before: dict[str, float], after: dict[str, float], metric: Metric) -> float:
    """By how much a metric has grown."""
    return after.get(metric, 0.0) - before.get(metric, 0.0)
