"""Machine identities: what each may do, and how it logs in."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from tests.sandbox.standin.answers import Refusal
from tests.sandbox.standin.rotations import Rotation

Permission = Literal["read", "rotate-secrets", "read-generated-credentials"]
Door = Literal["login", "call"]

FAILURES_UNTIL_LOCKED = 3
FAILURES_COUNT_SECONDS = 30
LOCKED_SECONDS = 300


@dataclass(frozen=True)
class TokenPolicy:
    """`use_limit` None: a token may be used without end. `ttl_seconds` 0: it does not expire."""

    ttl_seconds: int = 7200
    max_ttl_seconds: int = 7200
    use_limit: int | None = None


@dataclass
class UniversalAuth:
    """A client id with its secret. Guessing locks it, for the right secret too.

    The count of failures is kept until FAILURES_COUNT_SECONDS after the last one.
    """

    client_id: str = field(default_factory=lambda: str(uuid4()))
    client_secret: str = field(default_factory=lambda: secrets.token_hex(32))
    _failures: int = 0
    _counted_until: float = 0.0
    _locked_until: float = 0.0

    def verify(self, client_secret: str, at: float) -> None:
        if at < self._locked_until:
            raise Refusal(401, "This identity auth method is temporarily locked, please try again later")
        if client_secret == self.client_secret:
            self._failures = 0
            return
        self._failures = self._failures + 1 if at < self._counted_until else 1
        self._counted_until = at + FAILURES_COUNT_SECONDS
        if self._failures == FAILURES_UNTIL_LOCKED:
            self._failures, self._locked_until = 0, at + LOCKED_SECONDS
        raise Refusal(401, "Invalid credentials")


@dataclass
class Identity:
    """Where `projects` or `environments` is None, the identity is not restricted to any.

    Universal Auth is open to whoever has the client secret; AWS Auth is there where `allowed_principals` is not None.
    `closed_here` says where the caller's address is not among the trusted ones: client secrets and access tokens have
    a list of trusted addresses each. `organizations` are the slugs of the sub-organizations that it may log in to.
    """

    permissions: Collection[Permission]
    token_policy: TokenPolicy
    projects: Collection[str] | None = None
    environments: Collection[str] | None = None
    allowed_principals: Collection[str] | None = None
    universal_auth: UniversalAuth = field(default_factory=UniversalAuth)
    closed_here: Collection[Door] = ()
    organizations: Collection[str] = ()
    id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def client_id(self) -> str:
        return self.universal_auth.client_id

    @property
    def client_secret(self) -> str:
        return self.universal_auth.client_secret

    def require_trusted_address(self, door: Door) -> None:
        """As backend/src/lib/ip/index.ts does it."""
        if door in self.closed_here:
            raise Refusal(403, "You are not allowed to access this resource from the current IP address")

    def require_organization(self, slug: str | None) -> None:
        if slug is not None and slug not in self.organizations:
            raise Refusal(404, f"Sub organization with slug {slug} not found")

    def require_member(self, project_id: str) -> None:
        if self.projects is not None and project_id not in self.projects:
            reason = f"Identity is not a member of the specified project with ID '{project_id}'"
            raise Refusal(403, "You are not allowed to access this resource", reason)

    def require(self, permission: Permission, rotation: Rotation | None = None) -> None:
        """Without a rotation: whether the identity has this permission anywhere."""
        if permission not in self.permissions or (rotation and not self.covers(rotation)):
            raise Refusal(
                403, f"You are not allowed to {permission} on secret-rotation", "PermissionDenied", details=[]
            )

    def covers(self, rotation: Rotation) -> bool:
        return self.environments is None or rotation.environment in self.environments
