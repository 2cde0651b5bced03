"""Whatever the roles of template.yaml may do is needed, and they may do nothing beside it: IAM judges real calls.

The stack that is judged has every statement of the template, for all of its conditions hold there.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from infisical_rotation_triggers.reactivate import reactivate
from tests.e2e.assertions import outcomes_of, scheduled
from tests.e2e.permission_exercises import PermissionExercises
from tests.sandbox.accounts import GUARD_ROLE, OTHER_ACCOUNT
from tests.sandbox.deployment import wait_until
from tests.sandbox.embedded_aws import ACCOUNT, REGION, ROOT
from tests.sandbox.grants import Grant, denials, granted, roles, without
from tests.sandbox.maximal_template import (
    GUARDED_USERS,
    HOOK_SECRET,
    MACHINE_SECRET,
    MAP_PARAMETER,
    add_boundary,
    maximal_template,
)
from tests.sandbox.outcome_queue import OutcomeQueue
from tests.sandbox.role_calls import Call, RoleCalls
from tests.sandbox.sandbox import LONG_AGO, Sandbox
from tests.unit.test_outcomes import validate_event

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

PARLIAMENT = ROOT / ".venv-checks" / "bin" / "parliament"

SEND: Any = {"MessageBody": "{{}}"}
SEND_FIFO: Any = {**SEND, "MessageGroupId": "group", "MessageDeduplicationId": "message"}
INTERFACE = "eni-0123456789abcdef0"

# What AWS does in a role's name, and the embedded AWS in its own: here it is done as the role, by statement and action.
OUTCOME = {"Source": "infisical-rotation", "DetailType": "Rotation Ended", "Detail": "{}"}

DONE_BY_AWS = {
    # Lambda keeps a trigger that the function keeps refusing.
    ("KeepUndeliveredTriggers", "sqs:SendMessage"): Call("sqs", "send_message", QueueUrl="{undelivered}", **SEND),
    # The event source mapping brings requests to the function.
    ("WorkRequests", "sqs:ReceiveMessage"): Call("sqs", "receive_message", QueueUrl="{requests}"),
    ("WorkRequests", "sqs:DeleteMessage"): Call("sqs", "delete_message", QueueUrl="{requests}", ReceiptHandle="gone"),
    ("WorkRequests", "sqs:GetQueueAttributes"): Call("sqs", "get_queue_attributes", QueueUrl="{requests}"),
    # Whether a function puts an event depends on how its work ends.
    ("PutOutcomeEvents", "events:PutEvents"): Call("events", "put_events", Entries=[OUTCOME]),
    # Lambda places a function in a VPC, and takes it out again.
    ("JoinTheVpc", "ec2:CreateNetworkInterface"): Call("ec2", "create_network_interface", SubnetId="subnet-1"),
    ("JoinTheVpc", "ec2:DescribeNetworkInterfaces"): Call("ec2", "describe_network_interfaces"),
    ("JoinTheVpc", "ec2:DescribeSubnets"): Call("ec2", "describe_subnets"),
    ("JoinTheVpc", "ec2:DeleteNetworkInterface"): Call("ec2", "delete_network_interface", NetworkInterfaceId=INTERFACE),
    ("JoinTheVpc", "ec2:AssignPrivateIpAddresses"): Call(
        "ec2", "assign_private_ip_addresses", NetworkInterfaceId=INTERFACE, SecondaryPrivateIpAddressCount=1
    ),
    ("JoinTheVpc", "ec2:UnassignPrivateIpAddresses"): Call(
        "ec2", "unassign_private_ip_addresses", NetworkInterfaceId=INTERFACE, PrivateIpAddresses=["10.0.0.1"]
    ),
    # The Scheduler invokes a function, and keeps what it could not deliver.
    ("DispatchFunctionScheduledLambdaPolicy", "lambda:InvokeFunction"): Call(
        "lambda", "invoke", FunctionName="{dispatch}", InvocationType="DryRun"
    ),
    ("DispatchFunctionScheduledSQSPolicy", "sqs:SendMessage"): Call(
        "sqs", "send_message", QueueUrl="{undelivered}", **SEND
    ),
    ("AuditFunctionScheduledLambdaPolicy", "lambda:InvokeFunction"): Call(
        "lambda", "invoke", FunctionName="{audit}", InvocationType="DryRun"
    ),
    ("RetireFunctionScheduledLambdaPolicy", "lambda:InvokeFunction"): Call(
        "lambda", "invoke", FunctionName="{retire}", InvocationType="DryRun"
    ),
    ("RetireFunctionScheduledSQSPolicy", "sqs:SendMessage"): Call(
        "sqs", "send_message", QueueUrl="{undelivered_audits}", **SEND
    ),
    ("AuditFunctionScheduledSQSPolicy", "sqs:SendMessage"): Call(
        "sqs", "send_message", QueueUrl="{undelivered_audits}", **SEND
    ),
}

# What a function asks for once, and remembers for a while: it has to start anew to be denied it.
REMEMBERED = {"ReadTheMap", "LookAtKeysOfOtherAccounts", "LogInToInfisical", "TrustOwnAuthority", "NameConsumers"}

# What no call can show here, by statement; IAM's simulator is asked about these resources instead.
SIMULATED = {
    # The embedded AWS writes logs itself, and judges these calls by the group's ARN; AWS does by the stream's.
    "WriteLogs": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{log_group}}:log-stream:2026/11/22/stream",
    # There is no X-Ray, whose write actions know no resources.
    "Trace": "*",
}

# What none of the roles may do: what a thief of its credentials would want.
NEIGHBOURS = {
    "keys of its own for a user": Call("iam", "create_access_key", UserName="{deployer}"),
    "a user's keys taken away": Call("iam", "delete_access_key", UserName="{deployer}", AccessKeyId="{key}"),
    "keys of a user that is nobody's business": Call("iam", "list_access_keys", UserName="{stranger}"),
    "what such a key was used for": Call("iam", "get_access_key_last_used", AccessKeyId="{strangers_key}"),
    "such a key deactivated": Call(
        "iam", "update_access_key", UserName="{stranger}", AccessKeyId="{strangers_key}", Status="Inactive"
    ),
    "more permissions for itself": Call(
        "iam", "put_role_policy", RoleName="{own_role}", PolicyName="more", PolicyDocument="{{}}"
    ),
    "no boundary for itself": Call("iam", "delete_role_permissions_boundary", RoleName="{own_role}"),
    "the permissions of another function": Call(
        "sts", "assume_role", RoleArn="{neighbour_role}", RoleSessionName="neighbour"
    ),
    "any role of another account": Call(
        "sts", "assume_role", RoleArn=f"arn:aws:iam::{OTHER_ACCOUNT}:role/admin", RoleSessionName="neighbour"
    ),
    "another secret": Call("secretsmanager", "get_secret_value", SecretId="{foreign_secret}"),
    "another value of another secret": Call(
        "secretsmanager", "put_secret_value", SecretId="{foreign_secret}", SecretString="{{}}"
    ),
    "another version of another secret": Call(
        "secretsmanager", "update_secret_version_stage", SecretId="{foreign_secret}", VersionStage="AWSCURRENT"
    ),
    "a mirror deleted": Call("secretsmanager", "delete_secret", SecretId="{mirror}"),
    "the names of all secrets": Call("secretsmanager", "list_secrets"),
    "another parameter": Call("ssm", "get_parameter", Name="/somebody/elses"),
    "another map": Call("ssm", "put_parameter", Name=MAP_PARAMETER, Value="{{}}", Overwrite=True),
    "a request to another stack": Call("sqs", "send_message", QueueUrl="{neighbour_requests}", **SEND_FIFO),
    "the requests of another stack": Call("sqs", "receive_message", QueueUrl="{neighbour_requests}"),
    "requests thrown away": Call("sqs", "purge_queue", QueueUrl="{requests}"),
    "failed requests read": Call("sqs", "receive_message", QueueUrl="{failed}"),
    "failed requests hidden": Call("sqs", "delete_message", QueueUrl="{failed}", ReceiptHandle="handle"),
    "undelivered triggers hidden": Call("sqs", "delete_message", QueueUrl="{undelivered}", ReceiptHandle="handle"),
    "a rotation without a request": Call("lambda", "invoke", FunctionName="{rotate}", InvocationType="DryRun"),
    "other code": Call("lambda", "update_function_code", FunctionName="{rotate}", ZipFile=b"code"),
    "an end to the schedule": Call("scheduler", "delete_schedule", GroupName="{schedule_group}", Name="{schedule}"),
    "an event": Call("events", "put_events", Entries=[{"Source": "rotations", "DetailType": "d", "Detail": "{}"}]),
    "logs hidden": Call("logs", "delete_log_group", logGroupName="{log_group}"),
    "a silent alarm": Call("cloudwatch", "disable_alarm_actions", AlarmNames=["alarm"]),
    "the code of others": Call("s3", "list_buckets"),
}

# What some of them may do, and the others may not.
SHARED = {
    "the map": Call("ssm", "get_parameter", Name=MAP_PARAMETER),
    "the certificates": Call("ssm", "get_parameter", Name="/widest/ca"),
    "the keys of a guarded user": Call("iam", "list_access_keys", UserName="{deployer}"),
    "what such a key was used for": Call("iam", "get_access_key_last_used", AccessKeyId="{key}"),
    "the keys of another account": Call("sts", "assume_role", RoleArn="{guard_role}", RoleSessionName="key-guard"),
    "such a key deactivated": Call(
        "iam", "update_access_key", UserName="{deployer}", AccessKeyId="{key}", Status="Inactive"
    ),
    "who used such a key": Call("cloudtrail", "lookup_events"),
    "the machine identity": Call("secretsmanager", "get_secret_value", SecretId=MACHINE_SECRET),
    "the hook's machine identity": Call("secretsmanager", "get_secret_value", SecretId=HOOK_SECRET),
    "a mirror": Call("secretsmanager", "get_secret_value", SecretId="{mirror}"),
    "another value of a mirror": Call(
        "secretsmanager", "put_secret_value", SecretId="{mirror}", SecretString="{{}}", VersionStages=["TEST"]
    ),
    "a request": Call("sqs", "send_message", QueueUrl="{requests}", **SEND_FIFO),
    "requests": Call("sqs", "receive_message", QueueUrl="{requests}"),
    "a failed request": Call("sqs", "send_message", QueueUrl="{failed}", **SEND_FIFO),
    "an undelivered trigger": Call("sqs", "send_message", QueueUrl="{undelivered}", **SEND),
    "an undelivered audit": Call("sqs", "send_message", QueueUrl="{undelivered_audits}", **SEND),
    "a trigger": Call("lambda", "invoke", FunctionName="{dispatch}", InvocationType="DryRun"),
    "a look at previous keys": Call("lambda", "invoke", FunctionName="{retire}", InvocationType="DryRun"),
    "an audit": Call("lambda", "invoke", FunctionName="{audit}", InvocationType="DryRun"),
    "a look at a mirror": Call("lambda", "invoke", FunctionName="{hook}", InvocationType="DryRun"),
}
MAY = {
    "DispatchRole": {
        "the map",
        "the certificates",
        "the keys of a guarded user",
        "what such a key was used for",
        "who used such a key",
        "the keys of another account",
        "the machine identity",
        "a request",
        "an undelivered trigger",
    },
    "RotateRole": {
        "the certificates",
        "the keys of a guarded user",
        "what such a key was used for",
        "who used such a key",
        "the keys of another account",
        "the machine identity",
        "requests",
        "a failed request",
    },
    "HookRole": {
        "the map",
        "the certificates",
        "the keys of a guarded user",
        "what such a key was used for",
        "who used such a key",
        "the keys of another account",
        "the hook's machine identity",
        "a mirror",
        "another value of a mirror",
        "a request",
    },
    "AuditRole": {
        "the map",
        "the certificates",
        "the keys of a guarded user",
        "the keys of another account",
        "the machine identity",
        "a look at a mirror",
    },
    "RetireRole": {
        "the map",
        "the certificates",
        "the keys of a guarded user",
        "what such a key was used for",
        "who used such a key",
        "such a key deactivated",
        "the keys of another account",
        "the machine identity",
        "a look at a mirror",
    },
    "RetireFunctionScheduledRole": {"a look at previous keys", "an undelivered audit"},
    "DispatchFunctionScheduledRole": {"a trigger", "an undelivered trigger"},
    "AuditFunctionScheduledRole": {"an audit", "an undelivered audit"},
}

# What parliament has to say, and why it stays.
EXPLAINED = {
    # JoinTheVpc: Lambda wants it so, for a function that it does not have yet in a network that it does not know.
    ("RESOURCE_STAR", "ec2:AssignPrivateIpAddresses"),
    ("RESOURCE_STAR", "ec2:CreateNetworkInterface"),
    ("RESOURCE_STAR", "ec2:DeleteNetworkInterface"),
    ("RESOURCE_STAR", "ec2:UnassignPrivateIpAddresses"),
    # LookAtKeysOfOtherAccounts: the credentials of the roles that KeyGuardRoleArns names are what it is for.
    ("CREDENTIALS_EXPOSURE", "sts:assumerole"),
    # DeactivatePreviousKeys: it is what retire is for, and shows no secret.
    ("CREDENTIALS_EXPOSURE", "iam:updateaccesskey"),
    ("PERMISSIONS_MANAGEMENT_ACTIONS", "iam:updateaccesskey"),
}


@pytest.fixture(scope="module")
def stage(deployed: Sandbox) -> Iterator[Sandbox]:
    with maximal_template(deployed) as running:
        yield running


@pytest.fixture(scope="module")
def uses(stage: Sandbox) -> PermissionExercises:
    return PermissionExercises(stage)


@pytest.fixture(scope="module")
def calls(deployed: Sandbox, stage: Sandbox) -> RoleCalls:
    functions = stage.stack.resources("AWS::Lambda::Function")
    secrets = stage.stack.aws.client("secretsmanager")
    deployer, stranger = stage.add_rotation(f"{GUARDED_USERS}called"), stage.add_rotation("stranger")
    return RoleCalls(
        stage,
        {
            "requests": stage.stack.outputs["RotationRequestsUrl"],
            "failed": stage.stack.outputs["FailedRotationsUrl"],
            "undelivered": stage.stack.outputs["UndeliveredTriggersUrl"],
            "undelivered_audits": stage.stack.resources("AWS::SQS::Queue")["UndeliveredAudits"],
            "dispatch": functions["DispatchFunction"],
            "rotate": functions["RotateFunction"],
            "retire": functions["RetireFunction"],
            "audit": functions["AuditFunction"],
            "hook": functions["HookFunction"],
            "schedule": stage.stack.outputs["ScheduleName"],
            "schedule_group": stage.stack.outputs["ScheduleGroupName"],
            "log_group": stage.stack.outputs["RotateLogGroupName"],
            "deployer": deployer.name,
            "key": stage.published_key(deployer),
            "stranger": stranger.name,
            "strangers_key": stage.published_key(stranger),
            "guard_role": stage.add_guard_role(f"{GUARD_ROLE}-called"),
            "mirror": stage.hook.add_secret("called", {}),
            "foreign_secret": secrets.create_secret(Name="somebody/elses", SecretString="{}")["ARN"],
            "neighbour_role": deployed.stack.outputs["RotateRoleArn"],
            "neighbour_requests": deployed.stack.outputs["RotationRequestsUrl"],
        },
    )


@pytest.mark.parametrize("role", ["DispatchRole", "RotateRole", "HookRole", "AuditRole", "RetireRole"])
def test_a_function_is_denied_nothing_with_its_full_role(uses: PermissionExercises, role: str) -> None:
    assert denials(uses.of(role)) == set()


@pytest.mark.parametrize("grant", [each for each in granted() if each.statement not in SIMULATED], ids=str)
def test_a_role_without_one_action_is_denied_just_that_action(
    stage: Sandbox, calls: RoleCalls, uses: PermissionExercises, grant: Grant
) -> None:
    """Whoever adds a statement finds out here that nothing needs it, or says who does it in the role's name."""
    call = DONE_BY_AWS.get((grant.statement, grant.action))
    assert call is None or denials(calls.say(grant.role, call)) == set()

    with without(stage.stack, grant), _in_a_new_process(stage, grant):
        said = calls.say(grant.role, call) if call else uses.of(grant.role)

    assert denials(said) == {(stage.stack.resources("AWS::IAM::Role")[grant.role], grant.action)}


