"""May a rotation delete the older of the IAM user's two keys? Pure: decides by the keys' dates."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.model import RotationState
from rotator.rotation.policy import REPLICA_LAG, Decision, Verdict
from rotator.rotation.request import RotationRequest
from rotator.timestamps import CLOCK_SKEW, format_timestamp

# The window around lastRotatedAt in which the published key was created. IAM dates keys in whole seconds, and a key is
# created before its rotation is committed. Infisical sets no limit to that time; 90 s are assumed, the longest for
# which a deployment keeps a request's socket open. A slower commit makes the key guard refuse, never delete.
#   before: 120 s clock skew + 90 s until the commit + 1 s of truncation = 211 s
#   after:  120 s clock skew + 30 s of slack                             = 150 s
PUBLISHED_KEY_WINDOW = (timedelta(seconds=-211), timedelta(seconds=150))

# A younger key may belong to a commit that a lagging replica does not show yet. 10 min of lag + 2 min of clock skew.
SETTLED_AFTER = REPLICA_LAG + CLOCK_SKEW


@dataclass(frozen=True, slots=True)
class UserKey:
    """An access key as IAM lists it, without its secret. `created_at` is by IAM's clock; AWS refuses inactive keys."""

    id: str
    created_at: datetime
    active: bool = True


@dataclass(frozen=True, slots=True)
class LastUse:
    """What IAM says about a key's last use, which may be some hours behind."""

    at: datetime
    service: str
    region: str


@dataclass(frozen=True, slots=True)
class UserKeys:
    """The access keys of an IAM user. `last_use` is that of the oldest, None where it was never used."""

    keys: tuple[UserKey, ...]
    last_use: LastUse | None = None

    @property
    def oldest(self) -> UserKey:
        """The key that a rotation deletes if there are two, no matter who created it."""
        return min(self.keys, key=lambda key: key.created_at)

    @property
    def oldest_active(self) -> UserKey | None:
        """The oldest key that AWS accepts; None where it accepts none."""
        return min((key for key in self.keys if key.active), key=lambda key: key.created_at, default=None)


# A rotation creates a key and deletes the older of two. A user with one key loses none.
MAX_KEYS_PER_USER = 2


def name_keys(decision: Decision, user: UserKeys, committed_at: datetime) -> Decision:
    """Add which key is published, and which a rotation revokes."""
    published = _published(user, committed_at)
    return replace(
        decision,
        published_key=published.id if published else None,
        revoked_key=user.oldest.id if len(user.keys) >= MAX_KEYS_PER_USER else None,
    )


def check_keys(
    state: RotationState, request: RotationRequest, user: UserKeys, grace_period: timedelta, now: datetime
) -> Decision:
    """Decide by the IAM user's keys whether a rotation may delete the older of two.

    A forced request may revoke a key that is in use, and rotate if the published key is missing or inactive. It never
    revokes the published key. A young key may belong to a commit that Infisical's state does not show yet: then wait,
    and name no key for deletion.
    """
    published = _published(user, state.last_rotated_at)
    suspects = _suspects(user, published, state.last_rotated_at)
    if young := next((key for key in suspects if now - key.created_at < SETTLED_AFTER), None):
        return Decision(
            Verdict.WAIT,
            "UnsettledKey",
            f"the access key {young.id} of the IAM user {state.user_name} was created at"
            f" {format_timestamp(young.created_at)}, so recently that Infisical's state, with the last rotation at"
            f" {format_timestamp(state.last_rotated_at)}, may not show its commit yet",
        )
    if published is not None and suspects:
        return Decision(Verdict.REFUSE, "OrphanKey", _about_orphan(state, published, suspects[0]))
    if request.forced:
        return Decision(Verdict.ROTATE, "Due")
    return _refusal(state, user, published, grace_period, now) or Decision(Verdict.ROTATE, "Due")


def find_published(user: UserKeys, committed_at: datetime) -> UserKey | None:
    """The key that Infisical publishes, by the same rule; None if it is missing or uncertain."""
    published = _published(user, committed_at)
    return None if _suspects(user, published, committed_at) else published


def reactivate(user_name: str | None, key_id: str) -> str:
    """The command that makes AWS accept a key again."""
    return f"aws iam update-access-key --user-name {user_name} --access-key-id {key_id} --status Active"


def _refusal(
    state: RotationState, user: UserKeys, published: UserKey | None, grace_period: timedelta, now: datetime
) -> Decision | None:
    """A refusal that a person may override with a forced request."""
    if published is None:
        return Decision(
            Verdict.REFUSE,
            "PublishedKeyMissing",
            f"none of the {len(user.keys)} access keys of the IAM user {state.user_name} was created when Infisical"
            f" last rotated, at {format_timestamp(state.last_rotated_at)}. If the user is in another account, set"
            " keyGuard.role of the entry to a role there. If the published key is gone, force a rotation",
        )
    if not published.active:
        return Decision(
            Verdict.REFUSE,
            "PublishedKeyInactive",
            f"the access key {published.id}, which Infisical publishes, is inactive: AWS refuses every consumer that"
            f" has picked it up. Reactivate it: {reactivate(state.user_name, published.id)}. If it was deactivated"
            " because it leaked, force a rotation",
        )
    last_use = user.last_use
    if last_use is not None and user.oldest.active and now - last_use.at < grace_period:
        return Decision(
            Verdict.REFUSE,
            "KeyInUse",
            f"the access key {user.oldest.id} of the IAM user {state.user_name}, which a rotation deletes, was used at"
            f" {format_timestamp(last_use.at)} for {last_use.service} in {last_use.region}, within the grace"
            f" period of {grace_period / timedelta(hours=1):g} h: a consumer has not picked up the new key. Find that"
            " consumer, give it the new key, then send a new trigger",
        )
    return None


def _suspects(user: UserKeys, published: UserKey | None, committed_at: datetime) -> list[UserKey]:
    """Keys that may be the published one, or that make it the older one. If none seems published, all keys."""
    return [
        key
        for key in user.keys
        if published is None
        or (key != published and (_may_be_of(key, committed_at) or key.created_at >= published.created_at))
    ]


def _published(user: UserKeys, committed_at: datetime) -> UserKey | None:
    """Of the keys that the last commit may have created, the one nearest to it in time."""
    possible = [key for key in user.keys if _may_be_of(key, committed_at)]
    return min(possible, key=lambda key: abs(key.created_at - committed_at), default=None)


def _may_be_of(key: UserKey, committed_at: datetime) -> bool:
    earliest, latest = PUBLISHED_KEY_WINDOW
    return earliest <= key.created_at - committed_at <= latest


def _about_orphan(state: RotationState, published: UserKey, suspect: UserKey) -> str:
    of_user = f"--user-name {state.user_name} --access-key-id {suspect.id}"
    return (
        f"the IAM user {state.user_name} has an access key that Infisical may not know, {suspect.id}, created"
        f" {format_timestamp(suspect.created_at)}, beside {published.id}, created"
        f" {format_timestamp(published.created_at)}; Infisical last rotated at"
        f" {format_timestamp(state.last_rotated_at)}. A rotation could delete the published key. See"
        f" in Infisical which of them is published, and remove the other. To remove {suspect.id}: aws iam"
        f" update-access-key {of_user} --status Inactive; once no consumer needs it: aws iam delete-access-key"
        f" {of_user}. Then send a new trigger"
    )
