"""What the sandbox does with a deployed function's calls, on one that says which calls it makes."""

import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.sandbox.embedded_aws import ACCOUNT, EmbeddedAws, embedded_aws
from tests.sandbox.hook import Hook, watched_hook
from tests.sandbox.outgoing_calls import kill_function
from tests.sandbox.secret_rotation import SECRETS_MANAGER, RotationRefused
from tests.sandbox.standin.core import StandIn
from tests.sandbox.standin.keys import MemoryKeys
from tests.sandbox.standin.server import serve

CODE = """
import os, urllib.error, urllib.request
import boto3

def put(event):
    name = event["SecretId"].rpartition(":")[2]
    boto3.client("ssm").put_parameter(Name=name, Value=event["Step"], Type="String", Overwrite=True)

def ask():
    try:
        urllib.request.urlopen(os.environ["INFISICAL_URL"] + "/api/status?a=b")
    except (urllib.error.HTTPError, ConnectionError):
        pass

def handler(event, context):
    if "AccessKeyId" in event:
        key = {"aws_access_key_id": event["AccessKeyId"], "aws_secret_access_key": event["SecretAccessKey"]}
        return boto3.client("sts", aws_session_token=None, **key).get_caller_identity()["Arn"]
    put(event)
    ask()
    put({**event, "SecretId": event["SecretId"] + "-again"})
    if event["Step"] == "setSecret":
        raise ValueError("its own words")
    return os.getpid()
"""

ALLOWED = {"Effect": "Allow", "Action": "ssm:PutParameter", "Resource": "*"}
CALLS = ["ssm:PutParameter", "GET /api/status?a=b", "ssm:PutParameter"]


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws() as running:
        yield running


@pytest.fixture(scope="module")
def infisical() -> StandIn:
    return StandIn(time, MemoryKeys(time))


@dataclass(frozen=True)
class Watched:
    hook: Hook
    aws: EmbeddedAws

    def invoke(self, payload: object) -> Any:  # noqa: ANN401 - JSON
        answer = self.aws.client("lambda").invoke(
            FunctionName=self.hook.function_name, Payload=json.dumps(payload).encode()
        )
        return json.loads(answer["Payload"].read())

    def written(self) -> set[str]:
        """What the function's calls of SSM left behind, since the last time."""
        ssm = self.aws.client("ssm")
        names = {parameter["Name"] for parameter in ssm.describe_parameters()["Parameters"]}
        if names:
            ssm.delete_parameters(Names=sorted(names))
        return names


@pytest.fixture(scope="module")
def running(aws: EmbeddedAws, infisical: StandIn) -> Iterator[Watched]:
    function = create_function(aws, "watched")
    with serve(infisical) as url, watched_hook(aws, function, url) as hook:
        yield Watched(hook, aws)


@pytest.fixture
def watched(running: Watched) -> Watched:
    running.hook.calls.take()
    running.written()
    return running


def create_function(aws: EmbeddedAws, name: str) -> str:
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="put", PolicyDocument=policy(ALLOWED))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("function.py", CODE)
    aws.client("lambda").create_function(
        FunctionName=name,
        Role=role,
        Runtime="python3.13",
        Handler="function.handler",
        Timeout=30,
        Code={"ZipFile": archive.getvalue()},
        Environment={"Variables": {"KEPT": "yes"}},
    )
    permit(aws, name)
    return name


def permit(aws: EmbeddedAws, function_name: str) -> None:
    aws.client("lambda").add_permission(
        FunctionName=function_name,
        StatementId="rotation",
        Action="lambda:InvokeFunction",
        Principal=SECRETS_MANAGER,
        SourceAccount=ACCOUNT,
    )


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def payload() -> dict[str, str]:
    return {"SecretId": "arn:a", "Step": "createSecret", "ClientRequestToken": "token"}


def test_the_calls_to_both_servers_are_known_in_order(watched: Watched, infisical: StandIn) -> None:
    watched.invoke(payload())

    assert watched.hook.calls.take() == CALLS
    assert watched.hook.calls.take() == []
    assert infisical.requests[-1].path == "/api/status?a=b"
    assert watched.written() == {"a", "a-again"}


