"""May the previous key be deactivated? Pure: decides by the keys' dates and the previous one's last use.

The key guard's rule says which key is published. If anything is uncertain, the key is left alone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.model import RotationState
from rotator.rotation.key_policy import UserKey, UserKeys, find_published

# IAM reports a use some hours late. A shorter time without a use proves nothing.
MINIMUM_QUIET = timedelta(days=2)

# Consumers may take this long to pick up a new key. A later use of the previous one is worth a warning.
SWITCH_OVER = timedelta(days=1)

_BOTH_KEYS = 2


class Action(StrEnum):
    """What to do with the previous key."""

    LEAVE = "leave"
    WARN = "warn"
    DEACTIVATE = "deactivate"


@dataclass(frozen=True, slots=True)
class Assessment:
    """An action, the reason for it, and the key that it is about; None where none is certain."""

    action: Action
    reason: str
    key: UserKey | None = None


def assess(
    state: RotationState, user: UserKeys, retire_after: timedelta, quiet: timedelta, now: datetime
) -> Assessment:
    """Decide about the key that the last rotation has replaced. `user` has the last use of its oldest key.

    The previous key is deactivated once `retire_after` has passed since the rotation and nobody has used the key for
    `quiet`. Both keys have to be active: otherwise it may be the only one that works.
    """
    published = find_published(user, state.last_rotated_at)
    if state.stale or published is None or len(user.keys) != _BOTH_KEYS:
        return Assessment(Action.LEAVE, "Unclear")
    previous = user.oldest
    if not (published.active and previous.active):
        return Assessment(Action.LEAVE, "Inactive", previous)
    if user.last_use is not None and now - user.last_use.at < max(quiet, MINIMUM_QUIET):
        if user.last_use.at > state.last_rotated_at + SWITCH_OVER:
            return Assessment(Action.WARN, "PreviousKeyInUse", previous)
        return Assessment(Action.LEAVE, "UsedRecently", previous)
    if now - state.last_rotated_at < retire_after:
        return Assessment(Action.LEAVE, "TooEarly", previous)
    return Assessment(Action.DEACTIVATE, "Silent", previous)
