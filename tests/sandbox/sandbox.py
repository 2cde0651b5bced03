"""The whole application on this machine: an embedded AWS, a stand-in Infisical, and the deployed stack between them."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.sandbox.accounts import (
    GUARD_ROLE,
    GUARD_ROLE_ARNS,
    OTHER_ACCOUNT,
    Connections,
    add_guard_role,
    connect,
    iam_of,
)
from tests.sandbox.deployment import Deployment, deploy
from tests.sandbox.embedded_aws import ACCOUNT, REGION, EmbeddedAws, embedded_aws
from tests.sandbox.hook import MIRRORED_SECRET_ARNS, Hook, watched_hook
from tests.sandbox.iam_front import IamFront, lead_to_iam
from tests.sandbox.proxy import Server, proxy
from tests.sandbox.secret_sync import syncing_to
from tests.sandbox.standin.core import StandIn
from tests.sandbox.standin.server import serve
from tests.sandbox.standin.sts import ForwardingSts

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

    from tests.sandbox.standin.identities import Identity
    from tests.sandbox.standin.rotations import Rotation

# Before the time of every sample event, so that each of them finds its rotation due.
LONG_AGO = datetime(2026, 1, 5, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Sandbox:
    """What a test or a person needs of it. `url` is Infisical's.

    `iam_url` is where everybody here reaches IAM, `iam` among them; `iam_front` is what stands there.
    """

    infisical: StandIn
    url: str
    identity: "Identity"
    hook_identity: "Identity"
    stack: Deployment
    iam: "IAMClient"
    iam_url: str
    iam_front: IamFront
    connections: Connections
    hook: Hook

    def add_rotation(
        self,
        name: str,
        last_rotated_at: datetime = LONG_AGO,
        *,
        account: str = ACCOUNT,
        **fields: Any,  # noqa: ANN401 - whatever says where in Infisical it is
    ) -> "Rotation":
        """Create an IAM user with a key of that time, and the rotation that keeps it; `fields` are the stand-in's."""
        self._iam_of(account).create_user(UserName=name)
        if account != ACCOUNT:
            self.connections.elsewhere[name] = connect(self.stack.aws, self.iam_url, f"infisical-{name}", account)
        rotation = self.infisical.add_rotation(name=name, user_name=name, last_rotated_at=last_rotated_at, **fields)
        if "accessKeyId" in rotation.published:
            self.iam_front.date(self.published_key(rotation), last_rotated_at)
        return rotation

    def age(self, rotation: "Rotation", by: timedelta) -> None:
        """Let everything that Infisical and IAM know of a rotation and its keys have happened that much earlier.

        Whatever occurs now then occurs that much later, in new processes: none has seen the rotation where it was.
        """
        seconds = by.total_seconds()
        rotation.last_rotated_at -= seconds
        rotation.last_attempted_at -= seconds
        rotation.created_at -= seconds
        rotation.updated_at -= seconds
        for key in self.connections.list_access_keys(rotation.name):
            self.iam_front.age(key, by)
        self.stack.restart("RotateFunction")

    def settle(self, user: str, key_id: str) -> None:
        """Let a key be a quarter of an hour older: no rotation that Infisical does not show yet can have made it."""
        (key,) = (key for key in self.connections.list_access_keys(user) if key.id == key_id)
        self.iam_front.age(key, timedelta(minutes=15))

    def use_key(self, key_id: str, at: datetime, service: str = "s3", region: str = REGION) -> None:
        """Let IAM say that a key was used then, and not since."""
        self.iam_front.use(key_id, at, service, region)

    def add_guard_role(self, name: str = GUARD_ROLE, account: str = OTHER_ACCOUNT) -> str:
        """Create a role that may look at the keys of another account, for the stack's functions; return its ARN.

        The functions may assume it where its name begins with GUARD_ROLE.
        """
        functions = ("Dispatch", "Rotate", "Hook", "Audit", "Retire")
        roles = (self.stack.outputs.get(f"{function}RoleArn") for function in functions)
        trusted = [role for role in roles if role]
        return add_guard_role(self._iam_of(account), account, name, trusted)

    def published_key(self, rotation: "Rotation") -> str:
        """The id of the access key that Infisical hands to consumers now."""
        return str(rotation.published["accessKeyId"])

    def add_sync(self, rotation: "Rotation", secret_arn: str) -> None:
        """Let Infisical keep a secret up to date by itself, after every rotation."""
        user = f"syncs-{rotation.name}-{len(rotation.after_commit)}"
        self.infisical.add_sync(rotation.id, syncing_to(self.stack.aws, secret_arn, user))

    def valid_keys(self, user: str) -> set[str]:
        """The access key ids that AWS accepts for a user."""
        return {key.id for key in self.connections.list_access_keys(user)}

    def _iam_of(self, account: str) -> "IAMClient":
        return self.iam if account == ACCOUNT else iam_of(self.stack.aws, self.iam_url, account)


@dataclass(frozen=True)
class Surroundings:
    """An AWS and an Infisical, with nothing deployed. The fields are as in Sandbox."""

    aws: EmbeddedAws
    infisical: StandIn
    url: str
    iam_url: str
    iam_front: IamFront
    connections: Connections


@contextmanager
def surroundings() -> Iterator[Surroundings]:
    """Start an AWS and an Infisical that changes keys there; stop both afterwards."""
    with ExitStack() as running:
        aws = running.enter_context(embedded_aws())
        iam_front = IamFront(Server(), aws)
        iam_url = running.enter_context(proxy(aws.endpoint, iam_front))
        connections = Connections(connect(aws, iam_url, "infisical"))
        infisical = StandIn(time, connections, sts=ForwardingSts(aws.endpoint))
        url = running.enter_context(serve(infisical))
        yield Surroundings(aws, infisical, url, iam_url, iam_front, connections)


@contextmanager
def sandbox(**parameters: str) -> Iterator[Sandbox]:
    """Start everything and deploy what was built, with `parameters` for the template; stop everything afterwards."""
    with ExitStack() as running:
        around = running.enter_context(surroundings())
        aws, infisical, url, iam_url = around.aws, around.infisical, around.url, around.iam_url
        identity = infisical.add_identity({"read", "rotate-secrets"}, allowed_principals=[])
        hook_identity = infisical.add_identity({"read", "read-generated-credentials"}, allowed_principals=[])
        defaults = {
            "InfisicalUrl": url,
            "MachineIdentityId": identity.id,
            "HookMachineIdentityId": hook_identity.id,
            "MirroredSecretArns": MIRRORED_SECRET_ARNS,
            "KeyGuardRoleArns": GUARD_ROLE_ARNS,
        }
        stack = deploy(aws, **(defaults | parameters))
        identity.allowed_principals = [
            stack.outputs[f"{function}RoleArn"] for function in ("Dispatch", "Rotate", "Audit")
        ]
        hook_identity.allowed_principals = [stack.outputs["HookRoleArn"]]
        lead_to_iam(stack, iam_url)
        function = stack.resources("AWS::Lambda::Function")["HookFunction"]
        hook = running.enter_context(watched_hook(aws, function, url))
        iam = iam_of(aws, iam_url)
        yield Sandbox(
            infisical, url, identity, hook_identity, stack, iam, iam_url, around.iam_front, around.connections, hook
        )
