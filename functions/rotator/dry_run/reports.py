"""The JSON of dry runs: functions write it, the command and the audit read it. Only type checkers import this."""

from typing import Literal, NotRequired, TypedDict, final


class UnreadableRotation(TypedDict):
    """Infisical did not show a rotation to `dispatch`."""

    rotation_id: str
    rotation_type: str
    decision: Literal["unreadable"]
    reason: str
    explanation: str


class RotationReport(TypedDict):
    """What `dispatch` would decide about a rotation now. Only a guarded rotation has the last three fields."""

    rotation_id: str
    rotation_type: str
    rotation_name: str
    user_name: str | None
    connection_id: str | None
    auto_rotation: bool
    last_rotated_at: str
    decision: Literal["rotate", "skip", "refuse", "wait"]
    reason: str
    explanation: str
    minimum_interval_seconds: int
    maximum_age_seconds: int | None
    key_guard: bool
    key_guard_refusal: NotRequired[str | None]
    key_guard_explanation: NotRequired[str]
    grace_period_seconds: NotRequired[int]


class KeyReport(TypedDict):
    """The part of a RotationReport that the key guard adds."""

    key_guard_refusal: str | None
    key_guard_explanation: str
    grace_period_seconds: int


class UnreadableSide(TypedDict):
    """The hook could not read the secret, or Infisical's credentials."""

    what: Literal["secret", "credentials"]
    reason: str
    explanation: str


class SecretRotation(TypedDict, total=False):
    """How Secrets Manager rotates a secret. It is missing where the secret cannot be described."""

    rotation_enabled: bool
    rotation_function: str | None
    rotation_schedule: str | None


class MirrorReport(SecretRotation):
    """What the hook sees of a mirror. `state` is the value of a MirrorState."""

    secret: str
    rotation_id: str
    dry_run: Literal[True]
    state: str
    unreadable: list[UnreadableSide]


class ReadableAccess(TypedDict):
    """Infisical shows the rotation to `rotate`, or to the audit."""

    rotation_id: str
    dry_run: Literal[True]
    readable: Literal[True]


class UnreadableAccess(TypedDict):
    """Infisical does not show it."""

    rotation_id: str
    dry_run: Literal[True]
    readable: Literal[False]
    reason: str
    explanation: str


AccessReport = ReadableAccess | UnreadableAccess


class TriggerSummary(TypedDict):
    """How `dispatch` read an event. It leaves mirrored rotations out, and names them in `mirrored`."""

    trigger: str
    occurred_at: str
    correlation_id: str
    mirrored: NotRequired[list[str]]


@final
class TriggerReport(TriggerSummary):
    """The answer to a dry run of a trigger."""

    dry_run: Literal[True]
    rotations: list[RotationReport | UnreadableRotation]


@final
class IgnoredReport(TypedDict):
    """The answer to an event that leaves a secret's value unchanged."""

    ignored: str
    requests: int
    correlation_id: str


@final
class DispatchReport(TriggerSummary):
    """The answer to a trigger: the number of requests that were sent."""

    requests: int
