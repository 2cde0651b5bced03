"""A second stack with everything that the template can grant, within a permissions boundary."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.sandbox.accounts import GUARD_ROLE_ARNS
from tests.sandbox.authority import Authority
from tests.sandbox.deployment import deploy
from tests.sandbox.embedded_aws import EmbeddedAws
from tests.sandbox.grants import granted
from tests.sandbox.hook import MIRRORED_SECRET_ARNS, watched_hook
from tests.sandbox.iam_front import lead_to_iam
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.identities import Identity

STACK = "widest"
MAP_PARAMETER = f"/{STACK}/map"
MACHINE_SECRET = "machine-identities/widest"
HOOK_SECRET = "machine-identities/widest-hook"
GUARDED_USERS = "deployer-"  # what the names of the IAM users begin with that the key guard may look at


@contextmanager
def maximal_template(beside: Sandbox) -> Iterator[Sandbox]:
    """Deploy it into the same account: Universal Auth, an authority of one's own, a VPC, the hook, guard roles."""
    aws = beside.stack.aws
    aws.client("ssm").put_parameter(Name=f"/{STACK}/ca", Value=Authority().pem, Type="String")
    boundary = add_boundary(aws, STACK, {*(grant.action for grant in granted()), "sqs:SendMessageBatch"})
    stack = deploy(
        aws,
        STACK,
        InfisicalUrl=beside.url,
        MachineIdentitySecretArn=_universal_auth(aws, MACHINE_SECRET, beside.identity),
        RotationMapParameter=MAP_PARAMETER,
        MirroredSecretArns=MIRRORED_SECRET_ARNS,
        HookMachineIdentitySecretArn=_universal_auth(aws, HOOK_SECRET, beside.hook_identity),
        KeyGuardUsers=f"{GUARDED_USERS}*",
        KeyGuardRoleArns=GUARD_ROLE_ARNS,
        RetireAfterDays="1",
        ExposedKeyMessages="ENABLED",
        CaCertificateParameter=f"/{STACK}/ca",
        VpcSubnetIds="subnet-1,subnet-2",
        VpcSecurityGroupIds="sg-1",
        PermissionsBoundaryArn=boundary,
    )
    for role in stack.resources("AWS::IAM::Role").values():  # the embedded CloudFormation forgets it
        stack.iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=boundary)
    lead_to_iam(stack, beside.iam_url)
    function = stack.resources("AWS::Lambda::Function")["HookFunction"]
    with watched_hook(aws, function, beside.url) as hook:
        yield replace(beside, stack=stack, hook=hook)


def add_boundary(aws: EmbeddedAws, name: str, actions: set[str]) -> str:
    """Create a policy that bounds whom it is given to to these actions; return its ARN."""
    statement = {"Effect": "Allow", "Action": sorted(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    arn: str = aws.client("iam").create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    return arn


def _universal_auth(aws: EmbeddedAws, name: str, identity: Identity) -> str:
    secret = aws.client("secretsmanager").create_secret(
        Name=name,
        SecretString=json.dumps({"clientId": identity.client_id, "clientSecret": identity.client_secret}),
    )
    return str(secret["ARN"])
