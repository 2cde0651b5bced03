"""An AWS, an Infisical, and the built functions between them, each run by AWS's emulator of the Lambda runtime."""

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.runtime.emulator import Emulator, emulator
from tests.runtime.functions import Function
from tests.sandbox.accounts import connect, iam_of
from tests.sandbox.embedded_aws import ACCOUNT, REGION, EmbeddedAws, embedded_aws
from tests.sandbox.iam_front import IamFront
from tests.sandbox.proxy import Server, proxy
from tests.sandbox.standin.core import StandIn
from tests.sandbox.standin.server import serve
from tests.sandbox.standin.sts import ForwardingSts

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_sqs import SQSClient

    from tests.sandbox.standin.rotations import Rotation

STACK = "runtime"
LONG_AGO = datetime(2026, 1, 5, 5, tzinfo=UTC)

# What the roles of the template allow is the end-to-end tests' to judge.
MAY_DO_EVERYTHING = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
TRUSTS_THE_ACCOUNT = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
    },
}


@dataclass(frozen=True)
class World:
    """`values` are those of the template's parameters and resources, `credentials` the functions' environment for AWS.

    `url` is Infisical's. `logs` holds what all functions and emulators printed.
    """

    aws: EmbeddedAws
    infisical: StandIn
    url: str
    functions: Mapping[str, Function]
    values: Mapping[str, str]
    credentials: Mapping[str, str]
    iam: "IAMClient"
    iam_front: IamFront
    sqs: "SQSClient"
    logs: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def running(
        self,
        name: str,
        values: Mapping[str, str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        timeout_seconds: int | None = None,
    ) -> Iterator[Emulator]:
        """Run a function, by its logical id, as the template has it but for what is given here.

        `values` are other ones of the template's, `variables` other ones of the environment.
        """
        function = self.functions[name]
        from_template = function.environment({**self.values, **(values or {})})
        environment = {**self.credentials, **from_template, **(variables or {})}
        logs = self.logs / f"{next(self._numbers)}-{function.handler}"
        logs.mkdir()
        seconds = timeout_seconds or function.timeout_seconds
        with emulator(function.task, function.handler, environment, logs, seconds) as running:
            yield running

    def printed(self) -> str:
        """Everything that the functions and the emulators have printed so far."""
        return "\n".join(path.read_text() for path in sorted(self.logs.glob("*/*.txt")))

    def add_rotation(self, last_rotated_at: datetime = LONG_AGO, **fields: Any) -> "Rotation":  # noqa: ANN401 - as the stand-in's
        """Create an IAM user with a key of that time, and the rotation that keeps it."""
        name = f"user-{next(self._numbers)}"
        self.iam.create_user(UserName=name)
        rotation = self.infisical.add_rotation(name=name, user_name=name, last_rotated_at=last_rotated_at, **fields)
        self.iam_front.date(str(rotation.published["accessKeyId"]), last_rotated_at)
        return rotation

    def put_parameter(self, name: str, value: object) -> str:
        """Write an SSM parameter, anything but a text as JSON; return its name."""
        text = value if isinstance(value, str) else json.dumps(value)
        self.aws.client("ssm").put_parameter(Name=name, Value=text, Type="String", Overwrite=True)
        return name

    def valid_keys(self, rotation: "Rotation") -> set[str]:
        """The access key ids that AWS accepts for a rotation's user."""
        return {key["AccessKeyId"] for key in self.iam.list_access_keys(UserName=rotation.name)["AccessKeyMetadata"]}

    def posts_for(self, rotation: "Rotation") -> int:
        """How often rotate-secrets has arrived for a rotation."""
        path = f"/{rotation.id}/rotate-secrets"
        return sum(entry.path.endswith(path) for entry in self.infisical.requests)

    def send_request(self, body: str, group: str) -> None:
        """Put a message into RotationRequests.fifo."""
        number = str(next(self._numbers))
        url = self.values["RotationRequests"]
        self.sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=number)

    def receive(self, queue: str = "RotationRequests") -> list[dict[str, Any]]:
        """Receive what waits in a queue, by its logical id, as records of the event that Lambda makes of it."""
        url = self.values[queue]
        messages = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
        return [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rpartition('/')[2]}",
                "awsRegion": REGION,
            }
            for message in messages.get("Messages", [])
        ]

    def take(self, queue: str = "RotationRequests") -> list[dict[str, Any]]:
        """Receive and delete what waits in a queue, and return the bodies."""
        bodies = []
        while records := self.receive(queue):
            for record in records:
                bodies.append(json.loads(record["body"]))
                self.sqs.delete_message(QueueUrl=self.values[queue], ReceiptHandle=record["receiptHandle"])
        return bodies

    def return_at_once(self, record: Mapping[str, Any]) -> None:
        """Let a message that was received return to RotationRequests.fifo, as if its visibility time-out were over."""
        self.sqs.change_message_visibility(
            QueueUrl=self.values["RotationRequests"], ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
        )


@contextmanager
def world(functions: Mapping[str, Function], logs: Path) -> Iterator[World]:
    """Start everything but the functions; stop everything afterwards."""
    with ExitStack() as running:
        aws = running.enter_context(embedded_aws())
        iam_front = IamFront(Server(), aws)
        iam_url = running.enter_context(proxy(aws.endpoint, iam_front))
        infisical = StandIn(time, connect(aws, iam_url, "infisical"), sts=ForwardingSts(aws.endpoint))
        url = running.enter_context(serve(infisical))
        role, credentials = _role(aws)
        sqs: SQSClient = aws.client("sqs")
        values = {
            "AWS::StackName": STACK,
            "InfisicalUrl": url,
            "MachineIdentityId": infisical.add_identity({"read", "rotate-secrets"}, allowed_principals=[role]).id,
            "RotationRequests": _fifo_queue(sqs, "requests", visibility_seconds=1080),
            "FailedRotations": _fifo_queue(sqs, "failed"),
            "LogLevel": "DEBUG",  # even the most that they tell is JSON, and no secret
        }
        endpoints = {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_ENDPOINT_URL_IAM": iam_url}
        regions = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        yield World(
            aws=aws,
            infisical=infisical,
            url=url,
            functions=functions,
            values=values,
            credentials={**credentials, **regions, **endpoints},
            iam=iam_of(aws, iam_url),
            iam_front=iam_front,
            sqs=sqs,
            logs=logs,
        )


def _role(aws: EmbeddedAws) -> tuple[str, dict[str, str]]:
    """Create the functions' role; return its ARN, and the environment in which Lambda hands over a session of it."""
    iam: IAMClient = aws.client("iam")
    arn = iam.create_role(RoleName="function", AssumeRolePolicyDocument=json.dumps(TRUSTS_THE_ACCOUNT))["Role"]["Arn"]
    iam.put_role_policy(RoleName="function", PolicyName="everything", PolicyDocument=json.dumps(MAY_DO_EVERYTHING))
    credentials = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="function")["Credentials"]
    return arn, {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }


def _fifo_queue(sqs: "SQSClient", name: str, visibility_seconds: int = 30) -> str:
    queue = sqs.create_queue(
        QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true", "VisibilityTimeout": str(visibility_seconds)}
    )
    return queue["QueueUrl"]
