"""A new key for a secret that mirrors a rotation: asked for through the queue, and waited for.

Only `rotate` ever rotates. Whoever asks again for the same occurrence asks for the same rotation.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from aws_lambda_powertools import Logger

from rotator.clock import Deadline
from rotator.infisical.client import READ_TIMEOUT_SECONDS, Infisical
from rotator.infisical.errors import InfisicalError
from rotator.mirror.value import MirrorError
from rotator.model import AccessKey, MappedRotation, RotationState
from rotator.rotation.key_policy import SETTLED_AFTER
from rotator.rotation.policy import Decide, Verdict, allowed_from
from rotator.rotation.queues import RequestQueue
from rotator.rotation.request import RotationRequest
from rotator.timestamps import format_instant, instant_at

# A rotation that goes well takes seconds; one that does not may take the whole wait. Reads are rate-limited.
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 15.0
SHORTEST_READ_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class FreshKeys:
    """Asks for rotations of mirrored keys, and watches until they have happened.

    `decide` is what `rotate` decides by, the key guard's look at the keys included. What it would refuse is not asked
    for.
    """

    infisical: Infisical
    requests: RequestQueue
    decide: Decide
    minimum_interval: timedelta
    logger: Logger

    def after(
        self, current: AccessKey, rotation: MappedRotation, secret_arn: str, token: str, deadline: Deadline
    ) -> AccessKey:
        """Have the rotation rotated, for the occurrence that `token` is of the trigger `secret_arn`.

        A retry with the same token is a request of its own, at its own moment: SQS would drop a repeated one for five
        minutes, although the first may have been refused. It cannot rotate once more. If the earlier request is worked
        before it, its moment lies within the margin after that commit, or before it, and it ends as skipped.
        Returns the key that is published instead of `current`. Raises MirrorError where it may not, does not, or has
        not yet been rotated, and InfisicalError where its state could not be read before.
        """
        before = self.infisical.state(rotation)
        now = instant_at(deadline.clock.time())
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
        raise MirrorError(
            "no other key was published in time. The request waits in RotationRequests.fifo, or ended in"
            f" FailedRotations.fifo; the rotate function's log tells, under the correlation_id {token}."
            " Secrets Manager tries again"
        )

    def _look(self, rotation: MappedRotation, before: RotationState, deadline: Deadline) -> AccessKey | None:
        """The published key once the rotation has happened; what cannot be read now is read again."""
        try:
            state = self.infisical.state(rotation, _patience_seconds(deadline))
            if state.committed_after(before):
                return self.infisical.credentials(rotation, _patience_seconds(deadline)).published
        except InfisicalError as error:
            self.logger.warning("the rotation could not be read", explanation=str(error))
            return None
        if state.failed_after(before):
            raise MirrorError(f"the rotation failed. Infisical said: {state.last_message or 'nothing'}")
        return None

    def _spaced(self, rotation: MappedRotation) -> MappedRotation:
        """Keep a retry from being due again: it may read what was published before the rotation that it asked for."""
        interval = max(rotation.options.minimum_interval or self.minimum_interval, SETTLED_AFTER)
        return replace(rotation, options=replace(rotation.options, minimum_interval=interval))

    def _raise_unless_due(self, state: RotationState, request: RotationRequest) -> None:
        decision = self.decide(state, request)
        if decision.verdict is Verdict.SKIP:
            allowed = format_instant(allowed_from(state, request, self.minimum_interval))
            raise MirrorError(
                f"the secret holds the published key, and {decision.explanation}; another rotation is allowed from"
                f" {allowed}"
            )
        if decision.verdict is Verdict.REFUSE:
            raise MirrorError(f"no rotation is possible ({decision.reason}): {decision.explanation}")
        if decision.verdict is Verdict.WAIT:
            raise MirrorError(
                f"no rotation is possible yet ({decision.reason}): {decision.explanation}. Secrets Manager tries again;"
                f" expect it to succeed from {format_instant(request.occurred_at + SETTLED_AFTER)} on. If it has given"
                f" up by then: aws secretsmanager rotate-secret --secret-id {request.trigger}"
            )


def _patience_seconds(deadline: Deadline) -> float:
    """So long that whoever waits in vain is still told why."""
    return max(SHORTEST_READ_SECONDS, min(READ_TIMEOUT_SECONDS, deadline.remaining_seconds()))
