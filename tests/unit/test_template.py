"""What the embedded AWS does not show of template.yaml, seen in the CloudFormation that SAM makes of it."""

import json
from typing import Any

import pytest

from infisical_rotation_triggers.preflight.alarm_topic import CLOUDWATCH, admits
from rotate import FINISH_SECONDS, GUARDED_SECONDS
from rotator.rotation.attempt import ATTEMPT_SECONDS
from rotator.rotation.delivery import FRESH_SECONDS
from rotator.rotation.policy import REPLICA_LAG
from rotator.rotation.queues import VISIBILITY_TIMEOUT_SECONDS
from tests.sandbox.translation import translated

DECIDING_ROLES = {"DispatchRole", "HookRole", "RetireRole", "RotateRole"}


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    translation: dict[str, Any] = translated()["Resources"]
    return translation


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: each["Properties"] for name, each in resources.items() if each["Type"] == kind}


def test_every_function_is_placed_in_the_vpc_if_there_is_one(resources: dict[str, Any]) -> None:
    functions = of_type(resources, "AWS::Lambda::Function")

    assert functions
    for function in functions.values():
        condition, network, otherwise = function["VpcConfig"]["Fn::If"]
        assert condition == "InVpc"
        assert network["SubnetIds"] == {"Fn::Split": [",", {"Ref": "VpcSubnetIds"}]}
        assert network["SecurityGroupIds"] == {"Fn::Split": [",", {"Ref": "VpcSecurityGroupIds"}]}
        assert otherwise == {"Ref": "AWS::NoValue"}


def test_the_visibility_time_out_is_six_times_a_guarded_requests_time(
    resources: dict[str, Any],
) -> None:
    function = resources["RotateFunction"]["Properties"]
    queue = resources["RotationRequests"]["Properties"]

    assert queue["VisibilityTimeout"] == 6 * GUARDED_SECONDS == VISIBILITY_TIMEOUT_SECONDS
    # A message counts as just received for a minute, and is then not made invisible anew.
    assert function["Timeout"] + FRESH_SECONDS < VISIBILITY_TIMEOUT_SECONDS


def test_an_unguarded_attempt_is_watched_until_every_replica_shows_it(
    resources: dict[str, Any],
) -> None:
    seconds = resources["RotateFunction"]["Properties"]["Timeout"] - FINISH_SECONDS

    assert seconds > ATTEMPT_SECONDS + REPLICA_LAG.total_seconds()


def test_only_retire_may_change_keys_in_iam_and_only_some_may_read_them(
    resources: dict[str, Any],
) -> None:
    asked_of_iam = {
        name: [statement for statement in statements_of(role) if mentions(statement["Action"], "iam:")]
        for name, role in of_type(resources, "AWS::IAM::Role").items()
    }
    look_at_keys = {
        "Sid": "LookAtKeys",
        "Effect": "Allow",
        "Action": ["iam:ListAccessKeys", "iam:GetAccessKeyLastUsed"],
        "Resource": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/${KeyGuardUsers}"},
    }

    deactivate = look_at_keys | {"Sid": "DeactivatePreviousKeys", "Action": "iam:UpdateAccessKey"}
    list_keys = look_at_keys | {"Sid": "ListKeys", "Action": "iam:ListAccessKeys"}

    assert {name: asked for name, asked in asked_of_iam.items() if asked} == {
        "AuditRole": [list_keys],
        "DispatchRole": [look_at_keys],
        "HookRole": [look_at_keys],
        "RetireRole": [deactivate, look_at_keys],
        "RotateRole": [look_at_keys],
    }


def test_only_functions_that_read_keys_may_assume_a_key_guard_role(resources: dict[str, Any]) -> None:
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        assumable = [each["Resource"] for each in statements_of(role) if mentions(each["Action"], "sts:AssumeRole")]
        assert assumable == ([{"Ref": "KeyGuardRoleArns"}] if name in DECIDING_ROLES | {"AuditRole"} else [])


def test_only_deciding_functions_may_ask_cloudtrail_and_only_if_that_is_switched_on(resources: dict[str, Any]) -> None:
    allowed = {
        name: statement["Fn::If"][0]
        for name, role in of_type(resources, "AWS::IAM::Role").items()
        for policy in role.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
        if "Fn::If" in statement and mentions(statement["Fn::If"][1]["Action"], "cloudtrail:")
    }

    assert allowed == dict.fromkeys(DECIDING_ROLES, "NamesConsumers")


def statements_of(role: dict[str, Any]) -> list[dict[str, Any]]:
    """What a role may do, if every condition holds."""
    statements = [
        statement for policy in role.get("Policies", []) for statement in policy["PolicyDocument"]["Statement"]
    ]
    return [statement["Fn::If"][1] if "Fn::If" in statement else statement for statement in statements]


def mentions(action: str | list[str], prefix: str) -> bool:
    return any(each.startswith((prefix, "*")) for each in ([action] if isinstance(action, str) else action))