def test_the_function_keeps_its_own_environment(watched: Watched, aws: EmbeddedAws) -> None:
    configuration = aws.client("lambda").get_function_configuration(FunctionName=watched.hook.function_name)

    assert configuration["Environment"]["Variables"].keys() == {"KEPT", "AWS_ENDPOINT_URL", "INFISICAL_URL"}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_hook_dies_right_after_the_server_has_executed_a_call(
    watched: Watched, infisical: StandIn, number: int
) -> None:
    asked = len(infisical.requests)
    watched.hook.calls.crash_after(number)

    answer = watched.invoke(payload())

    assert "errorMessage" in answer
    assert watched.hook.calls.take() == CALLS[:number]
    assert watched.written() == ({"a"} if number < 3 else {"a", "a-again"})
    assert len(infisical.requests) - asked == (0 if number < 2 else 1)
    # and once only
    assert not watched.hook.calls.disarm()
    assert isinstance(watched.invoke(payload()), int)


def test_the_hook_dies_in_a_later_invocation_if_the_first_makes_fewer_calls(watched: Watched) -> None:
    watched.hook.calls.crash_after(5)

    assert isinstance(watched.invoke(payload()), int)
    assert "errorMessage" in watched.invoke(payload())
    assert watched.hook.calls.take() == CALLS + CALLS[:2]


def test_a_crash_that_never_came_is_called_off(watched: Watched) -> None:
    watched.hook.calls.crash_after(4)
    watched.invoke(payload())

    assert watched.hook.calls.disarm()
    assert isinstance(watched.invoke(payload()), int)


def test_a_killed_hook_leaves_other_functions_alone(watched: Watched, aws: EmbeddedAws) -> None:
    process = watched.invoke(payload())

    kill_function(aws, watched.hook.function_name[:-1])

    assert watched.invoke(payload()) == process
    os.kill(process, 0)


def test_a_rotation_reports_what_the_function_answered(watched: Watched) -> None:
    secret = watched.hook.add_secret("driven", {"id": "1"})

    result = watched.hook.rotations.rotate(secret)

    assert (result.failed_step, result.error) == ("setSecret", "its own words")
    assert [each.error for each in result.steps] == [None, "its own words"]
    assert watched.hook.calls.take() == CALLS * 2
    assert watched.hook.value(secret) == {"id": "1"}


def test_a_rotation_sees_a_crash_as_a_failed_step(watched: Watched) -> None:
    secret = watched.hook.add_secret("crashing", {})
    watched.hook.calls.crash_after(2)

    result = watched.hook.rotations.rotate(secret)

    assert result.failed_step == "createSecret"
    assert result.after[result.token] == ["AWSPENDING"]


def test_secrets_manager_needs_the_function_s_permission(watched: Watched, aws: EmbeddedAws) -> None:
    secret = watched.hook.add_secret("not permitted", {})
    aws.client("lambda").remove_permission(FunctionName=watched.hook.function_name, StatementId="rotation")
    try:
        with pytest.raises(RotationRefused, match="grants access to the principal secretsmanager"):
            watched.hook.rotations.rotate(secret)
    finally:
        permit(aws, watched.hook.function_name)

    assert watched.hook.calls.take() == []


def test_a_new_key_works_only_after_a_while(watched: Watched, aws: EmbeddedAws) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="young")
    key = iam.create_access_key(UserName="young")["AccessKey"]
    event = {name: key[name] for name in ("AccessKeyId", "SecretAccessKey")}

    watched.hook.propagation.seconds = 3600
    refused = watched.invoke(event)
    watched.hook.propagation.seconds = 0.001
    accepted = watched.invoke(event)

    assert "(InvalidClientTokenId)" in refused["errorMessage"]
    assert accepted == f"arn:aws:iam::{ACCOUNT}:user/young"
    assert watched.hook.calls.take()[-1] == "sts:GetCallerIdentity"
