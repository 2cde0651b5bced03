"""The templates of examples/, deployed beside the stack: a member account, and a schedule and a rule of one's own."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.e2e.assertions import outcomes_of, scheduled
from tests.sandbox.accounts import OTHER_ACCOUNT
from tests.sandbox.deployment import deploy_template
from tests.sandbox.embedded_aws import REGION, ROOT
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.rotations import Rotation

pytestmark = pytest.mark.release


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copy(ROOT / "examples" / name, folder / "template.yaml"))


def test_the_member_accounts_role_lets_the_key_guard_look_there(
    deployed: Sandbox, new_rotation: Callable[..., Rotation]
) -> None:
    trusted = [deployed.stack.outputs[f"{name}RoleArn"] for name in ("Dispatch", "Rotate", "Hook", "Audit")]
    parameters = {"TrustedRoleArns": ",".join(trusted), "RoleName": "key-guard-member", "ExternalId": "hub-1"}
    outputs = deploy_member(deployed, "member", parameters)
    role = outputs["KeyGuardRoleArn"]
    assert outputs.keys() == {"KeyGuardRoleArn"}, "forwarding is off by default"
    assert role == f"arn:aws:iam::{OTHER_ACCOUNT}:role/key-guard-member"
    rotation = new_rotation(account=OTHER_ACCOUNT)

    def end_with(guard: dict[str, str], count: int) -> dict[str, Any]:
        deployed.stack.put_map({"triggers": {"weekly": {"id": rotation.id, "keyGuard": guard}}})
        deployed.stack.send(scheduled())
        return outcomes_of(deployed, rotation, count=count)[-1]

    assert end_with({"role": role}, 1)["reason"] == "KeysUnreadable"  # without the external id
    assert end_with({"role": role, "externalId": "hub-1"}, 2)["outcome"] == "rotated"
    deployed.stack.take("FailedRotationsUrl")


def deploy_member(deployed: Sandbox, stack: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Deploy the member account's template in the other account; return its outputs."""
    client = in_member(deployed, "cloudformation")
    client.create_stack(
        StackName=stack,
        TemplateBody=(ROOT / "examples" / "member-account.yaml").read_text("utf-8"),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    client.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    outputs = client.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    return {each["OutputKey"]: each["OutputValue"] for each in outputs}


def in_member(deployed: Sandbox, service: str) -> Any:  # noqa: ANN401 - a client of the service
    client: Any = deployed.stack.aws.session(OTHER_ACCOUNT).client
    return client(service, endpoint_url=deployed.stack.aws.endpoint)


def as_role(sts: Any, role_arn: str, service: str) -> Any:  # noqa: ANN401 - a client of the service
    """A client of a service for somebody who assumes a role."""
    got = sts.assume_role(RoleArn=role_arn, RoleSessionName="test")["Credentials"]
    client: Any = boto3.client
    return client(
        service,
        endpoint_url=sts.meta.endpoint_url,
        region_name=REGION,
        aws_access_key_id=got["AccessKeyId"],
        aws_secret_access_key=got["SecretAccessKey"],
        aws_session_token=got["SessionToken"],
    )


def test_the_member_accounts_role_deactivates_keys_only_for_retire(deployed: Sandbox) -> None:
    retire = deployed.stack.aws.client("iam").create_role(
        RoleName="some-retire", AssumeRolePolicyDocument=policy(Principal={"AWS": "*"}, Action="sts:AssumeRole")
    )["Role"]["Arn"]
    deployed.stack.aws.client("iam").put_role_policy(
        RoleName="some-retire", PolicyName="assume", PolicyDocument=policy(Action="sts:AssumeRole", Resource="*")
    )
    retires_sts = as_role(deployed.stack.aws.client("sts"), retire, "sts")
    of_member = in_member(deployed, "iam")
    of_member.create_user(UserName="of-a-member")
    key_id = of_member.create_access_key(UserName="of-a-member")["AccessKey"]["AccessKeyId"]
    parameters = {"TrustedRoleArns": deployed.stack.outputs["RotateRoleArn"], "Users": "of-a-*"}

    reads = deploy_member(deployed, "reads", {**parameters, "RoleName": "reads"})["KeyGuardRoleArn"]
    with pytest.raises(ClientError, match="AccessDenied"):
        as_role(retires_sts, reads, "iam")

    both = {**parameters, "RoleName": "retires", "RetireRoleArn": retire}
    role = as_role(retires_sts, deploy_member(deployed, "retires", both)["KeyGuardRoleArn"], "iam")
    role.update_access_key(UserName="of-a-member", AccessKeyId=key_id, Status="Inactive")
    with pytest.raises(ClientError, match="AccessDenied"):
        role.delete_access_key(UserName="of-a-member", AccessKeyId=key_id)
    (key,) = of_member.list_access_keys(UserName="of-a-member")["AccessKeyMetadata"]
    assert key["Status"] == "Inactive"


def policy(**statement: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", **statement}})


def test_a_member_account_forwards_its_outcome_events(deployed: Sandbox) -> None:
    """The embedded EventBridge forwards within one account alone: the hub's bus is the member's here."""
    events, sqs = in_member(deployed, "events"), in_member(deployed, "sqs")
    hub = events.create_event_bus(Name="hub")["EventBusArn"]
    queue = sqs.create_queue(QueueName="hub")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventBusName="hub", EventPattern=json.dumps({"source": [{"prefix": ""}]}))
    events.put_targets(Rule="all", EventBusName="hub", Targets=[{"Id": "queue", "Arn": arn}])
    trusted = deployed.stack.outputs["RotateRoleArn"]

    outputs = deploy_member(
        deployed, "forwards", {"TrustedRoleArns": trusted, "RoleName": "forwards", "HubEventBusArn": hub}
    )

    (rule,) = events.list_rules(NamePrefix="forwards")["Rules"]
    (target,) = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    undelivered = sqs.get_queue_attributes(
        QueueUrl=outputs["UndeliveredOutcomeEventsUrl"], AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    assert (target["Arn"], target["DeadLetterConfig"]["Arn"]) == (hub, undelivered)
    role = in_member(deployed, "iam").get_role(RoleName=target["RoleArn"].rpartition("/")[2])["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "events.amazonaws.com"}
    ended = json.loads((ROOT / "events" / "outcomes" / "rotation-ended.json").read_text("utf-8"))
    for source in ("infisical-rotation", "somebody-else"):
        detail, kind = json.dumps(ended["detail"]), ended["detail-type"]
        events.put_events(Entries=[{"Source": source, "DetailType": kind, "Detail": detail}])
    received = [json.loads(each["Body"]) for each in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2)["Messages"]]
    assert [(each["source"], each["account"], each["detail"]) for each in received] == [
        ("infisical-rotation", OTHER_ACCOUNT, ended["detail"])
    ]


def test_a_schedule_of_ones_own_names_a_trigger(deployed: Sandbox, rotation: Rotation, tmp_path: Path) -> None:
    parameters = {"DispatchFunctionArn": deployed.stack.outputs["DispatchFunctionArn"], "Trigger": "monthly"}
    own = deploy_template(
        deployed.stack.aws, "own-schedule", copy_of("custom-schedule/template.yaml", tmp_path), parameters
    )
    schedule = deployed.stack.aws.client("scheduler").get_schedule(Name=own.outputs["ScheduleName"])
    (target,) = deployed.stack.aws.client("events").list_targets_by_rule(Rule="daily")["Targets"]

    assert schedule["Target"]["Arn"] == target["Arn"] == parameters["DispatchFunctionArn"]
    assert schedule["Target"]["DeadLetterConfig"]["Arn"] == target["DeadLetterConfig"]["Arn"]
    event = schedule["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", scheduled()["scheduledTime"])
    deployed.stack.send(json.loads(event))
    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["trigger"]) == ("rotated", "monthly")
