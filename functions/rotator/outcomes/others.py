"""What dispatch, the hook and the audit tell. People hear of these by alarms, so that no event becomes a message."""

from datetime import datetime

from rotator.outcomes.message import failure_message, one_line
from rotator.outcomes.publisher import MAXIMUM_EXPLANATION_LENGTH, DetailType, Event
from rotator.text import clip

# The audit runs every six hours. The run in the first quarter of the day (UTC) tells what it finds, so that a rotation
# is reported once a day, without a memory.
TELLING_HOURS = range(6)


def trigger_refused(trigger: str | None, reason: str, explanation: str, correlation_id: str) -> Event:
    """Tell that an event became no requests. Lambda retries it, and each attempt is told."""
    return Event(
        DetailType.TRIGGER_REFUSED,
        {
            "trigger": None if trigger is None else clip(trigger, 700),
            "reason": reason,
            "explanation": clip(explanation, MAXIMUM_EXPLANATION_LENGTH),
            "correlation_id": clip(correlation_id, 256),
            "notify": False,
            "message": failure_message(f"Trigger {trigger or '(unknown)'}", "was refused", reason, explanation),
        },
    )


def mirror_rotated(secret_arn: str, token: str) -> Event:
    """Tell that a secret holds the published key."""
    return Event(
        DetailType.MIRROR_ROTATED,
        {
            "secret_arn": clip(secret_arn, 2048),
            "correlation_id": clip(token, 256),
            "notify": False,
            "message": one_line(f"{secret_arn} was rotated."),
        },
    )


def hook_step_failed(secret_arn: str, token: str, step: str, reason: str, explanation: str) -> Event:
    """Tell that a step failed. Secrets Manager retries the whole rotation, and each failure is told."""
    return Event(
        DetailType.HOOK_STEP_FAILED,
        {
            "secret_arn": clip(secret_arn, 2048),
            "correlation_id": clip(token, 256),
            "step": step,
            "reason": reason,
            "explanation": clip(explanation, MAXIMUM_EXPLANATION_LENGTH),
            "notify": False,
            "message": failure_message(secret_arn.rpartition(":")[2], f"{step} failed", reason, explanation),
        },
    )


def needs_attention(report: dict[str, object], user: str | None, now: datetime, correlation_id: str) -> list[Event]:
    """Tell what the audit logs about a rotation, in the run of the day that tells."""
    if now.hour not in TELLING_HOURS:
        return []
    name, issues = clip(str(report["rotation_name"]), 256), report["issues"]
    listed = ", ".join(issues) if isinstance(issues, list) else ""
    detail = report | {
        "rotation_name": name,
        "iam_user": user,
        "explanation": clip(str(report["explanation"]), MAXIMUM_EXPLANATION_LENGTH),
        "correlation_id": clip(correlation_id, 256),
        "notify": False,
        "message": one_line(f"{one_line(user or name, 128)} needs attention: {listed}."),
    }
    return [Event(DetailType.ROTATION_NEEDS_ATTENTION, detail)]
