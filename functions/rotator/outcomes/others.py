"""The events of `dispatch`, the hook and the audit. Alarms report these to people, so no event is sent as a message."""

from datetime import datetime

from rotator.outcomes.message import failure_message, one_line
from rotator.outcomes.publisher import MAXIMUM_EXPLANATION_LENGTH, DetailType, Event
from rotator.text import clip

# The audit runs every six hours. Only the run between 00:00 and 06:00 UTC puts events: one a day, without a memory.
ANNOUNCING_HOURS = range(6)


def trigger_refused(trigger: str | None, reason: str, explanation: str, correlation_id: str) -> Event:
    """Report a refused event. Lambda retries the event, and each attempt is announced."""
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
    """Report that a secret now holds the published key."""
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
    """Report a failed step. Secrets Manager retries the whole rotation, and each failure is announced."""
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
    """Report what the audit logs about a rotation, once a day."""
    if now.hour not in ANNOUNCING_HOURS:
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
