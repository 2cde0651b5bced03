"""Infisical's sync of a rotation's secrets into a secret of Secrets Manager, of the embedded AWS."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sandbox.embedded_aws import EmbeddedAws
from tests.sandbox.standin.rotation_types import ROTATION_TYPES
from tests.sandbox.standin.rotations import Rotation

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_secretsmanager import SecretsManagerClient


def syncing_to(aws: EmbeddedAws, secret_arn: str, user: str) -> Callable[[Rotation], None]:
    """Return what writes a rotation's published credential to the secret, under the names that it has in Infisical.

    It does so as a new IAM user that may do nothing else.
    """
    iam: IAMClient = aws.client("iam")
    iam.create_user(UserName=user)
    statement = {"Effect": "Allow", "Action": "secretsmanager:PutSecretValue", "Resource": secret_arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName=user, PolicyName="sync", PolicyDocument=document)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    session = aws.session(key["AccessKeyId"], key["SecretAccessKey"])
    secrets: SecretsManagerClient = session.client("secretsmanager", endpoint_url=aws.endpoint)

    def write(rotation: Rotation) -> None:
        names = ROTATION_TYPES[rotation.type].secrets_mapping
        value = {names[field]: text for field, text in rotation.published.items()}
        secrets.put_secret_value(SecretId=secret_arn, SecretString=json.dumps(value))

    return write