@contextmanager
def _in_a_new_process(stage: Sandbox, grant: Grant) -> Iterator[None]:
    """Let a function forget what it remembers, before and after."""
    function = grant.role.replace("Role", "Function")
    remembers = grant.statement in REMEMBERED
    if remembers:
        stage.stack.restart(function)
    yield
    if remembers:
        stage.stack.restart(function)


@pytest.mark.parametrize("grant", [each for each in granted() if each.statement in SIMULATED], ids=str)
def test_statements_checked_by_simulation_name_their_own_resource(stage: Sandbox, grant: Grant) -> None:
    groups = {name: group for name, group in stage.stack.outputs.items() if name.endswith("LogGroupName")}
    own = groups.pop(f"{grant.role.removesuffix('Role')}LogGroupName")

    def allowed(log_group: str) -> bool:
        return _simulated(stage, grant, SIMULATED[grant.statement].format(log_group=log_group))

    assert allowed(own)
    assert grant.statement == "Trace" or [name for name, group in groups.items() if allowed(group)] == []
    with without(stage.stack, grant):
        assert not allowed(own)


def _simulated(stage: Sandbox, grant: Grant, resource: str) -> bool:
    role = stage.stack.iam.get_role(RoleName=stage.stack.resources("AWS::IAM::Role")[grant.role])["Role"]
    (result,) = stage.stack.iam.simulate_principal_policy(
        PolicySourceArn=role["Arn"], ActionNames=[grant.action], ResourceArns=[resource]
    )["EvaluationResults"]
    return result["EvalDecision"] == "allowed"