def test_nothing_has_a_fixed_physical_name(resources: dict[str, Any]) -> None:
    names = {"FunctionName", "QueueName", "RoleName", "TopicName", "AlarmName", "LogGroupName", "Name"}

    fixed = {
        (logical_id, name)
        for logical_id, resource in resources.items()
        for name in names & set(resource.get("Properties", {}))
        if isinstance(resource["Properties"][name], str)
    }

    assert fixed == set()


def test_everything_that_keeps_data_is_encrypted_and_forgets(resources: dict[str, Any]) -> None:
    for queue in of_type(resources, "AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 86400
    for group in of_type(resources, "AWS::Logs::LogGroup").values():
        assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    for topic in of_type(resources, "AWS::SNS::Topic").values():
        assert topic["KmsMasterKeyId"]


def test_the_queue_policy_denies_sending_to_all_but_dispatch_and_a_deployed_hook(resources: dict[str, Any]) -> None:
    policy = resources["RotationRequestsPolicy"]["Properties"]
    (statement,) = policy["PolicyDocument"]["Statement"]

    assert policy["Queues"] == [{"Ref": "RotationRequests"}]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:SendMessage")
    assert statement["Resource"] == arn_of("RotationRequests")
    assert statement["Condition"] == {
        "ArnNotEquals": {
            "aws:PrincipalArn": [
                arn_of("DispatchRole"),
                {"Fn::If": ["Hook", arn_of("HookRole"), {"Ref": "AWS::NoValue"}]},
            ]
        }
    }


def arn_of(resource: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [resource, "Arn"]}


def test_the_dashboard_names_every_alarm(resources: dict[str, Any]) -> None:
    body = json.dumps(resources["Dashboard"]["Properties"]["DashboardBody"])

    assert {name for name in of_type(resources, "AWS::CloudWatch::Alarm") if f"${{{name}.Arn}}" not in body} == set()


def test_cloudwatch_may_publish_to_the_stacks_own_topic(resources: dict[str, Any]) -> None:
    policy = resources["AlarmTopicPolicy"]["Properties"]

    assert policy["Topics"] == [{"Ref": "AlarmTopic"}]
    assert admits(policy["PolicyDocument"], CLOUDWATCH)


def test_retire_and_its_permission_exist_only_if_switched_on() -> None:
    template = translated()

    assert template["Parameters"]["RetireAfterDays"]["Default"] == 0
    for name in ("RetireFunction", "RetireRole", "RetireLogGroup", "RetireFunctionScheduled"):
        assert template["Resources"][name]["Condition"] == "Retire"


# As AWS Health sends it, shortened: https://docs.aws.amazon.com/health/latest/ug/aws-health-events-eventbridge-schema.html
EXPOSED_KEY = {
    "source": "aws.health",
    "detail-type": "AWS Health Event",
    "account": "123456789012",
    "detail": {
        "service": "RISK",
        "eventTypeCode": "AWS_RISK_CREDENTIALS_EXPOSED",
        "affectedEntities": [{"entityValue": "AKIAIOSFODNN7EXAMPLE"}],
    },
}


def test_an_exposed_key_only_sends_a_message_with_the_command() -> None:
    template = translated()
    rule = template["Resources"]["ExposedKeyEvents"]
    (target,) = rule["Properties"]["Targets"]
    paths, (_, chat, text) = (
        target["InputTransformer"]["InputPathsMap"],
        target["InputTransformer"]["InputTemplate"]["Fn::If"],
    )

    def message(form: dict[str, str]) -> str:
        written = form["Fn::Sub"].replace("${AWS::StackName}", "rotations")
        for name, path in paths.items():
            written = written.replace(f"<{name}>", _look_up(EXPOSED_KEY, path))
        return written

    assert (template["Parameters"]["ExposedKeyMessages"]["Default"], rule["Condition"]) == ("DISABLED", "ExposedKeys")
    assert target["Arn"] == {"Fn::If": ["OwnTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}
    command = "make leaked KEY=AKIAIOSFODNN7EXAMPLE STACK=rotations"
    assert command in json.loads(message(text))
    assert command in json.loads(message(chat))["content"]["description"]
    assert _matches(rule["Properties"]["EventPattern"], EXPOSED_KEY)
    assert not _matches(rule["Properties"]["EventPattern"], {**EXPOSED_KEY, "detail": {"eventTypeCode": "AWS_EC2"}})


def _look_up(event: Any, path: str) -> str:  # noqa: ANN401 - JSON
    for step in path.removeprefix("$.").replace("[", ".").replace("]", "").split("."):
        event = event[int(step)] if step.isdecimal() else event[step]
    return str(event)


def _matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    return all(
        _matches(wanted, event[name]) if isinstance(wanted, dict) else event[name] in wanted
        for name, wanted in pattern.items()
    )
