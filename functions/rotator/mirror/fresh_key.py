"""A new key for a secret that mirrors a rotation: requested through the queue, and awaited.

Only `rotate` rotates. A repeated request for one occurrence does not rotate again.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from aws_lambda_powertools import Logger

from rotator.clock import Deadline
from rotator.infisical.client import READ_TIMEOUT_SECONDS, Infisical
from rotator.infisical.errors import InfisicalError
from rotator.mirror.value import HookError
from rotator.model import AccessKey, MappedRotation, RotationState
from rotator.rotation.key_policy import SETTLED_AFTER
from rotator.rotation.policy import Decider, Verdict, too_soon_until
from rotator.rotation.queues import RequestQueue
from rotator.rotation.request import RotationRequest
from rotator.timestamps import format_timestamp, from_epoch

# A rotation usually takes seconds, so the first pause is short. Reads are rate-limited, so later ones are longer.
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 15.0
SHORTEST_READ_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RotationWaiter:
    """Requests rotations of mirrored keys, and polls Infisical until they have happened.

    `decide` makes the decision that `rotate` makes, key guard included. What it would refuse is not requested.
    """

    infisical: Infisical
    requests: RequestQueue
    decide: Decider
    minimum_interval: timedelta
    logger: Logger

    def request_and_wait(
        self, current: AccessKey, rotation: MappedRotation, secret_arn: str, token: str, deadline: Deadline
    ) -> AccessKey:
        """Request a rotation for the occurrence `token` of the trigger `secret_arn`, and wait for the new key.

        A retry with the same token is a request of its own, at its own moment: SQS would drop a repeated one for five
        minutes, although the first may have been refused. It cannot rotate a second time: if the earlier request has
        rotated, the later one lies before that commit, or within the margin after it, and is skipped.
        Returns the key that replaces `current`. Raises HookError if the rotation is refused, fails, or does not end in
        time, and InfisicalError if the state before it cannot be read.
        """
        before = self.infisical.state(rotation)
        now = from_epoch(deadline.clock.time())
        request = RotationRequest(self._spaced(rotation), secret_arn, now, correlation_id=token)
        self._raise_unless_due(before, request)
        self.requests.send([request])
        pause = FIRST_PAUSE_SECONDS
        while deadline.remaining_seconds() > pause:
            deadline.clock.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
            published = self._look(rotation, before, deadline)
            if published is not None and published != current:
                return published
        raise HookError(
            "no new key was published in time. The request waits in RotationRequests.fifo, or failed and is in"
            " FailedRotations.fifo. Secrets Manager tries again. To see what happened, search the rotate function's log"
            f" for the correlation_id {token}"
        )

    def _look(self, rotation: MappedRotation, before: RotationState, deadline: Deadline) -> AccessKey | None:
        """Return the published key once the rotation has happened. A failed read is repeated."""
        try:
            state = self.infisical.state(rotation, _patience_seconds(deadline))
            if state.committed_after(before):
                return self.infisical.credentials(rotation, _patience_seconds(deadline)).published
        except InfisicalError as error:
            self.logger.warning("the rotation could not be read", explanation=str(error))
            return None
        if state.failed_after(before):
            raise HookError(f"the rotation failed. Infisical said: {state.last_message or 'nothing'}")
        return None

    def _spaced(self, rotation: MappedRotation) -> MappedRotation:
        """Give a retry a minimum interval: a lagging replica may show it the key from before the rotation."""
        interval = max(rotation.options.minimum_interval or self.minimum_interval, SETTLED_AFTER)
        return replace(rotation, options=replace(rotation.options, minimum_interval=interval))

    def _raise_unless_due(self, state: RotationState, request: RotationRequest) -> None:
        decision = self.decide(state, request)
        if decision.verdict is Verdict.SKIP:
            allowed = format_timestamp(too_soon_until(state, request, self.minimum_interval))
            raise HookError(
                f"the secret holds the published key, and {decision.explanation}; another rotation is allowed from"
                f" {allowed}"
            )
        if decision.verdict is Verdict.REFUSE:
            raise HookError(f"no rotation is possible ({decision.reason}): {decision.explanation}")
        if decision.verdict is Verdict.WAIT:
            raise HookError(
                f"no rotation is possible yet ({decision.reason}): {decision.explanation}. Secrets Manager tries again;"
                f" expect it to succeed from {format_timestamp(request.occurred_at + SETTLED_AFTER)} on. If it has"
                f" stopped by then: aws secretsmanager rotate-secret --secret-id {request.trigger}"
            )


def _patience_seconds(deadline: Deadline) -> float:
    """How long a read may take, so that time is left to report why no key was published."""
    return max(SHORTEST_READ_SECONDS, min(READ_TIMEOUT_SECONDS, deadline.remaining_seconds()))
