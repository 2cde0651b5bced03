"""A stand-in in virtual time with the recorded rotation on it, and somebody who is logged in."""

import json
from datetime import UTC, datetime
from typing import Any

from tests.contract import documented
from tests.sandbox.standin.answers import Answer, Outcome
from tests.sandbox.standin.clock import VirtualClock
from tests.sandbox.standin.core import Call, StandIn
from tests.sandbox.standin.identities import Identity
from tests.sandbox.standin.keys import MemoryKeys
from tests.sandbox.standin.limits import RateLimits
from tests.sandbox.standin.sts import MemorySts, Sts

ROTATION_ID = "77a93bca-52ca-4ceb-9bf4-04cfefb102e6"
CREATED_AT = datetime(2026, 11, 22, 3, 54, 39, 249_000, UTC)
STARTS_AT = datetime(2026, 11, 22, 3, 57, 8, tzinfo=UTC)

LOGIN = "/api/v1/auth/universal-auth/login"
AWS_LOGIN = "/api/v1/auth/aws-auth/login"
ROTATION = f"/api/v2/secret-rotations/aws-iam-user-secret/{ROTATION_ID}"
ROTATE = f"{ROTATION}/rotate-secrets"
CREDENTIALS = f"{ROTATION}/generated-credentials"

GARBAGE = Answer(200, {"content-type": "text/html"}, b"<html>")


def status_of(outcome: Outcome) -> int | None:
    """None for a connection that was closed."""
    return outcome.status if isinstance(outcome, Answer) else None


def parsed(outcome: Outcome) -> Any:  # noqa: ANN401 - JSON
    assert isinstance(outcome, Answer)
    return json.loads(outcome.body)


class Stage:
    def __init__(self, *, sts: Sts | None = None, rate_limits: RateLimits | None = None) -> None:
        self.clock = VirtualClock(STARTS_AT.timestamp())
        self.keys = MemoryKeys(self.clock)
        self.memory_sts = MemorySts()
        self.signed_headers = ""  # what the next login by AWS Auth shows, as it is sent
        self.standin = StandIn(self.clock, self.keys, sts=sts or self.memory_sts, rate_limits=rate_limits)
        self.rotation = self.standin.add_rotation(
            rotation_id=ROTATION_ID, description="rig", last_rotated_at=CREATED_AT
        )
        self.identity = self.standin.add_identity({"read", "rotate-secrets", "read-generated-credentials"})
        self.token = ""
        self.token = self.log_in(self.identity)

    def log_in(self, identity: Identity) -> str:
        credentials = {"clientId": identity.client_id, "clientSecret": identity.client_secret}
        return str(self.json("POST", LOGIN, credentials)["accessToken"])

    def send(self, method: str, path: str, body: object = None) -> Outcome:
        """With the token; a body is sent as JSON."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self.standin.handle(method, path, headers, b"" if body is None else json.dumps(body).encode())

    def json(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        return parsed(self.send(method, path, body))

    def rotate(self) -> Outcome:
        """Every answer has to keep the documented contract, unless it is made up or of a status not documented."""
        outcome = self.send("POST", ROTATE)
        if status_of(outcome) in documented.SCHEMAS and outcome != GARBAGE:
            documented.validate(status_of(outcome), parsed(outcome))
        return outcome

    def walk_out(self, after_seconds: float) -> None:
        """Ask for a rotation and leave without waiting for the answer."""
        self.begin_rotation()
        self.clock.sleep(after_seconds)

    def begin_rotation(self) -> Call:
        return self.standin.begin("POST", ROTATE, {"Authorization": f"Bearer {self.token}"}, b"")

    def state(self) -> Any:  # noqa: ANN401 - JSON
        return self.json("GET", ROTATION)["secretRotation"]

    def key_ids(self) -> list[str]:
        """What IAM has, oldest first."""
        return [key.id for key in self.keys.list_access_keys("app-user")]

    def published_key_id(self) -> str:
        credentials = self.json("GET", CREDENTIALS)
        return str(credentials["generatedCredentials"][credentials["activeIndex"]]["accessKeyId"])

    def rotated(self, times: int) -> None:
        """Leave `times` rotations behind that nobody here asked for."""
        for _ in range(times):
            self.standin.start_rotation(ROTATION_ID)
            self.clock.sleep(1)
            self.standin.settle()