@pytest.mark.parametrize("what", NEIGHBOURS)
@pytest.mark.parametrize("role", MAY)
def test_no_role_may_act_outside_its_task(calls: RoleCalls, role: str, what: str) -> None:
    said = calls.say(role, NEIGHBOURS[what])

    assert denials(said), said


@pytest.mark.parametrize("what", SHARED)
@pytest.mark.parametrize("role", MAY)
def test_each_role_may_do_its_own_task_and_not_that_of_another(calls: RoleCalls, role: str, what: str) -> None:
    said = calls.say(role, SHARED[what])

    assert (denials(said) == set()) == (what in MAY[role]), said


def test_the_queue_policy_refuses_a_sender_whose_own_policy_allows_every_queue(stage: Sandbox) -> None:
    """rotate trusts every message of RotationRequests.fifo, so permissions of an administrator must not suffice."""
    sqs = _user_with(stage, "queue-administrator", ["sqs:*"])
    requests, undelivered = stage.stack.outputs["RotationRequestsUrl"], stage.stack.outputs["UndeliveredTriggersUrl"]
    fifo: Any = {"MessageGroupId": "group", "MessageDeduplicationId": "message"}
    entry: Any = {"Id": "0", "MessageBody": "{}", **fifo}

    sqs.send_message(QueueUrl=undelivered, MessageBody="{}")
    with pytest.raises(ClientError, match="explicit deny in a resource-based policy"):
        sqs.send_message(QueueUrl=requests, MessageBody="{}", **fifo)
    with pytest.raises(ClientError, match="AccessDenied"):
        sqs.send_message_batch(QueueUrl=requests, Entries=[entry])
    with pytest.raises(ClientError, match="AccessDenied"):
        stage.stack.sqs.send_message(QueueUrl=requests, MessageBody="{}", **fifo)  # the account's root user

    stage.stack.sqs.purge_queue(QueueUrl=undelivered)


