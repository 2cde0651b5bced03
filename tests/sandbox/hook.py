"""The deployed rotation hook, between proxies: everything that it calls passes by here."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from tests.sandbox.embedded_aws import ACCOUNT, REGION, EmbeddedAws
from tests.sandbox.outgoing_calls import OutgoingCalls
from tests.sandbox.propagation import PropagationDelay
from tests.sandbox.proxy import Server, proxy
from tests.sandbox.secret_rotation import SecretRotations, invoking
from tests.sandbox.secrets_manager import RotatingSecretsManager, RotationState

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MIRRORS = "mirror/"
MIRRORED_SECRET_ARNS = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{MIRRORS}*"

# A function may take its time, and is invoked once.
PATIENT = Config(read_timeout=900, retries={"total_max_attempts": 1})


@dataclass(frozen=True)
class Hook:
    """`secrets` is Secrets Manager as the hook sees it, for somebody who may do everything."""

    function_name: str
    secrets: "SecretsManagerClient"
    rotations: SecretRotations
    calls: OutgoingCalls
    propagation: PropagationDelay

    def add_secret(self, name: str, value: Mapping[str, str] | None = None) -> str:
        """Create a secret that the hook may keep, with the hook attached; return its ARN."""
        with_value: Any = {} if value is None else {"SecretString": json.dumps(value)}
        arn = self.secrets.create_secret(Name=MIRRORS + name, **with_value)["ARN"]
        self.rotations.attach(arn, self.function_name)
        return arn

    def value(self, secret_arn: str, label: str = "AWSCURRENT") -> dict[str, str]:
        """What a version of a secret holds, by its staging label."""
        text = self.secrets.get_secret_value(SecretId=secret_arn, VersionStage=label)["SecretString"]
        value: dict[str, str] = json.loads(text)
        return value


@contextmanager
def watched_hook(aws: EmbeddedAws, function_name: str, infisical_url: str) -> Iterator[Hook]:
    """Lead the calls of a deployed function through proxies, to both of its servers."""
    calls, state = OutgoingCalls(aws, function_name), RotationState()
    secrets_manager = RotatingSecretsManager(Server(), state, aws.client("secretsmanager"))
    propagation = PropagationDelay(Server(), aws.client("iam"))
    with ExitStack() as running:
        for_everybody = running.enter_context(proxy(aws.endpoint, secrets_manager))
        for_the_hook = {
            "AWS_ENDPOINT_URL": running.enter_context(proxy(for_everybody, calls.through(propagation))),
            "INFISICAL_URL": running.enter_context(proxy(infisical_url, calls.through(Server()))),
        }
        functions = aws.session().client("lambda", endpoint_url=aws.endpoint, config=PATIENT)
        variables = functions.get_function_configuration(FunctionName=function_name)["Environment"]["Variables"]
        functions.update_function_configuration(
            FunctionName=function_name, Environment={"Variables": {**variables, **for_the_hook}}
        )
        secrets = aws.session().client("secretsmanager", endpoint_url=for_everybody)
        rotations = SecretRotations(secrets, state, invoking(functions))
        yield Hook(function_name, secrets, rotations, calls, propagation)
