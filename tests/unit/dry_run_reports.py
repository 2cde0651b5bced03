"""What dry runs answer, for tests of `make preflight`."""

from typing import Any

from tests.unit.fakes import rotation_id

ROLE = "arn:aws:iam::123456789012:role/stack-DispatchRole"
HOOK = "arn:aws:lambda:us-east-1:123456789012:function:stack-HookFunction"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mirror/deployer-AbCdEf"


def report(**fields: object) -> dict[str, Any]:
    """What `dispatch` says of a rotation that is due and in order."""
    return {
        "rotation_id": rotation_id(1),
        "rotation_type": "aws-iam-user-secret",
        "rotation_name": "payments",
        "user_name": "deployer",
        "connection_id": None,
        "auto_rotation": False,
        "last_rotated_at": "2026-11-15T05:00:00.000Z",
        "decision": "rotate",
        "reason": "Due",
        "explanation": "",
        "minimum_interval_seconds": 3600,
        "maximum_age_seconds": None,
        "key_guard": True,
        "key_guard_refusal": None,
        "key_guard_explanation": "",
        "grace_period_seconds": 6 * 3600,
    } | fields


def unreadable(reason: str, explanation: str = "Infisical's words") -> dict[str, Any]:
    return {
        "rotation_id": rotation_id(1),
        "rotation_type": "aws-iam-user-secret",
        "decision": "unreadable",
        "reason": reason,
        "explanation": explanation,
    }


def mirror(**fields: object) -> dict[str, Any]:
    """What the hook says of a mirror in step."""
    return {
        "secret": SECRET,
        "rotation_id": rotation_id(1),
        "dry_run": True,
        "rotation_enabled": True,
        "rotation_function": HOOK,
        "rotation_schedule": "rate(30 days)",
        "state": "in step",
        "unreadable": [],
    } | fields