def _user_with(stage: Sandbox, name: str, actions: list[str]) -> "SQSClient":
    """Create an IAM user that may do this with every resource of the account; return its client of SQS."""
    aws, iam = stage.stack.aws, stage.stack.iam
    allowed = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": actions, "Resource": "*"}}
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="everything", PolicyDocument=json.dumps(allowed))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return aws.session(key["AccessKeyId"], key["SecretAccessKey"]).client("sqs", endpoint_url=aws.endpoint)


def test_every_role_is_listed(stage: Sandbox) -> None:
    assert set(stage.stack.resources("AWS::IAM::Role")) == set(roles()) == set(MAY)


def test_every_role_gets_the_permissions_boundary_of_the_account() -> None:
    """Those that SAM makes for the schedules too; the embedded CloudFormation keeps no boundaries of roles."""
    bounded = {"Fn::If": ["Bounded", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}

    assert {name: properties.get("PermissionsBoundary") for name, properties in roles().items()} == dict.fromkeys(
        MAY, bounded
    )


ALL_BUT_SQS = ("cloudtrail", "events", "iam", "logs", "secretsmanager", "ssm", "sts")


def test_a_boundary_bounds(stage: Sandbox, uses: PermissionExercises) -> None:
    role, iam = stage.stack.resources("AWS::IAM::Role")["DispatchRole"], stage.stack.iam
    before = iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"]
    narrow = add_boundary(stage.stack.aws, "narrow", {f"{service}:*" for service in ALL_BUT_SQS})

    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=narrow)
    said = uses.dispatch()
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=before)

    assert denials(said) == {(role, "sqs:SendMessage")}


