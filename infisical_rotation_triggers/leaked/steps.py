"""Takes one step after the other, until a person or time is needed, or nothing is left to do."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from infisical_rotation_triggers.leaked.plan import Act, Consent, Facts, Kind, Rotation, Status, Step, plan
from rotator.clock import Clock, Deadline
from rotator.rotation.key_policy import UserKeys

# An attempt ends within 180 s (GUARDED_SECONDS of rotate), and its request may wait a minute before.
ROTATION_SECONDS = 240.0
PAUSE_SECONDS = 2.0

NOT_CONFIRMED = (
    "The rotation was requested, and Infisical does not show it yet. See the log of the stack's rotate function for the"
    " reason, then run this command again: it does not rotate twice"
)


class Looks(Protocol):
    """What an Investigation offers."""

    def look(self) -> Facts:
        """Read what is known now."""

    def request_rotation(self, rotation: Rotation) -> str:
        """Force a rotation for its moment; return why that was not accepted, or nothing."""


@dataclass
class Response:
    """Responds to the leak. `deactivate` takes a user's name and a key's id.

    `ask` asks a person for a consent, and returns whether it was given; it returns False where nobody can be asked.
    """

    investigation: Looks
    deactivate: Callable[[str, str], None]
    say: Callable[[str], None]
    ask: Callable[[Consent, Facts], bool]
    clock: Clock
    consents: frozenset[Consent] = frozenset()
    _deactivated: set[str] = field(default_factory=set)

    def respond(self) -> Status:
        """Raise what boto3's clients raise."""
        failed = ""
        while True:
            facts = self._look(failed)
            step = plan(facts, self.consents)
            self.say(step.text)
            match step.act:
                case Act.ROTATE if facts.rotation:
                    failed = self._rotate(facts.rotation)
                case Act.DEACTIVATE:
                    self.deactivate(facts.user_name, facts.key_id)
                    self._deactivated.add(facts.key_id)
                case _:
                    if not self._is_allowed(step, facts):
                        return step.status

    def _is_allowed(self, step: Step, facts: Facts) -> bool:
        given = next((consent for consent in step.needs if self.ask(consent, facts)), None)
        if given:
            self.consents |= {given}
        return given is not None

    def _rotate(self, rotation: Rotation) -> str:
        """Request it, and wait until another key is published; return why that did not happen."""
        if refused := self.investigation.request_rotation(rotation):
            return refused
        deadline = Deadline(self.clock.monotonic() + ROTATION_SECONDS, self.clock)
        while deadline.remaining_seconds() > 0:
            self.clock.sleep(PAUSE_SECONDS)
            facts = self._look()
            if facts.key is None or facts.kind_of(facts.key_id) is Kind.PREVIOUS:
                return ""
        return NOT_CONFIRMED

    def _look(self, failed: str = "") -> Facts:
        """Look, and keep what this run knows better: that a rotation has failed, and that a key is inactive."""
        facts = self.investigation.look()
        if facts.rotation and failed:
            facts = replace(facts, rotation=replace(facts.rotation, refusal=facts.rotation.refusal or failed))
        # IAM may still list as active what it has just deactivated:
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
        keys = (replace(key, active=key.active and key.id not in self._deactivated) for key in facts.user.keys)
        return replace(facts, user=UserKeys(tuple(keys)))
