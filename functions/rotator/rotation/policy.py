"""The decision whether a rotation is due: pure, without I/O and without a clock of its own.

A delivery is no order to rotate now. It is a wish about a state: rotated at or after the moment T when the trigger
occurred. Infisical keeps the one fact that decides it, so duplicates, retries and redrives of one trigger all find
their wish fulfilled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.model import RotationRequest, RotationState, UserKey, UserKeys
from rotator.timestamps import format_instant

# The clocks of AWS, Infisical and IAM are assumed to differ by two minutes at most, and a read of Infisical to be ten
# minutes old at most: it may come from a database replica that lags.
CLOCK_SKEW = timedelta(minutes=2)
REPLICA_LAG = timedelta(minutes=10)

# T was read from one clock and lastRotatedAt from another. A sender's T is clipped to its arrival, so 120 s of clock
# skew are left, and the rest of the margin is slack. It also keeps the keys of two rotations so far apart that the key
# guard can tell one commit's key from another's; where they seem nearer, it refuses.
CLOCK_MARGIN = timedelta(minutes=5)

# The window around lastRotatedAt in which the published key was created. IAM dates keys in whole seconds, and a key is
# created before its rotation is committed. Infisical sets no limit to that time; 90 s are assumed, the longest for
# which a deployment keeps a request's socket open. A slower commit makes the key guard refuse, never delete.
#   before: 120 s clock skew + 90 s until the commit + 1 s of truncation = 211 s
#   after:  120 s clock skew + 30 s of slack                             = 150 s
EARLIEST_KEY = timedelta(seconds=-211)
LATEST_KEY = timedelta(seconds=150)

# A key this young may be of a commit that a lagging replica does not show yet: 10 min of lag + 2 min of clock skew.
SETTLED_AFTER = REPLICA_LAG + CLOCK_SKEW

# A failure that is recorded this shortly after a commit belongs to that commit (Infisical's audit log or a secret
# sync failed): the credentials themselves are sound.
AFTERMATH_OF_COMMIT = timedelta(seconds=5)


class Verdict(StrEnum):
    """What shall be done about a request."""

    ROTATE = "rotate"
    SKIP = "skip"
    REFUSE = "refuse"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and the reason that logs, metrics and the dead-letter queue give for it."""

    verdict: Verdict
    reason: str
    explanation: str = ""


Decide = Callable[[RotationState, RotationRequest], Decision]


def decide(state: RotationState, request: RotationRequest, minimum_interval: timedelta) -> Decision:
    """Compare T with lastRotatedAt, once.

    `minimum_interval` is the default of a rotation whose mapping names none. What is forced still happens once: a
    repeated delivery of it finds the rotation rotated. A failed attempt stands in the way where no key guard tells what
    it has left behind.
    """
    if state.last_rotated_at >= request.occurred_at:
        return Decision(Verdict.SKIP, "AlreadyRotated", "it was rotated since the trigger occurred")
    if request.occurred_at <= allowed_from(state, request, minimum_interval):
        return Decision(
            Verdict.SKIP, "TooSoon", "it was rotated shortly before: consumers may still hold the previous credentials"
        )
    if state.stale:
        return Decision(
            Verdict.WAIT,
            "StaleState",
            "Infisical answered with a state from before the last commit that this function has seen, at"
            f" {format_instant(state.last_rotated_at)}: its database replica lags, or its database was restored",
        )
    if failed_since(state) and not request.forced and not request.rotation.guarded:
        return Decision(
            Verdict.REFUSE,
            "PreviousAttemptFailed",
            "the previous attempt failed and may have left credentials that nobody tracks; a further one could revoke"
            f" the published ones. Infisical said: {state.last_message or 'nothing'}",
        )
    return Decision(Verdict.ROTATE, "Due")


