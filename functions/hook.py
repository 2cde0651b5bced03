"""Lambda function `hook`: Secrets Manager rotates a secret that mirrors a rotation's key.

It is AWS's "rotation function", and never rotates in Infisical itself. It adopts the key that Infisical publishes, or
requests a rotation from `rotate` and waits for the new key. A crash at any point is safe. A retry with the same token
requests again if the same key is still published, and otherwise adopts the new key.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from rotator.aws import GUARD_CONFIG, LazyClient, client, parameter_reader
from rotator.clock import Deadline
from rotator.dry_run.mirror import preview_mirror
from rotator.infisical.client import Infisical
from rotator.infisical.connect import connect
from rotator.infisical.errors import reason_of
from rotator.lambda_init import finish
from rotator.mirror.fresh_key import RotationWaiter
from rotator.mirror.value import HookError, key_in, with_key
from rotator.mirror.verification import get_caller_arn, is_accepted, wait_until_accepted
from rotator.mirror.versions import StagedSecret, Version
from rotator.model import AccessKey, Mirror
from rotator.outcomes.event_bridge import EventBridge
from rotator.outcomes.others import hook_step_failed, mirror_rotated
from rotator.outcomes.publisher import OutcomeEvents
from rotator.rotation.consumer_lookup import ConsumerLookup
from rotator.rotation.key_guard import IamClients, KeyGuard
from rotator.rotation.key_policy import SETTLED_AFTER
from rotator.rotation.queues import RequestQueue
from rotator.settings import MAP_SOURCE, RequesterSettings
from rotator.telemetry import Metric, Telemetry
from rotator.timestamps import format_timestamp, from_epoch
from rotator.triggers.rotation_map import parse_rotation_map

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from rotator.clock import Clock
    from rotator.dry_run.reports import MirrorReport

# Left when all waiting has ended: 5 s for the answer, and one call of EventBridge that hangs: 10 s, and one to
# spare.
FINISH_SECONDS = 16.0


@dataclass(frozen=True, slots=True)
class Hook:
    """The four steps of a rotation, as Secrets Manager calls them: in order, and all again after a failure."""

    read_map: Callable[[], str]
    secrets: "SecretsManagerClient"
    infisical: Infisical
    waiter: RotationWaiter
    ask: Callable[[AccessKey], str]
    events: OutcomeEvents
    telemetry: Telemetry
    clock: "Clock"

    def handle(self, event: object, remaining_seconds: float) -> dict[str, Any] | None:
        """Do one step, or answer a dry run.

        Raises the error that Secrets Manager shows to the operator. It contains no key material.
        """
        if secret_arn := _dry_run_of(event):
            return dict(self._preview(secret_arn))
        step, secret_id, token = _parse(event)
        log: dict[str, Any] = {"step": step, "secret": secret_id, "correlation_id": token}
        deadline = Deadline(self.clock.monotonic() + remaining_seconds - FINISH_SECONDS, self.clock)
        try:
            self._step(step, StagedSecret.describe(self.secrets, secret_id, token), deadline)
        except Exception as error:
            reason = reason_of(error)
            # Lambda logs the traceback.
            self.telemetry.logger.error("hook step failed", reason=reason, explanation=str(error), **log)  # noqa: TRY400
            self.telemetry.count(Metric.HOOK_STEP_FAILED, reason=reason, **log)
            self.events.put([hook_step_failed(secret_id, token, step, reason, str(error))])
            raise
        self.telemetry.logger.info("hook step done", **log)
        self.telemetry.count(Metric.HOOK_STEP_SUCCEEDED, **log)
        if step == "finishSecret":
            self.events.put([mirror_rotated(secret_id, token)])
        return None

    def _preview(self, secret_arn: str) -> "MirrorReport":
        mirror = parse_rotation_map(self.read_map()).mirror_of(secret_arn)
        report = preview_mirror(self.secrets, self.infisical, secret_arn, mirror)
        self.telemetry.logger.info("mirror previewed", secret=secret_arn, state=report["state"])
        return report

    def _step(self, step: str, secret: StagedSecret, deadline: Deadline) -> None:
        mirror = parse_rotation_map(self.read_map()).mirror_of(secret.arn)
        if not secret.needs_promotion():
            return
        match step:
            case "createSecret":
                self._create(secret, mirror, deadline)
            case "setSecret":
                self._set(secret, mirror)
            case "testSecret":
                self._test(secret, mirror, deadline)
            case "finishSecret":
                self._pending(secret, mirror)  # raises if the version is still empty
                secret.promote()

    def _create(self, secret: StagedSecret, mirror: Mirror, deadline: Deadline) -> None:
        """Give the pending version the key that Infisical publishes, once it differs from the current one."""
        if secret.fetch_pending().value is not None:
            return
        version = secret.fetch_current()
        current = key_in(version.value, mirror)
        credentials = self.infisical.credentials(mirror.rotation)
        published = credentials.published
        if published == current:
            published = self.waiter.request_and_wait(published, mirror.rotation, secret.arn, secret.token, deadline)
        elif (
            current is not None
            and current.id not in credentials.valid_ids
            and self._is_young(version)
            and is_accepted(current, self.ask)
        ):  # never back to an older key
            raise self._stale("current", current, "AWS accepts it")
        # Any other published key is adopted, however old: a rotation would revoke the key that readers still hold.
        secret.put_pending(with_key(version.value, mirror, published))

    def _stale(self, which: str, key: AccessKey, but: str) -> HookError:
        """Infisical may read from a database replica that lags. A key that it does not list may be too new for it."""
        settled_at = format_timestamp(from_epoch(self.clock.time()) + SETTLED_AFTER)
        return HookError(
            f"Infisical does not list the {which} key {key.id}, but {but}: the answer may come from a"
            " database replica that lags. The secret is unchanged. Secrets Manager tries again; expect it to succeed"
            f" from {settled_at} on"
        )

    def _is_young(self, version: Version) -> bool:
        """Whether Infisical's answer may be older than the version."""
        made_at = version.created_at
        return made_at is not None and from_epoch(self.clock.time()) - made_at < SETTLED_AFTER

    def _set(self, secret: StagedSecret, mirror: Mirror) -> None:
        """Check that the pending key is still valid. There is nothing to set: Infisical created the key in IAM."""
        pending = self._pending(secret, mirror)
        valid = self.infisical.credentials(mirror.rotation).valid_ids
        if pending.id not in valid:
            if self._is_young(secret.fetch_pending()):
                raise self._stale("pending", pending, "it was published only minutes ago")
            if is_accepted(pending, self.ask):
                raise self._stale("pending", pending, "AWS accepts it")
            raise HookError(
                f"the pending key {pending.id} no longer belongs to the rotation. Clear the stuck version, and the"
                f" next rotation starts anew: aws secretsmanager update-secret-version-stage --secret-id {secret.arn}"
                f" --version-stage AWSPENDING --remove-from-version-id {secret.token}"
            )

    def _test(self, secret: StagedSecret, mirror: Mirror, deadline: Deadline) -> None:
        """Read only: Secrets Manager may call this step alone."""
        state = self.infisical.state(mirror.rotation)
        if state.user_name is None:
            raise HookError(
                f"Infisical names no IAM user for the rotation {state.id}; a mirror needs a rotation of an IAM user"
            )
        wait_until_accepted(self._pending(secret, mirror), state.user_name, self.ask, deadline)

    def _pending(self, secret: StagedSecret, mirror: Mirror) -> AccessKey:
        pending = key_in(secret.fetch_pending().value, mirror)
        if pending is None and key_in(secret.fetch_current().value, mirror) is None:
            raise HookError(
                "the secret holds no key yet; rotate it once: aws secretsmanager rotate-secret --secret-id"
                f" {secret.arn}"
            )
        if pending is None:
            raise HookError(
                f"version {secret.token} of {secret.arn} holds no key in the fields {mirror.access_key_id_field} and"
                f" {mirror.secret_access_key_field}"
            )
        return pending


