"""The whole application on this machine: an embedded AWS, a stand-in Infisical, and the deployed stack between them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.sandbox.deployment import Deployment, deploy
from tests.sandbox.embedded_aws import ACCOUNT, EmbeddedAws, embedded_aws
from tests.sandbox.hook import MIRRORED_SECRET_ARNS, Hook, watched_hook
from tests.sandbox.secret_sync import syncing_to
from tests.sandbox.standin.core import StandIn
from tests.sandbox.standin.keys import IamKeys
from tests.sandbox.standin.server import serve
from tests.sandbox.standin.sts import ForwardingSts

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

    from tests.sandbox.standin.identities import Identity
    from tests.sandbox.standin.rotations import Rotation

# Before the time of every sample event, so that each of them finds its rotation due.
LONG_AGO = datetime(2026, 1, 5, 5, tzinfo=UTC)

# What Infisical's own connection to AWS may do: exactly what a rotation needs.
INFISICAL_POLICY = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Action": ["iam:ListAccessKeys", "iam:CreateAccessKey", "iam:DeleteAccessKey"],
        "Resource": f"arn:aws:iam::{ACCOUNT}:user/*",
    },
}


@dataclass(frozen=True)
class Sandbox:
    """What a test or a person needs of it. `url` is Infisical's."""

    infisical: StandIn
    url: str
    identity: "Identity"
    hook_identity: "Identity"
    stack: Deployment
    iam: "IAMClient"
    hook: Hook

    def add_rotation(self, name: str, last_rotated_at: datetime = LONG_AGO, **fields: Any) -> "Rotation":  # noqa: ANN401 - as the stand-in's
        """Create an IAM user with a key, and the rotation that keeps it; `fields` say where in Infisical it is."""
        self.iam.create_user(UserName=name)
        return self.infisical.add_rotation(name=name, user_name=name, last_rotated_at=last_rotated_at, **fields)

    def published_key(self, rotation: "Rotation") -> str:
        """The id of the access key that Infisical hands to consumers now."""
        return str(rotation.published["accessKeyId"])

    def add_sync(self, rotation: "Rotation", secret_arn: str) -> None:
        """Let Infisical keep a secret up to date by itself, after every rotation."""
        user = f"syncs-{rotation.name}-{len(rotation.after_commit)}"
        self.infisical.add_sync(rotation.id, syncing_to(self.stack.aws, secret_arn, user))

    def valid_keys(self, user: str) -> set[str]:
        """The access key ids that AWS accepts for a user."""
        return {key["AccessKeyId"] for key in self.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]}


@contextmanager
def sandbox(**parameters: str) -> Iterator[Sandbox]:
    """Start everything and deploy what was built, with `parameters` for the template; stop everything afterwards."""
    with embedded_aws() as aws:
        iam = aws.client("iam")
        infisical = StandIn(time, IamKeys(_infisical_iam(aws, iam)), sts=ForwardingSts(aws.endpoint))
        with serve(infisical) as url:
            identity = infisical.add_identity({"read", "rotate-secrets"}, allowed_principals=[])
            hook_identity = infisical.add_identity({"read", "read-generated-credentials"}, allowed_principals=[])
            defaults = {
                "InfisicalUrl": url,
                "MachineIdentityId": identity.id,
                "HookMachineIdentityId": hook_identity.id,
                "MirroredSecretArns": MIRRORED_SECRET_ARNS,
            }
            stack = deploy(aws, **(defaults | parameters))
            identity.allowed_principals = [
                stack.outputs[f"{function}RoleArn"] for function in ("Dispatch", "Rotate", "Audit")
            ]
            hook_identity.allowed_principals = [stack.outputs["HookRoleArn"]]
            function = stack.resources("AWS::Lambda::Function")["HookFunction"]
            with watched_hook(aws, function, url) as hook:
                yield Sandbox(infisical, url, identity, hook_identity, stack, iam, hook)


def _infisical_iam(aws: EmbeddedAws, iam: "IAMClient") -> "IAMClient":
    """IAM as the stand-in reaches it: with keys of its own that may do what a rotation needs and nothing else."""
    iam.create_user(UserName="infisical")
    iam.put_user_policy(UserName="infisical", PolicyName="rotate", PolicyDocument=json.dumps(INFISICAL_POLICY))
    key = iam.create_access_key(UserName="infisical")["AccessKey"]
    session = aws.session(key["AccessKeyId"], key["SecretAccessKey"])
    return session.client("iam", endpoint_url=aws.endpoint)