def vouch(
    state: RotationState, request: RotationRequest, user: UserKeys, grace_period: timedelta, now: datetime
) -> Decision:
    """Decide by the IAM user's keys whether a rotation, which deletes the older of two, may go ahead.

    What is forced may revoke a key that is in use, and rotate where the published one is missing or inactive; it never
    revokes that. A young key may be of a commit that Infisical's state does not show yet: then wait, accuse nobody.
    """
    published = _published(user, state.last_rotated_at)
    suspects = _suspects(user, published, state.last_rotated_at)
    if young := next((key for key in suspects if now - key.created_at < SETTLED_AFTER), None):
        return Decision(
            Verdict.WAIT,
            "UnsettledKey",
            f"the access key {young.id} of the IAM user {state.user_name} was created at"
            f" {format_instant(young.created_at)}, so recently that Infisical's state, with the last rotation at"
            f" {format_instant(state.last_rotated_at)}, may not show its commit yet",
        )
    if published is not None and suspects:
        return Decision(Verdict.REFUSE, "OrphanKey", _about_orphan(state, published, suspects[0]))
    if request.forced:
        return Decision(Verdict.ROTATE, "Due")
    return _refusal(state, user, published, grace_period, now) or Decision(Verdict.ROTATE, "Due")


def _refusal(
    state: RotationState, user: UserKeys, published: UserKey | None, grace_period: timedelta, now: datetime
) -> Decision | None:
    """What only a person may override, with a forced request."""
    if published is None:
        return Decision(
            Verdict.REFUSE,
            "PublishedKeyMissing",
            f"none of the {len(user.keys)} access keys of the IAM user {state.user_name} was created when Infisical"
            f" last rotated, at {format_instant(state.last_rotated_at)}. If the user is another account's, let the"
            " entry's keyGuard assume a role there. If the published key is gone, force a rotation",
        )
    if not published.active:
        return Decision(
            Verdict.REFUSE,
            "PublishedKeyInactive",
            f"the access key {published.id}, which Infisical publishes, is inactive: AWS refuses every consumer that"
            " has picked it up. Reactivate it: aws iam update-access-key"
            f" --user-name {state.user_name} --access-key-id {published.id} --status Active. If it was deactivated"
            " because it leaked, force a rotation",
        )
    last_use = user.last_use
    if last_use is not None and user.oldest.active and now - last_use.at < grace_period:
        return Decision(
            Verdict.REFUSE,
            "KeyInUse",
            f"the access key {user.oldest.id} of the IAM user {state.user_name}, which a rotation deletes, was used at"
            f" {format_instant(last_use.at)} for {last_use.service} in {last_use.region}, within the grace"
            f" period of {grace_period / timedelta(hours=1):g} h: a consumer has not picked up the new key. Find that"
            " consumer, give it the new key, then send a new trigger",
        )
    return None


def _suspects(user: UserKeys, published: UserKey | None, committed_at: datetime) -> list[UserKey]:
    """Keys that may be the published one, or that make it the older one. All of them where none seems published."""
    return [
        key
        for key in user.keys
        if published is None
        or (key != published and (_may_be_of(key, committed_at) or key.created_at >= published.created_at))
    ]


def _published(user: UserKeys, committed_at: datetime) -> UserKey | None:
    """The key whose creation lies nearest to the last commit, where one can be its own."""
    possible = [key for key in user.keys if _may_be_of(key, committed_at)]
    return min(possible, key=lambda key: abs(key.created_at - committed_at), default=None)


def _may_be_of(key: UserKey, committed_at: datetime) -> bool:
    return EARLIEST_KEY <= key.created_at - committed_at <= LATEST_KEY


def _about_orphan(state: RotationState, published: UserKey, suspect: UserKey) -> str:
    of_user = f"--user-name {state.user_name} --access-key-id {suspect.id}"
    return (
        f"the IAM user {state.user_name} has an access key that Infisical may not know, {suspect.id}, created"
        f" {format_instant(suspect.created_at)}, beside {published.id}, created {format_instant(published.created_at)};"
        f" Infisical last rotated at {format_instant(state.last_rotated_at)}. A rotation could delete the published"
        " key. See in Infisical which of them is published, and take the other away; where that is"
        f" {suspect.id}: aws iam update-access-key {of_user} --status Inactive; and once nothing misses it:"
        f" aws iam delete-access-key {of_user}. Then send a new trigger"
    )


def failed_since(state: RotationState) -> bool:
    """Whether an attempt has failed since the last commit, other than in its aftermath."""
    return state.failed and state.last_attempted_at > state.last_rotated_at + AFTERMATH_OF_COMMIT


def allowed_from(state: RotationState, request: RotationRequest, minimum_interval: timedelta) -> datetime:
    """The last moment of an occurrence that comes too soon after the last rotation."""
    interval = request.rotation.minimum_interval or minimum_interval
    return state.last_rotated_at + (CLOCK_MARGIN if request.forced else max(CLOCK_MARGIN, interval))