def _dry_run_of(event: object) -> str | None:
    """The secret of a dry run; None for any other event. An event with a dry run and a step is refused."""
    match event:
        case {"dryRun": True, "SecretId": str(secret_arn), **rest} if secret_arn and not rest:
            return secret_arn
        case {"dryRun": _}:
            raise HookError(
                'a dry run must be {"dryRun": true, "SecretId": "<the secret\'s full ARN>"} without other fields'
            )
    return None


def _parse(event: object) -> tuple[str, str, str]:
    match event:
        case {
            "Step": "createSecret" | "setSecret" | "testSecret" | "finishSecret" as step,
            "SecretId": str(secret_id),
            "ClientRequestToken": str(token),
        }:
            return step, secret_id, token
    raise HookError(
        "the event has no Step, SecretId and ClientRequestToken: only Secrets Manager invokes this function. To rotate"
        " the secret: aws secretsmanager rotate-secret --secret-id …"
    )


@cache
def compose() -> Hook:
    """Put the function together from its environment, once for each of Lambda's processes."""
    settings = RequesterSettings.read(os.environ, identity_of="Hook")
    infisical = connect(settings.infisical, time)
    telemetry = Telemetry(settings.service, settings.log_level)
    bus = EventBridge(time)
    requests = RequestQueue(client("sqs"), settings.requests_queue_url)
    own_iam: Any = LazyClient("iam", GUARD_CONFIG)  # where a new key has to be asked for
    clients = IamClients(own_iam, time)
    name_consumers = ConsumerLookup(clients.cloudtrail, time) if settings.name_consumers else None
    guard = KeyGuard(clients, settings.minimum_interval, settings.grace_period, time, name_consumers)
    return Hook(
        read_map=parameter_reader(settings.rotation_map_parameter, MAP_SOURCE),
        secrets=client("secretsmanager"),
        infisical=infisical,
        waiter=RotationWaiter(infisical, requests, guard.decide, settings.minimum_interval, telemetry.logger),
        ask=get_caller_arn,
        events=OutcomeEvents(
            bus, settings.outcome_event_bus_name, settings.outcome_event_source, settings.service, telemetry
        ),
        telemetry=telemetry,
        clock=time,
    )


def handler(event: object, context: "LambdaContext") -> dict[str, Any] | None:
    """Answer one invocation."""
    return compose().handle(event, context.get_remaining_time_in_millis() / 1000)


finish(compose)
