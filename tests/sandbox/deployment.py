"""The application, built by the real `sam` and deployed from the real template.yaml to the embedded AWS."""

import compileall
import hashlib
import json
import os
import py_compile
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from samcli.yamlhelper import yaml_parse

from tests.sandbox.embedded_aws import REGION, ROOT, EmbeddedAws
from tests.sandbox.log_group import LogGroup

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

T = TypeVar("T")

BUILT = ROOT / ".aws-sam" / "build"
BUILT_TEMPLATE = ROOT / ".aws-sam" / "sandbox" / "template.yaml"
INPUTS = ("template.yaml", "functions")
UNKNOWN_TYPES = {"AWS::Logs::QueryDefinition", "AWS::EKS::AccessEntry"}

WAIT_SECONDS = 60
POLL_SECONDS = "0.1"
STACK = "sandbox"
BUCKET = "artifacts"
CONFIG = ROOT / "tests" / "sandbox" / "samconfig.toml"  # not the one that `make deploy` may have written to
SOMEBODY = {"AlarmEmail": "on-call@example.com"}  # the template requires that somebody hears the alarms


def build() -> None:
    """Build the artifacts from the working tree, where it is not the one that was built last.

    What is deployed is a copy with bytecode for the Python that runs it here: it starts hundreds of times.
    Raises RuntimeError with what `sam` said.
    """
    stamp, fingerprint = BUILT_TEMPLATE.with_name("fingerprint"), _fingerprint()
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    _sam(["build"], {})
    shutil.rmtree(BUILT_TEMPLATE.parent, ignore_errors=True)
    shutil.copytree(BUILT, BUILT_TEMPLATE.parent)
    for artifact in BUILT_TEMPLATE.parent.glob("*Function"):
        compileall.compile_dir(artifact, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    stamp.write_text(fingerprint)


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for name in INPUTS for path in (ROOT / name, *(ROOT / name).rglob("*"))):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def deploy(aws: EmbeddedAws, stack: str = STACK, **parameters: str) -> "Deployment":
    """Deploy what `build` built, with values for the template's parameters.

    Raises RuntimeError with what `sam` said.
    """
    return deploy_template(aws, stack, BUILT_TEMPLATE, SOMEBODY | parameters)


def deploy_template(aws: EmbeddedAws, stack: str, template: Path, parameters: Mapping[str, str]) -> "Deployment":
    """Deploy a template whose artifacts are built or need no build. A file is written beside it.

    Raises RuntimeError with what `sam` said.
    """
    aws.client("s3").create_bucket(Bucket=BUCKET)
    _sam(_deploying(stack, template, parameters), aws.environment)
    cloudformation = aws.client("cloudformation")
    outputs = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    deployment = Deployment(aws, stack, {output["OutputKey"]: output["OutputValue"] for output in outputs})
    _allow_batches(deployment)
    return deployment


def prepare_update(deployment: "Deployment", built: Path, **parameters: str) -> Callable[[], None]:
    """Prepare an update of a stack to a built template; return what executes it, in a moment.

    Parameters that are not given stay.

    Raises RuntimeError with what `sam` said.
    """
    _sam([*_deploying(deployment.stack, built, parameters), "--no-execute-changeset"], deployment.aws.environment)
    cloudformation = deployment.cloudformation
    changes = cloudformation.list_change_sets(StackName=deployment.stack)["Summaries"]
    (prepared,) = (each["ChangeSetId"] for each in changes if each["ExecutionStatus"] == "AVAILABLE")

    def execute() -> None:
        cloudformation.execute_change_set(ChangeSetName=prepared)
        done = cloudformation.get_waiter("stack_update_complete")
        done.wait(StackName=deployment.stack, WaiterConfig={"Delay": 1, "MaxAttempts": WAIT_SECONDS})
        _allow_batches(deployment)

    return execute


def delete(deployment: "Deployment") -> None:
    """Delete a stack, and its artifacts, which `sam` keeps in a bucket.

    Raises RuntimeError with what `sam` said.
    """
    arguments = ["delete", "--no-prompts", "--stack-name", deployment.stack, "--region", REGION]
    _sam(arguments, deployment.aws.environment)


def _deploying(stack: str, built: Path, parameters: Mapping[str, str]) -> list[str]:
    return [
        "deploy",
        "--template-file",
        str(_without_gaps(built)),
        "--s3-bucket",
        BUCKET,
        "--stack-name",
        stack,
        "--s3-prefix",  # as `make deploy` has it, which asks: two stacks share no artifact
        stack,
        "--region",
        REGION,
        "--parameter-overrides",
        *(f"{name}={value}" for name, value in parameters.items()),
    ]


