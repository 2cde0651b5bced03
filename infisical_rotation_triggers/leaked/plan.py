"""What to do next about a leaked access key. Pure: decides by the keys' dates and the stack's own dry run.

Nothing is remembered between two runs: each step is decided from the state that the step before it has left. So the
command can be interrupted anywhere, and run again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

from rotator.old_keys.policy import SWITCH_OVER
from rotator.rotation.key_policy import (
    MAX_KEYS_PER_USER,
    SETTLED_AFTER,
    LastUse,
    UserKey,
    UserKeys,
    find_published,
    reactivate,
)
from rotator.rotation.policy import CLOCK_MARGIN
from rotator.timestamps import format_timestamp

_ABOUT_ORPHANS = (
    "A failed rotation leaves such a key, and so does a thief who holds another key of this user. If you cannot explain"
    " it, the published key has leaked too: run this command for that one as well"
)

_MILLISECOND = timedelta(milliseconds=1)  # as finely as a trigger's time is written


class Kind(StrEnum):
    """What Infisical knows of a key."""

    PUBLISHED = "published"
    PREVIOUS = "previous"
    ORPHAN = "orphan"
    UNCLEAR = "unclear"


class Act(StrEnum):
    """What to do next. STOP needs a person, or time, or is the end."""

    ROTATE = "rotate"
    DEACTIVATE = "deactivate"
    STOP = "stop"


class Status(IntEnum):
    """The exit status of the command."""

    DONE = 0
    NOTHING_DONE = 1
    CANNOT_RUN = 2
    UNFINISHED = 3


class Consent(StrEnum):
    """What only a person may allow. The value is the option of the command that allows it where nobody can be asked."""

    ROTATE = "--yes"  # a rotation that deletes a key which is in use
    DEACTIVATE = "--now"  # a key that consumers may need, or the only one that works


@dataclass(frozen=True, slots=True)
class Rotation:
    """The rotation that keeps the user's keys, as the stack's dry run of a forced rotation reports it.

    `refusal` is a sentence about why it would not rotate now; empty where it would. `trigger` is the ARN of a secret
    where one mirrors it: only that secret's own rotation may rotate it.
    """

    id: str
    name: str
    trigger: str
    last_rotated_at: datetime
    grace_period: timedelta
    refusal: str = ""
    mirrored: bool = False

    @property
    def moment(self) -> datetime:
        """The moment for which a rotation is forced: the first one that is not too soon after the last rotation.

        It follows from the state alone. So every run means the same moment until the key is rotated, and once it is,
        each further request for that moment finds it fulfilled.
        """
        return self.last_rotated_at + CLOCK_MARGIN + _MILLISECOND


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at a moment. `uses` are the keys' last uses, by their ids.

    `rotation` is None where it is unknown. `unread` is why rotations of the map could not be read: one of them may be
    this user's too.
    """

    at: datetime
    key_id: str
    user_name: str
    user: UserKeys
    uses: Mapping[str, LastUse] = field(default_factory=dict)
    rotation: Rotation | None = None
    unread: str = ""

    @property
    def key(self) -> UserKey | None:
        """The leaked key; None where it was deleted."""
        return next((key for key in self.user.keys if key.id == self.key_id), None)

    @property
    def others(self) -> tuple[UserKey, ...]:
        """The user's other keys: there is at most one."""
        return tuple(key for key in self.user.keys if key.id != self.key_id)

    def kind_of(self, key_id: str) -> Kind:
        """What Infisical knows of a key, by the key guard's rule."""
        return kind_of(self.user, key_id, self.rotation.last_rotated_at) if self.rotation else Kind.UNCLEAR


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next, and what to say about it. A person who gives one of `needs` gets further."""

    act: Act
    text: str
    status: Status = Status.UNFINISHED
    needs: tuple[Consent, ...] = ()


def kind_of(user: UserKeys, key_id: str, committed_at: datetime) -> Kind:
    """What Infisical knows of a key of a user whose rotation was last committed then."""
    (key,) = (key for key in user.keys if key.id == key_id)
    published = find_published(user, committed_at)
    if published is not None:
        return Kind.PUBLISHED if published == key else Kind.PREVIOUS
    may_be_published = find_published(UserKeys((key,)), committed_at) is not None
    other_may_be = find_published(UserKeys(tuple(each for each in user.keys if each != key)), committed_at) is not None
    if may_be_published == other_may_be:
        return Kind.UNCLEAR
    return Kind.PUBLISHED if may_be_published else Kind.ORPHAN


def plan(facts: Facts, consents: frozenset[Consent]) -> Step:
    """Decide the next step."""
    key = facts.key
    if key is None:
        return Step(Act.STOP, f"{facts.key_id} was deleted: AWS refuses it. Nothing is left to do", Status.DONE)
    kind = facts.kind_of(key.id)
    if facts.rotation and kind is Kind.PUBLISHED:
        return _replace_published(facts, facts.rotation, key, consents)
    if not key.active:
        return _inactive(facts, kind)
    if danger := _danger(facts, kind, key):
        return _deactivate_if_allowed(facts, consents, danger)
    return _deactivate(facts)


def _replace_published(facts: Facts, rotation: Rotation, key: UserKey, consents: frozenset[Consent]) -> Step:
    """Rotate, with consent where that deletes a key which is in use. Without a rotation, the key can only be cut."""
    stopped = "deactivating it stops its consumers" if key.active else "its consumers are refused"
    stops = f"{stopped} until another key is published"
    if refusal := _why_not_rotated(rotation):
        danger = f"{refusal}. Infisical still publishes {key.id}: {stops}"
        return _deactivate_if_allowed(facts, consents, danger) if key.active else Step(Act.STOP, danger)
    if Consent.ROTATE not in consents and (loss := _loss(facts, rotation)):
        if key.active:
            return _deactivate_if_allowed(facts, consents, loss, Consent.ROTATE)
        return Step(Act.STOP, f"{key.id} is inactive: {stops}. {loss}", needs=(Consent.ROTATE,))
    return Step(
        Act.ROTATE,
        f"Forcing a rotation of {rotation.name} for the moment {format_timestamp(rotation.moment)}: Infisical publishes"
        f" a new key, within four minutes. {key.id} {'works until it is deactivated' if key.active else 'is inactive'}",
    )


def _why_not_rotated(rotation: Rotation) -> str:
    if rotation.mirrored:
        return (
            "A secret mirrors the key, and only the secret's own rotation may rotate it: run aws secretsmanager"
            f" rotate-secret --secret-id {rotation.trigger}, then this command again"
        )
    return rotation.refusal.rstrip(".")


def _loss(facts: Facts, rotation: Rotation) -> str:
    """What a rotation deletes, where that is in use."""
    if len(facts.user.keys) < MAX_KEYS_PER_USER:
        return ""
    previous = facts.user.oldest
    use = facts.uses.get(previous.id)
    if not previous.active or use is None or facts.at - use.at >= rotation.grace_period:
        return ""
    return (
        f"A rotation deletes the previous key {previous.id} for good. It was used {describe_use(use)}, and what still"
        " uses it stops"
    )


def _deactivate(facts: Facts) -> Step:
    return Step(Act.DEACTIVATE, f"Deactivating {facts.key_id}. To undo it: {reactivate(facts.user_name, facts.key_id)}")


def _deactivate_if_allowed(facts: Facts, consents: frozenset[Consent], danger: str, *others: Consent) -> Step:
    """Deactivate where a person has accepted the danger; otherwise say it, and what else a person may allow."""
    if Consent.DEACTIVATE in consents:
        return _deactivate(facts)
    return Step(Act.STOP, f"{facts.key_id} still works. {danger}", needs=(*others, Consent.DEACTIVATE))


def _danger(facts: Facts, kind: Kind, key: UserKey) -> str:
    """Why deactivating a key that is not known to be published may stop consumers. Empty where it does not."""
    rotation = facts.rotation
    if rotation is None or kind is Kind.UNCLEAR:
        return f"{_why_unclear(facts)}. If it is {key.id}, deactivating it stops every consumer"
    (other,) = facts.others
    if not other.active:
        return (
            f"The published key {other.id} is inactive, and {key.id} is the only one that works. First reactivate the"
            f" published key: {reactivate(facts.user_name, other.id)}"
        )
    if facts.unread:
        return f"{facts.unread}. If one of them publishes {key.id}, deactivating it stops its consumers"
    return _too_young(key, facts.at) if kind is Kind.ORPHAN else _too_fresh(facts, rotation)


def _why_unclear(facts: Facts) -> str:
    if facts.rotation is None:
        return f"{facts.unread}, so it is unknown which key is published"
    return (
        "The keys' dates do not show which one Infisical publishes: see in Infisical which key"
        f" {facts.rotation.name} has"
    )


def _too_young(key: UserKey, now: datetime) -> str:
    settled_at = key.created_at + SETTLED_AFTER
    if now >= settled_at:
        return ""
    return (
        "It is only minutes old, and may be the key of a rotation that Infisical does not show yet. If so, deactivating"
        f" it stops every consumer that has picked it up. Run this command again after {format_timestamp(settled_at)}"
    )


def _too_fresh(facts: Facts, rotation: Rotation) -> str:
    """Consumers get time to pick up the new key: until nothing uses the previous one, or for a day at the longest."""
    use = facts.uses.get(facts.key_id)
    quiet_since = max(rotation.last_rotated_at, use.at) if use else rotation.last_rotated_at
    over_at = min(quiet_since + rotation.grace_period, rotation.last_rotated_at + SWITCH_OVER)
    if facts.at >= over_at:
        return ""
    used = f"This one was used {describe_use(use)}" if use else "IAM shows no use of this one (uses appear hours late)"
    return (
        f"Another key is published since {format_timestamp(rotation.last_rotated_at)}. {used}. Consumers that have not"
        " picked up the new key stop when this one is deactivated. Restart them, so that they read the new key. Then"
        f" run this command again after {format_timestamp(over_at)}: it then deactivates this one"
    )


def _inactive(facts: Facts, kind: Kind) -> Step:
    said = f"{facts.key_id} is inactive: AWS refuses it"
    if facts.rotation is None or kind is Kind.UNCLEAR:
        return Step(
            Act.STOP,
            f"{said}. {_why_unclear(facts)}. If it is {facts.key_id}, its consumers are refused until another key is"
            " published: run this command again once that can be seen",
        )
    (other,) = facts.others
    if not other.active:
        return Step(
            Act.STOP,
            f"{said}, and so is the published key {other.id}: every consumer is refused. Reactivate that one:"
            f" {reactivate(facts.user_name, other.id)}",
        )
    next_step = (
        "The key guard refuses each rotation as OrphanKey until the orphan is deleted. Once nothing misses it:"
        f" {_delete(facts.user_name, facts.key_id)}"
        if kind is Kind.ORPHAN
        else "The next rotation deletes the inactive key. Nothing is left to do"
    )
    return Step(Act.STOP, f"{said}. {other.id} is published and works. {next_step}", Status.DONE)


def describe_kind(facts: Facts) -> list[str]:
    """What the leaked key is, and whether the user has a second key that Infisical does not know."""
    rotation = facts.rotation
    if rotation is None:
        return [f"It is not known which key this is. {facts.unread}"]
    of_rotation = f"the rotation {rotation.name}, last rotated at {format_timestamp(rotation.last_rotated_at)}"
    kind = facts.kind_of(facts.key_id)
    lines = {
        Kind.PUBLISHED: f"It is the published key of {of_rotation}: consumers use it",
        Kind.PREVIOUS: f"It is the previous key of {of_rotation}",
        Kind.UNCLEAR: f"It is unclear which key Infisical publishes for {of_rotation}",
        Kind.ORPHAN: f"Infisical does not know it: it was created after {of_rotation}. {_ABOUT_ORPHANS}",
    }
    return [lines[kind]] + [
        f"The user has a second key that Infisical does not know: {key.id}, created at"
        f" {format_timestamp(key.created_at)}, {'active' if key.active else 'inactive'}. A thief may have made it. Run"
        f" this command for it; it also blocks the rotation until you delete it: {_delete(facts.user_name, key.id)}"
        for key in facts.others
        if facts.kind_of(key.id) is Kind.ORPHAN
    ]


def describe_use(use: LastUse) -> str:
    """When and for what a key was last used."""
    return f"at {format_timestamp(use.at)} for {use.service} in {use.region}"


def _delete(user_name: str, key_id: str) -> str:
    return f"aws iam delete-access-key --user-name {user_name} --access-key-id {key_id}"
