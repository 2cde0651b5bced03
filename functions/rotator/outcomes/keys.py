"""The events of the audit and of `retire` about access keys, with the commands that reactivate them."""

from rotator.model import RotationState
from rotator.outcomes.message import MAXIMUM_MESSAGE_LENGTH, one_line
from rotator.outcomes.publisher import MAXIMUM_EXPLANATION_LENGTH, DetailType, Event
from rotator.rotation.key_policy import reactivate
from rotator.text import clip
from rotator.timestamps import format_timestamp

# Of one run. All further ones are in the function's log, and on the bus.
MAXIMUM_MESSAGES = 5

_MAXIMUM_USER_LENGTH = 64  # of IAM's names: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html


class KeyEvents:
    """The events of one run. The first few that a person has to see become messages."""

    def __init__(self, stack: str, correlation_id: str) -> None:
        self._stack = stack
        self._correlation_id = correlation_id
        self._messages = 0

    def previous_key_in_use(self, state: RotationState, key_id: str, explanation: str, next_step: str) -> Event:
        """Report a consumer that has not picked up the new key. Its alarm reports it once, so no message is sent."""
        said = f"{_user(state)} - the previous access key {key_id} is still in use: {explanation}"
        detail = self._detail(state, key_id, explanation) | {
            "next_step": clip(next_step, MAXIMUM_EXPLANATION_LENGTH),
            "notify": False,
            "message": _with_ending(said, f". Next: {next_step}."),
        }
        return Event(DetailType.PREVIOUS_KEY_IN_USE, detail)

    def previous_key_deactivated(self, state: RotationState, key_id: str, explanation: str) -> Event:
        """Report a key that `retire` has deactivated, and how to undo that."""
        said = f"{_user(state)} - the previous access key {key_id} was deactivated: {explanation}"
        detail = self._detail(state, key_id, explanation) | self._to_a_person(state, key_id, said, "Undo")
        return Event(DetailType.PREVIOUS_KEY_DEACTIVATED, detail)

    def published_key_inactive(self, state: RotationState, key_id: str) -> Event:
        """Report that AWS refuses every consumer of the published key, and how to end that."""
        explanation = "AWS refuses every consumer that has picked it up. If it leaked, force a rotation"
        said = f"{_user(state)} - the published access key {key_id} is inactive. {explanation}"
        detail = self._detail(state, key_id, explanation) | self._to_a_person(state, key_id, said, "Reactivate it")
        return Event(DetailType.PUBLISHED_KEY_INACTIVE, detail)

    def _detail(self, state: RotationState, key_id: str, explanation: str) -> dict[str, object]:
        return {
            "rotation_id": state.id,
            "rotation_name": clip(state.name, 256),
            "iam_user": _user(state),
            "access_key_id": key_id,
            "last_rotated_at": format_timestamp(state.last_rotated_at),
            "explanation": clip(explanation, MAXIMUM_EXPLANATION_LENGTH),
            "correlation_id": clip(self._correlation_id, 256),
        }

    def _to_a_person(self, state: RotationState, key_id: str, said: str, command_is: str) -> dict[str, object]:
        self._messages += 1
        command = reactivate(_user(state), key_id)
        last = f" This run sends no more than {MAXIMUM_MESSAGES} messages: its log has all keys."
        return {
            "reactivate_with_aws": command,
            "reactivate_with_make": f"make reactivate KEY={key_id} STACK={self._stack}",
            "notify": self._messages <= MAXIMUM_MESSAGES,
            "message": _with_ending(
                said, f". {command_is}: {command}{last if self._messages == MAXIMUM_MESSAGES else ''}"
            ),
        }


def _user(state: RotationState) -> str:
    return one_line(state.user_name or "", _MAXIMUM_USER_LENGTH)


def _with_ending(said: str, ending: str) -> str:
    """A message whose ending is never cut."""
    return f"{one_line(said, MAXIMUM_MESSAGE_LENGTH - len(ending))}{ending}"
