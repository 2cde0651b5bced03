"""A dry run of `rotate`, `audit` or `retire`: whether it can log in to Infisical and read a rotation."""

from typing import TYPE_CHECKING

from rotator.fields import parse_rotation_id, parse_type
from rotator.infisical.client import Infisical
from rotator.infisical.errors import InfisicalError
from rotator.model import MappedRotation

if TYPE_CHECKING:
    from rotator.dry_run.reports import AccessReport


def check_access(event: object, infisical: Infisical) -> "AccessReport | None":
    """Read the rotation that {"dryRun": true, "rotationId": "…", "type": "…"} names, and report why it cannot be read.

    Returns None if the event is not a dry run. Raises ValueError if a dry run has other fields.
    """
    if not isinstance(event, dict) or "dryRun" not in event:
        return None
    if event.keys() != {"dryRun", "rotationId", "type"} or event["dryRun"] is not True:
        raise ValueError('a dry run must be {"dryRun": true, "rotationId": "…", "type": "…"} without other fields')
    rotation = MappedRotation(parse_rotation_id(event["rotationId"], "rotationId"), parse_type(event))
    try:
        infisical.state(rotation)
    except InfisicalError as error:
        return {
            "dry_run": True,
            "rotation_id": rotation.id,
            "readable": False,
            "reason": error.reason,
            "explanation": str(error),
        }
    return {"dry_run": True, "rotation_id": rotation.id, "readable": True}