def test_a_linter_of_policies_has_nothing_to_say_but_what_is_explained(stage: Sandbox, tmp_path: Path) -> None:
    for role, physical in stage.stack.resources("AWS::IAM::Role").items():
        for name, statements in stage.stack.policies(physical):
            if not name.endswith("-batches"):  # the sandbox's own
                policy = {"Version": "2012-10-17", "Statement": statements}
                (tmp_path / f"{role}-{name}.json").write_text(json.dumps(policy))

    run = subprocess.run(
        [PARLIAMENT, "--directory", tmp_path, "--json", "--include-community-auditors", "--minimum_severity", "INFO"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert len(list(tmp_path.iterdir())) == sum(len(properties["Policies"]) for properties in roles().values())
    findings = [json.loads(line) for line in run.stdout.splitlines()]
    said = {(each["issue"], action) for each in findings for action in each["detail"] or each["location"]["actions"]}
    assert said == EXPLAINED, run.stderr


def test_a_silent_previous_key_is_deactivated_reactivated_and_deleted_by_the_next_rotation(stage: Sandbox) -> None:
    outcomes = OutcomeQueue(stage.stack)
    rotation = stage.add_rotation(f"{GUARDED_USERS}retired")
    iam, name = stage.iam, rotation.name
    pair = iam.create_access_key(UserName=name)["AccessKey"]
    previous = pair["AccessKeyId"]
    stage.iam_front.date(previous, LONG_AGO - timedelta(days=7))
    stage.stack.put_map({"triggers": {"weekly": rotation.id}})

    def retire() -> dict[str, Any]:
        stage.stack.restart("RetireFunction")
        function = stage.stack.outputs["RetireFunctionName"]
        answer: dict[str, Any] = json.loads(stage.stack.lambda_.invoke(FunctionName=function)["Payload"].read())
        return answer

    def is_accepted(key_id: str, secret: str) -> bool:
        session = stage.stack.aws.session(key_id, secret)
        try:
            session.client("sts", endpoint_url=stage.stack.aws.endpoint).get_caller_identity()
        except ClientError:
            return False
        return True

    # a consumer still uses it: untouched, and named
    stage.use_key(previous, datetime.now(UTC))
    assert retire() == {"PreviousKeyInUse": 1, "PreviousKeyDeactivated": 0}
    (line,) = [each for each in stage.stack.retire_logs() if each.get("access_key_id") == previous]
    assert (line["message"], "CloudTrail" in line["explanation"]) == ("previous key in use", True)
    assert is_accepted(previous, pair["SecretAccessKey"])

    # it has fallen silent: refused, and the new key accepted
    stage.use_key(previous, datetime.now(UTC) - timedelta(days=8))
    assert retire() == {"PreviousKeyInUse": 0, "PreviousKeyDeactivated": 1}
    assert not is_accepted(previous, pair["SecretAccessKey"])
    assert is_accepted(stage.published_key(rotation), str(rotation.published["secretAccessKey"]))

    # both were announced, the latter with the command that undoes it
    wait_until("two events", lambda: len(outcomes.ends_of(rotation.id)) == len(["in use", "deactivated"]))
    in_use, deactivated = outcomes.events()
    assert [in_use["detail-type"], deactivated["detail-type"]] == ["Previous Key In Use", "Previous Key Deactivated"]
    assert {validate_event(event)["access_key_id"] for event in (in_use, deactivated)} == {previous}

    # it is reactivated: accepted
    assert deactivated["detail"]["reactivate_with_make"].startswith(f"make reactivate KEY={previous} ")
    assert "active again" in reactivate(iam, previous)
    assert is_accepted(previous, pair["SecretAccessKey"])

    # and the next rotation deletes it
    stage.stack.send(scheduled())
    (end,) = outcomes_of(stage, rotation)
    assert end["outcome"] == "rotated"
    assert previous not in stage.valid_keys(name)