def _without_gaps(built: Path) -> Path:
    """Write a template without what the embedded AWS does not know: saved queries, metric math, EKS's access entries.

    Return where.
    """
    template = yaml_parse(built.read_text())
    resources = template["Resources"]
    template["Resources"] = {name: each for name, each in resources.items() if each["Type"] not in UNKNOWN_TYPES}
    for each in template["Resources"].values():
        if each["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in each["Properties"]:
            _watch_one(each["Properties"])
    path = built.with_name("sandbox.json")  # which `sam` reads many times faster than YAML
    path.write_text(json.dumps(template))
    return path


def _watch_one(alarm: dict[str, Any]) -> None:
    """Let an alarm on an expression watch the first of its metrics alone."""
    _, first, *_ = alarm.pop("Metrics")
    metric = first["MetricStat"]
    alarm |= metric["Metric"] | {"Statistic": metric["Stat"], "Period": metric["Period"]}


def _allow_batches(deployment: "Deployment") -> None:
    """Close a gap of the embedded AWS: it asks for sqs:SendMessageBatch, an action that AWS's IAM does not know.

    AWS checks sqs:SendMessage for batches. Whoever was granted that on a queue is granted the other there, here.
    """
    for role in deployment.resources("AWS::IAM::Role").values():
        for name, statements in deployment.policies(role):
            batches = [
                {**statement, "Action": "sqs:SendMessageBatch"}
                for statement in statements
                if statement["Action"] == "sqs:SendMessage"
            ]
            if batches:
                deployment.put_policy(role, f"{name}-batches", batches)


def _sam(arguments: list[str], environment: Mapping[str, str]) -> None:
    answer = subprocess.run(
        ["sam", *arguments, "--config-file", CONFIG],
        cwd=ROOT,
        env={**os.environ, **environment, "SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": POLL_SECONDS},
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise RuntimeError(f"sam {arguments[0]} failed:\n{answer.stdout[-3000:]}\n{answer.stderr[-3000:]}")


@dataclass(frozen=True)
class Deployment:
    """A deployed stack, and what one can do to it and see of it."""

    aws: EmbeddedAws
    stack: str
    outputs: dict[str, str]
    _logs: dict[str, LogGroup] = field(default_factory=dict)

    @property
    def lambda_(self) -> "LambdaClient":
        client: LambdaClient = self.aws.client("lambda")
        return client

    @property
    def cloudformation(self) -> "CloudFormationClient":
        client: CloudFormationClient = self.aws.client("cloudformation")
        return client

    @property
    def ssm(self) -> "SSMClient":
        client: SSMClient = self.aws.client("ssm")
        return client

    @property
    def sqs(self) -> "SQSClient":
        client: SQSClient = self.aws.client("sqs")
        return client

    @property
    def scheduler(self) -> "EventBridgeSchedulerClient":
        client: EventBridgeSchedulerClient = self.aws.client("scheduler")
        return client

    @property
    def events(self) -> "EventBridgeClient":
        client: EventBridgeClient = self.aws.client("events")
        return client

    @property
    def iam(self) -> "IAMClient":
        client: IAMClient = self.aws.client("iam")
        return client

    def resources(self, kind: str) -> dict[str, str]:
        """The logical → physical ids of the stack's resources of a type."""
        resources = self.cloudformation.describe_stack_resources(StackName=self.stack)["StackResources"]
        return {
            each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources if each["ResourceType"] == kind
        }

    def policies(self, role: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Name and statements of each inline policy of a role, by its physical id."""
        for name in self.iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document: Any = self.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            yield name, document["Statement"]

    def put_policy(self, role: str, name: str, statements: list[dict[str, Any]]) -> None:
        """Replace an inline policy of a role; without statements, delete it."""
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            self.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
        else:
            self.iam.delete_role_policy(RoleName=role, PolicyName=name)

    @contextmanager
    def without(self, role: str, statement_id: str) -> Iterator[None]:
        """Take a statement away from a role, by its logical id, for as long as the block lasts."""
        physical = self.resources("AWS::IAM::Role")[role]
        policies = list(self.policies(physical))
        for name, statements in policies:
            self.put_policy(physical, name, [each for each in statements if each["Sid"] != statement_id])
        try:
            yield
        finally:
            for name, statements in policies:
                self.put_policy(physical, name, statements)

    def leave_alarms_unconfirmed(self) -> None:
        """Delete the topic's subscription, as SNS does after 48 hours; the embedded SNS confirms it by itself."""
        sns = self.aws.client("sns")
        for each in sns.list_subscriptions_by_topic(TopicArn=self.outputs["AlarmTopic"])["Subscriptions"]:
            sns.unsubscribe(SubscriptionArn=each["SubscriptionArn"])

    def restart(self, function: str) -> None:
        """Let a function, by its logical id, start its next invocation in a new process."""
        name = self.resources("AWS::Lambda::Function")[function]
        size = self.lambda_.get_function_configuration(FunctionName=name)["MemorySize"]
        self.lambda_.update_function_configuration(FunctionName=name, MemorySize=size)

    def put_map(self, rotation_map: object) -> None:
        """Write the rotation map, and let the functions forget the one they have cached; a text is written as it is."""
        text = rotation_map if isinstance(rotation_map, str) else json.dumps(rotation_map)
        self.ssm.put_parameter(Name=self.outputs["RotationMapParameterName"], Value=text, Type="String", Overwrite=True)
        for function in {"DispatchFunction", "HookFunction"} & self.resources("AWS::Lambda::Function").keys():
            self.restart(function)

    def send(self, event: object) -> None:
        """Invoke `dispatch` as EventBridge and Scheduler do: asynchronously."""
        self.lambda_.invoke(
            FunctionName=self.outputs["DispatchFunctionName"],
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )

    def invoke(self, event: object) -> dict[str, Any]:
        """Invoke `dispatch` as a person does, and return its answer."""
        answer = self.lambda_.invoke(
            FunctionName=self.outputs["DispatchFunctionName"], Payload=json.dumps(event).encode()
        )
        body: dict[str, Any] = json.loads(answer["Payload"].read())
        return body

    def dispatch_logs(self) -> list[dict[str, Any]]:
        """The structured lines of `dispatch`, metrics among them."""
        return self._log("DispatchLogGroupName").lines()

    def rotate_logs(self) -> list[dict[str, Any]]:
        """The structured lines of `rotate`, metrics among them."""
        return self._log("RotateLogGroupName").lines()

    def audit_logs(self) -> list[dict[str, Any]]:
        """The structured lines of `audit`, metrics among them."""
        return self._log("AuditLogGroupName").lines()

    def retire_logs(self) -> list[dict[str, Any]]:
        """The structured lines of `retire`, metrics among them; none where it is not deployed."""
        return self._log("RetireLogGroupName").lines() if "RetireLogGroupName" in self.outputs else []

    def hook_logs(self) -> list[dict[str, Any]]:
        """The structured lines of `hook`, metrics among them; none where it is not deployed."""
        return self._log("HookLogGroupName").lines() if "HookLogGroupName" in self.outputs else []

    def raw_logs(self) -> str:
        """Every line of all functions as CloudWatch Logs holds it."""
        groups = (name for name in self.outputs if name.endswith("LogGroupName"))
        return "\n".join(message for group in groups for message in self._log(group).messages())

    def outcomes(self) -> list[dict[str, Any]]:
        """How requests ended so far, oldest first."""
        return [line for line in self.rotate_logs() if "outcome" in line]

    def ends_of_triggers(self) -> list[dict[str, Any]]:
        """How triggers ended in `dispatch` so far: dispatched or refused."""
        return [line for line in self.dispatch_logs() if str(line.get("message", "")).startswith("trigger ")]

    def metrics(self) -> dict[str, float]:
        """The sum of each metric that the functions emitted so far."""
        sums: dict[str, float] = {}
        for line in self.dispatch_logs() + self.rotate_logs() + self.hook_logs() + self.audit_logs():
            for name, value in embedded_metrics(line).items():
                sums[name] = sums.get(name, 0.0) + value
        return sums

    def depth(self, output: str) -> int:
        """How many messages a queue holds, in flight or not."""
        attributes = self.sqs.get_queue_attributes(
            QueueUrl=self.outputs[output],
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return sum(int(value) for value in attributes.values())

    def take(self, output: str) -> list[dict[str, Any]]:
        """Receive and delete every message of a queue, and return their bodies."""
        url = self.outputs[output]
        bodies = []
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def _log(self, output: str) -> LogGroup:
        if output not in self._logs:
            self._logs[output] = LogGroup(self.aws.client("logs"), self.outputs[output])
        return self._logs[output]


def embedded_metrics(line: dict[str, Any]) -> dict[str, float]:
    """Name → sum of the values that a line in CloudWatch's embedded metric format carries."""
    directives = line.get("_aws", {}).get("CloudWatchMetrics", [])
    names = [metric["Name"] for directive in directives for metric in directive["Metrics"]]
    return {name: sum(line[name]) if isinstance(line[name], list) else line[name] for name in names}


def wait_until(what: str, look: Callable[[], T], seconds: float = WAIT_SECONDS) -> T:
    """Look until there is something to see, and return it.

    Raises TimeoutError saying what was waited for.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}")
