"""Which mirrors lag. The audit asks the hook for dry runs, so that it sees no key itself."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from rotator.dry_run.mirror import MirrorState
from rotator.text import clip

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

    from rotator.clock import Clock
    from rotator.dry_run.reports import MirrorReport

CONCURRENT_DRY_RUNS = 10

# A mirror also seems to lag while its secret is being rotated, or while a replica of Infisical's database lags. Both
# are over after a minute, so only a mirror that still lags then is reported.
SECOND_LOOK_SECONDS = 60.0

_LAGGING = frozenset({MirrorState.LAGS, MirrorState.NO_VALUE, MirrorState.NO_JSON})


@dataclass(frozen=True, slots=True)
class MirrorLook:
    """One mirror as the hook sees it. `explanation` says why where its state is unknown."""

    secret: str
    state: MirrorState
    explanation: str = ""

    @property
    def lags(self) -> bool:
        """Whether the secret does not hold the key that Infisical publishes."""
        return self.state in _LAGGING

    @property
    def next_step(self) -> str:
        """The command that makes it hold that key."""
        rotate = f"aws secretsmanager rotate-secret --secret-id {self.secret}"
        if self.state is MirrorState.NO_JSON:
            return f"{as_an_object(self.secret)}; then {rotate}"
        return rotate


def as_an_object(secret: str) -> str:
    """The command that replaces a secret's value by a JSON object, and what its owner puts into it."""
    return (
        f"aws secretsmanager put-secret-value --secret-id {secret} --secret-string file://value.json, where value.json"
        " is a JSON object with all other fields that the secret's readers need"
    )


class MirrorWatch:
    """Asks the function `hook` about mirrors. Where the stack has no hook, their state is unknown."""

    def __init__(self, lambda_: "LambdaClient", hook: str, clock: "Clock") -> None:
        self._lambda = lambda_
        self._hook = hook
        self._clock = clock

    def look(self, secrets: Iterable[str]) -> list[MirrorLook]:
        """Look at each mirror, and at those that lag once more a minute later."""
        looks = {look.secret: look for look in self._look_at(secrets)}
        if lagging := [look.secret for look in looks.values() if look.lags]:
            self._clock.sleep(SECOND_LOOK_SECONDS)
            looks |= {look.secret: look for look in self._look_at(lagging)}
        return list(looks.values())

    def _look_at(self, secrets: Iterable[str]) -> list[MirrorLook]:
        with ThreadPoolExecutor(CONCURRENT_DRY_RUNS) as pool:
            return list(pool.map(self._ask, secrets))

    def _ask(self, secret: str) -> MirrorLook:
        if not self._hook:
            why = (
                "the stack has no hook to update it; deploy with MirroredSecretArns, or remove the mirror from the map"
            )
            return MirrorLook(secret, MirrorState.UNKNOWN, why)
        event = json.dumps({"dryRun": True, "SecretId": secret}).encode()
        try:
            answer = self._lambda.invoke(FunctionName=self._hook, Payload=event)
            payload = json.loads(answer["Payload"].read())
        except (BotoCoreError, ClientError) as error:
            return MirrorLook(secret, MirrorState.UNKNOWN, clip(str(error)))
        if answer.get("FunctionError"):
            return MirrorLook(secret, MirrorState.UNKNOWN, f"the hook failed: {clip(str(payload.get('errorMessage')))}")
        report: MirrorReport = payload
        problems = (f"{part['what']} ({part['reason']}): {part['explanation']}" for part in report["unreadable"])
        return MirrorLook(secret, MirrorState(report["state"]), "; ".join(problems))
