"""The stand-in Infisical: what the server does for its callers, in real time or in virtual time."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from tests.sandbox.standin.answers import Answer, Dropped, Outcome, Refusal
from tests.sandbox.standin.attempts import Pace
from tests.sandbox.standin.clock import Clock
from tests.sandbox.standin.faults import Dies, Fails, Faults
from tests.sandbox.standin.identities import Identity, Permission, TokenPolicy
from tests.sandbox.standin.keys import KeyStore
from tests.sandbox.standin.limits import RateLimits
from tests.sandbox.standin.login_endpoints import LoginEndpoints
from tests.sandbox.standin.pipeline import Pipeline
from tests.sandbox.standin.replicas import Replicas
from tests.sandbox.standin.requests import JournalEntry, Request
from tests.sandbox.standin.rotation_endpoints import RotationEndpoints
from tests.sandbox.standin.rotation_types import AWS_IAM_USER_SECRET, DatabaseUsers, IamUser, Provider
from tests.sandbox.standin.rotations import Rotation
from tests.sandbox.standin.sts import MemorySts, Sts
from tests.sandbox.standin.timeline import Process, Task, Timeline
from tests.sandbox.standin.tokens import Tokens


@dataclass(frozen=True)
class Call:
    """A request that the server works on, until it closes the socket."""

    task: Task
    entry: JournalEntry
    closes_at: float


# Every server of this process: what any of them handed out may show up in no log.
SERVERS: list["StandIn"] = []


class StandIn:
    """`handle` is the whole server; `begin` and `poll` are for callers with their own idea of waiting.

    Several threads may call at once. `requests` is the journal of everything that arrived. Without an `sts` no AWS
    credentials are valid.
    """

    def __init__(
        self,
        clock: Clock,
        keys: KeyStore,
        *,
        sts: Sts | None = None,
        limit_seconds: float = 30,
        rate_limits: RateLimits | None = None,
        pace: Pace | None = None,
    ) -> None:
        SERVERS.append(self)
        self.clock = clock
        self.keys = keys
        self.requests: list[JournalEntry] = []
        self._limit_seconds = limit_seconds
        self._mutex = threading.RLock()
        self._timeline = Timeline()
        self._tokens = Tokens()
        self._logins = LoginEndpoints(self._tokens, sts or MemorySts())
        self._rotations = RotationEndpoints(self._timeline, pace or Pace())
        self._pipeline = Pipeline(self._tokens, self._logins, self._rotations, rate_limits)

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        return self.wait_for(self.begin(method, path, headers, body))

    def wait_for(self, call: Call) -> Outcome:
        while isinstance(reply := self.poll(call), float):
            self.clock.sleep(reply)
        return reply

    def begin(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Call:
        with self._mutex:
            now = self.settle()
            entry = JournalEntry(now, method, path)
            self.requests.append(entry)
            process = self._pipeline.answer(Request(now, method, path, headers, body), entry.request_id)
            return Call(self._timeline.start(process, now), entry, now + self._limit_seconds)

    def poll(self, call: Call) -> Outcome | float:
        """Return what the caller gets, or the seconds until it is worth asking again."""
        with self._mutex:
            now = self.settle()
            ended_in_time = call.task.ended_at <= call.closes_at
            if not ended_in_time and now < call.closes_at:
                return min(call.task.wakes_at, call.closes_at) - now
            outcome = call.task.outcome if ended_in_time else Dropped()
            if isinstance(outcome, Answer):
                call.entry.status = outcome.status
            return outcome

    def settle(self) -> float:
        """Let everything happen that is due by now, each thing at its own moment; return now."""
        with self._mutex:
            now = self.clock.time()
            self._timeline.settle(now)
            return now

    def add_rotation(
        self,
        *,
        rotation_id: str | None = None,
        name: str = "aws-iam-rotation",
        description: str | None = None,
        user_name: str = "app-user",
        region: str = "us-east-1",
        project_id: str = "d17eeab6-9bb7-4255-9168-ccac2028bfd4",
        environment: str = "dev",
        path: str = "/",
        rotation_type: str = AWS_IAM_USER_SECRET,
        last_rotated_at: datetime | None = None,
        is_auto_rotation_enabled: bool = True,
        is_last_rotation_manual: bool = True,
        rotation_interval_days: int = 30,
        rotate_at_utc: tuple[int, int] = (0, 0),
    ) -> Rotation:
        """Create a rotation with its first credential, as of `last_rotated_at` (default: now)."""
        at = last_rotated_at.timestamp() if last_rotated_at else self.clock.time()
        is_iam = rotation_type == AWS_IAM_USER_SECRET
        provider: Provider = IamUser(self.keys, user_name, region) if is_iam else DatabaseUsers(user_name)
        rotation = Rotation(
            id=rotation_id or str(uuid4()),
            type=rotation_type,
            name=name,
            description=description,
            project_id=project_id,
            environment=environment,
            path=path,
            provider=provider,
            is_auto_rotation_enabled=is_auto_rotation_enabled,
            is_last_rotation_manual=is_last_rotation_manual,
            rotation_interval_days=rotation_interval_days,
            rotate_at_utc=rotate_at_utc,
            last_rotated_at=at,
        )
        self._rotations.rotations[rotation.id] = rotation
        return rotation

    def start_rotation(self, rotation_id: str, seconds: float = 0.03) -> None:
        """Rotate as the server does by itself or for somebody else; it commits `seconds` from now."""
        with self._mutex:
            self._rotations.start(self.rotations[rotation_id], self.settle(), seconds)

    def start_auto_rotation(self, rotation_id: str, *faults: Fails | Dies) -> None:
        """Start the server's own job for a rotation, as its queue does; each attempt of it takes the next fault."""
        with self._mutex:
            self._rotations.start_auto_rotation(self.rotations[rotation_id], self.settle(), faults)

    def add_sync(self, rotation_id: str, write: Callable[[Rotation], object], seconds: float = 0.01) -> None:
        """Add a secret sync: `seconds` after every commit, whatever becomes of its caller, `write` what is published.

        Writing may reach out to AWS, but not back to this server, which does nothing else meanwhile.
        """
        rotation = self.rotations[rotation_id]

        def sync() -> Process:
            yield seconds
            write(rotation)
            return Dropped()  # nobody waits for it

        rotation.after_commit.append(lambda at: self._timeline.start(sync(), at))

    def add_identity(
        self,
        permissions: Collection[Permission] = ("read", "rotate-secrets"),
        *,
        projects: Collection[str] | None = None,
        environments: Collection[str] | None = None,
        allowed_principals: Collection[str] | None = None,
        token_ttl_seconds: int = 7200,
        token_max_ttl_seconds: int = 7200,
        token_use_limit: int | None = None,
    ) -> Identity:
        """`allowed_principals` adds AWS Auth: `arn:aws:iam::ACCOUNT:role/NAME` or `…:user/NAME`, whatever their paths.

        An empty collection allows everybody whom STS knows. It may be replaced on the identity at any time.
        """
        policy = TokenPolicy(token_ttl_seconds, token_max_ttl_seconds, token_use_limit)
        identity = Identity(permissions, policy, projects, environments, allowed_principals)
        self._logins.identities.append(identity)
        return identity

    def refuse_logins(self, *refusals: Refusal) -> None:
        """Answer the next logins by Universal Auth with these, one each."""
        self._logins.refusals.extend(refusals)

    def revoke_tokens(self) -> None:
        self._tokens.revoke_all()

    def expire_tokens(self) -> None:
        self._tokens.expire_all()

    @property
    def faults(self) -> Faults:
        return self._rotations.faults

    @property
    def plan_has_rotations(self) -> bool:
        """Whether the organization's plan includes secret rotation; may be set at any time."""
        return self._rotations.plan_has_rotations

    @plan_has_rotations.setter
    def plan_has_rotations(self, included: bool) -> None:
        self._rotations.plan_has_rotations = included

    @property
    def replicas(self) -> Replicas:
        return self._rotations.replicas

    @property
    def rotations(self) -> Mapping[str, Rotation]:
        return self._rotations.rotations

    @property
    def secrets(self) -> set[str]:
        """Everything that may show up nowhere else.

        Handed out: tokens, client secrets, issued secrets. Shown by a caller: the token of an AWS session.
        """
        client_secrets = [identity.client_secret for identity in self._logins.identities]
        credentials = [credential.values() for rotation in self.rotations.values() for credential in rotation.issued]
        handed_out = {*self._tokens.issued, *client_secrets, *(secret for _, secret in credentials)}
        return handed_out | self._logins.security_tokens

    @property
    def logins(self) -> list[JournalEntry]:
        return [entry for entry in self.requests if entry.path.endswith("/login")]
