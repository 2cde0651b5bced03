"""The application's core against the stand-in Infisical, in virtual time: an hour costs a millisecond."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx

from rotator.clock import Clock as ApplicationClock
from rotator.clock import Deadline
from rotator.infisical.auth_methods import universal_auth
from rotator.infisical.client import Infisical
from rotator.infisical.login import Login, MachineIdentity
from rotator.infisical.transport import BoundedTransport
from rotator.model import GuardOptions, MappedRotation, RotationOptions
from rotator.rotation.attempt import Outcome, ensure_rotated
from rotator.rotation.key_guard import KeyGuard
from rotator.rotation.request import RotationRequest
from rotator.timestamps import from_epoch
from tests.component.iam import FakeIam
from tests.sandbox.standin.clock import VirtualClock
from tests.sandbox.standin.core import StandIn
from tests.sandbox.standin.identities import Identity
from tests.sandbox.standin.keys import MemoryKeys
from tests.sandbox.standin.rotations import Rotation
from tests.sandbox.standin.transport import StandInTransport

START = datetime(2026, 11, 16, 5, tzinfo=UTC)
BASE_URL = "https://infisical.test"
MINIMUM_INTERVAL = timedelta(hours=1)
GRACE_PERIOD = timedelta(hours=6)
INVOCATION_SECONDS = 177.0


class Clock(VirtualClock):
    """The stand-in's clock, measured by the application too."""

    def monotonic(self) -> float:
        return self.time()


class World:
    """An Infisical with one rotation that is due, and a machine identity that may rotate it."""

    def __init__(
        self, *, token_ttl_seconds: int = 7200, guarded: bool = True, closes_after_seconds: float = 30
    ) -> None:
        self.guarded = guarded
        self.claims = 0
        self.clock = Clock(START.timestamp())
        self.keys = MemoryKeys(self.clock)
        self.server = StandIn(self.clock, self.keys, limit_seconds=closes_after_seconds)
        self.identity = self.server.add_identity({"read", "rotate-secrets"}, token_ttl_seconds=token_ttl_seconds)
        self.client_id, self.client_secret = self.identity.client_id, self.identity.client_secret
        self.look_at(FakeIam(self.keys.list_access_keys))
        self.rotation = self.server.add_rotation(user_name="deployer", last_rotated_at=START - timedelta(days=7))
        self.login: Callable[[], Login] = self._universal_login
        self.use_transport(StandInTransport(self.server))

    def use_transport(self, transport: httpx.BaseTransport) -> None:
        """Start the application anew, on another network."""
        self._transport = transport
        self.connect_by(self.clock)

    def connect_by(self, clock: ApplicationClock) -> None:
        """Start the application anew, with another clock."""
        self.auth = MachineIdentity(BASE_URL, self._login, clock.time)
        self.infisical = Infisical(BASE_URL, self.auth, BoundedTransport(self._transport, clock), clock)

    def look_at(self, iam: FakeIam) -> None:
        """Let the key guard look at another IAM."""
        self.iam = iam
        self.guard = KeyGuard(iam.open, MINIMUM_INTERVAL, GRACE_PERIOD, self.clock)

    def _login(self) -> Login:
        return self.login()

    def _universal_login(self) -> Login:
        return universal_auth(json.dumps({"clientId": self.client_id, "clientSecret": self.client_secret}))

    def connected_as(self, identity: Identity) -> Infisical:
        """Another client of the same Infisical, logged in as another identity."""
        secret = json.dumps({"clientId": identity.client_id, "clientSecret": identity.client_secret})
        auth = MachineIdentity(BASE_URL, lambda: universal_auth(secret), self.clock.time)
        return Infisical(BASE_URL, auth, BoundedTransport(StandInTransport(self.server), self.clock), self.clock)

    def request(self, occurred_at: datetime | None = None, rotation: Rotation | None = None) -> RotationRequest:
        """A wish of the trigger `weekly`, which occurred now unless told."""
        mapped = MappedRotation(
            id=(rotation or self.rotation).id, options=RotationOptions(guard=GuardOptions() if self.guarded else None)
        )
        return RotationRequest(mapped, "weekly", occurred_at or from_epoch(self.clock.time()), str(uuid4()))

    def ensure(self, request: RotationRequest | None = None, seconds: float = INVOCATION_SECONDS) -> Outcome:
        """Work a request within the time of one invocation."""
        deadline = Deadline(self.clock.monotonic() + seconds, self.clock)
        return ensure_rotated(self.infisical, self.guard.decide, request or self.request(), self.claim, deadline)

    def claim(self) -> Outcome | None:
        self.claims += 1
        return None

    @property
    def published_key(self) -> str:
        return str(self.rotation.slots[self.rotation.active_index]["accessKeyId"])

    @property
    def valid_keys(self) -> set[str]:
        return {key.id for key in self.keys.list_access_keys("deployer")}

    @property
    def posts(self) -> int:
        """How often rotate-secrets was sent."""
        return sum(entry.path.endswith("/rotate-secrets") for entry in self.server.requests)
